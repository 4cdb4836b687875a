"""Percentage of correct keypoints: PCKh (head size) and PCK (torso length), split by occlusion.

Result of both, as every metrics JSON nests: {split: {metric: {part: value}}} with

- split `all`, `visible`, `occluded`. Only joints whose occlusion is known count in the last two;
- metric `pckh@0.5`, `pck@0.2`, ... (the threshold is part of the name), in percent;
- part `head` ... `ankle` as the skeleton groups them (mean of the part's joints, left and right
  alike), `mean` (all scored joints weighted by how often each is labelled, HRNet's mean) and
  `mean_unweighted` (plain mean over joints, the mean of the MATLAB evaluators). None where a subset
  has no joint.

Under `all` stands also `people_left_out` = {metric: people without a usable reference length}.

Sources: MPII's PCKh as in HRNet `lib/dataset/mpii.py` (comparison `<=`; pelvis and thorax not
scored, upper neck scored in the means although it belongs to no part); LSP's person-centric PCK.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from oasjax.datasets.skeletons import Skeleton

SPLITS = ("all", "visible", "occluded")
# The published MPII evaluators leave these out: they are interior points that annotators guess.
UNSCORED_JOINTS = frozenset({"pelvis", "thorax"})

Parts = dict[str, float | int | None]
Metrics = dict[str, dict[str, Parts]]


def pckh(
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    head_size: Float[np.ndarray, "n"],
    skeleton: Skeleton,
    threshold: float = 0.5,
) -> Metrics:
    """PCKh: share of joints predicted within `threshold` head sizes of the truth.

    Args:
        predicted: predicted joints in image pixels; a NaN counts as wrong.
        keypoints: true joints in image pixels; values of unlabelled joints are never looked at.
        visibility: 0 not labelled (not scored), 1 occluded, 2 visible.
        occlusion_known: False joints count in `all` only.
        head_size: pixels; a person whose head size is NaN or <= 0 is left out and counted.
        skeleton: joint names and parts.
        threshold: fraction of the head size; a distance equal to it is correct.

    Raises:
        ValueError: for arrays whose shapes do not belong together.
    """
    return _percentage_correct(
        f"pckh@{threshold:g}", predicted, keypoints, visibility, occlusion_known,
        head_size, skeleton, threshold,
    )  # fmt: skip


def pck(
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    skeleton: Skeleton,
    threshold: float = 0.2,
) -> Metrics:
    """PCK: as `pckh`, measured in torso lengths (left shoulder to right hip).

    A person with an unlabelled torso joint, or with a torso of length 0, is left out and counted.
    """
    return _percentage_correct(
        f"pck@{threshold:g}", predicted, keypoints, visibility, occlusion_known,
        torso_length(keypoints, visibility, skeleton), skeleton, threshold,
    )  # fmt: skip


def torso_length(
    keypoints: Float[np.ndarray, "n k 2"], visibility: Int[np.ndarray, "n k"], skeleton: Skeleton
) -> Float[np.ndarray, "n"]:
    """Distance from left shoulder to right hip in pixels; NaN where one of them is not labelled."""
    a, b = skeleton.torso
    length = np.linalg.norm(keypoints[:, a].astype(np.float64) - keypoints[:, b], axis=-1)
    return np.where((visibility[:, a] > 0) & (visibility[:, b] > 0), length, np.nan)


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


def _percentage_correct(
    metric: str,
    predicted: Float[np.ndarray, "n k 2"],
    keypoints: Float[np.ndarray, "n k 2"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    reference_length: Float[np.ndarray, "n"],
    skeleton: Skeleton,
    threshold: float,
) -> Metrics:
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
    distance_px = np.linalg.norm(predicted.astype(np.float64) - keypoints, axis=-1)
    length = np.where(usable, reference_length, np.nan)[:, None].astype(np.float64)
    correct = distance_px / length <= threshold  # a NaN compares as False: wrong
    labelled = (visibility > 0) & usable[:, None]
    subsets = {
        "all": labelled,
        "visible": labelled & occlusion_known & (visibility == 2),
        "occluded": labelled & occlusion_known & (visibility == 1),
    }
    result: Metrics = {split: {metric: _part_scores(correct, subsets[split], skeleton)} for split in SPLITS}
    result["all"]["people_left_out"] = {metric: int((~usable).sum())}
    return result


def _part_scores(
    correct: Bool[np.ndarray, "n k"], counted: Bool[np.ndarray, "n k"], skeleton: Skeleton
) -> Parts:
    hits, count = (correct & counted).sum(axis=0), counted.sum(axis=0)
    scored = tuple(j for j, name in enumerate(skeleton.joints) if name not in UNSCORED_JOINTS)

    def joint_mean(joints: tuple[int, ...]) -> float | None:
        present = [j for j in joints if count[j]]
        return float(np.mean([100.0 * hits[j] / count[j] for j in present])) if present else None

    scores = {part: joint_mean(joints) for part, joints in skeleton.parts.items()}
    indices = list(scored)
    total = count[indices].sum()
    scores["mean"] = float(100.0 * hits[indices].sum() / total) if total else None
    scores["mean_unweighted"] = joint_mean(scored)
    return scores
