"""Predictions by the convention of the stacked hourglass networks: a joint belongs to the cell that holds it.

Same numbers as bearpaw/pytorch-pose: pose/utils/evaluation.py, after Newell's code; cells are 0-based here,
1-based there. Cell c holds the pixels from s c to s (c + 1), so its middle lies at s c + s / 2. In cells from
these middles the one that holds a joint is the nearest one: targets are drawn by `hrnet.encode`.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from oasjax.codecs import hrnet


def decode(heatmaps: Float[Array, "*b h w k"]) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Positions in cells and peak values.

    A peak in the first or last row or column stays at its cell; a map without a positive value is read as
    cell (-1, -1).
    """
    height, width = heatmaps.shape[-3:-1]
    cells, scores = hrnet.positive_peaks(heatmaps, absent=-1)
    moves = ((cells > 0) & (cells < jnp.asarray([width - 1, height - 1]))).all(-1)
    return cells + jnp.where(moves[..., None], hrnet.quarter_offsets(heatmaps, cells), 0.0), scores


def whole_pixels(points: Float[np.ndarray, "*b 2"]) -> Float[np.ndarray, "*b 2"]:
    """Positions in the picture cut towards zero, as the published code leaves them."""
    return np.trunc(points)
