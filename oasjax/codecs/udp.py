"""Heatmaps by UDP (Huang et al., CVPR 2020): the crop reaches from its first to its last pixel's centre.

Same numbers as open-mmlab/mmpose: mmpose/codecs/udp_heatmap.py (type `gaussian`), codecs/utils/
gaussian_heatmap.py and refinement.py. So (W - 1) pixels are (w - 1) cells, and mirroring is exact.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from oasjax.codecs import dark, heatmap, hrnet


def encode(
    points_cells: Float[Array, "*b k 2"],
    labelled: Bool[Array, "*b k"],
    *,
    height: int,
    width: int,
    sigma_cells: float,
) -> tuple[Float[Array, "*b {height} {width} k"], Bool[Array, "*b k"]]:
    """Gaussians at the joints within HRNet's windows about the nearest cells, and which joints count."""
    cells, radius = hrnet.nearest_cells(points_cells), hrnet.window_radius(sigma_cells)
    return hrnet.windowed_gaussians(
        points_cells,
        cells - radius,
        cells + radius + 1,
        labelled,
        height=height,
        width=width,
        sigma_cells=sigma_cells,
    )


def decode(
    heatmaps: Float[Array, "*b h w k"], *, blur_kernel: int
) -> tuple[Float[Array, "*b k 2"], Float[Array, "*b k"]]:
    """Positions in cells and peak values, as in `dark.decode`, but for

    - peaks at the border: these move too, as if the outermost values went on beyond it;
    - differences: between direct neighbours, of logarithms bounded to [log 0.001, log 50].
    """
    cells, scores = hrnet.positive_peaks(heatmaps, absent=-1)
    blurred = dark.blur(heatmaps, blur_kernel)

    def v(dx: int, dy: int) -> Float[Array, "*b k"]:
        return jnp.log(jnp.clip(heatmap.value_beside(blurred, cells, dx, dy), 1e-3, 50.0))

    # Added to the diagonal by mmpose, so that a flat map has an inverse.
    little = float(jnp.finfo(jnp.float32).eps)
    step = dark.newton_step(
        dx=(v(1, 0) - v(-1, 0)) / 2,
        dy=(v(0, 1) - v(0, -1)) / 2,
        dxx=v(1, 0) - 2 * v(0, 0) + v(-1, 0) + little,
        dxy=(v(1, 1) - v(1, 0) - v(0, 1) + 2 * v(0, 0) - v(-1, 0) - v(0, -1) + v(-1, -1)) / 2,
        dyy=v(0, 1) - 2 * v(0, 0) + v(0, -1) + little,
    )
    return cells + step, scores
