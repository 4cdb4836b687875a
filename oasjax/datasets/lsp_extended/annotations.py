"""Reading LSP-extended as its authors released it: `joints.mat` beside a folder `images/`.

Column n - 1 of `joints` (14, 3, N) belongs to `images/imNNNNN.jpg` of number n (five digits, from
1); its rows are x, y and a flag: 1 labelled, 0 not labelled (the coordinates are then junk, nearly
always outside the picture). Nothing is said about occlusion, so a labelled joint gets
visibility 2 with `occlusion_known` False.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.io.matlab
from jaxtyping import Bool, Float

from oasjax.errors import UserError

_LOG = logging.getLogger(__name__)
_TEST_EVERY = 25
_BOX_GROWTH = 1.2

LAYOUT = "joints.mat and images/im00001.jpg, images/im00002.jpg, ... (as many as there are)"


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


def labelled_box(
    keypoints: Float[np.ndarray, "k 2"], labelled: Bool[np.ndarray, "k"]
) -> Float[np.ndarray, "4"]:
    """Box (left, top, width, height) about the labelled joints, enlarged by 20 % about its centre.

    LSP-extended gives no boxes. Joints lie inside the body: a tenth on each side makes room for the
    rest of it. NaN where no joint is labelled.
    """
    if not labelled.any():
        return np.full(4, np.nan, np.float32)
    low, high = keypoints[labelled].min(0), keypoints[labelled].max(0)
    size = (high - low) * _BOX_GROWTH
    return np.concatenate([(low + high - size) / 2, size]).astype(np.float32)


def read_people(folder: Path, split: str) -> list[dict[str, Any]]:
    """The people of one split by picture number: records with `image_path` in place of `image`.

    Only pictures that exist count; people whose labelled joints span no area cannot be cut out and
    are left out. One log line says how many of each there are.

    Args:
        folder: as `find_folder` returns it.
        split: "train" or "test".

    Raises:
        UserError: joints.mat is no such file, or the split has no picture.
    """
    joints = _read_joints(folder / "joints.mat")
    numbers = [n for n in range(1, joints.shape[2] + 1) if is_test_number(n) == (split == "test")]
    existing = {path.name for path in (folder / "images").iterdir()}
    people: list[dict[str, Any]] = []
    missing, without_box = 0, 0
    for number in numbers:
        name = f"im{number:05d}.jpg"
        if name not in existing:
            missing += 1
            continue
        keypoints, flag = joints[:, :2, number - 1], joints[:, 2, number - 1]
        bbox_xywh = labelled_box(keypoints, flag == 1)
        if not (bbox_xywh[2:] > 0).all():
            without_box += 1
            continue
        people.append(
            {
                "image_path": str(folder / "images" / name),
                "keypoints": keypoints.astype(np.float32),
                "visibility": np.where(flag == 1, 2, 0).astype(np.int8),
                "occlusion_known": np.zeros(len(flag), np.bool_),
                "bbox_xywh": bbox_xywh,
                "head_size": np.float32(np.nan),
                "area": np.float32(bbox_xywh[2] * bbox_xywh[3]),
                "example_id": len(people),
                "image_id": name,
            }
        )
    if not people:
        raise UserError(
            f"No picture of LSP-extended's {split} split in {folder / 'images'}: expected "
            f"{LAYOUT}. Check the folder that --config.data.data_dir names."
        )
    _LOG.warning(
        "LSP-extended %s: %d people; %d of %d pictures have no file, "
        "%d people have too few labelled joints.",
        split, len(people), missing, len(numbers), without_box,
    )  # fmt: skip
    return people


def _read_joints(path: Path) -> Float[np.ndarray, "14 3 n"]:
    try:
        joints = scipy.io.loadmat(path)["joints"]
    except (
        scipy.io.matlab.MatReadError, KeyError, ValueError, TypeError, OSError, NotImplementedError
    ) as error:  # fmt: skip
        raise UserError(
            f"{path} is not LSP-extended's joints.mat ({type(error).__name__}: {error}). Fetch it again."
        ) from None
    if joints.ndim != 3 or joints.shape[:2] != (14, 3):
        raise UserError(
            f"{path}: `joints` has shape {joints.shape}, expected (14, 3, N). Is this another data set?"
        )
    return joints
