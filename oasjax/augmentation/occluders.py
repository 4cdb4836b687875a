"""Artificial occluders, pasted inside the compiled step (OASNet, section 3.2; after Ke et al. 2018).

A patch is an axis-parallel ellipse or rectangle centred near a random labelled joint. It shows a piece of
another crop of the batch, or a flat colour. Which joints it hides is known exactly.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class Patches(NamedTuple):
    """Occluders of a batch, p patches for each image; lengths and positions in crop pixels.

    Attributes:
        center: (x, y).
        half_size: half of (width, height).
        active: patches that exist.
        round: ellipse instead of rectangle.
        flat: flat `colour` instead of a piece of image `source`, shifted by `shift` (x, y) pixels.
    """

    center: Float[Array, "b p 2"]
    half_size: Float[Array, "b p 2"]
    active: Bool[Array, "b p"]
    round: Bool[Array, "b p"]
    flat: Bool[Array, "b p"]
    colour: Float[Array, "b p 3"]
    source: Int[Array, "b p"]
    shift: Int[Array, "b p 2"]


def sample_patches(
    key: PRNGKeyArray,
    keypoints_px: Float[Array, "b k 2"],
    labelled: Bool[Array, "b k"],
    *,
    height: int,
    width: int,
    min_patches: int,
    max_patches: int,
    min_side: float,
    max_side: float,
    jitter: float,
    round_probability: float,
    kinds: Any,
) -> Patches:
    """Draw `min_patches` to `max_patches` patches for each image (the number uniform).

    Args:
        keypoints_px, labelled: joints and which of them may attract a patch. Where an image has none, the
            patches fall anywhere.
        min_side, max_side: range of the (uniform) sides as fractions of the crop's shorter side.
        jitter: standard deviation of a patch's centre around its joint, same unit.
        round_probability: share of ellipses.
        kinds: what patches show -> relative frequency.
    """
    batch = labelled.shape[0]
    shape = (batch, max_patches)
    keys = iter(jax.random.split(key, 10))
    unit = float(min(height, width))
    extent = jnp.asarray([width, height], jnp.float32)

    logits = jnp.where(labelled, 0.0, -jnp.inf)[:, None, :]
    logits = jnp.where(labelled.any(-1)[:, None, None], logits, 0.0)
    joint = jax.random.categorical(next(keys), logits, shape=shape)
    at_joint = jnp.take_along_axis(keypoints_px, joint[..., None], axis=1)
    at_joint += jitter * unit * jax.random.normal(next(keys), (*shape, 2))
    anywhere = jax.random.uniform(next(keys), (*shape, 2)) * extent
    center = jnp.where(labelled.any(-1)[:, None, None], at_joint, anywhere)

    number = jax.random.randint(next(keys), (batch, 1), min_patches, max_patches + 1)
    sides = jax.random.uniform(next(keys), (*shape, 2), minval=min_side, maxval=max_side)
    # Another image of the batch: never the image itself unless it is alone.
    step = jax.random.randint(next(keys), shape, 1, max(batch, 2))
    return Patches(
        center=center,
        half_size=sides * unit / 2,
        active=jnp.arange(max_patches) < number,
        round=jax.random.bernoulli(next(keys), round_probability, shape),
        flat=jax.random.bernoulli(next(keys), kinds["flat"] / (kinds["flat"] + kinds["other"]), shape),
        colour=jax.random.uniform(next(keys), (*shape, 3)),
        source=(jnp.arange(batch)[:, None] + step) % batch,
        shift=jax.random.randint(next(keys), (*shape, 2), 0, min(height, width)),
    )


def covered(patches: Patches, points_px: Float[Array, "b n 2"]) -> Bool[Array, "b p n"]:
    """Which points lie under which patch; False for NaN."""
    offset = (points_px[:, None] - patches.center[:, :, None]) / patches.half_size[:, :, None]
    disc = jnp.sum(jnp.square(offset), axis=-1) <= 1.0
    box = jnp.all(jnp.abs(offset) <= 1.0, axis=-1)
    return jnp.where(patches.round[..., None], disc, box) & patches.active[..., None]


def paste(images: Float[Array, "b h w 3"], patches: Patches) -> Float[Array, "b h w 3"]:
    """Draw the patches over the images; a later patch covers an earlier one."""
    batch, height, width, _ = images.shape
    y, x = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
    pixels = jnp.stack([x, y], axis=-1).reshape(1, -1, 2).astype(jnp.float32)
    masks = covered(patches, jnp.broadcast_to(pixels, (batch, height * width, 2)))

    def shifted(image: Float[Array, "h w 3"], shift: Int[Array, "2"]) -> Float[Array, "h w 3"]:
        return jnp.roll(jnp.roll(image, shift[1], axis=0), shift[0], axis=1)

    occluded = images
    for p in range(patches.active.shape[1]):
        piece = jax.vmap(shifted)(images[patches.source[:, p]], patches.shift[:, p])
        colour = patches.colour[:, p, None, None, :]
        content = jnp.where(patches.flat[:, p, None, None, None], colour, piece)
        mask = masks[:, p].reshape(batch, height, width, 1)
        occluded = jnp.where(mask, content, occluded)
    return occluded
