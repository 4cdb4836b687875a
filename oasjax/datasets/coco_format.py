"""Reading and checking files in COCO's form: person keypoints, lists of pictures, detectors' boxes.

A keypoint file is a JSON object with
    images: [{id, file_name, width, height}]
    categories: [{id, name, keypoints: [joint names], skeleton: [pairs]}], one of them with keypoints
    annotations: [{id, image_id, category_id, keypoints: [x, y, v of each joint], bbox: [x, y, w, h],
        area, iscrowd, segmentation}]
with v 0 not labelled, 1 labelled and occluded, 2 labelled and visible, and a segmentation that is a
list of polygons or a run-length code. A detector's file is a list [{image_id, category_id, bbox,
score}]. Every error names the file and the entry.
"""

import gc
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
from jaxtyping import Bool, Float, Int, Int8

from oasjax.datasets.person_records import check_labelled_positions, labelled_box
from oasjax.errors import UserError
from oasjax.input_pipeline.decode import MAX_PIXELS

_COMPRESSED_COUNTS = re.compile(r"[0-o]*")


@dataclass(frozen=True)
class CocoImage:
    """An entry of `images`; the size is the one that the file states."""

    number: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class KeypointFile:
    """The people of a keypoint file, picture by picture; n people with K joints.

    Attributes:
        path: the file.
        category: that of the people, as in the file.
        images: all pictures, in the order of the file.
        image_entries, entries: pictures and people as they stand in the file.
        image_index: person -> position in `images`.
        person_numbers: the annotations' ids.
        keypoints: image pixels; finite where labelled.
        visibility: 0, 1 or 2.
        bbox_xywh: as annotated; where it lacks and may, the labelled joints' box enlarged by 20 %.
        area: as annotated; NaN where the entry has none.
        is_crowd: the entry is a crowd, not one person.
    """

    path: Path
    category: dict[str, Any]
    images: list[CocoImage]
    image_entries: list[dict[str, Any]]
    entries: list[dict[str, Any]]
    image_index: Int[np.ndarray, "n"]
    person_numbers: Int[np.ndarray, "n"]
    keypoints: Float[np.ndarray, "n k 2"]
    visibility: Int8[np.ndarray, "n k"]
    bbox_xywh: Float[np.ndarray, "n 4"]
    area: Float[np.ndarray, "n"]
    is_crowd: Bool[np.ndarray, "n"]

    @property
    def to_ignore(self) -> Bool[np.ndarray, "n"]:
        """Regions whose predictions count neither for nor against: crowds, people without labels."""
        return self.is_crowd | ~self.visibility.any(1)


@dataclass(frozen=True)
class DetectedBoxes:
    """Boxes of a detector's file.

    Attributes:
        image_numbers: the pictures' ids, known or not.
        category_numbers: what was detected.
        bbox_xywh: as in the file.
        scores: finite.
    """

    image_numbers: Int[np.ndarray, "n"]
    category_numbers: Int[np.ndarray, "n"]
    bbox_xywh: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, "n"]


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        UserError: no such file, no right to it, or no JSON.
    """
    # The collector would look through millions of new lists again and again: a third of the time for COCO.
    collects = gc.isenabled()
    gc.disable()
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"Annotations not found: {path}. Check the path.") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} is no whole JSON file ({reason}). Fetch or write it again.") from None
    finally:
        if collects:
            gc.enable()


def read_document(path: Path) -> dict[str, Any]:
    """The contents of a file of COCO's form; UserError where it is no JSON object."""
    document = read_json(path)
    if not isinstance(document, dict):
        raise _no_coco_form(path, f"holds a JSON {_json_type(document)}, not an object")
    return document


def images_of(path: Path, document: dict[str, Any]) -> list[CocoImage]:
    """The pictures of a document, checked.

    Raises:
        UserError: an entry lacks its id, file name or size, or two have the same id.
    """
    entries = _entries(path, document, "images")
    numbers = _column(path, "image", entries, "id", _is_integer, "an integer")
    _check_unique(path, "images", numbers)
    names = _column(path, "image", entries, "file_name", _is_name, "the name of a file")
    widths, heights = (
        _column(path, "image", entries, side, _is_size, "a number of pixels above 0")
        for side in ("width", "height")
    )
    return [
        CocoImage(number, name, int(width), int(height))
        for number, name, width, height in zip(numbers, names, widths, heights, strict=True)
    ]


def keypoint_category(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """The only category that has joints.

    Raises:
        UserError: there is none, or there are several.
    """
    entries = _entries(path, document, "categories")
    with_joints = [entry for entry in entries if isinstance(entry.get("keypoints"), list)]
    if len(with_joints) != 1:
        raise _no_coco_form(
            path, f"has {len(with_joints)} categories with a list `keypoints` of joint names instead of one"
        )
    _column(path, "category", with_joints, "id", _is_integer, "an integer")
    return with_joints[0]


def person_category_number(document: dict[str, Any]) -> int:
    """The id of the people's category; 1, as in COCO, where the document does not tell."""
    categories = document.get("categories", [])
    for entry in categories if isinstance(categories, list) else []:
        if not isinstance(entry, dict) or not _is_integer(entry.get("id")):
            continue
        if isinstance(entry.get("keypoints"), list) or entry.get("name") == "person":
            return entry["id"]
    return 1


def read_keypoint_file(
    path: Path, num_joints: int | None = None, *, needs_area: bool = True, needs_box: bool = True
) -> KeypointFile:
    """Read and check the people of a keypoint file; other categories' annotations are passed over.

    Args:
        path: the file.
        num_joints: what the category must have; None takes any.
        needs_area: an entry without `area` is an error.
        needs_box: so is one without `bbox`.

    Raises:
        UserError: no JSON of this form; another number of joints; ids that repeat; an annotation of an
            unknown picture; v other than 0, 1, 2; a labelled joint without a position.
    """
    document = read_document(path)
    images = images_of(path, document)
    category = keypoint_category(path, document)
    joints = len(category["keypoints"])
    if num_joints not in (None, joints):
        raise UserError(
            f"{path}: people have {joints} joints ({', '.join(map(str, category['keypoints'][:3]))}, ...), "
            f"expected {num_joints}. Is this another data set?"
        )
    all_entries = _entries(path, document, "annotations")
    numbers = _column(path, "annotation", all_entries, "id", _is_integer, "an integer")
    _check_unique(path, "annotations", numbers)
    of_image = _column(path, "annotation", all_entries, "image_id", _is_integer, "an image's id")
    positions = {image.number: position for position, image in enumerate(images)}
    image_index = np.array([positions.get(number, -1) for number in of_image], np.int64)
    if (image_index < 0).any():
        first = int(np.argmax(image_index < 0))
        raise UserError(
            f"{path}: {_entry_name('annotation', first, all_entries[first])} belongs to image "
            f"{of_image[first]}, which `images` does not hold. Correct its image_id or remove it."
        )
    categories = _column(path, "annotation", all_entries, "category_id", _is_integer, "a category's id")
    ours = np.flatnonzero(np.array(categories, np.int64) == category["id"])
    order = ours[np.argsort(image_index[ours], kind="stable")]
    entries = [all_entries[n] for n in order.tolist()]

    wanted = f"{3 * joints} numbers: x, y, v of each of the {joints} joints"
    keypoints = _numbers(path, "annotation", entries, "keypoints", 3 * joints, wanted).reshape(-1, joints, 3)
    visibility = _visibility(path, entries, keypoints[:, :, 2])
    names = [f"annotation {entry['id']} ({images[n].file_name})"
             for entry, n in zip(entries, image_index[order].tolist(), strict=True)]  # fmt: skip
    check_labelled_positions(path, keypoints[:, :, :2], visibility > 0, names)
    bbox_xywh = _boxes(path, entries, needs_box)
    for n in [] if needs_box else [n for n, entry in enumerate(entries) if entry.get("bbox") is None]:
        bbox_xywh[n] = labelled_box(keypoints[n, :, :2], visibility[n] > 0)
    area = [{"area": np.nan} if not needs_area and entry.get("area") is None else entry for entry in entries]
    crowds = [{"iscrowd": 0, **entry} for entry in entries]
    return KeypointFile(
        path=path,
        category=category,
        images=images,
        image_entries=document["images"],
        entries=entries,
        image_index=image_index[order],
        person_numbers=np.array(numbers, np.int64)[order],
        keypoints=keypoints[:, :, :2],
        visibility=visibility,
        bbox_xywh=bbox_xywh,
        area=np.array(_column(path, "annotation", area, "area", _is_number, "a number"), np.float64),
        is_crowd=np.array(
            _column(path, "annotation", crowds, "iscrowd", lambda value: value in (0, 1), "0 or 1"), np.bool_
        ),
    )


def read_detected_boxes(path: Path) -> DetectedBoxes:
    """Read a detector's file: a list of {image_id, category_id, bbox, score}.

    Raises:
        UserError: no such list, or an entry lacks a field or has a score that is not finite.
    """
    document = read_json(path)
    if not isinstance(document, list):
        raise UserError(
            f"{path} holds a JSON {_json_type(document)}, expected a list of boxes "
            "{image_id, category_id, bbox, score}. Is this the detector's file?"
        )
    entries = _entries(path, {"boxes": document}, "boxes")
    scores = _column(path, "box", entries, "score", _is_number, "a number")
    if not np.isfinite(scores).all():
        first = int(np.argmin(np.isfinite(scores)))
        raise UserError(f"{path}: the box at position {first} has the score {scores[first]}.")
    return DetectedBoxes(
        image_numbers=np.array(
            _column(path, "box", entries, "image_id", _is_integer, "an image's id"), np.int64
        ),
        category_numbers=np.array(
            _column(path, "box", entries, "category_id", _is_integer, "a category's id"), np.int64
        ),
        bbox_xywh=_numbers(path, "box", entries, "bbox", 4, "4 numbers: left, top, width, height"),
        scores=np.array(scores, np.float64),
    )


def compressed_counts(segmentation: Any, height: int, width: int) -> bytes | None:
    """pycocotools' compressed run-length code of a mask over a picture of this size.

    Args:
        segmentation: polygons, a run-length code (counts as numbers or compressed), or nothing.

    Returns:
        The code's `counts`; b"" where there is no segmentation; None where there is one that means
        nothing: polygons of fewer than three points or far outside of the picture, counts that do not
        fill it, another size.
    """
    if segmentation is None or segmentation == []:
        return b""
    if height * width > MAX_PIXELS:
        return None
    if isinstance(segmentation, list):
        if not all(_is_polygon(polygon, max(height, width)) for polygon in segmentation):
            return None
        codes = pycocotools.mask.frPyObjects(segmentation, height, width)
        return pycocotools.mask.merge(codes)["counts"]
    if not isinstance(segmentation, dict) or segmentation.get("size") != [height, width]:
        return None
    counts = segmentation.get("counts")
    if isinstance(counts, str) and _COMPRESSED_COUNTS.fullmatch(counts):
        return counts.encode() if _fill(_run_lengths(counts), height * width) else None
    if not isinstance(counts, list) or not all(map(_is_integer, counts)):
        return None
    if not _fill(counts, height * width):
        return None
    return pycocotools.mask.frPyObjects(segmentation, height, width)["counts"]


def _fill(run_lengths: list[int], num_pixels: int) -> bool:
    return sum(run_lengths) == num_pixels and all(length >= 0 for length in run_lengths)


def _run_lengths(counts: str) -> list[int]:
    """The numbers of a compressed code, decoded for checking; pycocotools believes any.

    Five bits a character, the lowest first; bit 5 says that more follow, bit 4 of the last is the
    sign. From the fourth number on it is the difference to the one before the previous.
    """
    lengths: list[int] = []
    value, shift = 0, 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value, shift = 0, 0
    return lengths


def _is_polygon(polygon: Any, size: int) -> bool:
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    try:
        points = np.array(polygon, np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    # pycocotools walks along every edge, pixel by pixel: far away points would take forever.
    return points.ndim == 1 and bool(((points >= -size) & (points <= 2 * size)).all())


def _entries(path: Path, document: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise _no_coco_form(path, f"has no list `{key}`")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise _no_coco_form(path, f"has a JSON {_json_type(entry)} at position {position} of `{key}`")
    return entries


def _column(
    path: Path,
    kind: str,
    entries: Sequence[dict[str, Any]],
    key: str,
    accepts: Callable[[Any], bool],
    wanted: str,
) -> list[Any]:
    values = [entry.get(key) for entry in entries]
    if not all(map(accepts, values)):
        first = next(n for n, value in enumerate(values) if not accepts(value))
        raise _faulty(path, kind, first, entries[first], key, wanted)
    return values


def _numbers(
    path: Path, kind: str, entries: Sequence[dict[str, Any]], key: str, count: int, wanted: str
) -> Float[np.ndarray, "n count"]:
    """A list of `count` numbers of each entry; all at once, as COCO has 13 million of them."""
    values = [entry.get(key) for entry in entries]
    if not values:
        return np.zeros((0, count))
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.shape != (len(values), count):
        first = next(n for n, value in enumerate(values) if not _is_list_of_numbers(value, count))
        raise _faulty(path, kind, first, entries[first], key, wanted)
    return numbers


def _boxes(path: Path, entries: list[dict[str, Any]], needed: bool) -> Float[np.ndarray, "n 4"]:
    if not needed:
        nothing = {"bbox": [np.nan] * 4}
        entries = [nothing if entry.get("bbox") is None else entry for entry in entries]
    return _numbers(path, "annotation", entries, "bbox", 4, "4 numbers: left, top, width, height")


def _visibility(
    path: Path, entries: list[dict[str, Any]], flags: Float[np.ndarray, "n k"]
) -> Int8[np.ndarray, "n k"]:
    faulty = np.argwhere(~np.isin(flags, (0, 1, 2)))
    if len(faulty):
        person, joint = faulty[0].tolist()
        raise UserError(
            f"{path}: {_entry_name('annotation', person, entries[person])} has v = "
            f"{flags[person, joint]:g} at joint {joint} (counted from 0), expected 0 (not labelled), "
            "1 (occluded) or 2 (visible)."
        )
    return flags.astype(np.int8)


def _check_unique(path: Path, key: str, numbers: list[int]) -> None:
    values, counts = np.unique(np.array(numbers, np.int64), return_counts=True)
    if (counts > 1).any():
        first = int(np.argmax(counts > 1))
        raise UserError(
            f"{path}: {counts[first]} {key} have the id {values[first]}. Give each one its own, or remove "
            "what is there twice."
        )


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return _is_number(value) and 1 <= value < 2**31


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_list_of_numbers(value: Any, count: int) -> bool:
    try:
        return np.array(value, np.float64).shape == (count,)
    except (TypeError, ValueError, OverflowError):
        return False


def _entry_name(kind: str, position: int, entry: dict[str, Any]) -> str:
    return f"{kind} {entry['id']}" if "id" in entry else f"the {kind} at position {position}"


def _json_type(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _faulty(path: Path, kind: str, position: int, entry: dict[str, Any], key: str, wanted: str) -> UserError:
    name = _entry_name(kind, position, entry) if key != "id" else f"the {kind} at position {position}"
    if key not in entry:
        return UserError(f"{path}: {name} lacks `{key}`, {wanted}. Add it.")
    found = entry[key]
    text = f"{len(found)} entries" if isinstance(found, list) and len(found) > 6 else json.dumps(found)[:60]
    return UserError(f"{path}: {name} has {text} as `{key}`, expected {wanted}. Correct it.")


def _no_coco_form(path: Path, problem: str) -> UserError:
    return UserError(f"{path} {problem}: it is no keypoint file in COCO's form. Is this the right file?")
