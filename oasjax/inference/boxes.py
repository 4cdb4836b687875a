"""Person boxes from a JSON file, checked record by record.

Two forms are read:

- {"photo.jpg": [[x, y, w, h], ...], ...}: boxes by picture;
- [{"file_name": "photo.jpg", "bbox": [x, y, w, h], "score": 0.9}, ...]: a list of detections as
  COCO writes them. `image_id` may stand in for `file_name`: a string is a file name, a number the
  one that the file's name ends in (000000000139.jpg is 139). `score` is optional (1). Records whose
  `category_id` is not 1, COCO's person, are left out.

A file name is matched in full or by its last part; a box is (left, top, width, height) in pixels.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oasjax.errors import UserError

PERSON_CATEGORY = 1


@dataclass(frozen=True)
class PersonBox:
    """A person's box (left, top, width, height) in image pixels and the detector's score."""

    bbox_xywh: tuple[float, float, float, float]
    score: float = 1.0


def read_boxes(path: str | Path, image_paths: Sequence[str | Path]) -> list[list[PersonBox]]:
    """Boxes of each picture, in the order of `image_paths`; none for a picture without a record.

    Raises:
        UserError: missing file, no JSON, another form, a box that is none, a picture that is not
            among `image_paths` or fits several of them; names file and record.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"boxes file not found: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read the boxes file {path}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"the boxes file {path} is not valid JSON ({error})") from None
    if isinstance(content, dict):
        records = _records_by_name(content, path)
    elif isinstance(content, list):
        records = _coco_records(content, path)
    else:
        raise UserError(
            f"the boxes file {path} must hold an object {{file: [[x, y, w, h], ...]}} or a list of "
            f"{{file_name, bbox}} records, not a {type(content).__name__}"
        )
    boxes: list[list[PersonBox]] = [[] for _ in image_paths]
    for where, image, box in records:
        index = _image_index(image, image_paths, where)
        if box is not None:
            boxes[index].append(box)
    return boxes


# (where in the file, the picture's name or number, its box; None: the picture is listed empty)
_Located = tuple[str, str | int, PersonBox | None]


def _records_by_name(content: dict[str, Any], path: Path) -> list[_Located]:
    records: list[_Located] = []
    for name, boxes in content.items():
        where = f"{path}, {name!r}"
        if not isinstance(boxes, list):
            raise UserError(f"{where}: expected a list of [x, y, w, h], got {_show(boxes)}")
        # Listed without a box: nobody there, but the name is still checked.
        records.append((where, name, None))
        for n, bbox in enumerate(boxes):
            records.append((where, name, PersonBox(_checked_bbox(bbox, f"{where}, box {n}"))))
    return records


def _coco_records(content: list[Any], path: Path) -> list[_Located]:
    records: list[_Located] = []
    for n, record in enumerate(content):
        where = f"{path}, record {n}"
        if not isinstance(record, dict) or "bbox" not in record:
            raise UserError(f"{where}: expected an object with 'bbox', got {_show(record)}")
        image = record.get("file_name", record.get("image_id"))
        if not isinstance(image, str | int) or isinstance(image, bool):
            raise UserError(f"{where}: needs 'file_name' (text) or 'image_id' (text or number)")
        score = record.get("score", 1.0)
        if not _is_number(score):
            raise UserError(f"{where}: 'score' must be a finite number, got {_show(score)}")
        box = PersonBox(_checked_bbox(record["bbox"], where), float(score))
        if record.get("category_id", PERSON_CATEGORY) == PERSON_CATEGORY:
            records.append((where, image, box))
    return records


def _checked_bbox(bbox: Any, where: str) -> tuple[float, float, float, float]:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise UserError(f"{where}: a box is [x, y, w, h], four finite numbers, got {_show(bbox)}")
    x, y, width, height = map(float, bbox)
    if width <= 0 or height <= 0:
        raise UserError(f"{where}: width and height of a box must be positive, got {_show(bbox)}")
    return x, y, width, height


def _is_number(value: Any) -> bool:
    # json reads NaN and Infinity; True is an int to Python.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _image_index(image: str | int, image_paths: Sequence[str | Path], where: str) -> int:
    paths = [Path(path) for path in image_paths]
    if isinstance(image, int):
        found = [n for n, path in enumerate(paths) if _number_in(path.stem) == image]
    else:
        found = [n for n, path in enumerate(paths) if path == Path(image)] or [
            n for n, path in enumerate(paths) if path.name == Path(image).name == image
        ]
    if not found:
        raise UserError(f"{where}: the picture {image!r} is not among those given")
    if len(found) > 1:
        raise UserError(f"{where}: {image!r} fits several of the pictures; write its full path")
    return found[0]


def _number_in(stem: str) -> int | None:
    """The number that a file's name ends in (COCO_val2014_000000000139 -> 139)."""
    digits = stem[len(stem.rstrip("0123456789")) :]
    return int(digits) if digits else None


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
