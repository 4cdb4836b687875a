"""Reading MPII Human Pose in any of the three forms in which its annotations are passed on.

Where several lie in a folder, the first that tells of the split is taken:
    "mat"   mpii_human_pose_v1_u12_1.mat, the official file: says which joints are hidden
    "h5"    train.h5 and valid.h5 (or .npz) of the hourglass authors: so do they, in whole pixels
    "json"  train.json, valid.json, test.json of HRNet's authors (mmpose: mpii_train.json, mpii_val.json,
            mpii_test.json): labelled joints, nothing about occlusion
The official file does not know of a validation set. The usual one, 2,958 people chosen by Tompson et
al., is a list in valid.h5, valid.npz or valid.json; `train` then has the people of the training
pictures without any of them. `test` has the single people of the test pictures (7,247), whose joints
are not public.

Where Tompson's ground truth (gt_valid.mat) lies beside, the validation people get its keypoints and
head sizes: published PCKh are computed on those, and the other files differ by a rounding and in a
few joints.
"""

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int8

from oasjax.datasets.mpii.annotated_people import AnnotatedPeople, boxes_xywh, check_people
from oasjax.datasets.mpii.ground_truth import (
    check_same_people,
    find_ground_truth,
    read_tompson_ground_truth,
)
from oasjax.datasets.mpii.hourglass_arrays import people_of, read_hourglass_arrays
from oasjax.datasets.mpii.hrnet_json import read_hrnet_json
from oasjax.datasets.mpii.release_mat import Release, read_release
from oasjax.datasets.person_records import PeopleOfSplit, person_record, usable_people
from oasjax.datasets.skeletons import MPII
from oasjax.errors import UserError

SKELETON = MPII
SPLITS = ("train", "validation", "test")
LAYOUT = (
    "images/*.jpg and, beside images or in annot, mpii_human_pose_v1_u12_1.mat with valid.h5 (or valid.npz, "
    "valid.json), or train.h5 and valid.h5, or train.json and valid.json; and gt_valid.mat, if there is one"
)

_RELEASE = "mpii_human_pose_v1_u12_1.mat"
_FILES: dict[str, dict[str, tuple[str, ...]]] = {
    "mat": dict.fromkeys(SPLITS, (_RELEASE,)),
    "h5": {"train": ("train.h5", "train.npz"), "validation": ("valid.h5", "valid.npz")},
    "json": {
        "train": ("train.json", "mpii_train.json"),
        "validation": ("valid.json", "mpii_val.json"),
        "test": ("test.json", "mpii_test.json"),
    },
}
FORMS = tuple(_FILES)
_PLACES = (".", "annot", "annotations", "mpii_human_pose_v1_u12_2")


def find_folder(data_dir: str | Path) -> Path:
    """The folder that holds the annotations: `data_dir` itself or `data_dir`/mpii.

    Raises:
        UserError: neither does; the message names the files and the option to pass.
    """
    names = {name for splits in _FILES.values() for files in splits.values() for name in files}
    for folder in (Path(data_dir), Path(data_dir) / "mpii"):
        if any(_find(folder, name) for name in names):
            return folder
    folder = Path(data_dir)
    problem = "it lacks them" if folder.is_dir() else "there is no such folder"
    raise UserError(
        f"MPII not found in {folder}: {problem}. Expected there or in its subfolder mpii: {LAYOUT}. "
        "Pass --config.data.data_dir=FOLDER."
    )


def release_file(folder: Path) -> Path | None:
    """The official file, where the folder has it."""
    return _find(folder, _RELEASE)


def read_annotations(folder: Path, split: str, form: str | None = None) -> AnnotatedPeople:
    """Everybody of a split as annotated, with or without a picture.

    Args:
        folder: as `find_folder` returns it.
        split: one of SPLITS.
        form: one of FORMS; None takes the first that the folder has for this split.

    Raises:
        UserError: the folder has no file for the split, or a file is malformed; the file to add and
            the person are named.
    """
    form, path = _choose_file(folder, split, form)
    if form == "mat":
        status = path.stat()
        people = _of_split(_read_release_once(path, status.st_size, status.st_mtime_ns), folder, split)
    elif form == "h5":
        people = people_of(path, read_hourglass_arrays(path))
    else:
        people = read_hrnet_json(path)
    check_people(people)
    return people


def splits_of(folder: Path) -> tuple[str, ...]:
    """The splits of which the folder has annotations."""
    return tuple(
        split
        for split in SPLITS
        if any(_find(folder, name) for files in _FILES.values() for name in files.get(split, ()))
    )


def read_visibility(folder: Path, split: str) -> Int8[np.ndarray, "n 16"]:
    """Visibility of everybody of a split as annotated, with or without a picture."""
    return read_annotations(folder, split).visibility


def read_people(folder: Path, split: str, form: str | None = None) -> PeopleOfSplit:
    """The people of one split whose pictures exist, as `person_records` describes them.

    Args:
        folder, split, form: as for `read_annotations`.

    Raises:
        UserError: as `read_annotations`; the ground truth beside is of other people; or the split has
            no picture.
    """
    people = read_annotations(folder, split, form)
    if split == "validation":
        people = _with_ground_truth(people, folder)
    labelled = people.visibility > 0
    keypoints = np.where(labelled[..., None], people.keypoints - 1.0, 0.0).astype(np.float32)
    boxes = boxes_xywh(people.center, people.scale).astype(np.float32)
    candidates = (
        person_record(
            image_id=people.image_names[row],
            keypoints=keypoints[row],
            visibility=people.visibility[row],
            occlusion_known=people.occlusion_known[row],
            bbox_xywh=boxes[row],
            area=float(boxes[row, 2] * boxes[row, 3]),
            head_size=float(people.head_size[row]),
            image_number=int(people.image_number[row]),
            person_number=int(people.person_number[row]),
        )
        for row in range(len(people))
    )
    return usable_people(
        f"MPII {split}",
        candidates,
        folder / "images",
        list(dict.fromkeys(people.image_names)),
        LAYOUT,
        need_labels=split != "test",
    )


def _with_ground_truth(people: AnnotatedPeople, folder: Path) -> AnnotatedPeople:
    """The validation people with the keypoints and head sizes of gt_valid.mat, where there is one."""
    path = find_ground_truth(folder)
    if path is None:
        return people
    truth = read_tompson_ground_truth(path.parent)
    labelled = truth.visibility > 0
    both = labelled & (people.visibility > 0)
    check_same_people(people.keypoints, truth.keypoints, both, truth.head_size, people.path, path)
    # The file of the people goes first where it knows: it may be the official one.
    known = both & people.occlusion_known
    return replace(
        people,
        keypoints=truth.keypoints,
        visibility=np.where(known, people.visibility, truth.visibility),
        occlusion_known=known | (labelled & truth.occlusion_known),
        head_size=truth.head_size,
    )


def _find(folder: Path, name: str) -> Path | None:
    for place in _PLACES:
        if (folder / place / name).is_file():
            return folder / place / name
    return None


def _choose_file(folder: Path, split: str, form: str | None) -> tuple[str, Path]:
    if form is not None and form not in FORMS:
        raise UserError(f"MPII's annotations have no form {form!r}; choose one of {', '.join(FORMS)}.")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
    names = {key: _FILES[key].get(split, ()) for key in FORMS if form in (None, key)}
    for key, files in names.items():
        for name in files:
            path = _find(folder, name)
            if path is not None:
                return key, path
    wanted = ", ".join(name for files in names.values() for name in files)
    raise UserError(
        f"{folder} has no annotations of MPII's {split} split"
        + (f" in the form {form}" if form else "")
        + (f": expected one of {wanted}, beside images or in annot." if wanted else ".")
    )


@functools.lru_cache(maxsize=1)
def _read_release_once(path: Path, size: int, mtime_ns: int) -> Release:
    """The file is all splits in one and takes seconds to read; a changed file is read anew."""
    return read_release(path)


def _of_split(release: Release, folder: Path, split: str) -> AnnotatedPeople:
    people = release.people
    if split == "test":
        placed = np.isfinite(people.center).all(-1) & np.isfinite(people.scale)
        return people.select(np.flatnonzero(~release.in_train & release.single & placed))
    validation = _validation_rows(people, folder)
    if split == "validation":
        return people.select(validation)
    theirs = np.isin(people.image_number, people.image_number[validation])
    return people.select(np.flatnonzero(release.in_train & ~theirs))


def _validation_rows(people: AnnotatedPeople, folder: Path) -> Int[np.ndarray, "m"]:
    """Tompson's people among those of the official file, in the order of his list."""
    for form in ("h5", "json"):
        for name in _FILES[form]["validation"]:
            path = _find(folder, name)
            if path is not None:
                return _rows_by_numbers(people, path) if form == "h5" else _rows_by_place(people, path)
    raise UserError(
        f"{people.path} does not say which people are for validation. Add the list of Tompson's 2,958 "
        f"people to {people.path.parent}: valid.h5 or valid.npz (hourglass authors) or valid.json (HRNet)."
    )


def _rows_by_numbers(people: AnnotatedPeople, path: Path) -> Int[np.ndarray, "m"]:
    arrays = read_hourglass_arrays(path)
    numbers = zip(people.image_number.tolist(), people.person_number.tolist(), strict=True)
    row_of = {pair: row for row, pair in enumerate(numbers)}
    rows = []
    for image, person, name in zip(
        arrays.image_index.tolist(), arrays.person_index.tolist(), arrays.image_names, strict=True
    ):
        row = row_of.get((image, person))
        if row is None or people.image_names[row] != name:
            raise UserError(
                f"{path} lists person {person} of picture {image} ({name}), whom {people.path} does not "
                "have. Take both files of the same version of MPII (1.0, u12)."
            )
        rows.append(row)
    return np.array(rows, np.int64)


def _rows_by_place(people: AnnotatedPeople, path: Path) -> Int[np.ndarray, "m"]:
    """HRNet's list has no numbers: a person is told by the picture, the middle and the scale."""
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(people.image_names):
        rows_of.setdefault(name, []).append(row)
    listed = read_hrnet_json(path)
    rows = []
    for number, name in enumerate(listed.image_names):
        candidates = np.array(rows_of.get(name, []), np.int64)
        off = np.abs(people.center[candidates] - listed.center[number]).max(-1)
        fits = (off < 1) & (np.abs(people.scale[candidates] - listed.scale[number]) < 1e-3)
        if not fits.any():
            raise UserError(
                f"{path} lists a person in {name} (record {number} from 0) whom {people.path} does not "
                "have. Take both files of the same version of MPII (1.0, u12)."
            )
        rows.append(int(candidates[fits.argmax()]))
    return np.array(rows, np.int64)
