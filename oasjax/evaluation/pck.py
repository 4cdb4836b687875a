"""Percentage of correct keypoints: PCKh (head size) and PCK (torso length), split by occlusion.

Result of both, as every metrics JSON nests: {split: {metric: {part: value}}} with

- split `all`, `visible`, `occluded`. Only joints whose occlusion is known count in the last two;
- metric `pckh@0.5`, `pck@0.2`, ... (the threshold is part of the name), in percent;
- part `head` ... `ankle` as the skeleton groups them (mean of the part's joints, left and right
  alike), `mean` (all scored joints weighted by how often each is labelled, HRNet's mean) and
  `mean_unweighted` (plain mean over joints, the mean of the MATLAB evaluators). None where a subset
  has no joint.

Under `all` stands also `people_left_out` = {metric: people without a usable reference length}.

`pckh_curve` and `pck_curve` give the same for many thresholds at once, `auc` the area under them.

Sources: MPII's PCKh as in HRNet `lib/dataset/mpii.py` (comparison `<=`; pelvis and thorax not
scored, upper neck scored in the means although it belongs to no part; the MATLAB evaluators and
bearpaw/pytorch-pose compare with `<`); LSP's person-centric PCK as in bearpaw/eval_pose
`utils/eval_pck.m`.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from oasjax.datasets.skeletons import Skeleton

SPLITS = ("all", "visible", "occluded")
# The published MPII evaluators leave these out: they are interior points that annotators guess.
UNSCORED_JOINTS = frozenset({"pelvis", "thorax"})
PCKH_THRESHOLDS = np.linspace(0.0, 0.5, 51)
PCK_THRESHOLDS = np.linspace(0.0, 0.2, 21)
# People whose distances are in memory at one time: their arrays fit a core's cache.
CHUNK = 4096

Parts = dict[str, float | int | None]
Metrics = dict[str, dict[str, Parts]]


class Curve(NamedTuple):
    """Percentage of correct keypoints over thresholds.

    Attributes:
        metric: `pckh` or `pck`.
        thresholds: (t,) ascending fractions of the reference length.
        percent: {split: {part: (t,) percent, or None where a subset has no joint}}.
        people_left_out: number of people without a usable reference length.
    """

    metric: str
    thresholds: np.ndarray
    percent: dict[str, dict[str, np.ndarray | None]]
    people_left_out: int


def pckh(
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    head_size: Float[np.ndarray, "n"],
    skeleton: Skeleton,
    threshold: float = 0.5,
    *,
    inclusive: bool = True,
) -> Metrics:
    """PCKh: share of joints predicted within `threshold` head sizes of the truth.

    Args:
        predicted: predicted joints in image pixels; a NaN counts as wrong.
        keypoints: true joints in image pixels; values of unlabelled joints are never looked at.
        visibility: 0 not labelled (not scored), 1 occluded, 2 visible.
        occlusion_known: False joints count in `all` only.
        head_size: pixels; a person whose head size is NaN or <= 0 is left out and counted.
        skeleton: joint names and parts.
        threshold: fraction of the head size.
        inclusive: a distance equal to the threshold is correct (HRNet), otherwise wrong (MATLAB).

    Raises:
        ValueError: for arrays whose shapes do not belong together.
    """
    return _scores(
        pckh_curve(
            predicted, keypoints, visibility, occlusion_known, head_size, skeleton,
            np.array([threshold]), inclusive=inclusive,
        )
    )  # fmt: skip


def pck(
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    skeleton: Skeleton,
    threshold: float = 0.2,
    *,
    inclusive: bool = True,
) -> Metrics:
    """PCK: as `pckh`, measured in torso lengths (left shoulder to right hip).

    A person with an unlabelled torso joint, or with a torso of length 0, is left out and counted.
    ValueError also for a skeleton without a torso.
    """
    return _scores(
        pck_curve(
            predicted, keypoints, visibility, occlusion_known, skeleton,
            np.array([threshold]), inclusive=inclusive,
        )
    )  # fmt: skip


def pckh_curve(
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    head_size: Float[np.ndarray, "n"],
    skeleton: Skeleton,
    thresholds: Float[np.ndarray, "t"] = PCKH_THRESHOLDS,
    *,
    inclusive: bool = True,
) -> Curve:
    """PCKh at ascending thresholds; arguments and errors as of `pckh`."""
    return _curve(
        "pckh", predicted, keypoints, visibility, occlusion_known, head_size, skeleton, thresholds, inclusive
    )


def pck_curve(
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    skeleton: Skeleton,
    thresholds: Float[np.ndarray, "t"] = PCK_THRESHOLDS,
    *,
    inclusive: bool = True,
) -> Curve:
    """PCK at ascending thresholds; arguments and errors as of `pck`."""
    length = torso_length(keypoints, visibility, skeleton)
    return _curve(
        "pck", predicted, keypoints, visibility, occlusion_known, length, skeleton, thresholds, inclusive
    )


def auc(curve: Curve) -> Metrics:
    """Area under the curve by the trapezoidal rule, divided by the range of the thresholds: percent.

    The metric is named by the largest threshold: `pckh_auc@0.5`.
    """
    thresholds = curve.thresholds
    if len(thresholds) < 2:
        raise ValueError("an area needs a curve of at least two thresholds")
    metric = f"{curve.metric}_auc@{thresholds[-1]:g}"
    extent = thresholds[-1] - thresholds[0]
    result: Metrics = {
        split: {
            metric: {
                part: None if percent is None else float(np.trapezoid(percent, thresholds) / extent)
                for part, percent in parts.items()
            }
        }
        for split, parts in curve.percent.items()
    }
    result["all"]["people_left_out"] = {metric: curve.people_left_out}
    return result


def torso_length(
    keypoints: Float[np.ndarray, "n k 2"], visibility: Int[np.ndarray, "n k"], skeleton: Skeleton
) -> Float[np.ndarray, "n"]:
    """Distance from left shoulder to right hip in pixels; NaN where one of them is not labelled.

    Raises:
        ValueError: where the skeleton has no torso, or other joints than the arrays.
    """
    if skeleton.torso is None:
        raise ValueError(f"skeleton '{skeleton.name}' has no left shoulder and right hip to measure PCK by")
    if keypoints.shape[1:] != (skeleton.num_joints, 2) or visibility.shape != keypoints.shape[:2]:
        raise ValueError(
            f"torso length: keypoints {keypoints.shape} and visibility {visibility.shape} do not fit the "
            f"{skeleton.num_joints} joints of skeleton '{skeleton.name}'"
        )
    a, b = skeleton.torso
    labelled = (visibility[:, a] > 0) & (visibility[:, b] > 0)
    # Unlabelled joints may hold anything, infinity too.
    start = np.where(labelled[:, None], keypoints[:, a], np.nan).astype(np.float64)
    return np.linalg.norm(start - np.where(labelled[:, None], keypoints[:, b], np.nan), axis=-1)


def mean_pose(
    crop_keypoints: Float[np.ndarray, "n k 2"], visibility: Int[np.ndarray, "n k"]
) -> Float[np.ndarray, "k 2"]:
    """Mean place of each joint over the people in whom it is labelled, in crop pixels.

    Predicting it for everyone is the floor that a trained model must beat. A joint that nobody has
    labelled is NaN.
    """
    labelled = (visibility > 0)[..., None]
    total = np.where(labelled, crop_keypoints, 0.0).sum(axis=0, dtype=np.float64)
    count = labelled.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _curve(
    metric: str,
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    reference_length: Float[np.ndarray, "n"],
    skeleton: Skeleton,
    thresholds: Float[np.ndarray, "t"],
    inclusive: bool,
) -> Curve:
    if len(thresholds) == 0 or not (np.diff(thresholds, prepend=-np.inf) > 0).all():
        raise ValueError(f"{metric}: thresholds must ascend, got {thresholds}")
    people = len(keypoints)
    joints = (people, skeleton.num_joints)
    expected = {
        "predicted": (predicted, (*joints, 2)),
        "keypoints": (keypoints, (*joints, 2)),
        "visibility": (visibility, joints),
        "occlusion_known": (occlusion_known, joints),
        "reference length": (reference_length, (people,)),
    }
    for name, (array, shape) in expected.items():
        if np.shape(array) != shape:
            raise ValueError(f"{metric}: {name} has shape {np.shape(array)}, expected {shape}")

    usable = np.isfinite(reference_length) & (reference_length > 0)
    length = np.where(usable, reference_length, np.nan).astype(np.float64)
    table = np.zeros((_NUM_GROUPS, skeleton.num_joints, len(thresholds) + 1), np.int64)
    for start in range(0, people, CHUNK):
        rows = slice(start, start + CHUNK)
        distance = _distance_px(predicted[rows], keypoints[rows]) / length[rows, None]
        groups = _groups(visibility[rows], occlusion_known[rows], usable[rows])
        table += _tally(distance, groups, thresholds, inclusive)
    return Curve(
        metric=metric,
        thresholds=thresholds,
        percent={
            split: _part_percent(table[groups].sum(axis=0), skeleton) for split, groups in _SPLIT_GROUPS
        },
        people_left_out=int((~usable).sum()),
    )


# Every joint is in one group: not scored, occluded, visible, labelled without known occlusion.
_NUM_GROUPS = 4
_SPLIT_GROUPS = (("all", [1, 2, 3]), ("visible", [2]), ("occluded", [1]))


def _groups(
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    usable: Bool[np.ndarray, "n"],
) -> Int[np.ndarray, "n k"]:
    labelled = (visibility > 0) & usable[:, None]
    known = occlusion_known & (visibility <= 2)
    return np.where(labelled, np.where(known, visibility, 3), 0).astype(np.int64)


def _distance_px(
    predicted: Float[np.ndarray, "n k 2"], keypoints: Float[np.ndarray, "n k 2"]
) -> Float[np.ndarray, "n k"]:
    # What is infinite, enormous or NaN is compared as wrong, or belongs to no label.
    with np.errstate(invalid="ignore", over="ignore"):
        offset = predicted.astype(np.float64) - keypoints
        offset *= offset
        return np.sqrt(offset[..., 0] + offset[..., 1])


def _tally(
    distance: Float[np.ndarray, "n k"],
    groups: Int[np.ndarray, "n k"],
    thresholds: Float[np.ndarray, "t"],
    inclusive: bool,
) -> Int[np.ndarray, "group k bins"]:
    """Joints by group, joint and the first threshold that they meet; the last bin meets none, as NaN does."""
    joints, bins = distance.shape[1], len(thresholds) + 1
    first_met = np.searchsorted(thresholds, distance, side="left" if inclusive else "right")
    cells = (groups * joints + np.arange(joints)) * bins + first_met
    counts = np.bincount(cells.ravel(), minlength=_NUM_GROUPS * joints * bins)
    return counts.reshape(_NUM_GROUPS, joints, bins)


def _part_percent(table: Int[np.ndarray, "k bins"], skeleton: Skeleton) -> dict[str, np.ndarray | None]:
    hits, count = table.cumsum(axis=1)[:, :-1], table.sum(axis=1)
    percent = 100.0 * hits / np.maximum(count, 1)[:, None]

    def joint_mean(joints: tuple[int, ...]) -> np.ndarray | None:
        present = [joint for joint in joints if count[joint]]
        return percent[present].mean(axis=0) if present else None

    scored = tuple(j for j, name in enumerate(skeleton.joints) if name not in UNSCORED_JOINTS)
    total = count[list(scored)].sum()
    parts = {part: joint_mean(joints) for part, joints in skeleton.parts.items()}
    parts["mean"] = 100.0 * hits[list(scored)].sum(axis=0) / total if total else None
    parts["mean_unweighted"] = joint_mean(scored)
    return parts


def _scores(curve: Curve) -> Metrics:
    """The curve of one threshold as a metric of that name."""
    metric = f"{curve.metric}@{curve.thresholds[0]:g}"
    result: Metrics = {
        split: {metric: {part: None if value is None else float(value[0]) for part, value in parts.items()}}
        for split, parts in curve.percent.items()
    }
    result["all"]["people_left_out"] = {metric: curve.people_left_out}
    return result
