"""Frames and affine maps: the one place where the geometric conventions are written down.

- A pixel's centre lies at integer coordinates: the top left pixel covers [-0.5, 0.5] x [-0.5, 0.5].
- x points right, y points down, both 0-based. A point is (x, y); an image array is indexed [y, x].
- A picture of width W therefore reaches from -0.5 to W - 0.5 and has its centre at (W - 1) / 2.
- Boxes name their format: `bbox_xywh` (left, top, width, height), `bbox_xyxy` (left, top, right, bottom).
- A heatmap of stride s has its cell (i, j) centred over input pixel ((s - 1) / 2 + s i, ...): cells tile
  the picture, so stride enters as `input = s * cell + (s - 1) / 2`.
- Affine maps are (2, 3) matrices acting on column vectors (x, y, 1).
- Images are NHWC, RGB; floating point images lie in [0, 1] before normalisation.

What a crop of width W and height H shows is a box of the picture, and four conventions say where:

| geometry | the box's centre lies at | crop pixels per picture pixel | content turns for angles > 0 |
|---|---|---|---|
| `centre` (ours) | ((W - 1) / 2, (H - 1) / 2), the crop's middle | W / width in both directions | clockwise |
| `hrnet` | (W / 2, H / 2), half a pixel further | the same | anticlockwise |
| `hourglass` | (W / 2, H / 2) | W / width and H / height | anticlockwise |
| `udp` | ((W - 1) / 2, (H - 1) / 2) | (W - 1) / width and (H - 1) / height | clockwise |

A published network has seen crops of its own convention alone. Those of `hourglass` are cut at whole pixels
(`oasjax.input_pipeline.hourglass_crop`): the map says where its joints lie.
"""

import numpy as np
from jaxtyping import Float


def crop_matrix(
    center: Float[np.ndarray, "2"],
    box_size_wh: tuple[float, float],
    output_size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
) -> Float[np.ndarray, "2 3"]:
    """Map from image pixels to crop pixels by our own convention, `centre` (similarity; float64).

    Args:
        center: centre of the box in image pixels; it lands on the crop's centre.
        box_size_wh: width and height of the box in image pixels. Only the width sets the scale, so a
            box of another aspect than the output is cut or widened vertically (the convention of HRNet).
        output_size_wh: width and height of the crop in pixels.
        rotation_deg: angle by which the content turns clockwise on the screen.
    """
    scale = output_size_wh[0] / box_size_wh[0]
    return _about(center, (np.asarray(output_size_wh, np.float64) - 1.0) / 2.0, scale * _turn(rotation_deg))


def hrnet_matrix(
    center: Float[np.ndarray, "2"],
    box_size_wh: tuple[float, float],
    output_size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
) -> Float[np.ndarray, "2 3"]:
    """`crop_matrix` by the convention of HRNet: `get_affine_transform` of lib/utils/transforms.py.

    The map is fixed by three points, which are rounded to float32 as there: the centre of the box, the point
    half its width above, turned, and a third at a right angle to these.
    """
    angle_rad = np.deg2rad(rotation_deg)
    reach = box_size_wh[0] / 2 * np.array([np.sin(angle_rad), -np.cos(angle_rad)])
    box = _three_points(np.asarray(center, np.float64), reach)
    middle = np.asarray(output_size_wh, np.float64) / 2
    crop = _three_points(middle, np.array([0.0, -output_size_wh[0] / 2]))
    return np.linalg.solve(np.column_stack([box, np.ones(3)]), crop).T


def _three_points(center: Float[np.ndarray, "2"], reach: Float[np.ndarray, "2"]) -> Float[np.ndarray, "3 2"]:
    """A point, another at `reach` from it, and a third that completes half a square; rounded to float32."""
    first, second = center.astype(np.float32), (center + reach).astype(np.float32)
    x, y = first - second
    return np.stack([first, second, second + np.array([-y, x])]).astype(np.float64)


def hourglass_matrix(
    center: Float[np.ndarray, "2"],
    box_size_wh: tuple[float, float],
    output_size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
) -> Float[np.ndarray, "2 3"]:
    """`crop_matrix` by the convention of the hourglass: `get_transform` of bearpaw/pytorch-pose
    pose/utils/transforms.py.

    The box is scaled to the crop, and the crop turned about its middle. Nothing is cut to whole pixels.
    """
    middle = np.asarray(output_size_wh, np.float64) / 2
    scale = np.diag(np.asarray(output_size_wh, np.float64) / np.asarray(box_size_wh, np.float64))
    return _about(center, middle, _turn(-rotation_deg) @ scale)


def udp_matrix(
    center: Float[np.ndarray, "2"],
    box_size_wh: tuple[float, float],
    output_size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
) -> Float[np.ndarray, "2 3"]:
    """`crop_matrix` by the convention of UDP (Huang et al., CVPR 2020): `get_udp_warp_matrix` of mmpose
    mmpose/structures/bbox/transforms.py.

    Lengths are measured between the centres of the outermost pixels.
    """
    reach = np.asarray(output_size_wh, np.float64) - 1.0
    scale = np.diag(reach / np.asarray(box_size_wh, np.float64))
    return _about(center, reach / 2, scale @ _turn(rotation_deg))


def _turn(angle_deg: float) -> Float[np.ndarray, "2 2"]:
    """Rotation, clockwise on the screen for angles > 0."""
    angle_rad = np.deg2rad(angle_deg)
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])


def _about(
    center: Float[np.ndarray, "2"], target: Float[np.ndarray, "2"], linear: Float[np.ndarray, "2 2"]
) -> Float[np.ndarray, "2 3"]:
    """The affine map with this linear part that takes `center` to `target`."""
    offset = target - linear @ np.asarray(center, np.float64)
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


def compose(second: Float[np.ndarray, "2 3"], first: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "2 3"]:
    """The affine map that applies `first`, then `second`."""
    linear, offset = second[:, :2] @ first, second[:, 2:]
    return np.concatenate([linear[:, :2], linear[:, 2:] + offset], axis=1)


def crop_center(size_wh: tuple[int, int], geometry: str) -> tuple[float, float]:
    """Where a crop of this size has the centre of its box, in crop pixels."""
    first = 0.5 if geometry in ("centre", "udp") else 0.0
    return size_wh[0] / 2 - first, size_wh[1] / 2 - first
