"""From a batch of uint8 crops to the two branches and their targets, on the device.

Both branches share crop, rotation, mirror and colour; they differ in the pasted occluders alone.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Int8, PRNGKeyArray

from oasjax.augmentation import colour, flip, occluders
from oasjax.codecs import heatmap, occlusion_map


class Branch(NamedTuple):
    """One branch: normalised images and its occlusion targets.

    Attributes:
        occlusion_map: target of eq. 2.
        occlusion_weight: 0 for an image in which no joint's occlusion is known: it has no such loss.
        occlusion_classes: target of eq. 1, one-hot (not labelled, labelled and occluded, labelled and
            visible); all zero for a joint whose occlusion is not known.
    """

    images: Float[Array, "b y x 3"]
    occlusion_map: Float[Array, "b h w 1"]
    occlusion_weight: Float[Array, "b"]
    occlusion_classes: Float[Array, "b k 3"]


class SiamesePair(NamedTuple):
    """Inputs and targets of one training step.

    `joint_weight` is 1 for the labelled joints inside the crop. The mask of eq. 7 comes from the *clean*
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


def prepare(
    key: PRNGKeyArray,
    batch: dict[str, Array],
    *,
    flip_permutation: Int[np.ndarray, "k"],
    stride: int,
    sigma_cells: float,
    flip_probability: float,
    colour_jitter: float,
    patches: Any,
    normalization: str,
    frame: str,
) -> SiamesePair:
    """Flip, colour, paste, normalise, render targets.

    Args:
        batch: the device part of a batch (DESIGN: `image`, `keypoints`, `visibility`, `occlusion_known`).
        flip_permutation: left/right swap of the skeleton.
        stride, sigma_cells: of the heatmaps.
        patches: mapping with the keyword arguments of `occluders.sample_patches`.
        normalization: one of `colour.NORMALIZATIONS`.
        frame: of the heatmaps, one of `heatmap.FRAMES`.
    """
    flip_key, colour_key, patch_key = jax.random.split(key, 3)
    size, height, width, _ = batch["image"].shape
    flipped = jax.random.bernoulli(flip_key, flip_probability, (size,))
    images = flip.flip_images(colour.to_float(batch["image"]), flipped)
    images = colour.jitter(colour_key, images, colour_jitter)
    points = flip.flip_keypoints(batch["keypoints"], flipped, width, flip_permutation)
    visibility = flip.flip_flags(batch["visibility"], flipped, flip_permutation)
    known = flip.flip_flags(batch["occlusion_known"], flipped, flip_permutation)
    # A joint outside the crop has no target; this also retires unlabelled joints with wild coordinates.
    visibility = jnp.where(heatmap.inside(points, height, width), visibility, 0)
    labelled = visibility > 0

    drawn = occluders.sample_patches(
        patch_key,
        points,
        labelled,
        height=height,
        width=width,
        **{name: value for name, value in patches.items() if name != "cutouts"},
    )
    pasted = occluders.covered(drawn, points).any(axis=1)
    occluded_images = occluders.paste(images, drawn)

    heatmaps = heatmap.encode(
        heatmap.pixels_to_cells(points, stride, frame),
        labelled,
        height=height // stride,
        width=width // stride,
        sigma_cells=sigma_cells,
    )
    nothing_pasted = jnp.zeros_like(pasted)

    def branch(images: Float[Array, "b y x 3"], pasted: Bool[Array, "b k"]) -> Branch:
        targets = occlusion_targets(heatmaps, visibility, known, pasted)
        return Branch(colour.normalize(images, normalization), *targets)

    return SiamesePair(
        occluded=branch(occluded_images, pasted),
        clean=branch(images, nothing_pasted),
        heatmaps=heatmaps,
        joint_weight=labelled.astype(jnp.float32),
    )
