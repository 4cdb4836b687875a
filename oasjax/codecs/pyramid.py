"""The multi-scale test: heatmaps of one person's crops at several scales, put together in picture pixels.

As the six scales of PyraNet on MPII and LSP (bearpaw/PyraNet): each crop's map is laid over the place that
it shows, the maps are averaged (a crop that does not reach a place counts as zero there), and the joint is
at the highest pixel, without refinement.

Here the pixels are those of the crop of scale 1, on a canvas as large as the largest crop, so that all
people have maps of one size.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def canvas_pixels(size: int, center: float, scales: Sequence[float]) -> Float[np.ndarray, "n"]:
    """Positions along one axis of the canvas's pixels, in pixels of the crop of scale 1.

    Args:
        size: width or height of the crop.
        center: where it has the middle of the person's box, in pixels; the middle is that of all crops.
        scales: of the crops; a larger one shows more around the person.
    """
    reach = max(scales)
    first = np.floor(center - (center + 0.5) * reach)
    last = np.ceil(center + (size - 0.5 - center) * reach)
    return np.arange(first, last + 1)


def resampling(
    positions_px: Float[np.ndarray, "n"],
    *,
    size: int,
    center: float,
    scale: float,
    num_cells: int,
    pitch_px: float,
    first_cell_px: float,
) -> Float[np.ndarray, "n m"]:
    """Weights that read the map of the crop of some scale at positions of the crop of scale 1, on one axis.

    Bilinear between cells; beyond the outer ones their value holds to the crop's edge, and outside it is 0.

    Args:
        positions_px: in pixels of the crop of scale 1.
        size, center: of the crops, as for `canvas_pixels`.
        scale: of the crop whose map is read.
        num_cells, pitch_px, first_cell_px: of the map: cell c is at first_cell_px + pitch_px * c.
    """
    pixels = center + (positions_px - center) / scale
    cells = np.clip((pixels - first_cell_px) / pitch_px, 0, num_cells - 1)
    weights = np.maximum(1.0 - np.abs(cells[:, None] - np.arange(num_cells)), 0.0)
    return np.where(((pixels >= -0.5) & (pixels <= size - 0.5))[:, None], weights, 0.0)


def average(
    maps: Float[Array, "b s h w k"],
    rows: Float[np.ndarray, "s y h"],
    columns: Float[np.ndarray, "s x w"],
) -> Float[Array, "b y x k"]:
    """Mean over the scales of maps read at the positions that `resampling` made rows and columns for."""
    total = jnp.zeros((), maps.dtype)
    for scale in range(maps.shape[1]):
        y, x = (jnp.asarray(weights[scale], maps.dtype) for weights in (rows, columns))
        total += jnp.einsum("yh,bhwk,xw->byxk", y, maps[:, scale], x)
    return total / maps.shape[1]


def decode(
    canvas: Float[Array, "b y x k"], first_px: tuple[float, float]
) -> tuple[Float[Array, "b k 2"], Float[Array, "b k"]]:
    """Highest pixel of each joint, in pixels of the crop of scale 1, and its value.

    Args:
        first_px: position (x, y) of the canvas's first pixel.
    """
    batch, height, width, joints = canvas.shape
    flat = canvas.reshape(batch, height * width, joints)
    best = jnp.argmax(flat, axis=1)
    points = jnp.stack([best % width, best // width], axis=-1).astype(canvas.dtype)
    return points + jnp.asarray(first_px, canvas.dtype), jnp.max(flat, axis=1)
