"""Skeletons: joint names, mirror pairs, limbs for drawing, and the parts that score tables print."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Skeleton:
    """A set of joints.

    Attributes:
        name: the word that configs use.
        joints: names in the order of the data; `left`/`right` are the person's own.
        flip_pairs: index pairs that change places when the picture is mirrored.
        limbs: index pairs joined by a line in drawings.
        parts: what a score table prints (head, shoulder, ...), each with its joints.
        torso: the two joints whose distance is the torso length of PCK (left shoulder, right hip).
    """

    name: str
    joints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, ...]]
    torso: tuple[int, int]

    @property
    def num_joints(self) -> int:
        return len(self.joints)


def flip_permutation(skeleton: Skeleton) -> Int[np.ndarray, "k"]:
    """Index array p such that `keypoints[p]` names the joints of the mirrored picture rightly."""
    permutation = np.arange(skeleton.num_joints)
    for a, b in skeleton.flip_pairs:
        permutation[[a, b]] = b, a
    return permutation


MPII = Skeleton(
    name="mpii",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "upper_neck", "head_top",
        "right_wrist", "right_elbow", "right_shoulder",
        "left_shoulder", "left_elbow", "left_wrist",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    limbs=(
        (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9),
        (10, 11), (11, 12), (12, 7), (7, 13), (13, 14), (14, 15),
    ),
    # As the published evaluators: "head" is the head top alone; pelvis and thorax are not scored.
    parts={
        "head": (9,), "shoulder": (12, 13), "elbow": (11, 14), "wrist": (10, 15),
        "hip": (2, 3), "knee": (1, 4), "ankle": (0, 5),
    },
    torso=(13, 2),
)  # fmt: skip

LSP = Skeleton(
    name="lsp",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder",
        "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
    limbs=(
        (0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 12), (12, 9), (9, 10), (10, 11),
        (2, 8), (3, 9), (12, 13),
    ),
    parts={
        "head": (12, 13), "shoulder": (8, 9), "elbow": (7, 10), "wrist": (6, 11),
        "hip": (2, 3), "knee": (1, 4), "ankle": (0, 5),
    },
    torso=(9, 2),
)  # fmt: skip

COCO = Skeleton(
    name="coco",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    limbs=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (7, 9),
        (6, 8), (8, 10), (0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    parts={
        "head": (0, 1, 2, 3, 4), "shoulder": (5, 6), "elbow": (7, 8), "wrist": (9, 10),
        "hip": (11, 12), "knee": (13, 14), "ankle": (15, 16),
    },
    torso=(5, 12),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (MPII, LSP, COCO)}
