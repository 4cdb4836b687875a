"""PCKh and PCK on cases worked out by hand, and against a plain loop over people and joints."""

import dataclasses
import json

import numpy as np
import pytest

import oasjax.evaluation.pck as pck_module
from oasjax.datasets.skeletons import COCO, LSP, MPII
from oasjax.evaluation.pck import (
    SPLITS,
    UNSCORED_JOINTS,
    auc,
    mean_pose,
    pck,
    pck_curve,
    pckh,
    pckh_curve,
    torso_length,
)

ANKLE, KNEE, NECK, HEAD, PELVIS = 0, 1, 8, 9, 6


def one_person(skeleton=MPII, people=1):
    """Truth at (10 j, 20 j), all visible, and a perfect prediction."""
    joints = np.arange(skeleton.num_joints, dtype=np.float32)
    keypoints = np.tile(np.stack([10 * joints, 20 * joints], -1), (people, 1, 1))
    visibility = np.full(keypoints.shape[:2], 2, np.int8)
    known = np.ones(keypoints.shape[:2], bool)
    return keypoints.copy(), keypoints, visibility, known


def test_distance_equal_to_threshold_is_correct_and_a_bit_more_is_wrong():
    predicted, keypoints, visibility, known = one_person()
    predicted[0, HEAD, 0] += 5.0  # exactly 0.5 * 10
    scores = pckh(predicted, keypoints, visibility, known, np.array([10.0]), MPII)
    assert scores["all"]["pckh@0.5"]["head"] == 100.0
    predicted[0, HEAD, 0] += 0.01
    scores = pckh(predicted, keypoints, visibility, known, np.array([10.0]), MPII)
    assert scores["all"]["pckh@0.5"]["head"] == 0.0
    assert scores["all"]["pckh@0.5"]["mean"] == pytest.approx(100 * 13 / 14)


def test_distance_equal_to_threshold_is_wrong_where_the_comparison_is_strict():
    predicted, keypoints, visibility, known = one_person()
    predicted[0, HEAD, 0] += 5.0
    arguments = (predicted, keypoints, visibility, known, np.array([10.0]), MPII)
    assert pckh(*arguments, inclusive=False)["all"]["pckh@0.5"]["head"] == 0.0
    assert pckh(*arguments, 0.51, inclusive=False)["all"]["pckh@0.51"]["head"] == 100.0
    keypoints[:, 13], keypoints[:, 2] = (0.0, 0.0), (0.0, 25.0)  # torso 25 px
    predicted[0, [13, 2]] = keypoints[0, [13, 2]]
    arguments = (predicted, keypoints, visibility, known, MPII)
    assert pck(*arguments)["all"]["pck@0.2"]["head"] == 100.0
    assert pck(*arguments, inclusive=False)["all"]["pck@0.2"]["head"] == 0.0


def test_splits_hold_the_numbers_worked_out_by_hand():
    predicted, keypoints, visibility, known = one_person(people=2)
    visibility[:, 0] = 1  # right ankles occluded in both people
    visibility[0, 5] = 1  # left ankle occluded in the first
    visibility[1, 5] = 0  # and not labelled in the second
    predicted[0, 0] += 100.0  # one of three occluded joints wrong
    predicted[1, 5] += 100.0  # not labelled: must not count
    predicted[1, HEAD] += 100.0  # one of two heads wrong, visible
    scores = pckh(predicted, keypoints, visibility, known, np.array([10.0, 10.0]), MPII)
    # ankles: right 1 of 2, left 1 of 1 -> mean of 50 and 100
    assert scores["all"]["pckh@0.5"]["ankle"] == pytest.approx(75.0)
    assert scores["occluded"]["pckh@0.5"]["ankle"] == pytest.approx(75.0)
    assert scores["occluded"]["pckh@0.5"]["mean"] == pytest.approx(100 * 2 / 3)
    assert scores["occluded"]["pckh@0.5"]["mean_unweighted"] == pytest.approx(75.0)
    assert scores["occluded"]["pckh@0.5"]["head"] is None
    assert scores["visible"]["pckh@0.5"]["ankle"] is None
    assert scores["visible"]["pckh@0.5"]["head"] == pytest.approx(50.0)
    assert scores["visible"]["pckh@0.5"]["mean"] == pytest.approx(100 * 23 / 24)
    assert scores["all"]["pckh@0.5"]["mean"] == pytest.approx(100 * 25 / 27)


def test_pelvis_and_thorax_are_not_scored_but_the_neck_enters_the_mean():
    predicted, keypoints, visibility, known = one_person()
    predicted[0, PELVIS] += 100.0
    head = np.array([10.0])
    assert pckh(predicted, keypoints, visibility, known, head, MPII)["all"]["pckh@0.5"]["mean"] == 100
    predicted[0, NECK] += 100.0
    scores = pckh(predicted, keypoints, visibility, known, head, MPII)["all"]["pckh@0.5"]
    assert scores["mean"] == pytest.approx(100 * 13 / 14)
    assert scores["head"] == 100.0


def test_joint_of_unknown_occlusion_counts_in_all_alone():
    predicted, keypoints, visibility, known = one_person()
    known[:] = False
    visibility[0, KNEE] = 1
    scores = pckh(predicted, keypoints, visibility, known, np.array([10.0]), MPII)
    assert scores["all"]["pckh@0.5"]["mean"] == 100.0
    assert set(scores["visible"]["pckh@0.5"].values()) == {None}
    assert set(scores["occluded"]["pckh@0.5"].values()) == {None}


def test_nan_prediction_is_wrong_and_nan_of_an_unlabelled_joint_is_ignored():
    predicted, keypoints, visibility, known = one_person()
    predicted[0, KNEE] = np.nan
    visibility[0, ANKLE] = 0
    keypoints[0, ANKLE] = np.nan
    scores = pckh(predicted, keypoints, visibility, known, np.array([10.0]), MPII)["all"]["pckh@0.5"]
    assert scores["knee"] == pytest.approx(50.0)
    assert scores["ankle"] == pytest.approx(100.0)  # the left one alone
    assert scores["mean"] == pytest.approx(100 * 12 / 13)


@pytest.mark.parametrize("bad_head", [np.nan, 0.0, -3.0, np.inf])
def test_person_without_head_size_is_left_out_and_counted(bad_head):
    predicted, keypoints, visibility, known = one_person(people=2)
    predicted[1] += 1000.0
    scores = pckh(predicted, keypoints, visibility, known, np.array([10.0, bad_head]), MPII)
    assert scores["all"]["pckh@0.5"]["mean"] == 100.0
    assert scores["all"]["people_left_out"] == {"pckh@0.5": 1}


def test_pck_measures_in_torso_lengths_and_leaves_out_people_without_torso():
    predicted, keypoints, visibility, known = one_person(LSP, people=2)
    left_shoulder, right_hip = 9, 2
    keypoints[:, left_shoulder], keypoints[:, right_hip] = (0.0, 0.0), (30.0, 40.0)  # torso 50 px
    predicted = keypoints.copy()
    predicted[0, 0, 0] += 10.0  # 0.2 * 50: correct
    predicted[0, 5, 0] += 10.1
    visibility[1, right_hip] = 0
    predicted[1] += 1000.0
    scores = pck(predicted, keypoints, visibility, known, LSP)
    assert scores["all"]["pck@0.2"]["ankle"] == pytest.approx(50.0)
    assert scores["all"]["pck@0.2"]["mean"] == pytest.approx(100 * 13 / 14)
    assert scores["all"]["people_left_out"] == {"pck@0.2": 1}
    np.testing.assert_array_equal(torso_length(keypoints, visibility, LSP), [50.0, np.nan])


def test_lsp_head_is_the_mean_of_neck_and_head_top():
    predicted, keypoints, visibility, known = one_person(LSP)
    predicted[0, LSP.joints.index("neck")] += 1000.0
    assert pck(predicted, keypoints, visibility, known, LSP)["all"]["pck@0.2"]["head"] == 50.0


def test_no_people_at_all_gives_nulls():
    predicted, keypoints, visibility, known = one_person(people=0)
    scores = pckh(predicted, keypoints, visibility, known, np.zeros(0), MPII)
    assert set(scores["all"]["pckh@0.5"].values()) == {None}
    assert json.loads(json.dumps(scores))["occluded"]["pckh@0.5"]["mean"] is None


def test_people_without_any_labelled_joint_give_nulls():
    predicted, keypoints, visibility, known = one_person(people=2)
    scores = pckh(predicted, keypoints, 0 * visibility, known, np.ones(2), MPII)
    assert {value for split in SPLITS for value in scores[split]["pckh@0.5"].values()} == {None}
    assert scores["all"]["people_left_out"] == {"pckh@0.5": 0}
    curve = pckh_curve(predicted, keypoints, 0 * visibility, known, np.ones(2), MPII)
    assert {value for split in SPLITS for value in auc(curve)[split]["pckh_auc@0.5"].values()} == {None}


@pytest.mark.parametrize(
    ("argument", "shape", "name"),
    [
        (0, (1, 16, 2), "predicted"),
        (1, (2, 16, 3), "keypoints"),
        (2, (2, 14), "visibility"),
        (3, (1, 16), "occlusion_known"),
        (4, (3,), "reference length"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused_by_name(unchecked_types, argument, shape, name):
    arguments = [*one_person(people=2), np.ones(2)]
    arguments[argument] = np.ones(shape, arguments[argument].dtype)
    with pytest.raises(ValueError, match=f"pckh: {name} has shape .*, expected"):
        pckh(*arguments, MPII)


def test_arrays_of_another_skeleton_are_refused():
    with pytest.raises(ValueError, match=r"predicted has shape \(1, 14, 2\), expected \(1, 16, 2\)"):
        pckh(*one_person(LSP), np.ones(1), MPII)
    with pytest.raises(ValueError, match="do not fit the 16 joints of skeleton 'mpii'"):
        pck(*one_person(LSP), MPII)


def test_a_skeleton_without_torso_has_no_pck():
    hand = dataclasses.replace(MPII, name="hand", torso=None)
    with pytest.raises(ValueError, match="skeleton 'hand' has no left shoulder and right hip"):
        pck(*one_person(), hand)


def random_people(skeleton, people=50):
    """Integer places, so that distances meet thresholds exactly; NaN, unlabelled and unknown joints."""
    rng = np.random.default_rng(3)
    shape = (people, skeleton.num_joints)
    keypoints = rng.integers(0, 20, (*shape, 2)).astype(np.float32)
    predicted = keypoints + rng.integers(-4, 5, (*shape, 2)).astype(np.float32)
    predicted[rng.random(shape) < 0.05] = np.nan
    visibility = rng.integers(0, 3, shape).astype(np.int8)
    visibility[:, 0] = np.where(visibility[:, 0] == 2, 1, visibility[:, 0])  # never visible
    return predicted, keypoints, visibility, rng.random(shape) < 0.7, rng.choice([0.0, 8.0, 10.0], people)


def scores_by_loops(predicted, keypoints, visibility, known, length, skeleton, threshold, inclusive, split):
    """{joint: [hits, joints]} of one split."""
    tally = {joint: [0, 0] for joint in range(skeleton.num_joints)}
    for person in range(len(predicted)):
        for joint in tally:
            flag = visibility[person, joint]
            wanted = {"all": flag > 0, "visible": flag == 2, "occluded": flag == 1}[split]
            if not wanted or not length[person] > 0 or (split != "all" and not known[person, joint]):
                continue
            distance = float(np.hypot(*(predicted[person, joint] - keypoints[person, joint])))
            limit = threshold * float(length[person])
            tally[joint][0] += distance <= limit if inclusive else distance < limit
            tally[joint][1] += 1
    return tally


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("skeleton", [MPII, COCO])
def test_scores_and_curves_equal_those_of_a_plain_loop_in_chunks_of_any_size(
    monkeypatch, inclusive, skeleton
):
    monkeypatch.setattr(pck_module, "CHUNK", 7)
    people = random_people(skeleton)
    thresholds = np.array([0.0, 0.125, 0.25, 0.5])  # no rounding: exact meetings at length 8
    curve = pckh_curve(*people, skeleton, thresholds, inclusive=inclusive)
    scored = [j for j, name in enumerate(skeleton.joints) if name not in UNSCORED_JOINTS]
    for position, threshold in enumerate(thresholds.tolist()):
        single = pckh(*people, skeleton, threshold, inclusive=inclusive)
        for split in SPLITS:
            tally = scores_by_loops(*people, skeleton, threshold, inclusive, split)
            share = {joint: 100 * hits / count for joint, (hits, count) in tally.items() if count}
            expected = {
                part: np.mean([share[j] for j in joints if j in share])
                for part, joints in skeleton.parts.items()
                if any(j in share for j in joints)
            }
            hits, count = np.sum([tally[j] for j in scored], axis=0)
            expected["mean"] = 100 * hits / count
            expected["mean_unweighted"] = np.mean([share[j] for j in scored if j in share])
            metric = single[split][f"pckh@{threshold:g}"]
            assert {part: value for part, value in metric.items() if value is not None} == pytest.approx(
                expected
            )
            for part, value in metric.items():
                on_curve = curve.percent[split][part]
                assert value == (None if on_curve is None else pytest.approx(on_curve[position]))
    left_out = int((people[-1] == 0).sum())
    assert curve.people_left_out == left_out == single["all"]["people_left_out"]["pckh@0.5"] > 0


def test_area_under_a_curve_worked_out_by_hand():
    predicted, keypoints, visibility, known = one_person(people=2)
    predicted[0, HEAD, 0] += 2.0  # met from 0.2 on
    predicted[1, HEAD, 0] += 100.0
    thresholds = np.array([0.0, 0.1, 0.2, 0.4])
    curve = pckh_curve(predicted, keypoints, visibility, known, np.array([10.0, 10.0]), MPII, thresholds)
    np.testing.assert_array_equal(curve.percent["all"]["head"], [0, 0, 50, 50])
    scores = auc(curve)
    assert scores["all"]["pckh_auc@0.4"]["head"] == pytest.approx((0.5 * 0.1 * 50 + 0.2 * 50) / 0.4)
    assert scores["visible"]["pckh_auc@0.4"]["ankle"] == pytest.approx(100.0)
    assert scores["occluded"]["pckh_auc@0.4"]["head"] is None
    assert scores["all"]["people_left_out"] == {"pckh_auc@0.4": 0}
    json.dumps(scores)


def test_pck_curves_are_measured_in_torso_lengths():
    predicted, keypoints, visibility, known = one_person(LSP, people=2)
    keypoints[:, 9], keypoints[:, 2] = (0.0, 0.0), (30.0, 40.0)
    predicted = keypoints.copy()
    predicted[:, 13, 0] += 5.0  # 0.1 torso lengths
    visibility[1, 9] = 0
    curve = pck_curve(predicted, keypoints, visibility, known, LSP)
    np.testing.assert_allclose(curve.thresholds, np.arange(21) / 100)
    np.testing.assert_array_equal(curve.percent["all"]["head"], np.where(np.arange(21) < 10, 50, 100))
    assert curve.people_left_out == 1
    assert auc(curve)["all"]["pck_auc@0.2"]["wrist"] == pytest.approx(100.0)


@pytest.mark.parametrize("thresholds", [[], [0.2, 0.1], [0.1, 0.1], [np.nan]])
def test_thresholds_that_do_not_ascend_are_refused(thresholds):
    with pytest.raises(ValueError, match="pckh: thresholds must ascend"):
        pckh_curve(*one_person(), np.ones(1), MPII, np.array(thresholds, float))


def test_an_area_under_one_point_is_refused():
    with pytest.raises(ValueError, match="at least two thresholds"):
        auc(pckh_curve(*one_person(), np.ones(1), MPII, np.array([0.5])))


def test_infinite_and_enormous_predictions_are_wrong_without_a_warning():
    predicted, keypoints, visibility, known = one_person()
    predicted = predicted.astype(np.float64)
    predicted[0, HEAD], predicted[0, 0, 0], predicted[0, 5] = np.inf, 1e300, -np.inf
    keypoints[0, PELVIS], visibility[0, PELVIS] = np.inf, 0
    predicted[0, PELVIS] = np.inf
    scores = pckh(predicted, keypoints, visibility, known, np.ones(1), MPII)["all"]["pckh@0.5"]
    assert scores["head"] == 0.0 and scores["ankle"] == 0.0
    assert scores["mean"] == pytest.approx(100 * 11 / 14)


def test_mean_pose_averages_labelled_joints_only():
    keypoints = np.array([[[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]], [[4.0, 8.0], [np.nan, 9.0], [5.0, 5.0]]])
    visibility = np.array([[1, 2, 0], [2, 0, 0]], np.int8)
    pose = mean_pose(keypoints, visibility)
    np.testing.assert_array_equal(pose, [[2.0, 4.0], [1.0, 1.0], [np.nan, np.nan]])
