"""Mirroring of crops and their joints."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped


def flip_images(images: Shaped[Array, "b h w c"], flipped: Bool[Array, "b"]) -> Shaped[Array, "b h w c"]:
    """Mirror the chosen images left to right."""
    return jnp.where(flipped[:, None, None, None], images[:, :, ::-1], images)


def flip_keypoints(
    keypoints_px: Float[Array, "b k 2"],
    flipped: Bool[Array, "b"],
    width: int,
    permutation: Int[np.ndarray, "k"],
) -> Float[Array, "b k 2"]:
    """Mirror joints in a crop of that width (x -> width - 1 - x) and swap left with right."""
    x, y = keypoints_px[..., 0], keypoints_px[..., 1]
    mirrored = jnp.stack([width - 1 - x, y], axis=-1)[:, permutation]
    return jnp.where(flipped[:, None, None], mirrored, keypoints_px)


def flip_flags(
    flags: Shaped[Array, "b k"], flipped: Bool[Array, "b"], permutation: Int[np.ndarray, "k"]
) -> Shaped[Array, "b k"]:
    """Swap a value per joint (visibility, occlusion_known) between left and right."""
    return jnp.where(flipped[:, None], flags[:, permutation], flags)
