"""Reading LSP as its authors released it: `joints.mat` beside a folder `images/`.

Column n - 1 of `joints` (3, 14, N) belongs to `images/imNNNN.jpg` of number n (four digits, from 1);
its rows are x, y and a flag: 1 OCCLUDED, 0 visible (the opposite sense to LSP-extended). All joints
are labelled. The first half is for training, the last half for testing: 1000 each.

There are two releases with pictures of different sizes (`lsp_dataset_original.zip` and
`lsp_dataset.zip`), each with the joints.mat of its own pixels.
"""

from pathlib import Path
from typing import Any

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
from oasjax.input_pipeline.decode import image_size, read_bytes

SKELETON = LSP
SPLITS = ("train", "test")
LAYOUT = "joints.mat and images/im0001.jpg, images/im0002.jpg, ..., images/im2000.jpg"

# Enough pictures to tell the two releases apart.
_PICTURES_MEASURED = 100


def find_folder(data_dir: str | Path) -> Path:
    """The folder that holds joints.mat (and images/): `data_dir` itself or `data_dir`/lsp.

    Raises:
        UserError: neither does; the message names the files and the option to pass.
    """
    for folder in (Path(data_dir), Path(data_dir) / "lsp"):
        if (folder / "joints.mat").is_file():
            return folder
    folder = Path(data_dir)
    problem = "it lacks them" if folder.is_dir() else "there is no such folder"
    raise UserError(
        f"LSP not found in {folder}: {problem}. Expected there or in its subfolder lsp: {LAYOUT}. "
        "Pass --config.data.data_dir=FOLDER."
    )


def read_visibility(folder: Path, split: str) -> Int8[np.ndarray, "n 14"]:
    """Visibility of everybody of a split as annotated, with or without a picture."""
    joints = annotated_joints(folder / "joints.mat")
    return _visibility(joints)[_numbers(joints, split) - 1]


def read_people(folder: Path, split: str) -> PeopleOfSplit:
    """The people of one split whose pictures exist, as `person_records` describes them.

    Args:
        folder: as `find_folder` returns it.
        split: "train" or "test".

    Raises:
        UserError: joints.mat is no such file or belongs to pictures of another size, or the split has
            no picture.
    """
    joints = annotated_joints(folder / "joints.mat")
    visibility = _visibility(joints)
    keypoints = joints[:2].transpose(2, 1, 0)
    candidates = []
    for number in _numbers(joints, split).tolist():
        labelled = np.ones(LSP.num_joints, np.bool_)
        box = labelled_box(keypoints[number - 1], labelled)
        candidates.append(
            person_record(
                image_id=f"im{number:04d}.jpg",
                keypoints=keypoints[number - 1],
                visibility=visibility[number - 1],
                occlusion_known=labelled,
                bbox_xywh=box,
                area=float(box[2] * box[3]),
                image_number=number,
            )
        )
    names = [candidate["image_id"] for candidate in candidates]
    people = usable_people(f"LSP {split}", candidates, folder / "images", names, LAYOUT)
    _check_picture_sizes(people, folder / "joints.mat")
    return people


def annotated_joints(path: Path) -> Float[np.ndarray, "3 14 n"]:
    """`joints` of a joints.mat file, checked: x, y, 1 where occluded. Raises UserError."""
    joints = read_joints(path, (3, LSP.num_joints))
    check_flags(path, joints[2])
    names = [f"picture {number}" for number in range(1, joints.shape[2] + 1)]
    check_labelled_positions(
        path, joints[:2].transpose(2, 1, 0), np.ones((len(names), LSP.num_joints), np.bool_), names
    )
    return joints


def _visibility(joints: Float[np.ndarray, "3 14 n"]) -> Int8[np.ndarray, "n 14"]:
    return np.where(joints[2].T == 1, 1, 2).astype(np.int8)


def _numbers(joints: Float[np.ndarray, "3 14 n"], split: str) -> Int[np.ndarray, "m"]:
    """Picture numbers of a split, from 1."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
    numbers = np.arange(1, joints.shape[2] + 1)
    is_train = numbers <= joints.shape[2] // 2
    return numbers[is_train == (split == "train")]


def _check_picture_sizes(people: list[dict[str, Any]], path: Path) -> None:
    """Refuse the pictures of one release beside the joints of the other.

    Args:
        people: records whose `keypoints` are all labelled; the first ones are measured.
        path: the file of the joints, named in the error.

    Raises:
        UserError: in most pictures joints lie far outside, or reach less than half across.
    """
    sizes, highest, lowest = [], [], []
    for person in people[:_PICTURES_MEASURED]:
        try:
            sizes.append(image_size(read_bytes(person["image_path"]), person["image_id"]))
        except UserError:  # a broken picture is told when it is to be cut
            continue
        highest.append(person["keypoints"].max(0))
        lowest.append(person["keypoints"].min(0))
    if not sizes:
        return
    high, low = np.array(highest) / sizes, np.array(lowest) / sizes
    outside = (high > 1.1).any(-1) | (low < -0.1).any(-1)
    if outside.mean() > 0.5 or np.median(high.max(-1)) < 0.5:
        relation = "smaller" if outside.mean() > 0.5 else "larger"
        raise UserError(
            f"The pictures beside {path} are {relation} than the ones its joints were marked in: LSP has two "
            "releases, lsp_dataset_original.zip and lsp_dataset.zip. Take pictures and joints.mat of one."
        )
