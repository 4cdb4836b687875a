"""Person records: what every pose data set's reader gives, and the account of what it leaves out.

A reader makes a candidate of each annotated person by `person_record`, and `usable_people` turns the
candidates of a split into the records that training and evaluation take:

    check_labelled_positions(path, keypoints, visibility, names)
    candidates = [person_record(image_id=..., keypoints=..., ...) for ...]
    return usable_people("LSP train", candidates, folder / "images", image_names, LAYOUT)

Coordinates are pixels of the picture as `decode_image` gives it, 0-based, pixel centres at integers.
"""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int8

from oasjax.errors import UserError

_LOG = logging.getLogger(__name__)
_NAMED = 3
_BOX_GROWTH = 1.2


def person_record(
    *,
    image_id: str,
    keypoints: Float[np.ndarray, "k 2"],
    visibility: Int8[np.ndarray, "k"],
    occlusion_known: Bool[np.ndarray, "k"],
    bbox_xywh: Float[np.ndarray, "4"],
    area: float,
    head_size: float = np.nan,
    image_number: int = -1,
    person_number: int = -1,
    box_score: float = 1.0,
) -> dict[str, Any]:
    """One annotated person, usable or not; `usable_people` adds `image_path` and `example_id`.

    Args:
        image_id: the picture's file name relative to the folder of the pictures.
        keypoints: image pixels, of unlabelled joints whatever the annotations hold.
        visibility: 0 not labelled, 1 labelled and occluded, 2 labelled and visible.
        occlusion_known: False where a joint is labelled (visibility 2) but its occlusion is not told.
        bbox_xywh: the person's box before any padding; not finite or without area where there is none.
        area: that of the person in square pixels.
        head_size: MPII's, the unit of PCKh; NaN elsewhere.
        image_number, person_number: the data set's own numbers of the two; -1 where it has none.
        box_score: the detector's score of the box; 1 for annotated boxes.
    """
    return {
        "keypoints": keypoints.astype(np.float32, copy=False),
        "visibility": visibility,
        "occlusion_known": occlusion_known,
        "bbox_xywh": bbox_xywh.astype(np.float32, copy=False),
        "head_size": np.float32(head_size),
        "area": np.float32(area),
        "image_id": image_id,
        "image_number": image_number,
        "person_number": person_number,
        "box_score": np.float32(box_score),
    }


def record_name(record: Mapping[str, Any]) -> str:
    """How messages call a person: the picture, and the person's number where there is one."""
    number = record["person_number"]
    return f"{record['image_id']} person {number}" if number >= 0 else str(record["image_id"])


def check_labelled_positions(
    path: Path,
    keypoints: Float[np.ndarray, "n k 2"],
    labelled: Bool[np.ndarray, "n k"],
    names: Sequence[str],
) -> None:
    """Refuse labelled joints without a position; joints outside of the picture are legal.

    Args:
        path: the annotation file.
        keypoints: all people of it.
        labelled: visibility > 0.
        names: how to call each person in the error.

    Raises:
        UserError: a labelled joint is not finite; the first is named.
    """
    faulty = np.argwhere(labelled & ~np.isfinite(keypoints).all(-1))
    if len(faulty):
        person, joint = faulty[0].tolist()
        x, y = keypoints[person, joint].tolist()
        raise UserError(
            f"{path}: joint {joint} (counted from 0) of {names[person]} is labelled, but its position is "
            f"({x:g}, {y:g}). Write its position in pixels, or mark it as not labelled."
        )


def labelled_box(
    keypoints: Float[np.ndarray, "k 2"], labelled: Bool[np.ndarray, "k"]
) -> Float[np.ndarray, "4"]:
    """Box (left, top, width, height) about the labelled joints, enlarged by 20 % about its centre.

    For people without an annotated box. Joints lie inside the body: a tenth on each side makes room
    for the rest of it. NaN where no joint is labelled.
    """
    if not labelled.any():
        return np.full(4, np.nan, np.float32)
    low, high = keypoints[labelled].min(0), keypoints[labelled].max(0)
    size = (high - low) * _BOX_GROWTH
    return np.concatenate([(low + high - size) / 2, size]).astype(np.float32)


def existing_files(folder: Path, names: Iterable[str]) -> set[str]:
    """Those of `names`, relative to `folder`, that are files; every folder is listed only once."""
    of_parent: dict[str, list[str]] = {}
    for name in names:
        of_parent.setdefault(os.path.dirname(name), []).append(name)
    existing: set[str] = set()
    for parent, members in of_parent.items():
        try:
            with os.scandir(folder / parent) as entries:
                files = {entry.name for entry in entries if entry.is_file()}
        except (FileNotFoundError, NotADirectoryError):
            continue
        existing.update(name for name in members if os.path.basename(name) in files)
    return existing


class PeopleOfSplit(list[dict[str, Any]]):
    """The usable records of a split, with an account of all that was left out.

    Attributes:
        num_pictures: how many pictures the annotations name.
        missing: names of those without a file.
        left_out: reason -> names of people who cannot be used though their picture is there.
    """

    num_pictures: int
    missing: list[str]
    left_out: dict[str, list[str]]


def usable_people(
    title: str,
    candidates: Iterable[dict[str, Any]],
    images_dir: Path,
    image_names: Sequence[str],
    layout: str,
    *,
    need_labels: bool = True,
    left_out: Mapping[str, Sequence[str]] | None = None,
    remarks: Mapping[str, Sequence[str]] | None = None,
) -> PeopleOfSplit:
    """The candidates that can be cut out of a picture and learnt from, in their order.

    Left out are people whose picture has no file, whose box is not finite or has no area, and, where
    labels are needed, those without a labelled joint. One log line counts all of them and names the
    first: a warning where there are any.

    Args:
        title: data set and split, for messages ("COCO train").
        candidates: as `person_record` gives them.
        images_dir: the folder of the pictures.
        image_names: all pictures of the split, with people or without, relative to `images_dir`.
        layout: the files that the data set's folder must hold, for the error.
        need_labels: False for people to be predicted only.
        left_out: reason ("without ...") -> names of people whom the reader itself left out.
        remarks: what else the line should count ("crowds to ignore") -> names.

    Returns:
        Records: the candidates with `image_path`, a file that exists, and `example_id`, the position.

    Raises:
        UserError: not a single picture is there.
    """
    existing = existing_files(images_dir, image_names)
    missing = [name for name in image_names if name not in existing]
    if not existing:
        raise UserError(
            f"No picture of {title} in {images_dir}: none of the {len(image_names)} files {_first(missing)} "
            f"is there. Expected {layout}. Check the folder that --config.data.data_dir names."
        )
    reasons: dict[str, list[str]] = {reason: list(names) for reason, names in (left_out or {}).items()}
    people = PeopleOfSplit()
    people.num_pictures, people.missing, people.left_out = len(image_names), missing, reasons
    num_without_picture = 0
    for record in candidates:
        box = record["bbox_xywh"]
        if record["image_id"] not in existing:
            num_without_picture += 1
        elif not (np.isfinite(box).all() and box[2] > 0 and box[3] > 0):
            reasons.setdefault("without a box that has an area", []).append(record_name(record))
        elif need_labels and not record["visibility"].any():
            reasons.setdefault("without a labelled joint", []).append(record_name(record))
        else:
            path = os.path.join(images_dir, record["image_id"])
            people.append({"image_path": path, **record, "example_id": len(people)})
    sentences = [f"{title}: {len(people)} people"]
    if missing:
        sentences.append(
            f"{len(missing)} of {len(image_names)} pictures have no file ({_first(missing)}), "
            f"with {num_without_picture} people"
        )
    counted = [_counted(f"{reason} ", names) for reason, names in reasons.items() if names]
    if counted:
        sentences.append("left out: " + ", ".join(counted))
    sentences += [f"{remark}: {_counted('', names)}" for remark, names in (remarks or {}).items() if names]
    _LOG.log(logging.INFO if len(sentences) == 1 else logging.WARNING, "%s.", "; ".join(sentences))
    return people


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _counted(reason: str, names: Sequence[str]) -> str:
    return f"{len(names)} {reason}({_first(names)})"
