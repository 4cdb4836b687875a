"""Heatmaps by HRNet's convention: Gaussians at whole cells, in a window; predictions by quarters of a cell.

Same numbers as leoxiaobin/deep-high-resolution-net.pytorch: lib/dataset/JointsDataset.py (targets) and
lib/core/inference.py (predictions). The targets are those that mmpose calls MSRA.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from oasjax.codecs import heatmap


def nearest_cells(points_cells: Float[Array, "*b 2"]) -> Float[Array, "*b 2"]:
    """Whole cells; cell 0 for all from -1.5 to 0.5, because the published code cuts towards zero."""
    return jnp.trunc(points_cells + 0.5)


def touches_maps(
    first: Float[Array, "*b k 2"], end: Float[Array, "*b k 2"], *, height: int, width: int
) -> Bool[Array, "*b k"]:
    """True where the cells from `first` up to, but not including, `end` are not wholly outside of the maps.

    Of a window that ends at cell 0 nothing is seen, yet the published code lets it count. False for NaN.
    """
    return ((first < jnp.asarray([width, height], first.dtype)) & (end >= 0)).all(-1)


def windowed_gaussians(
    centers: Float[Array, "*b k 2"],
    first: Float[Array, "*b k 2"],
    end: Float[Array, "*b k 2"],
    labelled: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> tuple[Float[Array, "*b {height} {width} k"], Bool[Array, "*b k"]]:
    """Gaussians of peak 1, zero outside of their windows.

    Args:
        centers: of the Gaussians, in cells.
        first, end: the windows hold the cells from `first` up to, but not including, `end`.
        labelled: the maps of the other joints are zero, whatever their coordinates (also NaN).

    Returns:
        The maps, and which joints count: labelled, and their window not wholly outside.
    """
    drawn = labelled & touches_maps(first, end, height=height, width=width)
    maps = heatmap.encode(centers, drawn, height=height, width=width, sigma_cells=sigma_cells)

    def within(size: int, axis: int) -> Bool[Array, "*b n k"]:
        cells = jnp.arange(size)[:, None]
        return (cells >= first[..., None, :, axis]) & (cells < end[..., None, :, axis])

    window = within(height, 1)[..., :, None, :] & within(width, 0)[..., None, :, :]
    return jnp.where(window, maps, 0.0), drawn


def labelmaps(
    points_cells: Float[Array, "*b k 2"],
    labelled: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> tuple[Float[Array, "*b {height} {width} k"], Bool[Array, "*b k"]]:
    """Gaussians in windows of 6 sigma + 1 cells, as drawn by HRNet and the hourglass networks alike.

    Both cut the ends of a window towards zero and put the Gaussian in the middle of 6 sigma + 1 cells from
    its first one: for a whole cell that is the cell itself. 3 sigma is rounded down to whole cells.
    Arguments and result as in `windowed_gaussians` (bearpaw/pytorch-pose: pose/utils/imutils.py).
    """
    radius = window_radius(sigma_cells)
    first, end = jnp.trunc(points_cells - radius), jnp.trunc(points_cells + radius + 1)
    return windowed_gaussians(
        first + radius, first, end, labelled, height=height, width=width, sigma_cells=sigma_cells
    )


def window_radius(sigma_cells: float) -> int:
    """Whole cells in 3 sigma."""
    return math.floor(3 * sigma_cells)


def encode(
    points_cells: Float[Array, "*b k 2"],
    labelled: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> tuple[Float[Array, "*b {height} {width} k"], Bool[Array, "*b k"]]:
    """`labelmaps` at the nearest cells."""
    cells = nearest_cells(points_cells)
    return labelmaps(cells, labelled, height=height, width=width, sigma_cells=sigma_cells)


def positive_peaks(
    heatmaps: Float[Array, "*b h w k"], *, absent: int
) -> tuple[Int[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Highest cell of each map and its value; cell (absent, absent) for a map without a positive value."""
    cells, scores = heatmap.peaks(heatmaps)
    return jnp.where(scores[..., None] > 0, cells, absent), scores


def quarter_offsets(
    heatmaps: Float[Array, "*b h w k"], cells: Int[Array, "*b k 2"]
) -> Float[Array, "*b k 2"]:
    """A quarter of a cell along each axis towards the higher of both neighbours; 0 between equal ones."""

    def rise(dx: int, dy: int) -> Float[Array, "*b k"]:
        after, before = (heatmap.value_beside(heatmaps, cells, s * dx, s * dy) for s in (1, -1))
        return after - before

    return 0.25 * jnp.sign(jnp.stack([rise(1, 0), rise(0, 1)], axis=-1))


def decode(heatmaps: Float[Array, "*b h w k"]) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Positions in cells and peak values.

    A peak in the first two or in the last of the rows or columns stays at its cell; a map without a positive
    value is read as cell (0, 0).
    """
    height, width = heatmaps.shape[-3:-1]
    cells, scores = positive_peaks(heatmaps, absent=0)
    moves = ((cells > 1) & (cells < jnp.asarray([width - 1, height - 1]))).all(-1)
    return cells + jnp.where(moves[..., None], quarter_offsets(heatmaps, cells), 0.0), scores
