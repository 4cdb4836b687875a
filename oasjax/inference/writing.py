"""Write predictions to a folder: one overlay per picture and `predictions.json`."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from oasjax.datasets.skeletons import Skeleton
from oasjax.errors import UserError
from oasjax.inference.drawing import draw_person, enlarge, enlarge_points, hidden_joints, legend
from oasjax.inference.results import ImageResult, image_json
from oasjax.input_pipeline.decode import read_image

PREDICTIONS_FILE = "predictions.json"


def make_folder(path: str | Path) -> Path:
    """The folder, made where it is missing. Raises UserError where that is impossible."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {path}: {error.strerror}") from None
    return Path(path)


def overlay_names(files: Iterable[str]) -> list[str]:
    """`<stem>_pose.png` for each file; `<stem>_pose_2.png` ... where stems are equal.

    Stems that differ in case alone count as equal, as some file systems would mix them up.
    """
    names: list[str] = []
    taken: set[str] = set()
    for file in files:
        stem, number = f"{Path(file).stem}_pose", 1
        name = f"{stem}.png"
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}.png"
        taken.add(name.lower())
        names.append(name)
    return names


def draw_people(
    picture: UInt8[np.ndarray, "h w 3"],
    result: ImageResult,
    skeleton: Skeleton,
    show_boxes: bool = True,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The picture with everybody in it and the legend below; a small one is enlarged."""
    drawn, factor = enlarge(picture)
    for person in result.people:
        box = None
        if show_boxes:
            corner = enlarge_points(person.bbox_xywh[:2], factor)
            box = np.concatenate([corner, person.bbox_xywh[2:] * factor])
        drawn = draw_person(
            drawn,
            enlarge_points(person.keypoints, factor),
            hidden_joints(person.occlusion, skeleton.num_joints),
            skeleton,
            box,
        )
    occlusion = all(person.occlusion is not None for person in result.people)
    return np.concatenate([drawn, legend(drawn.shape[1], occlusion)])


def write_predictions(
    folder: str | Path,
    results: Sequence[ImageResult],
    skeleton: Skeleton,
    model_name: str,
    show_boxes: bool = True,
) -> list[Path]:
    """Write the overlays, then `predictions.json`; returns the paths, the JSON's last.

    Args:
        folder: an existing folder; files of the same names are replaced.
        results: predictions of picture FILES (each is read again for its overlay).
        skeleton: names and limbs of the joints.
        model_name: goes into the JSON.
        show_boxes: draw the boxes that people were cut out by.
    """
    folder = Path(folder)
    names = overlay_names(result.file for result in results)
    images = []
    for name, result in zip(names, results, strict=True):
        overlay = draw_people(read_image(result.file), result, skeleton, show_boxes)
        write_png(folder / name, overlay)
        description = image_json(result, skeleton)
        people = description.pop("people")
        images.append({**description, "overlay": name, "people": people})
    document = {"model": model_name, "images": images}
    predictions = folder / PREDICTIONS_FILE
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)
    predictions.write_text(text + "\n", encoding="utf-8")
    return [*(folder / name for name in names), predictions]


def write_png(path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write an RGB picture. Raises OSError where the disk refuses it."""
    written, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not written:
        raise ValueError(f"cannot encode a picture of shape {picture.shape} for {path}")
    # imwrite only returns False on a full disk; this raises.
    path.write_bytes(data.tobytes())
