"""From pictures to people: load a model, run it on batches of crops, map back to the pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.inference.boxes import PersonBox
from oasjax.inference.results import ImageResult, PersonResult
from oasjax.input_pipeline.crop import CropConfig, crop_config, crop_example, whole_picture_box
from oasjax.input_pipeline.decode import read_image
from oasjax.ops.affine import apply_affine
from oasjax.training.skeleton import read_skeleton
from oasjax.training.trained_model import read_model
from oasjax.weights.model_folder import CONFIG_FILE

Picture = UInt8[np.ndarray, "h w 3"] | str | Path
# [x, y, w, h] in image pixels, or the same with a score
Box = PersonBox | Sequence[float | int] | np.ndarray
# images uint8 (B, H, W, 3) -> keypoints (B, K, 2) in crop pixels, scores (B, K); where the model predicts
# them, occlusion (B, K) in [0, 1] and occlusion_map (B, h, w)
PredictFn = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Predictor:
    """Finds the joints of people in pictures.

    Attributes:
        predict_fn: the model; always called with the same batch size, so it compiles once.
        skeleton: the joints it predicts.
        crop: how people are cut out of pictures.
        model_name: its name in the configuration.
        batch_size: people per call of `predict_fn`; the last batch is filled up with black.
    """

    predict_fn: PredictFn
    skeleton: Skeleton
    crop: CropConfig
    model_name: str
    batch_size: int = 8

    def predict(
        self,
        images: Sequence[Picture],
        boxes: Sequence[Sequence[Box]] | None = None,
    ) -> list[ImageResult]:
        """Predict the people of each picture.

        Args:
            images: uint8 RGB arrays (H, W, 3) or paths of JPEG or PNG files.
            boxes: for each picture its people, as `PersonBox` or [x, y, w, h] in image pixels.
                None: each picture shows one person and is itself the crop (no padding is added).

        Raises:
            UserError: an unreadable picture, a box without area or off its picture, or a model
                whose output is not finite.
            ValueError: one picture in place of a list; an array that is no picture; boxes and images that
                differ in number.
        """
        if isinstance(images, str | Path) or (isinstance(images, np.ndarray) and images.ndim == 3):
            raise ValueError("images is a single picture; pass a list of pictures: predict([picture])")
        if boxes is not None and len(boxes) != len(images):
            raise ValueError(f"{len(boxes)} lists of boxes for {len(images)} images")
        sizes: list[tuple[str, int, int]] = []
        people: list[list[PersonResult]] = [[] for _ in images]
        pending: list[_Crop] = []
        for index, image in enumerate(images):
            name, picture = _named_picture(image, index)
            height, width = picture.shape[:2]
            sizes.append((name, width, height))
            for crop in self._crops(picture, name, index, None if boxes is None else boxes[index]):
                pending.append(crop)
                if len(pending) == self.batch_size:
                    self._run(pending, people)
                    pending = []
        if pending:
            self._run(pending, people)
        return [ImageResult(*size, tuple(found)) for size, found in zip(sizes, people, strict=True)]

    def _crops(
        self,
        picture: UInt8[np.ndarray, "h w 3"],
        name: str,
        index: int,
        boxes: Sequence[Box] | None,
    ) -> Iterator["_Crop"]:
        height, width = picture.shape[:2]
        if boxes is None:
            whole = PersonBox((0.0, 0.0, float(width), float(height)))
            # The picture is taken as padded already: one of the crop's size comes out unchanged.
            inner = whole_picture_box((width, height), self.crop)
            yield _Crop(index, whole, self._cut(picture, name, 0, inner))
            return
        for n, given in enumerate(boxes):
            box = given if isinstance(given, PersonBox) else PersonBox(_four(given))
            x, y, box_width, box_height = box.bbox_xywh
            if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
                raise UserError(
                    f"box {n} of {name}, {list(box.bbox_xywh)}, lies outside the picture "
                    f"({width} x {height} pixels)"
                )
            yield _Crop(index, box, self._cut(picture, name, n, np.array(box.bbox_xywh)))

    def _cut(self, picture: np.ndarray, name: str, number: int, bbox: np.ndarray) -> dict[str, Any]:
        """The evaluation crop; what only training needs is absent (no labels, NaN sizes)."""
        joints = self.skeleton.num_joints
        record = {
            "image": picture,
            "keypoints": np.zeros((joints, 2), np.float32),
            "visibility": np.zeros(joints, np.int8),
            "occlusion_known": np.zeros(joints, bool),
            "bbox_xywh": bbox.astype(np.float32),
            "head_size": np.float32(np.nan),
            "area": np.float32(bbox[2] * bbox[3]),
            "example_id": np.int64(number),
            "image_id": name,
        }
        return crop_example(record, self.crop, None)

    def _run(self, crops: Sequence["_Crop"], people: list[list[PersonResult]]) -> None:
        """Predict one batch and append each person to the list of its picture."""
        width, height = self.crop.input_size_wh
        images = np.zeros((self.batch_size, height, width, 3), np.uint8)
        for n, crop in enumerate(crops):
            images[n] = crop.example["image"]
        output = {name: np.asarray(value) for name, value in self.predict_fn(images).items()}
        for n, crop in enumerate(crops):
            row = {name: values[n] for name, values in output.items()}
            keypoints, occlusion = row["keypoints"], row.get("occlusion")
            scores = np.clip(row["scores"], 0.0, 1.0)
            if not all(np.isfinite(row[name]).all() for name in row.keys() - {"occlusion_map"}):
                raise UserError(
                    f"the model {self.model_name!r} gave values that are not finite; its weights "
                    "are broken, train or copy it again"
                )
            crop_to_image = crop.example["crop_to_image"].astype(np.float64)
            people[crop.image_index].append(
                PersonResult(
                    bbox_xywh=np.array(crop.box.bbox_xywh),
                    score=float(scores.mean()) * crop.box.score,
                    keypoints=apply_affine(keypoints.astype(np.float64), crop_to_image),
                    scores=scores,
                    occlusion=None if occlusion is None else np.clip(occlusion, 0.0, 1.0),
                    occlusion_map=row.get("occlusion_map"),
                    crop_to_image=crop_to_image,
                )
            )


def load(path: str | Path, batch_size: int = 8) -> Predictor:
    """Load a model for prediction (`oasjax.load`).

    Args:
        path: a model folder (`model.safetensors`) or the workdir of a training run (`checkpoints/`,
            of which the latest good one is taken).
        batch_size: people per call of the model.

    Raises:
        UserError: no such folder, neither of the two, or a broken or incomplete configuration.
    """
    path = Path(path)
    variables, config = read_model(path)
    skeleton, crop, name = _read_settings(config, path / CONFIG_FILE)
    from oasjax.training.tasks import make_predict_fn

    try:
        apply = make_predict_fn(config)
    except KeyError as error:
        raise UserError(f"{path / CONFIG_FILE} lacks the entry {error}") from error
    return Predictor(lambda images: apply(variables, images), skeleton, crop, name, batch_size)


def _read_settings(config: Mapping[str, Any], file: Path) -> tuple[Skeleton, CropConfig, str]:
    """Skeleton, crop and model name from a configuration; UserError names what is missing."""
    try:
        name, skeleton = config["model"]["name"], config["skeleton"]
        # A box that is given here is the person's as seen, not an annotation to be clipped.
        crop = replace(crop_config(config["data"]), clip_boxes=False)
    except KeyError as error:
        raise UserError(f"{file} lacks the entry {error}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} has an entry of the wrong type ({error})") from error
    try:
        return read_skeleton(skeleton), crop, str(name)
    except ValueError as error:
        raise UserError(f"{file}: {error}") from error


@dataclass(frozen=True)
class _Crop:
    """A person cut out: which picture, the box as given, the pose example."""

    image_index: int
    box: PersonBox
    example: dict[str, Any]


def _named_picture(image: Picture, index: int) -> tuple[str, UInt8[np.ndarray, "h w 3"]]:
    if isinstance(image, str | Path):
        return str(image), read_image(image)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"image {index}: expected a uint8 RGB array (H, W, 3), got {image.dtype} {image.shape}"
        )
    return f"image {index}", image


def _four(bbox: Sequence[float | int] | np.ndarray) -> tuple[float, float, float, float]:
    x, y, width, height = (float(value) for value in bbox)
    return x, y, width, height
