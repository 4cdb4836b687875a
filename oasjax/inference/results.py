"""What a prediction is, and how it is written as JSON.

The JSON of `oasjax predict` (`predictions.json`), stable:

    {"model": str,                    the model's name in its configuration
     "images": [
       {"file": str,                  as given on the command line
        "width": int, "height": int,  pixels of the picture
        "overlay": str,               the drawing, beside predictions.json
        "people": [
          {"bbox_xywh": [x, y, w, h], pixels; the whole picture where no box was given
           "score": float,            box score times the mean of the joints' scores
           "keypoints": [
             {"name": str,            the skeleton's name of the joint, e.g. "left_wrist"
              "x": float, "y": float, pixels of the picture, pixel centres at integers, y down
              "score": float,         height of the heatmap's peak, clipped to [0, 1]
              "occlusion": float      0 visible ... 1 hidden; null where the model has no occlusion head
             }, ...]}, ...]}, ...]}

Images stand in the order given, people in the order of their boxes, keypoints in the skeleton's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from oasjax.datasets.skeletons import Skeleton


@dataclass(frozen=True)
class PersonResult:
    """One person.

    Attributes:
        bbox_xywh: the box in image pixels that the crop was made from.
        score: the box's score times the mean of the joints' scores.
        keypoints: joints in image pixels.
        scores: heights of the joints' heatmap peaks, clipped to [0, 1].
        occlusion: 0 visible ... 1 hidden, per joint; None from a model without an occlusion head.
        occlusion_map: the predicted map over the crop, in [0, 1]; None from a model that predicts none.
        crop_to_image: takes crop pixels to image pixels.
    """

    bbox_xywh: Float[np.ndarray, "4"]
    score: float
    keypoints: Float[np.ndarray, "k 2"]
    scores: Float[np.ndarray, "k"]
    occlusion: Float[np.ndarray, "k"] | None
    occlusion_map: Float[np.ndarray, "m n"] | None
    crop_to_image: Float[np.ndarray, "2 3"]


@dataclass(frozen=True)
class ImageResult:
    """The people of one picture; `file` is its path, or `image 3` for the fourth array given."""

    file: str
    width: int
    height: int
    people: tuple[PersonResult, ...]


def person_json(person: PersonResult, skeleton: Skeleton) -> dict[str, Any]:
    """The person as in the schema above; coordinates to 1/1000 pixel, scores to 6 digits."""
    occlusion: list[float | None] = [None] * len(skeleton.joints)
    if person.occlusion is not None:
        occlusion = [round(float(value), 6) for value in person.occlusion]
    rows = zip(skeleton.joints, person.keypoints, person.scores, occlusion, strict=True)
    return {
        "bbox_xywh": [round(float(value), 3) for value in person.bbox_xywh],
        "score": round(person.score, 6),
        "keypoints": [
            {
                "name": name,
                "x": round(float(x), 3),
                "y": round(float(y), 3),
                "score": round(float(score), 6),
                "occlusion": hidden,
            }
            for name, (x, y), score, hidden in rows
        ],
    }


def image_json(image: ImageResult, skeleton: Skeleton) -> dict[str, Any]:
    """The picture as in the schema above, less `overlay`, which only the writer knows."""
    return {
        "file": image.file,
        "width": image.width,
        "height": image.height,
        "people": [person_json(person, skeleton) for person in image.people],
    }
