"""Skeletons: joint names, mirror pairs, limbs for drawing, parts of score tables, OKS sigmas.

Those of the public data sets stand in `SKELETONS`; `skeleton_from_category` makes one for people's own
data, `joint_map` leads from one to another. Indices count from 0 everywhere.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Skeleton:
    """A set of joints.

    Attributes:
        name: the word that configs use.
        joints: names in the order of the data; `left`/`right` are the person's own.
        flip_pairs: index pairs that change places when the picture is mirrored.
        limbs: index pairs joined by a line in drawings.
        parts: what a score table prints (head, shoulder, ...), each with its joints.
        torso: the two joints whose distance is the torso length of PCK (left shoulder, right hip); None
            where the skeleton lacks one of them.
        sigmas: standard deviations of the joints in object keypoint similarity, as fractions of the
            square root of the person's area; None where the field has none (MPII, LSP).

    Raises:
        ValueError: for joint names that repeat, indices out of range or sigmas of another number.
    """

    name: str
    joints: tuple[str, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    limbs: tuple[tuple[int, int], ...]
    parts: dict[str, tuple[int, ...]]
    torso: tuple[int, int] | None
    sigmas: tuple[float, ...] | None

    def __post_init__(self) -> None:
        what = f"skeleton '{self.name}'"
        if not self.joints:
            raise ValueError(f"{what} has no joints")
        repeated = [joint for joint, count in Counter(self.joints).items() if count > 1]
        if repeated:
            raise ValueError(f"{what} has several joints called {', '.join(repeated)}")
        groups = {"flip_pairs": self.flip_pairs, "limbs": self.limbs, "parts": tuple(self.parts.values())}
        groups["torso"] = (self.torso,) if self.torso else ()
        for field, members in groups.items():
            for joint in sum(members, ()):
                if not 0 <= joint < self.num_joints:
                    raise ValueError(
                        f"{what}: {field} name joint {joint}, but its {self.num_joints} joints "
                        f"are 0 to {self.num_joints - 1}"
                    )
        paired = sum(self.flip_pairs, ())
        if len(set(paired)) < len(paired):
            raise ValueError(f"{what}: flip_pairs name a joint twice")
        if self.sigmas is not None and len(self.sigmas) != self.num_joints:
            raise ValueError(f"{what} has {self.num_joints} joints but {len(self.sigmas)} sigmas")
        if self.sigmas is not None and not all(0 < sigma < np.inf for sigma in self.sigmas):
            raise ValueError(f"{what}: sigmas must be positive, not {self.sigmas}")

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
    sigmas=None,
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
    sigmas=None,
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
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
        0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
)  # fmt: skip

CROWDPOSE = Skeleton(
    name="crowdpose",
    joints=(
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
        "head_top", "neck",
    ),
    flip_pairs=((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)),
    # Not those of the annotation file: it repeats COCO's, which do not fit these joints.
    limbs=(
        (10, 8), (8, 6), (6, 7), (7, 9), (9, 11), (4, 2), (2, 0), (0, 13), (13, 1), (1, 3), (3, 5),
        (0, 6), (1, 7), (12, 13),
    ),
    parts={
        "head": (12, 13), "shoulder": (0, 1), "elbow": (2, 3), "wrist": (4, 5),
        "hip": (6, 7), "knee": (8, 9), "ankle": (10, 11),
    },
    torso=(0, 7),
    # The evaluator of CrowdPose: COCO's for the body, the shoulder's for head and neck.
    sigmas=(
        0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
        0.079, 0.079,
    ),
)  # fmt: skip

# Head and neck of CrowdPose have v = 1 wherever they are labelled (jeffffffli/CrowdPose, issue 23): whether
# they are occluded is not told.
CROWDPOSE_UNTOLD = (12, 13)

PEDESTRIAN = Skeleton(
    name="pedestrian",
    joints=(
        "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
        "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
    limbs=(
        (11, 9), (9, 7), (7, 8), (8, 10), (10, 12), (5, 3), (3, 1), (1, 2), (2, 4), (4, 6),
        (1, 7), (2, 8), (0, 1), (0, 2),
    ),
    parts={
        "head": (0,), "shoulder": (1, 2), "elbow": (3, 4), "wrist": (5, 6),
        "hip": (7, 8), "knee": (9, 10), "ankle": (11, 12),
    },
    torso=(1, 8),
    # COCO's; the head has the ear's, the widest of the face.
    sigmas=(
        0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089,
    ),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (MPII, LSP, COCO, CROWDPOSE, PEDESTRIAN)}


def to_json(skeleton: Skeleton) -> dict[str, Any]:
    """The skeleton as JSON has it: lists and plain values."""
    return {
        "name": skeleton.name,
        "joints": list(skeleton.joints),
        "flip_pairs": [list(pair) for pair in skeleton.flip_pairs],
        "limbs": [list(limb) for limb in skeleton.limbs],
        "parts": {part: list(joints) for part, joints in skeleton.parts.items()},
        "torso": None if skeleton.torso is None else list(skeleton.torso),
        "sigmas": None if skeleton.sigmas is None else list(skeleton.sigmas),
    }


def from_json(data: Mapping[str, Any]) -> Skeleton:
    """The skeleton that `to_json` wrote. Raises ValueError for a missing or malformed entry."""
    missing = [field.name for field in dataclasses.fields(Skeleton) if field.name not in data]
    if missing:
        raise ValueError(f"the skeleton lacks the entry {', '.join(missing)}")
    torso, sigmas = data["torso"], data["sigmas"]
    try:
        return Skeleton(
            name=str(data["name"]),
            joints=tuple(str(joint) for joint in data["joints"]),
            flip_pairs=tuple(_pair(pair) for pair in data["flip_pairs"]),
            limbs=tuple(_pair(limb) for limb in data["limbs"]),
            parts={str(part): tuple(int(j) for j in joints) for part, joints in data["parts"].items()},
            torso=None if torso is None else _pair(torso),
            sigmas=None if sigmas is None else tuple(float(sigma) for sigma in sigmas),
        )
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the skeleton has an entry of the wrong type ({error})") from error


def _pair(joints: Sequence[int]) -> tuple[int, int]:
    first, second = joints
    return int(first), int(second)


# Two names of one joint: what the field calls them, and the word used for comparisons.
_SYNONYMS = {"upper_neck": "neck", "top_head": "head_top"}


def plain_name(joint: str) -> str:
    """A joint's name in one spelling: `LShoulder`, `shoulder_l`, `Left shoulder` -> `left_shoulder`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=\b[LR])(?=[A-Z][a-z])", "_", joint)
    words = [word for word in re.split(r"[\W_]+", snake.lower()) if word]
    words = [{"l": "left", "r": "right"}.get(word, word) for word in words]
    sides = [word for word in words if word in ("left", "right")]
    if len(sides) == 1:
        words.remove(sides[0])
        words = sides + words
    name = "_".join(words)
    return _SYNONYMS.get(name, name)


def skeleton_from_category(category: Mapping[str, Any]) -> Skeleton:
    """Skeleton of an entry of a COCO file's `categories`.

    Joints named and ordered as in one of SKELETONS give that skeleton (so `crowdpose` for the `head` and
    `neck` of its file, whose limbs are wrong). Otherwise the entry's own names and limbs stay; names that
    differ in left/right (`l`/`r`, before or after) alone are mirror pairs and form one part; a joint that
    COCO has takes COCO's sigma, any other the mean of COCO's.

    Args:
        category: `name`, `keypoints` (names) and optionally `skeleton` (pairs that count from 1).

    Raises:
        ValueError: where names or limbs are missing, repeated or out of range.
    """
    joints, limbs = category.get("keypoints"), category.get("skeleton") or []
    if not isinstance(joints, list) or not joints or not all(isinstance(joint, str) for joint in joints):
        raise ValueError("the category has no list `keypoints` of joint names")
    if not isinstance(limbs, list):
        raise ValueError(f"the category's `skeleton` is {limbs!r}; it must be a list of joint pairs")
    names = [plain_name(joint) for joint in joints]
    for skeleton in SKELETONS.values():
        known = [plain_name(joint) for joint in skeleton.joints]
        if names in (known, ["head" if name == "head_top" else name for name in known]):
            return skeleton
    repeated = [joint for joint, name in zip(joints, names, strict=True) if names.count(name) > 1]
    if repeated:
        raise ValueError(f"the category's `keypoints` name one joint several times: {', '.join(repeated)}")
    index = {name: position for position, name in enumerate(names)}
    sides = [(f"left_{part}", f"right_{part}") for part in dict.fromkeys(map(_without_side, names))]
    parts: dict[str, list[int]] = {}
    for name, position in index.items():
        parts.setdefault(_without_side(name), []).append(position)
    sigmas = dict(zip(COCO.joints, COCO.sigmas or (), strict=True))
    mean_sigma = float(np.mean(list(sigmas.values())))
    return Skeleton(
        name=str(category.get("name", "custom")),
        joints=tuple(joints),
        flip_pairs=tuple((index[a], index[b]) for a, b in sides if a in index and b in index),
        limbs=tuple(_limb(limb, len(joints)) for limb in limbs),
        parts={part: tuple(positions) for part, positions in parts.items()},
        torso=(index["left_shoulder"], index["right_hip"])
        if {"left_shoulder", "right_hip"} <= set(index)
        else None,
        sigmas=tuple(sigmas.get(name, mean_sigma) for name in names),
    )


_LOWER_BODY = {"pelvis", "hip", "knee", "ankle", "foot", "heel", "toe"}


def lower_body(skeleton: Skeleton) -> tuple[int, ...]:
    """The joints from the pelvis down, by their names; all others are the upper body.

    Those of MPII and COCO are the `lower_body_ids` of HRNet's lib/dataset/mpii.py and coco.py.
    """
    return tuple(
        index
        for index, joint in enumerate(skeleton.joints)
        if not _LOWER_BODY.isdisjoint(plain_name(joint).split("_"))
    )


def _without_side(name: str) -> str:
    return name.removeprefix("left_").removeprefix("right_")


def _limb(limb: Any, num_joints: int) -> tuple[int, int]:
    """A pair of the COCO form, which counts joints from 1."""
    if (
        not isinstance(limb, list)
        or len(limb) != 2
        or not all(isinstance(joint, int) and 1 <= joint <= num_joints for joint in limb)
    ):
        raise ValueError(
            f"the category's `skeleton` has {limb}; each entry must be two joints, counted 1 to {num_joints}"
        )
    return limb[0] - 1, limb[1] - 1


@dataclass(frozen=True)
class JointMap:
    """How the joints of one skeleton come from those of another.

    Attributes:
        sources: for each target joint the source joints whose mean it is; empty: it stays unlabelled.
        needs_all: for each target joint: True, all sources must be labelled; False, the mean is taken over
            the best visible ones.
    """

    sources: tuple[tuple[int, ...], ...]
    needs_all: tuple[bool, ...]


_FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
# Joints that a skeleton without them can supply: (sources, all of them needed). First fitting line counts.
_MEANS: dict[str, list[tuple[tuple[str, ...], bool]]] = {
    # Interpolated as in bearpaw/pytorch-pose miscs/gen_lsp.m, which brings LSP to MPII's joints.
    "pelvis": [(("left_hip", "right_hip"), True)],
    "thorax": [(("left_shoulder", "right_shoulder"), True)],
    "head": [(_FACE, False), (("head_top", "neck"), True)],
}


def joint_map(source: Skeleton, target: Skeleton) -> JointMap:
    """Mapping between skeletons by the joints' meaning.

    A joint comes from the one of the same name (`plain_name`; MPII's upper neck is the neck of LSP and
    CrowdPose), else from a mean: pelvis of the hips, thorax of the shoulders, the pedestrian's head of
    nose, eyes and ears as far as visible, or of head top and neck. Otherwise it stays unlabelled.
    """
    index = {plain_name(joint): position for position, joint in enumerate(source.joints)}
    sources, needs_all = [], []
    for joint in target.joints:
        name = plain_name(joint)
        ways = [((name,), True), *_MEANS.get(name, []), ((), True)]
        names, every = next(way for way in ways if set(way[0]) <= set(index))
        sources.append(tuple(index[each] for each in names))
        needs_all.append(every)
    return JointMap(tuple(sources), tuple(needs_all))


def map_joints(
    mapping: JointMap,
    keypoints: Float[np.ndarray, "*n k 2"],
    visibility: Int[np.ndarray, "*n k"],
    occlusion_known: Bool[np.ndarray, "*n k"],
) -> tuple[Float[np.ndarray, "*n j 2"], Int[np.ndarray, "*n j"], Bool[np.ndarray, "*n j"]]:
    """Keypoints, visibility and occlusion_known of the target's joints.

    A mean of joints that are all needed is occluded if one of them is, unlabelled (visibility 0, place 0)
    if one of them is; of the best visible ones it has their visibility. Its occlusion is known where that
    of every joint in the mean is.
    """
    shape = (*visibility.shape[:-1], len(mapping.sources))
    points = np.zeros((*shape, 2), keypoints.dtype)
    flags, known = np.zeros(shape, visibility.dtype), np.zeros(shape, bool)
    for joint, (sources, needs_all) in enumerate(zip(mapping.sources, mapping.needs_all, strict=True)):
        if not sources:
            continue
        indices = list(sources)
        seen = visibility[..., indices]
        flags[..., joint] = seen.min(-1) if needs_all else seen.max(-1)
        labelled = flags[..., joint] > 0
        used = (seen > 0) if needs_all else (seen == flags[..., joint, None])
        used &= labelled[..., None]
        total = np.where(used[..., None], keypoints[..., indices, :], 0).sum(-2)
        points[..., joint, :] = total / np.maximum(used.sum(-1), 1)[..., None]
        known[..., joint] = labelled & (occlusion_known[..., indices] | ~used).all(-1)
    return points, flags, known
