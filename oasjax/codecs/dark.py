"""Heatmaps by DARK (Zhang et al., CVPR 2020): unrounded Gaussians, Newton's step on the logarithm of the map.

Same numbers as open-mmlab/mmpose: mmpose/codecs/utils/gaussian_heatmap.py (unbiased targets),
mmpose/codecs/utils/refinement.py and post_processing.py (predictions).
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from oasjax.codecs import heatmap, hrnet


def encode(
    points_cells: Float[Array, "*b k 2"],
    labelled: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> tuple[Float[Array, "*b {height} {width} k"], Bool[Array, "*b k"]]:
    """Whole Gaussians at the joints, and which joints count: labelled, within 3 sigma of the maps or so."""
    radius = 3 * sigma_cells
    drawn = labelled & hrnet.touches_maps(
        points_cells - radius, points_cells + radius + 1, height=height, width=width
    )
    return heatmap.encode(points_cells, drawn, height=height, width=width, sigma_cells=sigma_cells), drawn


def blur_matrix(size: int, kernel: int) -> Float[Array, "{size} {size}"]:
    """Gaussian blur along an axis of `size` cells as a matrix product, with zeros beyond the border.

    The standard deviation is that of OpenCV for so many cells (odd): 2 cells for a kernel of 11, 2.9 for 17.
    """
    radius = (kernel - 1) // 2
    sigma = 0.3 * (radius - 1) + 0.8

    def weights(distance: Float[Array, "*b"]) -> Float[Array, "*b"]:
        return jnp.exp(-(distance**2) / (2 * sigma**2))

    cells = jnp.arange(float(size))
    distance = jnp.abs(cells[:, None] - cells[None, :])
    total = weights(jnp.arange(-radius, radius + 1.0)).sum()
    return jnp.where(distance <= radius, weights(distance), 0.0) / total


def blur(heatmaps: Float[Array, "*b h w k"], kernel: int) -> Float[Array, "*b h w k"]:
    """Each map blurred, then scaled back to its own highest value."""
    height, width = heatmaps.shape[-3:-1]
    # "highest": less would round to bfloat16 or TF32 on an accelerator, and logarithms come next.
    blurred = jnp.einsum(
        "yi,xj,...ijk->...yxk",
        blur_matrix(height, kernel).astype(heatmaps.dtype),
        blur_matrix(width, kernel).astype(heatmaps.dtype),
        heatmaps,
        precision="highest",
    )
    highest = blurred.max((-3, -2), keepdims=True)
    scale = heatmaps.max((-3, -2), keepdims=True) / jnp.where(highest == 0, 1.0, highest)
    return blurred * scale


def newton_step(
    dx: Float[Array, "*b"],
    dy: Float[Array, "*b"],
    dxx: Float[Array, "*b"],
    dxy: Float[Array, "*b"],
    dyy: Float[Array, "*b"],
) -> Float[Array, "*b 2"]:
    """From a point to where the paraboloid with these derivatives is flat; (0, 0) without one such place."""
    determinant = dxx * dyy - dxy**2
    step = jnp.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1)
    solvable = (determinant != 0)[..., None]
    return jnp.where(solvable, step / jnp.where(solvable, determinant[..., None], 1.0), 0.0)


def decode(
    heatmaps: Float[Array, "*b h w k"], *, blur_kernel: int
) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Positions in cells and peak values.

    A peak in the two outermost rows or columns stays at its cell; a map without a positive value is read as
    cell (-1, -1). The step is as long as it comes out, as published: on a map that is no single bump the
    joint may land anywhere.
    """
    height, width = heatmaps.shape[-3:-1]
    cells, scores = hrnet.positive_peaks(heatmaps, absent=-1)
    blurred = blur(heatmaps, blur_kernel)

    def v(dx: int, dy: int) -> Float[Array, "*b k"]:
        return jnp.log(jnp.maximum(heatmap.value_beside(blurred, cells, dx, dy), 1e-10))

    step = newton_step(
        dx=(v(1, 0) - v(-1, 0)) / 2,
        dy=(v(0, 1) - v(0, -1)) / 2,
        dxx=(v(2, 0) - 2 * v(0, 0) + v(-2, 0)) / 4,
        dxy=(v(1, 1) - v(1, -1) - v(-1, 1) + v(-1, -1)) / 4,
        dyy=(v(0, 2) - 2 * v(0, 0) + v(0, -2)) / 4,
    )
    moves = ((cells > 1) & (cells < jnp.asarray([width - 2, height - 2]))).all(-1)
    return cells + jnp.where(moves[..., None], step, 0.0), scores
