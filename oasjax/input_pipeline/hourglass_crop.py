"""The crop that published hourglasses were trained on: cut at whole pixels, then resized.

`crop` of bearpaw/pytorch-pose pose/utils/transforms.py, after Newell et al. Its pixels lie up to a pixel of
the crop and one of the picture off those that `oasjax.ops.affine.hourglass_matrix` says, which moves the
joints.
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from oasjax.ops.affine import apply_affine, hourglass_matrix, invert


def cut_hourglass(
    image: UInt8[np.ndarray, "H W 3"],
    center: Float[np.ndarray, "2"],
    box_size_wh: tuple[float, float],
    output_size_wh: tuple[int, int],
    rotation_deg: float = 0.0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Cut a box out of a picture, black outside; the content turns anticlockwise for angles > 0.

    Args:
        image: RGB.
        center: centre of the box in image pixels.
        box_size_wh: its width and height in image pixels, of the output's aspect.
        output_size_wh: width and height of the crop in pixels.
        rotation_deg: angle about the middle of the region that is cut.
    """
    size_wh = np.array(box_size_wh)
    shrinkage = box_size_wh[1] / output_size_wh[1]
    if shrinkage >= 2:
        height, width = (int(side / shrinkage) for side in image.shape[:2])
        if max(width, height) < 2 or min(width, height) < 1:
            return np.zeros((output_size_wh[1], output_size_wh[0], 3), np.uint8)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        center, size_wh = center / shrinkage, size_wh / shrinkage
    to_picture = invert(hourglass_matrix(center, tuple(size_wh.tolist()), output_size_wh))
    # Counted from 1, cut to whole pixels towards 0, and back: this is what moves the crop.
    corners = apply_affine(np.array([[0.0, 0.0], output_size_wh]) - 1.0, to_picture).astype(int) + 1
    low, high = corners[0], np.maximum(corners[1], corners[0] + 1)
    if not rotation_deg:
        return cv2.resize(_region(image, low, high), output_size_wh, interpolation=cv2.INTER_LINEAR)
    # Wide enough for the corners of the turned region.
    margin = int(np.linalg.norm(high - low) / 2 - (high - low).min() / 2)
    region = _region(image, low - margin, high + margin)
    height, width = region.shape[:2]
    turn = cv2.getRotationMatrix2D((width // 2, height // 2), rotation_deg, 1.0)
    region = cv2.warpAffine(region, turn, (width, height), flags=cv2.INTER_LINEAR)
    inner = region[margin : height - margin, margin : width - margin]
    return cv2.resize(inner, output_size_wh, interpolation=cv2.INTER_LINEAR)


def _region(image: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The pixels from `low` (x, y) up to but without `high`, black outside of the picture."""
    width, height = high - low
    region = np.zeros((height, width, 3), np.uint8)
    size_wh = np.array(image.shape[1::-1])
    (left, top), (right, bottom) = np.clip(low, 0, size_wh), np.clip(high, 0, size_wh)
    x, y = np.array([left, top]) - low
    region[y : y + bottom - top, x : x + right - left] = image[top:bottom, left:right]
    return region
