"""What LSP and LSP-extended have in common: the array `joints` of a `joints.mat`."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from oasjax.datasets.mat_file import load_mat
from oasjax.errors import UserError


def read_joints(path: Path, shape: tuple[int, int]) -> Float[np.ndarray, "a b n"]:
    """The array `joints` of a joints.mat file, whose first two axes must be of this shape.

    Raises:
        UserError: it is no such file.
    """
    joints = load_mat(path, ["joints"])["joints"]
    if not isinstance(joints, np.ndarray) or joints.dtype.kind not in "fiu":
        raise UserError(f"{path}: `joints` holds no numbers. Is this another data set?")
    # MATLAB drops a last axis of length 1.
    if joints.ndim == 2:
        joints = joints[..., None]
    if joints.shape[:2] != shape or joints.ndim != 3:
        raise UserError(
            f"{path}: `joints` has shape {joints.shape}, expected ({shape[0]}, {shape[1]}, N). "
            "Is this another data set?"
        )
    return joints.astype(np.float64)


def check_flags(path: Path, flags: Float[np.ndarray, "k n"]) -> None:
    """UserError naming the picture unless each joint's flag is 0 or 1."""
    bad = ~np.isin(flags, (0, 1)).all(0)
    if bad.any():
        raise UserError(
            f"{path}: a joint of picture {int(bad.argmax()) + 1} has a flag that is neither 0 nor 1. "
            "Fetch the file again."
        )
