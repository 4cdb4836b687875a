"""The box of a picture that a crop shows: a person, padded to the crop's aspect, or half of the body."""

import numpy as np
from jaxtyping import Bool, Float

# Centre, and (width, height), of a box with the crop's aspect, in image pixels.
CropBox = tuple[Float[np.ndarray, "2"], tuple[float, float]]

_HALF_BODY_PADDING = 1.5


def crop_box(
    bbox_xywh: Float[np.ndarray, "4"], input_size_wh: tuple[int, int], padding: float
) -> tuple[Float[np.ndarray, "2"], tuple[float, float]]:
    """Centre and (width, height) of the padded box with the crop's aspect, in image pixels.

    The shorter side grows to the aspect of the crop, so the whole person stays inside. The caller
    sees to it that the box has an area.
    """
    left, top, width, height = (float(value) for value in bbox_xywh)
    aspect = input_size_wh[0] / input_size_wh[1]
    if width > aspect * height:
        height = width / aspect
    else:
        width = height * aspect
    center = np.array([left + float(bbox_xywh[2]) / 2, top + float(bbox_xywh[3]) / 2])
    return center, (width * padding, height * padding)


def clip_box(bbox_xywh: Float[np.ndarray, "4"], picture_size_wh: tuple[int, int]) -> Float[np.ndarray, "4"]:
    """The box within its picture as HRNet takes it on COCO (lib/dataset/coco.py; float64).

    One pixel goes off width and height, also where nothing sticks out. A box that begins outside is moved
    in before its far sides are cut. A side is negative where the box lies beyond the picture.
    """
    box = bbox_xywh.astype(np.float64)
    low = np.maximum(box[:2], 0)
    high = np.minimum(np.array(picture_size_wh) - 1, low + np.maximum(box[2:] - 1, 0))
    return np.concatenate([low, high - low])


def half_body_box(
    keypoints: Float[np.ndarray, "k 2"],
    labelled: Bool[np.ndarray, "k"],
    lower_body: tuple[int, ...],
    input_size_wh: tuple[int, int],
    *,
    upper: bool,
) -> CropBox | None:
    """Box about the labelled joints of half of the body, as HRNet's `half_body_transform` (lib/dataset/
    JointsDataset.py): centred at the joints' mean, their extent grown to the crop's aspect and by a half.

    Args:
        keypoints: image pixels.
        labelled: which of them count.
        lower_body: joints of the lower half.
        input_size_wh: size of the crop.
        upper: prefer the upper half. A half needs more than two joints; where it has fewer the lower one is
            taken, and where that has fewer the upper one, if it has two.

    Returns:
        Centre, and (width, height) in image pixels; None where no half has two joints apart.
    """
    is_lower = np.zeros(len(labelled), np.bool_)
    is_lower[list(lower_body)] = True
    above, below = keypoints[labelled & ~is_lower], keypoints[labelled & is_lower]
    chosen = above if (upper and len(above) > 2) or len(below) <= 2 else below
    if len(chosen) < 2:
        return None
    low, high = chosen.min(0), chosen.max(0)
    _, size_wh = crop_box(np.concatenate([low, high - low]), input_size_wh, _HALF_BODY_PADDING)
    return (chosen.astype(np.float64).mean(0), size_wh) if max(size_wh) > 0 else None
