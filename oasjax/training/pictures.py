"""Pictures of predictions for TensorBoard."""

import numpy as np
from jaxtyping import UInt8

from oasjax.datasets.skeletons import Skeleton
from oasjax.inference.drawing import draw_person, enlarge, enlarge_points, grid, hidden_joints


def people_picture(
    rows: dict[str, np.ndarray], skeleton: Skeleton, most: int = 12
) -> UInt8[np.ndarray, "h w 3"]:
    """The first people of `evaluation.predict_all` with their predicted skeletons, in one picture."""
    pictures = []
    for n, (image, keypoints) in enumerate(zip(rows["image"][:most], rows["keypoints"][:most], strict=True)):
        large, factor = enlarge(image)
        occlusion = rows["occlusion"][n] if "occlusion" in rows else None
        hidden = hidden_joints(occlusion, skeleton.num_joints)
        pictures.append(draw_person(large, enlarge_points(keypoints, factor), hidden, skeleton))
    return grid(pictures)
