"""The validation ground truth of MPII as Tompson et al. prepared it: what published PCKh are
computed on.

`gt_valid.mat` (also passed on as `detections_our_format.mat` and `mpii_gt_val.mat`) has `dataset_joints`
(the joints' names), `jnt_missing` (16, N), `pos_gt_src` (16, 2, N) and `headboxes_src` (2 corners,
2, N). It says which joints are labelled, not which are hidden. The annotations of the hourglass
authors, `valid.h5` (or the same arrays as `valid.npz`), list the same people in the same order with
`visible` (N, 16), 0 for hidden and for missing joints alike. Together they tell the two apart.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int8

from oasjax.datasets.mat_file import load_mat
from oasjax.datasets.mpii.hourglass_arrays import read_hourglass_arrays
from oasjax.errors import UserError

# The short names in the files, in the order of skeletons.MPII.
JOINT_NAMES = (
    "rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head",
    "rwri", "relb", "rsho", "lsho", "lelb", "lwri",
)  # fmt: skip

MAT_NAMES = ("gt_valid.mat", "detections_our_format.mat", "mpii_gt_val.mat")
VISIBILITY_NAMES = ("valid.h5", "valid.npz")

# Published PCKh: the head size is 0.6 times the diagonal of the head box.
HEAD_SIZE_PER_DIAGONAL = 0.6


@dataclass(frozen=True)
class GroundTruth:
    """The people of MPII's validation set, in the order of the published prediction files.

    Attributes:
        keypoints: (N, 16, 2) image pixels, 1-BASED as in the file: the published predictions are
            1-based, too. Joints that are not labelled hold zeros.
        visibility: (N, 16) 0 not labelled, 1 labelled and occluded, 2 labelled and visible.
        occlusion_known: False where no file says which joints are hidden; all labelled joints have
            visibility 2 then.
        head_size: (N,) 0.6 times the diagonal of the head box, in pixels.
        image_names: (N,) file names, or None where no file tells them.
    """

    keypoints: Float[np.ndarray, "n 16 2"]
    visibility: Int8[np.ndarray, "n 16"]
    occlusion_known: bool
    head_size: Float[np.ndarray, "n"]
    image_names: tuple[str, ...] | None


def read_tompson_ground_truth(folder: str | Path) -> GroundTruth:
    """Read `gt_valid.mat` and, where it lies beside, `valid.h5` or `valid.npz`.

    Args:
        folder: the folder of the files, or its parent where they are in its subfolder annot (or
            annotations).

    Raises:
        UserError: there is no such file, or it is not what its name says, or the two files list
            other people.
    """
    path = find_ground_truth(folder)
    if path is None:
        problem = "it lacks them" if Path(folder).is_dir() else "there is no such folder"
        raise UserError(
            f"MPII's validation ground truth not found in {folder}: {problem}. Expected there or in its "
            f"subfolder annot: {MAT_NAMES[0]}, and beside it {' or '.join(VISIBILITY_NAMES)} for the "
            "occlusion labels."
        )
    keypoints, labelled, head_size = _read_mat(path)
    beside = [path.parent / name for name in VISIBILITY_NAMES if (path.parent / name).is_file()]
    if not beside:
        visibility = np.where(labelled, 2, 0).astype(np.int8)
        return GroundTruth(keypoints, visibility, False, head_size, None)
    arrays = read_hourglass_arrays(beside[0])
    check_same_people(arrays.part, keypoints, labelled, head_size, beside[0], path)
    visibility = np.where(labelled, np.where(arrays.visible != 0, 2, 1), 0).astype(np.int8)
    return GroundTruth(keypoints, visibility, True, head_size, arrays.image_names)


def find_ground_truth(folder: str | Path) -> Path | None:
    """Where `read_tompson_ground_truth` would find the .mat file."""
    for place in (Path(folder), Path(folder) / "annot", Path(folder) / "annotations"):
        for name in MAT_NAMES:
            if (place / name).is_file():
                return place / name
    return None


def _read_mat(
    path: Path,
) -> tuple[Float[np.ndarray, "n 16 2"], Bool[np.ndarray, "n 16"], Float[np.ndarray, "n"]]:
    """Keypoints (zeros where not labelled), which are labelled, head sizes."""
    keys = ("dataset_joints", "jnt_missing", "pos_gt_src", "headboxes_src")
    values = load_mat(path, keys)
    names = tuple(str(np.ravel(cell)[0]) for cell in values["dataset_joints"].ravel())
    if names != JOINT_NAMES:
        raise UserError(
            f"{path}: dataset_joints is {', '.join(names)}; expected {', '.join(JOINT_NAMES)}, in this "
            "order. Is this another data set?"
        )
    missing, positions, boxes = (np.asarray(values[key], np.float64) for key in keys[1:])
    # MATLAB drops a last axis of length 1: a file of one person has two axes less.
    num = missing.shape[1] if missing.ndim == 2 else 0
    shapes = {"jnt_missing": (16, num), "pos_gt_src": (16, 2, num), "headboxes_src": (2, 2, num)}
    for key, array in zip(keys[1:], (missing, positions, boxes), strict=True):
        if array.size != np.prod(shapes[key]) or array.shape[:2] != shapes[key][:2]:
            raise UserError(
                f"{path}: {key} has shape {array.shape}, expected {shapes[key]} as jnt_missing has "
                f"{missing.shape}. Fetch the file again."
            )
    labelled = missing.T == 0
    keypoints = np.where(labelled[..., None], positions.reshape(16, 2, num).transpose(2, 0, 1), 0.0)
    corners = boxes.reshape(2, 2, num)
    head_size = HEAD_SIZE_PER_DIAGONAL * np.linalg.norm(corners[1] - corners[0], axis=0)
    bad_joint, bad_head = ~np.isfinite(keypoints).all((1, 2)), ~(head_size > 0)
    for bad, what in (
        (bad_joint, "has a labelled joint that is no number"),
        (bad_head, "has a head box without size, so PCKh has no unit for it"),
    ):
        if bad.any():
            raise UserError(
                f"{path}: person {int(bad.argmax())} (from 0) {what}. Correct or remove the person."
            )
    return keypoints, labelled, head_size


def check_same_people(
    others: Float[np.ndarray, "m 16 2"],
    keypoints: Float[np.ndarray, "n 16 2"],
    labelled: Bool[np.ndarray, "n 16"],
    head_size: Float[np.ndarray, "n"],
    other_path: Path,
    path: Path,
) -> None:
    """UserError unless two files list the same people in the same order.

    Otherwise it would be mixed up who is hidden, and nobody would notice. `others` may be rounded,
    and a few joints differ by hundreds of pixels; most agree within one.
    """
    if len(others) != len(keypoints):
        raise UserError(
            f"{other_path} lists {len(others)} people, {path} {len(keypoints)}: they belong to different "
            "sets. Put the files of one set into the folder."
        )
    apart = np.linalg.norm(others - keypoints, axis=-1) > head_size[:, None] / 2
    if (apart & labelled).sum() > labelled.sum() / 2:
        raise UserError(
            f"{other_path} and {path} list different people, or the same in another order: most joints "
            "lie apart. Put the files of one set into the folder."
        )
