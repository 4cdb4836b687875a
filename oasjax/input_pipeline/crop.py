"""The crop around one person: one affine map, one interpolation, the same for every source of
records."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from oasjax.errors import UserError
from oasjax.input_pipeline.decode import decode_image
from oasjax.ops.affine import apply_affine, crop_matrix, invert


@dataclass(frozen=True)
class CropConfig:
    """How a person is cut out.

    Attributes:
        input_size_wh: width and height of the crop, in pixels.
        padding: how much larger than the person's box the crop is (1.25: a quarter more in all).
        rotation_deg: standard deviation of the random rotation; draws are cut at twice this.
        rotation_probability: how often a training crop is turned at all.
        scale_factor: standard deviation of the random scale about 1; draws are cut to 1 +- this.
    """

    input_size_wh: tuple[int, int]
    padding: float = 1.25
    rotation_deg: float = 0.0
    rotation_probability: float = 0.6
    scale_factor: float = 0.0


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


def image_to_crop_matrix(
    bbox_xywh: Float[np.ndarray, "4"], crop: CropConfig, scale: float = 1.0, rotation_deg: float = 0.0
) -> Float[np.ndarray, "2 3"]:
    """Map from image pixels to the crop of a person; `scale` > 1 shows more around the person."""
    center, (width, height) = crop_box(bbox_xywh, crop.input_size_wh, crop.padding)
    return crop_matrix(center, (width * scale, height * scale), crop.input_size_wh, rotation_deg)


def random_scale_and_rotation(crop: CropConfig, rng: np.random.Generator) -> tuple[float, float]:
    """Scale (1: unchanged) and rotation in degrees of one training crop.

    All three numbers are drawn whatever the configuration, so that switching one of the two off
    leaves the draws of the other as they were.
    """
    normal_scale, normal_rotation, uniform = rng.normal(), rng.normal(), rng.random()
    limit = crop.scale_factor
    scale = float(np.clip(1.0 + limit * normal_scale, 1.0 - limit, 1.0 + limit))
    rotation = float(np.clip(normal_rotation, -2.0, 2.0)) * crop.rotation_deg
    return scale, rotation if uniform < crop.rotation_probability else 0.0


def crop_example(record: dict[str, Any], crop: CropConfig, rng: np.random.Generator | None) -> dict[str, Any]:
    """Cut one person out of a picture: record in image pixels -> pose example in crop pixels.

    Args:
        record: one person (image as (H, W, 3) uint8 RGB, or as the bytes of a JPEG or PNG file). It
            may lack `picture`, what errors call the picture (`image_id`), `image_number` and
            `person_number` (-1), and `box_score` (1).
        crop: how to cut.
        rng: source of the random scale and rotation; None cuts the plain box (evaluation).

    Returns:
        The pose example: `image` uint8 (h, w, 3), black outside the picture; `keypoints` (K, 2) in
        crop pixels, moved whether labelled, inside the crop or not; `crop_to_image` (2, 3);
        `image_keypoints` (K, 2) in image pixels; the rest as in the record; `valid` True.

    Raises:
        UserError: the box has no area, or the picture cannot be decoded; the record is named.
    """
    bbox_xywh = np.asarray(record["bbox_xywh"], np.float32)
    if not (np.isfinite(bbox_xywh).all() and bbox_xywh[2] > 0 and bbox_xywh[3] > 0):
        raise UserError(
            f"The person box of {record['image_id']} (example {int(record['example_id'])}) is "
            f"{bbox_xywh.tolist()} (left, top, width, height): width and height must be positive "
            "numbers. Correct or remove this person."
        )
    image = record["image"]
    if isinstance(image, bytes):
        image = decode_image(image, str(record.get("picture", record["image_id"])))
    scale, rotation_deg = (1.0, 0.0) if rng is None else random_scale_and_rotation(crop, rng)
    image_to_crop = image_to_crop_matrix(bbox_xywh, crop, scale, rotation_deg)
    image_keypoints = np.asarray(record["keypoints"], np.float32)
    return {
        "image": cv2.warpAffine(
            image,
            image_to_crop,
            crop.input_size_wh,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        ),
        "keypoints": apply_affine(image_keypoints.astype(np.float64), image_to_crop).astype(np.float32),
        "visibility": np.asarray(record["visibility"], np.int8),
        "occlusion_known": np.asarray(record["occlusion_known"], np.bool_),
        "crop_to_image": invert(image_to_crop).astype(np.float32),
        "image_keypoints": image_keypoints,
        "head_size": np.float32(record["head_size"]),
        "area": np.float32(record["area"]),
        "bbox_xywh": bbox_xywh,
        "example_id": np.int32(record["example_id"]),
        "image_id": str(record["image_id"]),
        "image_number": np.int64(record.get("image_number", -1)),
        "person_number": np.int64(record.get("person_number", -1)),
        "box_score": np.float32(record.get("box_score", 1.0)),
        "valid": np.True_,
    }
