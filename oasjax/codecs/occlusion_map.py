"""Occluded joints <-> the one-channel occlusion map of OASNet (section 3.1, Fig. 3)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def encode(heatmaps: Float[Array, "*b h w k"], occluded: Bool[Array, "*b k"]) -> Float[Array, "*b h w 1"]:
    """Sum of the occluded joints' heatmaps, clamped to [0, 1] (the target of eq. 2)."""
    picked = jnp.where(occluded[..., None, None, :], heatmaps, 0.0)
    return jnp.clip(picked.sum(-1, keepdims=True), 0.0, 1.0)


def decode(
    occlusion_map: Float[Array, "*b h w 1"], points_cells: Float[Array, "*b k 2"]
) -> Float[Array, "*b k"]:
    """Occlusion of each joint: the map at the joint's cell, between cells bilinear, clipped to [0, 1]."""

    def sample(single: Float[Array, "h w"], points: Float[Array, "k 2"]) -> Float[Array, "k"]:
        return jax.scipy.ndimage.map_coordinates(
            single, [points[:, 1], points[:, 0]], order=1, mode="nearest"
        )

    height, width = occlusion_map.shape[-3:-1]
    maps = occlusion_map.reshape(-1, height, width)
    points = points_cells.reshape(maps.shape[0], -1, 2)
    return jnp.clip(jax.vmap(sample)(maps, points), 0.0, 1.0).reshape(points_cells.shape[:-1])
