"""How far the occlusion output can be trusted: does it rank joints, and is it a probability?

Only joints that are labelled and whose occlusion is known count; the event is "occluded" (visibility 1).
A NaN prediction is taken as the opposite of the truth, with certainty.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from oasjax.evaluation.pck import Metrics

NUM_BINS = 10


class ReliabilityCurve(NamedTuple):
    """Predicted probability against the share that is really occluded, in bins of equal width.

    Attributes:
        edges: (bins + 1,) from 0 to 1; a bin has its lower edge, the last one both.
        joints: (bins,) how many fall into each.
        predicted: (bins,) mean predicted probability, NaN in an empty bin.
        observed: (bins,) share of occluded joints, NaN in an empty bin.
    """

    edges: np.ndarray
    joints: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray


def calibration(
    occlusion: Float[np.ndarray, "n k"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    num_bins: int = NUM_BINS,
) -> Metrics:
    """{"all": {"occlusion": {auroc, ece, brier, joints, occluded_joints}}}; fractions, None without joints.

    - auroc: probability that a random occluded joint has a higher prediction than a random visible one,
      equal ones count half; None where one of the two kinds is missing;
    - ece: expected calibration error, the mean over joints of |predicted - observed| of their bin
      (`reliability_curve`);
    - brier: mean squared difference between prediction and truth (0 or 1).

    There are no splits `visible` and `occluded`: they are the two classes.

    Args:
        occlusion: predicted probability that the joint is occluded, in [0, 1].
        visibility: 0 not labelled, 1 occluded, 2 visible.
        occlusion_known: False joints do not count.
        num_bins: of the reliability curve.

    Raises:
        ValueError: for shapes that differ, or a probability outside [0, 1].
    """
    probability, occluded = _counted(occlusion, visibility, occlusion_known)
    curve = _reliability(probability, occluded, num_bins)
    joints = len(probability)
    gap = np.abs(curve.predicted - curve.observed)
    scores = {
        "auroc": _auroc(probability, occluded),
        "ece": float(np.nansum(curve.joints * gap) / joints) if joints else None,
        "brier": float(np.mean((probability - occluded) ** 2)) if joints else None,
        "joints": joints,
        "occluded_joints": int(occluded.sum()),
    }
    return {"all": {"occlusion": scores}}


def reliability_curve(
    occlusion: Float[np.ndarray, "n k"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
    num_bins: int = NUM_BINS,
) -> ReliabilityCurve:
    """Arguments and errors as of `calibration`."""
    return _reliability(*_counted(occlusion, visibility, occlusion_known), num_bins)


def _counted(
    occlusion: Float[np.ndarray, "n k"],
    visibility: Int[np.ndarray, "n k"],
    occlusion_known: Bool[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, "m"], Bool[np.ndarray, "m"]]:
    """Probability and truth of the joints that count."""
    if not occlusion.shape == visibility.shape == occlusion_known.shape:
        raise ValueError(
            f"calibration: occlusion {occlusion.shape}, visibility {visibility.shape} and occlusion_known "
            f"{occlusion_known.shape} must have one shape"
        )
    counted = (visibility > 0) & occlusion_known
    probability, occluded = occlusion[counted].astype(np.float64), visibility[counted] == 1
    if ((probability < 0) | (probability > 1)).any():
        raise ValueError(
            f"calibration: predictions must be probabilities in [0, 1], not from {np.nanmin(probability):g} "
            f"to {np.nanmax(probability):g}"
        )
    return np.where(np.isnan(probability), ~occluded, probability), occluded


def _reliability(
    probability: Float[np.ndarray, "m"], occluded: Bool[np.ndarray, "m"], num_bins: int
) -> ReliabilityCurve:
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    bins = np.searchsorted(edges[1:-1], probability, side="right")
    count = np.bincount(bins, minlength=num_bins)
    # NaN, without a warning, where nothing is to be divided.
    divisor = np.where(count > 0, count, np.nan)
    predicted = np.bincount(bins, weights=probability, minlength=num_bins) / divisor
    observed = np.bincount(bins, weights=occluded, minlength=num_bins) / divisor
    return ReliabilityCurve(edges, count, predicted, observed)


def _auroc(probability: Float[np.ndarray, "m"], occluded: Bool[np.ndarray, "m"]) -> float | None:
    """Mann-Whitney's U over the number of pairs, from the counts of each value."""
    values, place = np.unique(probability, return_inverse=True)
    occluded_here = np.bincount(place[occluded], minlength=len(values))
    visible_here = np.bincount(place[~occluded], minlength=len(values))
    pairs = occluded_here.sum() * visible_here.sum()
    if not pairs:
        return None
    visible_below = visible_here.cumsum() - visible_here
    return float((occluded_here * (visible_below + visible_here / 2)).sum() / pairs)
