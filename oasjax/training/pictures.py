"""Pictures of predictions for TensorBoard."""

import numpy as np
from jaxtyping import UInt8

from oasjax.datasets.skeletons import Skeleton
from oasjax.inference.drawing import HIDDEN_THRESHOLD, draw_person, enlarge, enlarge_points, grid


def people_picture(
    rows: dict[str, np.ndarray], skeleton: Skeleton, most: int = 12
) -> UInt8[np.ndarray, "h w 3"]:
    """The first people of `evaluation.predict_all` with their predicted skeletons, in one picture."""
    pictures = []
    for image, keypoints, occlusion in zip(
        rows["image"][:most], rows["keypoints"][:most], rows["occlusion"][:most], strict=True
    ):
        large, factor = enlarge(image)
        points = enlarge_points(keypoints, factor)
        pictures.append(draw_person(large, points, occlusion > HIDDEN_THRESHOLD, skeleton))
    return grid(pictures)
