"""From a batch of uint8 crops to the two branches and their targets, on the device.

Both branches share crop, rotation, mirror and colour; they differ in the pasted occluders alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int8, PRNGKeyArray, UInt8

from oasjax.augmentation import colour, flip, occluders
from oasjax.codecs import heatmap, occlusion_map
from oasjax.codecs.codec import Codec


class Branch(NamedTuple):
    """One branch: normalised images and its occlusion targets.

    Attributes:
        occlusion_map: target of eq. 2.
        occlusion_weight: 0 for an image in which no joint's occlusion is known, nor a map of it: it has no
            such loss.
        occlusion_classes: target of eq. 1, one-hot (not labelled, labelled and occluded, labelled and
            visible); all zero for a joint whose occlusion is not known.
    """

    images: Float[Array, "b y x 3"]
    occlusion_map: Float[Array, "b h w 1"]
    occlusion_weight: Float[Array, "b"]
    occlusion_classes: Float[Array, "b k 3"]


class SiamesePair(NamedTuple):
    """Inputs and targets of one training step.

    `joint_weight` is 1 for the joints that have a heatmap. The mask of eq. 7 comes from the *clean*
    branch's occlusion map, so that pasted patches stay in (there the mimicking shall act).
    """

    occluded: Branch
    clean: Branch
    heatmaps: Float[Array, "b h w k"]
    joint_weight: Float[Array, "b k"]


def occlusion_targets(
    heatmaps: Float[Array, "b h w k"],
    visibility: Int8[Array, "b k"],
    known: Bool[Array, "b k"],
    pasted: Bool[Array, "b k"],
) -> tuple[Float[Array, "b h w 1"], Float[Array, "b"], Float[Array, "b k 3"]]:
    """Occlusion map, image weight and one-hot classes, as in `Branch`.

    A joint whose occlusion is not known counts only where a patch was pasted on it; an image without any
    counting joint has weight 0. A joint without a label is of class 0 where that is known.
    """
    labelled = visibility > 0
    occluded = labelled & (pasted | (known & (visibility == 1)))
    counts = known | (labelled & pasted)
    visible = labelled & ~occluded
    classes = jnp.stack([~labelled, occluded, visible], axis=-1) & counts[..., None]
    return (
        occlusion_map.encode(heatmaps, occluded),
        (labelled & counts).any(-1).astype(heatmaps.dtype),
        classes.astype(heatmaps.dtype),
    )


def with_pseudo_labels(
    target: Float[Array, "b h w 1"],
    weight: Float[Array, "b"],
    pseudo_map: Float[Array, "b h w 1"],
    pasted_map: Float[Array, "b h w 1"],
) -> tuple[Float[Array, "b h w 1"], Float[Array, "b"]]:
    """Occlusion map and image weight where another model's map stands in for labels (the paper's LSP).

    Args:
        target, weight: as of `occlusion_targets`; they stay where there is no map.
        pseudo_map: in [0, 1]; NaN for an image without one.
        pasted_map: Gaussians of the joints under patches, which that model did not see.
    """
    there = ~jnp.isnan(pseudo_map).any((1, 2, 3))
    pseudo_target = jnp.maximum(pseudo_map, pasted_map)
    return jnp.where(there[:, None, None, None], pseudo_target, target), jnp.where(there, 1.0, weight)


def prepare(
    key: PRNGKeyArray,
    batch: dict[str, Array],
    *,
    codec: Codec,
    flip_permutation: Int[np.ndarray, "k"],
    flip_probability: float,
    colour_jitter: float,
    patches: Any,
    normalization: str,
    cutouts: UInt8[Array, "c s s 4"] | UInt8[np.ndarray, "c s s 4"] | None = None,
) -> SiamesePair:
    """Flip, colour, paste, normalise, render targets.

    Args:
        batch: the device part of a batch (DESIGN: `image`, `keypoints`, `visibility`, `occlusion_known`);
            with pseudo labels also `occlusion_map` (b, h, w), NaN for an image without one.
        codec: of the heatmaps, for crops of this size.
        flip_permutation: left/right swap of the skeleton.
        patches: mapping with the keyword arguments of `occluders.sample_patches`; its `cutouts`, if any, is
            passed over.
        normalization: one of `colour.NORMALIZATIONS`.
        cutouts: the bank of what patches of the kind `cutout` show (`oasjax.datasets.cutouts`).
    """
    flip_key, colour_key, patch_key = jax.random.split(key, 3)
    size, height, width, _ = batch["image"].shape
    flipped = jax.random.bernoulli(flip_key, flip_probability, (size,))
    images = flip.flip_images(colour.to_float(batch["image"]), flipped)
    images = colour.jitter(colour_key, images, colour_jitter)
    points = flip.flip_keypoints(batch["keypoints"], flipped, width, flip_permutation)
    visibility = flip.flip_flags(batch["visibility"], flipped, flip_permutation)
    known = flip.flip_flags(batch["occlusion_known"], flipped, flip_permutation)
    heatmaps, drawn = codec.encode(points, visibility > 0)
    # A joint without a heatmap has no target at all; this also retires joints far outside of the crop.
    visibility = jnp.where(drawn, visibility, 0)

    bank = None if cutouts is None else jnp.asarray(cutouts)
    occluding = occluders.sample_patches(
        patch_key,
        points,
        drawn & heatmap.inside(points, height, width),
        height=height,
        width=width,
        num_cutouts=0 if bank is None else len(bank),
        **{name: value for name, value in patches.items() if name != "cutouts"},
    )
    pasted = occluders.hidden_joints(occluding, points, bank).any(axis=1)
    occluded_images = occluders.paste(images, occluding, bank)

    pseudo_map = None
    if "occlusion_map" in batch:
        # Mirroring maps is its own inverse up to the codec's rounding: it also leads to the mirrored crop.
        maps = batch["occlusion_map"][..., None]
        pseudo_map = jnp.where(flipped[:, None, None, None], codec.mirror(maps), maps)

    def branch(images: Float[Array, "b y x 3"], pasted: Bool[Array, "b k"]) -> Branch:
        target, weight, classes = occlusion_targets(heatmaps, visibility, known, pasted)
        if pseudo_map is not None:
            pasted_map = occlusion_map.encode(heatmaps, pasted & (visibility > 0))
            target, weight = with_pseudo_labels(target, weight, pseudo_map, pasted_map)
        return Branch(colour.normalize(images, normalization), target, weight, classes)

    return SiamesePair(
        occluded=branch(occluded_images, pasted),
        clean=branch(images, jnp.zeros_like(pasted)),
        heatmaps=heatmaps,
        joint_weight=drawn.astype(jnp.float32),
    )
