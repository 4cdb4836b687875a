"""Reading LSP-extended as its authors released it: `joints.mat` beside a folder `images/`.

Column n - 1 of `joints` (14, 3, N) belongs to `images/imNNNNN.jpg` of number n (five digits, from
1); its rows are x, y and a flag: 1 labelled, 0 not labelled (the coordinates are then junk, nearly
always outside the picture). Nothing is said about occlusion, so a labelled joint gets
visibility 2 with `occlusion_known` False.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Int8

from oasjax.datasets.leeds_joints import check_flags, read_joints
from oasjax.datasets.person_records import (
    PeopleOfSplit,
    check_labelled_positions,
    labelled_box,
    person_record,
    usable_people,
)
from oasjax.datasets.skeletons import LSP
from oasjax.errors import UserError

SKELETON = LSP
SPLITS = ("train", "test")
LAYOUT = "joints.mat and images/im00001.jpg, images/im00002.jpg, ... (as many as there are)"

_TEST_EVERY = 25


def find_folder(data_dir: str | Path) -> Path:
    """The folder that holds joints.mat and images/: `data_dir` itself or `data_dir`/lspet.

    Raises:
        UserError: neither holds them; the message names the files and the option to pass.
    """
    for folder in (Path(data_dir), Path(data_dir) / "lspet"):
        if (folder / "joints.mat").is_file() and (folder / "images").is_dir():
            return folder
    folder = Path(data_dir)
    problem = "it lacks them" if folder.is_dir() else "there is no such folder"
    raise UserError(
        f"LSP-extended not found in {folder}: {problem}. Expected there or in its subfolder lspet: "
        f"{LAYOUT}. Pass --config.data.data_dir=FOLDER."
    )


def is_test_number(number: int) -> bool:
    """The split: picture numbers 1, 26, 51, ... are for testing, all others for training."""
    return number % _TEST_EVERY == 1


def read_visibility(folder: Path, split: str) -> Int8[np.ndarray, "n 14"]:
    """Visibility of everybody of a split as annotated, with or without a picture."""
    joints = _read_joints(folder / "joints.mat")
    return _visibility(joints)[_numbers(joints, split) - 1]


def read_people(folder: Path, split: str) -> PeopleOfSplit:
    """The people of one split by picture number, as `person_records` describes them.

    Only pictures that exist count; people whose labelled joints span no area cannot be cut out and
    are left out. One log line says how many of each there are.

    Args:
        folder: as `find_folder` returns it.
        split: "train" or "test".

    Raises:
        UserError: joints.mat is no such file, or the split has no picture.
    """
    joints = _read_joints(folder / "joints.mat")
    visibility = _visibility(joints)
    candidates = []
    for number in _numbers(joints, split).tolist():
        keypoints, labelled = joints[:, :2, number - 1], visibility[number - 1] > 0
        box = labelled_box(keypoints, labelled)
        candidates.append(
            person_record(
                image_id=f"im{number:05d}.jpg",
                keypoints=keypoints,
                visibility=visibility[number - 1],
                occlusion_known=np.zeros(LSP.num_joints, np.bool_),
                bbox_xywh=box,
                area=float(box[2] * box[3]),
                image_number=number,
            )
        )
    names = [candidate["image_id"] for candidate in candidates]
    return usable_people(f"LSP-extended's {split} split", candidates, folder / "images", names, LAYOUT)


def _read_joints(path: Path) -> Float[np.ndarray, "14 3 n"]:
    joints = read_joints(path, (LSP.num_joints, 3))
    check_flags(path, joints[:, 2])
    names = [f"picture {number}" for number in range(1, joints.shape[2] + 1)]
    check_labelled_positions(path, joints[:, :2].transpose(2, 0, 1), joints[:, 2].T == 1, names)
    return joints


def _visibility(joints: Float[np.ndarray, "14 3 n"]) -> Int8[np.ndarray, "n 14"]:
    return np.where(joints[:, 2].T == 1, 2, 0).astype(np.int8)


def _numbers(joints: Float[np.ndarray, "14 3 n"], split: str) -> Int[np.ndarray, "m"]:
    """Picture numbers of a split, from 1."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
    numbers = range(1, joints.shape[2] + 1)
    return np.array([n for n in numbers if is_test_number(n) == (split == "test")], np.int64)
