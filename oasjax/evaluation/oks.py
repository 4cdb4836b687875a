"""Object keypoint similarity between predictions, suppression of duplicates by it, rescoring.

As in HRNet `lib/nms/nms.py` and `lib/dataset/coco.py`: the similarity of two predictions takes the mean
of their areas and all joints. (HRNet can also leave joints of low score out, but joins the two lists of
flags by Python's `and`, so that only the second counts; none of its data sets for pictures uses it.)

Equal scores: the later prediction goes first. Indices are returned in the order in which predictions
are chosen.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

MAX_SOFT_KEPT = 20
RESCORE_ABOVE = 0.2


def oks_matrix(
    keypoints: Float[np.ndarray, "n k 2"], areas: Float[np.ndarray, "n"], sigmas: Float[np.ndarray, "k"]
) -> Float[np.ndarray, "n n"]:
    """Similarity in [0, 1] of every pair: mean over joints of exp(-d^2 / (2 (2 sigma)^2 area)).

    Args:
        keypoints: predicted joints in image pixels; a NaN joint is like no other.
        areas: of the people in square pixels; a pair is measured by the mean of its two.
        sigmas: of the joints (`Skeleton.sigmas`).

    Raises:
        ValueError: for shapes that do not belong together.
    """
    people, joints = keypoints.shape[:2]
    if areas.shape != (people,) or sigmas.shape != (joints,):
        raise ValueError(
            f"OKS of keypoints {keypoints.shape}: areas {areas.shape} must be ({people},) and sigmas "
            f"{sigmas.shape} must be ({joints},)"
        )
    points, areas = keypoints.astype(np.float64), areas.astype(np.float64)
    variances = (2.0 * sigmas.astype(np.float64)) ** 2
    similarity = np.empty((people, people))
    for i in range(people):  # a row at a time: (n, k) in memory, not (n, n, k)
        squared_px = ((points - points[i]) ** 2).sum(axis=-1)
        error = squared_px / variances / ((areas + areas[i]) / 2.0 + np.spacing(1.0))[:, None] / 2.0
        similarity[i] = np.exp(-np.where(np.isnan(error), np.inf, error)).mean(axis=-1)
    return similarity


def oks_nms(
    keypoints: Float[np.ndarray, "n k 2"],
    scores: Float[np.ndarray, "n"],
    areas: Float[np.ndarray, "n"],
    sigmas: Float[np.ndarray, "k"],
    threshold: float = 0.9,
) -> Int[np.ndarray, "kept"]:
    """Indices of the predictions of one picture that stay, best first.

    One is dropped when its similarity to a better one that stays is above the threshold. Arguments as of
    `oks_matrix`; ValueError also for scores that are not finite.
    """
    return _choose(scores, oks_matrix(keypoints, areas, sigmas), _drop_above(threshold))


def soft_oks_nms(
    keypoints: Float[np.ndarray, "n k 2"],
    scores: Float[np.ndarray, "n"],
    areas: Float[np.ndarray, "n"],
    sigmas: Float[np.ndarray, "k"],
    threshold: float = 0.9,
    max_kept: int = MAX_SOFT_KEPT,
) -> Int[np.ndarray, "kept"]:
    """Indices of at most `max_kept` predictions of one picture, in the order of their lowered scores.

    Whenever one is chosen, the scores of the others are multiplied by exp(-similarity^2 / threshold).
    The lowered scores decide the order and who stays; they are not returned, as HRNet writes the original
    ones. Arguments and errors as of `oks_nms`.
    """

    def lower(
        similarity: Float[np.ndarray, "m"], current: Float[np.ndarray, "m"]
    ) -> tuple[Int[np.ndarray, "m"], Float[np.ndarray, "m"]]:
        lowered = current * np.exp(-(similarity**2) / threshold)
        order = _descending(lowered)
        return order, lowered[order]

    return _choose(scores, oks_matrix(keypoints, areas, sigmas), lower, max_kept)


def box_nms(
    boxes_xyxy: Float[np.ndarray, "n 4"], scores: Float[np.ndarray, "n"], threshold: float
) -> Int[np.ndarray, "kept"]:
    """Indices of the boxes that stay, best first: none overlaps a better one by more than the threshold.

    Corners count as pixels that belong to the box, so its width is x2 - x1 + 1.
    ValueError for shapes that do not belong together and scores that are not finite.
    """
    if boxes_xyxy.shape[1:] != (4,):
        raise ValueError(f"boxes of shape {boxes_xyxy.shape} are not (n, 4)")
    corners = boxes_xyxy.astype(np.float64)
    top_left = np.maximum(corners[:, None, :2], corners[None, :, :2])
    bottom_right = np.minimum(corners[:, None, 2:], corners[None, :, 2:])
    shared = np.maximum(bottom_right - top_left + 1.0, 0.0).prod(axis=-1)
    area = (corners[:, 2:] - corners[:, :2] + 1.0).prod(axis=-1)
    return _choose(scores, shared / (area[:, None] + area[None, :] - shared), _drop_above(threshold))


def rescore(
    box_scores: Float[np.ndarray, "n"],
    joint_scores: Float[np.ndarray, "n k"],
    threshold: float = RESCORE_ABOVE,
) -> Float[np.ndarray, "n"]:
    """Score of each person: that of the box times the mean of the joints' scores above the threshold.

    A person without such a joint scores 0; a NaN is not above. float64: in float32 the means of equal
    scores differ, and ties fall in another order.
    """
    if joint_scores.ndim != 2 or box_scores.shape != joint_scores.shape[:1]:
        raise ValueError(
            f"rescoring: box scores {box_scores.shape} do not fit joint scores {joint_scores.shape}"
        )
    above = joint_scores > threshold
    total = np.where(above, joint_scores, 0.0).sum(axis=1, dtype=np.float64)
    return box_scores * (total / np.maximum(above.sum(axis=1), 1))


# From the overlaps of those that are left with the one just chosen, and their scores, both in the present
# order: which of them go on in which order, and with which scores.
_Step = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _choose(
    scores: Float[np.ndarray, "n"],
    overlaps: Float[np.ndarray, "n n"],
    step: _Step,
    max_kept: int | None = None,
) -> Int[np.ndarray, "kept"]:
    """Greedy choice: take the first, let `step` settle who goes on, repeat."""
    if scores.shape != overlaps.shape[:1]:
        raise ValueError(f"{scores.size} scores for {len(overlaps)} predictions")
    if not np.isfinite(scores).all():
        raise ValueError("the scores of predictions must be finite")
    left = _descending(scores)
    current = scores[left].astype(np.float64)
    kept: list[int] = []
    while len(left) and len(kept) != max_kept:
        best, left = left[0], left[1:]
        kept.append(int(best))
        going_on, current = step(overlaps[best, left], current[1:])
        left = left[going_on]
    return np.array(kept, dtype=np.int64)


def _drop_above(threshold: float) -> _Step:
    def step(overlap: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        going_on = np.flatnonzero(overlap <= threshold)
        return going_on, current[going_on]

    return step


def _descending(scores: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    return np.argsort(scores, kind="stable")[::-1]
