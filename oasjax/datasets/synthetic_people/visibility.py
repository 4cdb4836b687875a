"""Visibility: which joints are seen, and what hides the others."""

import numpy as np
from jaxtyping import Bool, Float, Int8, UInt8

from oasjax.datasets.skeletons import MPII
from oasjax.datasets.synthetic_people.anatomy import PARTS
from oasjax.datasets.synthetic_people.canvas import NOTHING, OBJECT, OTHER_PERSON

HIDDEN_BY = ("nothing", "self", "person", "object")
_BY_SELF, _BY_PERSON, _BY_OBJECT = 1, 2, 3

# The parts on which a joint lies; a joint under any other part is hidden.
_SIDED_PARTS = {
    "ankle": ("shin", "foot"), "knee": ("thigh", "shin"), "hip": ("thigh", "torso"),
    "wrist": ("forearm", "hand"), "elbow": ("upper_arm", "forearm"),
    "shoulder": ("upper_arm", "torso"),
}  # fmt: skip
_CENTRAL_PARTS = {
    "pelvis": ("left_torso", "right_torso", "left_thigh", "right_thigh"),
    "thorax": ("left_torso", "right_torso", "neck"),
    "upper_neck": ("neck", "head", "hair"),
    "head_top": ("head", "hair"),
}


def parts_of_joint(joint: str) -> tuple[str, ...]:
    """The parts of `anatomy.PARTS` on which an MPII joint lies."""
    if joint in _CENTRAL_PARTS:
        return _CENTRAL_PARTS[joint]
    side, name = joint.split("_")
    return tuple(f"{side}_{part}" for part in _SIDED_PARTS[name])


def _own_table() -> Bool[np.ndarray, "16 256"]:
    table = np.zeros((MPII.num_joints, 256), bool)
    # Rounding can put a joint at a limb's end one pixel beside the limb: nothing covers it there.
    table[:, NOTHING] = True
    for index, joint in enumerate(MPII.joints):
        table[index, [1 + PARTS.index(part) for part in parts_of_joint(joint)]] = True
    return table


def _cause_table() -> Int8[np.ndarray, "256"]:
    table = np.full(256, _BY_SELF, np.int8)
    table[OTHER_PERSON], table[OBJECT] = _BY_PERSON, _BY_OBJECT
    return table


_IS_OWN, _CAUSE = _own_table(), _cause_table()


def inside_canvas(
    joints: Float[np.ndarray, "16 2"], part_ids: UInt8[np.ndarray, "h w"]
) -> Bool[np.ndarray, "16"]:
    """Whether the pixel of each joint (canvas pixels) belongs to the canvas."""
    height, width = part_ids.shape
    pixels = np.rint(joints)
    return ((pixels >= 0) & (pixels < (width, height))).all(-1)


def joints_hidden_by(
    joints: Float[np.ndarray, "16 2"], part_ids: UInt8[np.ndarray, "h w"]
) -> Int8[np.ndarray, "16"]:
    """Index into HIDDEN_BY of what covers each joint (canvas pixels).

    The topmost part at a joint's pixel decides: a joint lies open if that is a part on which the
    joint lies. Joints outside of the canvas give 0.
    """
    inside = inside_canvas(joints, part_ids)
    columns, rows = np.where(inside[:, None], np.rint(joints), 0).astype(int).T
    topmost = part_ids[rows, columns]
    covered = inside & ~_IS_OWN[np.arange(len(joints)), topmost]
    return np.where(covered, _CAUSE[topmost], 0).astype(np.int8)
