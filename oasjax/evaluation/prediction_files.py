"""Reading files of predicted joints that other programs have written: .mat, .h5, .npz, COCO results.

Arrays come in every order of their axes: MPII's as (N, 16, 2) in .mat and (2, 16, N) in .h5, LSP's as
(N, 14, 2), (2, 14, N) or (14, 2, N). The order is told from the sizes; where they allow several readings,
the file is refused. Whether pixels count from 0 or from 1 cannot be told, and is the caller's to know.
"""

import itertools
import math
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from oasjax.datasets.mat_file import load_mat
from oasjax.errors import UserError

# bearpaw/pytorch-pose, anibali/eval-mpii-pose and HRNet write `preds`, bearpaw/eval_pose `pred`.
USUAL_NAMES = ("preds", "pred")
# x and y, perhaps followed by a score.
COORDINATES = (2, 3)
SUFFIXES = (".mat", ".h5", ".hdf5", ".npz")


def read_keypoints(path: Path, num_people: Collection[int], num_joints: int) -> Float[np.ndarray, "n k 2"]:
    """Predicted joints as the file has them: its pixels, its frame, its NaN.

    The array is the one called `preds` or `pred`, or the only array of the file. A third coordinate is
    taken for a score and left out.

    Args:
        num_people: how many people there may be.

    Raises:
        UserError: the file is not what its name says, or has no array of these sizes, or one that can be
            read in several ways.
    """
    name, array = _pick(path, _arrays(path))
    if array.dtype.kind not in "fiu":
        raise UserError(
            f"{path}: `{name}` holds {array.dtype}, no numbers. Save it as floating-point numbers."
        )
    if array.ndim == 2:  # MATLAB drops a last axis of length 1
        array = array[..., None]
    orders = [
        order
        for order in itertools.permutations(range(array.ndim))
        if array.ndim == 3
        and array.shape[order[0]] in num_people
        and array.shape[order[1]] == num_joints
        and array.shape[order[2]] in COORDINATES
    ]
    wanted = f"{' or '.join(map(str, num_people))} people, {num_joints} joints and 2 coordinates"
    if not orders:
        raise UserError(f"{path}: `{name}` has shape {array.shape}; expected {wanted}, in any order.")
    if len(orders) > 1:
        raise UserError(
            f"{path}: `{name}` has shape {array.shape}, and {wanted} fit it in {len(orders)} ways. "
            "Only sizes that differ tell the axes apart."
        )
    return array.transpose(orders[0])[..., :2].astype(np.float64)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file by name."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: predictions are read from {', '.join(SUFFIXES)}, not from '{path.suffix}'.")
    # MATLAB 7.3 writes HDF5 under the name .mat.
    if path.suffix in (".h5", ".hdf5") or (path.suffix == ".mat" and h5py.is_hdf5(path)):
        return _hdf5_arrays(path)
    if path.suffix == ".npz":
        return _npz_arrays(path)
    return {name: value for name, value in load_mat(path).items() if isinstance(value, np.ndarray)}


def _hdf5_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path) as file:
            return {
                name: each[()] for name, each in file.items() if isinstance(each, h5py.Dataset) and each.shape
            }
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no whole HDF5 file ({_first_line(error)}). Fetch or write it again."
        ) from None


def _npz_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        # numpy leaves a file that it has opened itself open where it cannot read it.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise UserError(
                f"{path} holds pickled objects, which could run anything. Save plain arrays of numbers."
            ) from None
        raise UserError(
            f"{path} is no whole .npz file ({_first_line(error)}). Fetch or write it again."
        ) from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _pick(path: Path, arrays: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    for name in USUAL_NAMES:
        if name in arrays:
            return name, arrays[name]
    if len(arrays) != 1:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise UserError(f"{path} has no array called {' or '.join(USUAL_NAMES)}; it holds {found}.")
    return next(iter(arrays.items()))


def check_coco_results(
    path: Path, results: Any, image_ids: Collection[int], category_id: int, num_joints: int
) -> list[dict[str, Any]]:
    """The records of COCO keypoint results, each checked; none is legal.

    Several records of one person are legal, too: detectors give them. What pycocotools would pass over or
    score wrongly in silence is refused: NaN, another category, another number of joints.

    Args:
        path: the file, for messages.
        results: its content.
        image_ids: of the annotated images.
        category_id: of the annotated people.

    Raises:
        UserError: naming the file and the first record at fault.
    """
    if not isinstance(results, list):
        raise UserError(f"{path} holds a JSON {type(results).__name__}; COCO results are a list of records.")
    with_box = bool(results and isinstance(results[0], dict) and results[0].get("bbox"))
    for number, record in enumerate(results):
        fault = _fault(record, image_ids, category_id, num_joints, with_box)
        if fault is not None:
            raise UserError(f"{path}: record {number} (from 0) {fault}.")
    return results


def _fault(
    record: Any, image_ids: Collection[int], category_id: int, num_joints: int, with_box: bool
) -> str | None:
    """What is wrong with a record, or None."""
    if not isinstance(record, dict):
        return f"is {type(record).__name__}, no object with image_id, category_id, keypoints and score"
    lacking = [key for key in ("image_id", "category_id", "keypoints", "score") if key not in record]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    if not isinstance(record["image_id"], int) or record["image_id"] not in image_ids:
        return f"is of image {record['image_id']!r}, which the annotations do not have"
    if record["category_id"] != category_id:
        return f"has category_id {record['category_id']!r}; the annotated people have {category_id}"
    if not _are_numbers(record["keypoints"], 3 * num_joints):
        return (
            f"has keypoints that are not {3 * num_joints} finite numbers: x, y and score of each of the "
            f"{num_joints} joints"
        )
    if not _are_numbers([record["score"]], 1):
        return f"has the score {record['score']!r}, no finite number"
    if with_box and not _are_numbers(record.get("bbox"), 4):
        return "has no bbox of 4 finite numbers, but the first record has one: give boxes to all or to none"
    return None


def _are_numbers(values: Any, count: int) -> bool:
    try:
        return isinstance(values, list) and len(values) == count and all(map(math.isfinite, values))
    except (TypeError, OverflowError):
        return False
