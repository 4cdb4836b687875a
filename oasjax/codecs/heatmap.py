"""Keypoints in cells <-> Gaussian heatmaps: our own convention, and what all conventions share.

Our targets are centred at sub-pixel positions, so nothing is lost by rounding and decoding inverts encoding.
Where cells lie in the crop: `oasjax.codecs.codec`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def move_right(maps: Float[Array, "*b h w k"]) -> Float[Array, "*b h w k"]:
    """The maps moved by one cell to the right; their first column stays as well (HRNet's SHIFT_HEATMAP)."""
    return jnp.concatenate([maps[..., :1, :], maps[..., :-1, :]], axis=-2)


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


def draw(
    points_cells: Float[Array, "*b k 2"],
    labelled: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> tuple[Float[Array, "*b {height} {width} k"], Bool[Array, "*b k"]]:
    """`encode` of the labelled joints that lie on the maps; returns the maps and which joints these are."""
    drawn = labelled & inside(points_cells, height, width)
    return encode(points_cells, drawn, height=height, width=width, sigma_cells=sigma_cells), drawn


def peaks(heatmaps: Float[Array, "*b h w k"]) -> tuple[Int[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Cell (x, y) of the highest value of each map, the first of equal ones, and that value."""
    *batch, height, width, joints = heatmaps.shape
    flat = heatmaps.reshape(*batch, height * width, joints)
    index = jnp.argmax(flat, axis=-2)
    return jnp.stack([index % width, index // width], axis=-1), jnp.max(flat, axis=-2)


def value_beside(
    heatmaps: Float[Array, "*b h w k"], cells: Int[Array, "*b k 2"], dx: int, dy: int
) -> Float[Array, "*b k"]:
    """Value of each map dx cells right of and dy below its cell; beyond the border that of the border."""
    *batch, height, width, joints = heatmaps.shape
    column, row = jnp.clip(cells[..., 0] + dx, 0, width - 1), jnp.clip(cells[..., 1] + dy, 0, height - 1)
    flat = heatmaps.reshape(*batch, height * width, joints)
    return jnp.take_along_axis(flat, (row * width + column)[..., None, :], axis=-2)[..., 0, :]


def decode(
    heatmaps: Float[Array, "*b h w k"],
) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Positions in cells and peak values.

    The peak is refined along each axis by the parabola through the logarithms of its neighbours, which is
    exact for a Gaussian. A peak on the border stays at its cell along that axis.
    """
    height, width = heatmaps.shape[-3:-1]
    cells, scores = peaks(heatmaps)

    def value(dx: int, dy: int) -> Float[Array, "*b k"]:
        # Predicted maps dip below zero; the floor bounds the logarithm.
        return jnp.log(jnp.maximum(value_beside(heatmaps, cells, dx, dy), 1e-10))

    def peak(before: Array, center: Array, after: Array) -> Array:
        curvature = 2 * center - before - after
        offset = (after - before) / (2 * jnp.where(curvature > 0, curvature, 1.0))
        return jnp.where(curvature > 0, jnp.clip(offset, -0.5, 0.5), 0.0)

    center = value(0, 0)
    offset = jnp.stack(
        [peak(value(-1, 0), center, value(1, 0)), peak(value(0, -1), center, value(0, 1))], axis=-1
    )
    interior = (cells > 0) & (cells < jnp.asarray([width - 1, height - 1]))
    return (cells + jnp.where(interior, offset, 0.0)).astype(heatmaps.dtype), scores
