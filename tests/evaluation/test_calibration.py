"""Calibration of the occlusion output: by hand, and against formulas written another way."""

import json

import numpy as np
import pytest

from oasjax.evaluation.calibration import calibration, reliability_curve


def column(values, dtype=np.float64):
    return np.array(values, dtype)[:, None]


def scores(probability, visibility, known=None, **keywords):
    visibility = column(visibility, np.int8)
    known = np.ones(visibility.shape, bool) if known is None else column(known, bool)
    return calibration(column(probability), visibility, known, **keywords)["all"]["occlusion"]


def test_scores_worked_out_by_hand():
    # occluded: 0.9, 0.4; visible: 0.4, 0.1, 0.0
    found = scores([0.9, 0.4, 0.4, 0.1, 0.0], [1, 1, 2, 2, 2], num_bins=2)
    assert found["auroc"] == pytest.approx((3 + 2.5) / 6)
    assert found["brier"] == pytest.approx((0.1**2 + 0.6**2 + 0.4**2 + 0.1**2) / 5)
    # below 0.5: four joints, predicted 0.225, one of four occluded; above: one, 0.9 against 1
    assert found["ece"] == pytest.approx((4 * abs(0.225 - 0.25) + 1 * 0.1) / 5)
    assert (found["joints"], found["occluded_joints"]) == (5, 2)


def test_a_reliability_curve_worked_out_by_hand():
    probability, visibility = column([0.0, 0.1, 0.25, 0.5, 1.0]), column([2, 1, 1, 2, 1], np.int8)
    curve = reliability_curve(probability, visibility, np.ones((5, 1), bool), num_bins=4)
    np.testing.assert_array_equal(curve.edges, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(curve.joints, [2, 1, 1, 1])  # a bin has its lower edge, the last both
    np.testing.assert_allclose(curve.predicted, [0.05, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(curve.observed, [0.5, 1.0, 0.0, 1.0])
    empty = reliability_curve(probability[:1], visibility[:1], np.ones((1, 1), bool), num_bins=4)
    np.testing.assert_array_equal(empty.joints, [1, 0, 0, 0])
    np.testing.assert_array_equal(empty.observed, [0, np.nan, np.nan, np.nan])


def test_perfect_and_inverted_predictions_have_the_extreme_scores():
    visibility = [1, 1, 2, 2, 2]
    perfect = scores([1.0, 1.0, 0.0, 0.0, 0.0], visibility)
    assert (perfect["auroc"], perfect["ece"], perfect["brier"]) == (1.0, 0.0, 0.0)
    inverted = scores([0.0, 0.0, 1.0, 1.0, 1.0], visibility)
    assert (inverted["auroc"], inverted["ece"], inverted["brier"]) == (0.0, 1.0, 1.0)
    constant = scores([0.4] * 5, visibility)
    assert constant["auroc"] == 0.5 and constant["ece"] == pytest.approx(0.0)


def test_only_labelled_joints_of_known_occlusion_count():
    probability, visibility = [0.9, 0.2, 0.3, np.nan, 0.7], [1, 2, 0, 0, 1]
    known = [True, True, True, False, False]
    assert scores(probability, visibility, known) == scores([0.9, 0.2], [1, 2])
    assert scores(probability, visibility, known)["joints"] == 2


def test_one_class_has_no_auroc_and_no_joint_gives_nulls():
    visible = scores([0.2, 0.3], [2, 2])
    assert visible["auroc"] is None and visible["brier"] == pytest.approx((0.04 + 0.09) / 2)
    assert scores([0.2], [1])["auroc"] is None
    nothing = {"auroc": None, "ece": None, "brier": None, "joints": 0, "occluded_joints": 0}
    assert scores([0.2, 0.3], [0, 0]) == nothing
    assert scores([], []) == nothing
    assert json.loads(json.dumps(scores([0.2], [2], [False]))) == nothing


def test_a_nan_is_the_opposite_of_the_truth():
    assert scores([np.nan, 0.3, np.nan], [1, 1, 2]) == scores([0.0, 0.3, 1.0], [1, 1, 2])


@pytest.mark.parametrize("step", [0.0, 0.1])
def test_scores_equal_those_of_plain_loops_with_and_without_ties(step):
    rng = np.random.default_rng(5)
    shape = (40, 7)
    probability = rng.random(shape)
    if step:
        probability = np.round(probability / step) * step
    probability = probability.clip(0, 1).astype(np.float32)
    visibility = np.where(rng.random(shape) < probability * 0.8, 1, 2).astype(np.int8)
    visibility[rng.random(shape) < 0.2] = 0
    known = rng.random(shape) < 0.8
    found = calibration(probability, visibility, known)["all"]["occlusion"]
    joints = [
        (float(p), v == 1)
        for p, v, k in zip(probability.ravel(), visibility.ravel(), known.ravel(), strict=True)
        if v > 0 and k
    ]
    hidden, seen = [p for p, o in joints if o], [p for p, o in joints if not o]
    wins = [(a > b) + 0.5 * (a == b) for a in hidden for b in seen]
    assert found["auroc"] == pytest.approx(np.mean(wins), abs=1e-12)
    assert found["brier"] == pytest.approx(np.mean([(p - o) ** 2 for p, o in joints]), abs=1e-12)
    error = 0.0
    for low in range(10):
        bounds = (low / 10, (low + 1) / 10 if low < 9 else 1.1)
        inside = [(p, o) for p, o in joints if bounds[0] <= p < bounds[1]]
        if inside:
            error += abs(sum(p - o for p, o in inside))
    assert found["ece"] == pytest.approx(error / len(joints), abs=1e-12)
    assert (found["joints"], found["occluded_joints"]) == (len(joints), len(hidden))


@pytest.mark.parametrize("wrong", [-0.1, 1.1, np.inf])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match=r"must be probabilities in \[0, 1\], not from"):
        scores([0.5, wrong], [1, 2])
    assert scores([0.5, wrong], [1, 0])["joints"] == 1  # nobody looks at an unlabelled joint


def test_arrays_of_different_shapes_are_refused(unchecked_types):
    with pytest.raises(ValueError, match=r"occlusion \(2, 3\), visibility \(2, 4\) and occlusion_known"):
        calibration(np.zeros((2, 3)), np.zeros((2, 4), np.int8), np.ones((2, 3), bool))
