"""Frames and affine maps: the one place where the geometric conventions are written down.

- A pixel's centre lies at integer coordinates: the top left pixel covers [-0.5, 0.5] x [-0.5, 0.5].
- x points right, y points down, both 0-based. A point is (x, y); an image array is indexed [y, x].
- A picture of width W therefore reaches from -0.5 to W - 0.5 and has its centre at (W - 1) / 2.
- Boxes name their format: `bbox_xywh` (left, top, width, height), `bbox_xyxy` (left, top, right, bottom).
- A heatmap of stride s has its cell (i, j) centred over input pixel ((s - 1) / 2 + s i, ...): cells tile
  the picture, so stride enters as `input = s * cell + (s - 1) / 2`.
- Affine maps are (2, 3) matrices acting on column vectors (x, y, 1).
- Images are NHWC, RGB; floating point images lie in [0, 1] before normalisation.
"""

import numpy as np
from jaxtyping import Float


def crop_matrix(
    center: Float[np.ndarray, "2"],
    box_size_wh: tuple[float, float],
    output_size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
) -> Float[np.ndarray, "2 3"]:
    """Map from image pixels to crop pixels (similarity; float64).

    Args:
        center: centre of the box in image pixels; it lands on the crop's centre.
        box_size_wh: width and height of the box in image pixels. Only the width sets the scale, so a
            box of another aspect than the output is cut or widened vertically (the convention of HRNet).
        output_size_wh: width and height of the crop in pixels.
        rotation_deg: angle by which the content turns clockwise on the screen.
    """
    scale = output_size_wh[0] / box_size_wh[0]
    angle_rad = np.deg2rad(rotation_deg)
    cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    linear = np.array([[cos, -sin], [sin, cos]])
    output_center = (np.asarray(output_size_wh, np.float64) - 1.0) / 2.0
    offset = output_center - linear @ np.asarray(center, np.float64)
    return np.concatenate([linear, offset[:, None]], axis=1)


def invert(matrix: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """Inverse affine map. Raises numpy.linalg.LinAlgError for a singular one."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -(linear @ matrix[:, 2:])], axis=1)


def apply_affine(
    points: Float[np.ndarray, "*b n 2"], matrix: Float[np.ndarray, "*b 2 3"]
) -> Float[np.ndarray, "*b n 2"]:
    """Map points (..., n, 2) by matrices of the same batch shape; works on numpy and JAX arrays alike."""
    return points @ matrix[..., :2].swapaxes(-1, -2) + matrix[..., None, :, 2]
