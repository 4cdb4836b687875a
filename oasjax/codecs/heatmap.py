"""Keypoints <-> Gaussian heatmaps.

A cell of a heatmap of stride s sits, by frame,

- `centre` (ours, `oasjax.ops.affine`): at the centre of its cells' pixels, pixel = s * cell + (s - 1) / 2;
- `corner` (the published networks): at their first one, pixel = s * cell.

Targets are centred at sub-pixel positions, so nothing is lost by rounding and decoding inverts encoding.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from oasjax.ops.choices import check_choice

FRAMES = ("centre", "corner")


def pixels_to_cells(points_px: Float[Array, "*b 2"], stride: int, frame: str) -> Float[Array, "*b 2"]:
    """Input pixels -> heatmap cells. Raises ValueError for an unknown frame."""
    return (points_px - _first_cell(stride, frame)) / stride


def cells_to_pixels(points_cells: Float[Array, "*b 2"], stride: int, frame: str) -> Float[Array, "*b 2"]:
    """Heatmap cells -> input pixels. Raises ValueError for an unknown frame."""
    return points_cells * stride + _first_cell(stride, frame)


def _first_cell(stride: int, frame: str) -> float:
    """Pixel of cell 0."""
    check_choice("frame", frame, FRAMES)
    return (stride - 1) / 2 if frame == "centre" else 0.0


def mirror(maps: Float[Array, "*b h w k"], frame: str) -> Float[Array, "*b h w k"]:
    """Maps of a mirrored picture, turned back to lie over those of the picture itself.

    In the frame `corner` mirrored cells come to lie (s - 1) / s cells too far left, so the map moves right by
    one cell, its first column staying (HRNet's SHIFT_HEATMAP): at stride 4 a quarter of a cell is left over.
    Left and right joints are not swapped. Raises ValueError for an unknown frame.
    """
    check_choice("frame", frame, FRAMES)
    mirrored = maps[..., ::-1, :]
    if frame == "centre":
        return mirrored
    return jnp.concatenate([mirrored[..., :1, :], mirrored[..., :-1, :]], axis=-2)


def inside(points: Float[Array, "*b 2"], height: int, width: int) -> Bool[Array, "*b"]:
    """True where a point lies on the picture (its half-pixel border included); False for NaN."""
    x, y = points[..., 0], points[..., 1]
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def encode(
    points_cells: Float[Array, "*b k 2"],
    drawn: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> Float[Array, "*b {height} {width} k"]:
    """One Gaussian of peak 1 a joint (the targets of eq. 3).

    Args:
        points_cells: joint positions in heatmap cells.
        drawn: joints to draw; the maps of the others are zero, whatever their coordinates (also NaN).
        height, width: size of the maps in cells.
        sigma_cells: standard deviation in cells.
    """
    points = jnp.where(drawn[..., None], points_cells, 0.0)
    # A Gaussian is separable: two short exponentials and a product instead of one per pixel.
    x = jnp.arange(width, dtype=points.dtype)[:, None] - points[..., None, :, 0]
    y = jnp.arange(height, dtype=points.dtype)[:, None] - points[..., None, :, 1]
    column = jnp.exp(-(y**2) / (2 * sigma_cells**2))
    row = jnp.exp(-(x**2) / (2 * sigma_cells**2))
    heatmaps = column[..., :, None, :] * row[..., None, :, :]
    return jnp.where(drawn[..., None, None, :], heatmaps, 0.0)


def decode(
    heatmaps: Float[Array, "*b h w k"],
) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Positions in cells and peak values.

    The peak is refined along each axis by the parabola through the logarithms of its neighbours, which is
    exact for a Gaussian. A peak on the border stays at its cell along that axis.
    """
    *batch, height, width, joints = heatmaps.shape
    flat = heatmaps.reshape(*batch, height * width, joints)
    index = jnp.argmax(flat, axis=-2)
    scores = jnp.max(flat, axis=-2)
    x, y = index % width, index // width

    def value(dx: int, dy: int) -> Float[Array, "*b k"]:
        column, row = jnp.clip(x + dx, 0, width - 1), jnp.clip(y + dy, 0, height - 1)
        picked = jnp.take_along_axis(flat, (row * width + column)[..., None, :], axis=-2)
        # Predicted maps dip below zero; the floor bounds the logarithm.
        return jnp.log(jnp.maximum(picked[..., 0, :], 1e-10))

    def peak(before: Array, center: Array, after: Array) -> Array:
        curvature = 2 * center - before - after
        offset = (after - before) / (2 * jnp.where(curvature > 0, curvature, 1.0))
        return jnp.where(curvature > 0, jnp.clip(offset, -0.5, 0.5), 0.0)

    center = value(0, 0)
    offset_x = peak(value(-1, 0), center, value(1, 0))
    offset_y = peak(value(0, -1), center, value(0, 1))
    refined_x = jnp.where((x > 0) & (x < width - 1), x + offset_x, x)
    refined_y = jnp.where((y > 0) & (y < height - 1), y + offset_y, y)
    return jnp.stack([refined_x, refined_y], axis=-1).astype(heatmaps.dtype), scores
