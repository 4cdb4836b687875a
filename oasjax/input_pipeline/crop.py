"""The crop around one person: one affine map, one interpolation, the same for every source of
records."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from ml_collections import ConfigDict

from oasjax.datasets.skeletons import Skeleton, lower_body
from oasjax.errors import UserError
from oasjax.input_pipeline.decode import decode_image
from oasjax.input_pipeline.hourglass_crop import cut_hourglass
from oasjax.input_pipeline.person_box import CropBox, clip_box, crop_box, half_body_box
from oasjax.ops.affine import (
    apply_affine,
    compose,
    crop_matrix,
    hourglass_matrix,
    hrnet_matrix,
    invert,
    udp_matrix,
)

# (centre, box size, crop size, rotation) -> map from image pixels to crop pixels.
GEOMETRIES: dict[str, Callable[..., np.ndarray]] = {
    "centre": crop_matrix,
    "hrnet": hrnet_matrix,
    "hourglass": hourglass_matrix,
    "udp": udp_matrix,
}
# HRNet's NUM_JOINTS_HALF_BODY: people with no more labelled joints are shown whole.
_WHOLE_UP_TO = 8


@dataclass(frozen=True)
class MapGrid:
    """Where the cells of a network's maps lie in the crop; pairs are (x, y).

    Attributes:
        size_wh: width and height of the maps in cells.
        pitch_px, first_cell_px: crop pixel of cell c = first_cell_px + pitch_px * c.
    """

    size_wh: tuple[int, int]
    pitch_px: tuple[float, float]
    first_cell_px: tuple[float, float]


@dataclass(frozen=True)
class CropConfig:
    """How a person is cut out.

    Attributes:
        input_size_wh: width and height of the crop, in pixels.
        padding: how much larger than the person's box the crop is (1.25: a quarter more in all).
        geometry: a key of GEOMETRIES, see `oasjax.ops.affine`.
        clip_boxes: clip the box to the picture first, see `person_box.clip_box`.
        rotation_deg: standard deviation of the random rotation; draws are cut at twice this.
        rotation_probability: how often a training crop is turned at all.
        scale_factor: standard deviation of the random scale about 1; draws are cut to 1 +- this.
        half_body_probability: how often a person with more than eight labelled joints is shown by the
            upper or the lower half.
        scales: by which the padded box is enlarged. Unless it is (1,), `image` has a leading axis of them.
        occlusion_grid: cells of the `occlusion_map` of an example; None: it has none.
        lower_body: joints of the lower half.
    """

    input_size_wh: tuple[int, int]
    padding: float = 1.25
    geometry: str = "centre"
    clip_boxes: bool = False
    rotation_deg: float = 0.0
    rotation_probability: float = 0.6
    scale_factor: float = 0.0
    half_body_probability: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    occlusion_grid: MapGrid | None = None
    lower_body: tuple[int, ...] = ()


def crop_config(
    data: Mapping[str, Any] | ConfigDict,
    *,
    training: bool = False,
    skeleton: Skeleton | None = None,
    scales: Sequence[float | int] = (1.0,),
    occlusion_grid: MapGrid | None = None,
) -> CropConfig:
    """How `config.data` says that people are cut out.

    Args:
        data: `config.data`.
        training: with the random changes of training; the boxes are the annotated ones. Otherwise plainly,
            and boxes of a detector (`boxes_path`) are not clipped, as in HRNet.
        skeleton: the joints; needed for training on half bodies.
        scales: `config.eval.scales`.
        occlusion_grid: the cells that pseudo labels are brought to; None where there are none.

    Raises:
        KeyError: `data` lacks a field.
        UserError: an unknown geometry, or scales that are not above 0.
        ValueError: half bodies without a skeleton.
    """
    if data["geometry"] not in GEOMETRIES:
        raise UserError(
            f"config.data.geometry is {data['geometry']!r}; choose one of {', '.join(GEOMETRIES)}."
        )
    if not scales or min(scales) <= 0:
        raise UserError(f"config.eval.scales is {tuple(scales)}; it must name one or more numbers above 0.")
    half_body_probability = float(data["half_body_probability"]) if training else 0.0
    if half_body_probability and skeleton is None:
        raise ValueError("half bodies need a skeleton")
    width, height = data["input_size_wh"]
    return CropConfig(
        input_size_wh=(int(width), int(height)),
        padding=float(data["padding"]),
        geometry=data["geometry"],
        clip_boxes=bool(data["clip_boxes"]) and (training or not data["boxes_path"]),
        rotation_deg=float(data["rotation_deg"]) if training else 0.0,
        rotation_probability=float(data["rotation_probability"]),
        scale_factor=float(data["scale_factor"]) if training else 0.0,
        half_body_probability=half_body_probability,
        scales=tuple(float(scale) for scale in scales),
        occlusion_grid=occlusion_grid,
        lower_body=() if skeleton is None else lower_body(skeleton),
    )


def image_to_crop_matrix(
    bbox_xywh: Float[np.ndarray, "4"], crop: CropConfig, scale: float = 1.0, rotation_deg: float = 0.0
) -> Float[np.ndarray, "2 3"]:
    """Map from image pixels to the crop of a person; `scale` > 1 shows more around the person.

    The box is taken as it is: nothing is known of the picture that it might be clipped to.
    """
    return _matrix(crop_box(bbox_xywh, crop.input_size_wh, crop.padding), crop, scale, rotation_deg)


def _matrix(box: CropBox, crop: CropConfig, scale: float, rotation_deg: float) -> Float[np.ndarray, "2 3"]:
    center, (width, height) = box
    box_size_wh = (width * scale, height * scale)
    return GEOMETRIES[crop.geometry](center, box_size_wh, crop.input_size_wh, rotation_deg)


def padded_areas(crop_to_image: Float[np.ndarray, "n 2 3"], crop: CropConfig) -> Float[np.ndarray, "n"]:
    """Areas of the padded (and clipped) boxes that crops show, in square image pixels.

    Args:
        crop_to_image: of examples that were cut plainly.
        crop: how they were cut.
    """
    # The box reaches across the crop, in `udp` from the centre of its first pixel to that of its last.
    width, height = (side - (crop.geometry == "udp") for side in crop.input_size_wh)
    return np.abs(np.linalg.det(crop_to_image[..., :2].astype(np.float64))) * width * height


def whole_picture_box(picture_size_wh: tuple[int, int], crop: CropConfig) -> Float[np.ndarray, "4"]:
    """The person box (left, top, width, height) whose crop is the picture itself, padding and all.

    A picture of the crop's own size comes out unchanged if boxes are not clipped; in `udp`, whose two scales
    differ a little, it is moved by up to an eighth of a pixel.
    """
    size_wh = np.array(picture_size_wh, np.float64) - (crop.geometry == "udp")
    center = np.array(picture_size_wh) / 2 - {"hrnet": 0.0, "hourglass": 1.0}.get(crop.geometry, 0.5)
    return np.concatenate([center - size_wh / crop.padding / 2, size_wh / crop.padding])


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


def random_half_body(record: Mapping[str, Any], crop: CropConfig, rng: np.random.Generator) -> CropBox | None:
    """The box of the upper or the lower half of a person; None where the whole person is shown.

    Both numbers are drawn whatever the configuration. The upper half is preferred in 69 % of the draws: HRNet
    asks whether a normal number is below a half.
    """
    chosen, upper = rng.random() < crop.half_body_probability, bool(rng.normal() < 0.5)
    labelled = np.asarray(record["visibility"]) > 0
    if not chosen or labelled.sum() <= _WHOLE_UP_TO:
        return None
    keypoints = np.asarray(record["keypoints"], np.float32)
    return half_body_box(keypoints, labelled, crop.lower_body, crop.input_size_wh, upper=upper)


def crop_example(record: dict[str, Any], crop: CropConfig, rng: np.random.Generator | None) -> dict[str, Any]:
    """Cut one person out of a picture: record in image pixels -> pose example in crop pixels.

    Args:
        record: one person (image as (H, W, 3) uint8 RGB, or as the bytes of a JPEG or PNG file). It
            may lack `picture`, what errors call the picture (`image_id`), `image_number` and
            `person_number` (-1), and `box_score` (1). A pseudo label is `occlusion_map` (y, x) in [0, 1]
            with `occlusion_map_to_image` (2, 3), from its cells to image pixels.
        crop: how to cut.
        rng: source of the random scale, rotation and half; None cuts the plain box (evaluation).

    Returns:
        The pose example: `image` uint8 (h, w, 3), black outside the picture, or (S, h, w, 3) of several
        scales; `keypoints` (K, 2) in crop pixels, moved whether labelled, inside the crop or not;
        `crop_to_image` (2, 3); `image_keypoints` (K, 2) in image pixels; with an `occlusion_grid`
        `occlusion_map` float32 (y, x) over it, 0 outside the record's map, NaN where the record has none;
        the rest as in the record; `valid` True. Whatever the scales, all but `image` is of scale 1.

    Raises:
        UserError: the box has no area, or none within the picture where boxes are clipped, or the picture
            cannot be decoded; the record is named.
    """
    bbox_xywh = np.asarray(record["bbox_xywh"], np.float32)
    if not (np.isfinite(bbox_xywh).all() and bbox_xywh[2] > 0 and bbox_xywh[3] > 0):
        raise _bad_box(record, bbox_xywh, "width and height must be positive numbers")
    image = record["image"]
    if isinstance(image, bytes):
        image = decode_image(image, str(record.get("picture", record["image_id"])))
    box = _padded_box(record, bbox_xywh, crop, image.shape[1::-1])
    scale, rotation_deg = 1.0, 0.0
    if rng is not None:
        scale, rotation_deg = random_scale_and_rotation(crop, rng)
        box = random_half_body(record, crop, rng) or box
    image_to_crop = _matrix(box, crop, scale, rotation_deg)
    crop_to_image = invert(image_to_crop)
    images = [_cut(image, box, crop, scale * each, rotation_deg) for each in crop.scales]
    image_keypoints = np.asarray(record["keypoints"], np.float32)
    example = {
        "image": images[0] if crop.scales == (1.0,) else np.stack(images),
        "keypoints": apply_affine(image_keypoints.astype(np.float64), image_to_crop).astype(np.float32),
        "visibility": np.asarray(record["visibility"], np.int8),
        "occlusion_known": np.asarray(record["occlusion_known"], np.bool_),
        "crop_to_image": crop_to_image.astype(np.float32),
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
    if crop.occlusion_grid is not None:
        example["occlusion_map"] = _occlusion_map(record, crop.occlusion_grid, crop_to_image)
    return example


def _padded_box(
    record: Mapping[str, Any],
    bbox_xywh: Float[np.ndarray, "4"],
    crop: CropConfig,
    picture_size_wh: tuple[int, int],
) -> CropBox:
    box = clip_box(bbox_xywh, picture_size_wh) if crop.clip_boxes else bbox_xywh
    # A side of a single pixel is clipped to nothing; the other one is enough for the crop's aspect.
    if box[2:].min() < 0 or box[2:].max() == 0:
        width, height = picture_size_wh
        raise _bad_box(record, bbox_xywh, f"clipped to the picture ({width} x {height}) it has no area")
    return crop_box(box, crop.input_size_wh, crop.padding)


def _bad_box(record: Mapping[str, Any], bbox_xywh: np.ndarray, problem: str) -> UserError:
    return UserError(
        f"The person box of {record['image_id']} (example {int(record['example_id'])}) is "
        f"{bbox_xywh.tolist()} (left, top, width, height): {problem}. Correct or remove this person."
    )


def _cut(
    image: UInt8[np.ndarray, "H W 3"], box: CropBox, crop: CropConfig, scale: float, rotation_deg: float
) -> UInt8[np.ndarray, "h w 3"]:
    if crop.geometry == "hourglass":
        center, (width, height) = box
        box_size_wh = (width * scale, height * scale)
        # The published code takes centres that count from 1 as they are: its networks have seen MPII so.
        return cut_hourglass(image, center + 1.0, box_size_wh, crop.input_size_wh, rotation_deg)
    return cv2.warpAffine(
        image,
        _matrix(box, crop, scale, rotation_deg),
        crop.input_size_wh,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def _occlusion_map(
    record: Mapping[str, Any], grid: MapGrid, crop_to_image: Float[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "h w"]:
    """The record's map over the cells of a grid in its crop."""
    width, height = grid.size_wh
    if "occlusion_map" not in record:
        return np.full((height, width), np.nan, np.float32)
    cell_to_crop = np.column_stack([np.diag(grid.pitch_px), grid.first_cell_px])
    image_to_map = invert(np.asarray(record["occlusion_map_to_image"], np.float64))
    return cv2.warpAffine(
        np.asarray(record["occlusion_map"], np.float32),
        compose(image_to_map, compose(crop_to_image, cell_to_crop)),
        grid.size_wh,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
