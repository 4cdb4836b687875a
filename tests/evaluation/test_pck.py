import json

import numpy as np
import pytest
import scipy.io

from oasjax.datasets.skeletons import LSP, MPII
from oasjax.evaluation.pck import mean_pose, pck, pckh, torso_length

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


def test_mismatched_shapes_are_refused():
    predicted, keypoints, visibility, known = one_person(people=2)
    # TypeError where jaxtyping checks signatures at run time, our own ValueError elsewhere.
    with pytest.raises((ValueError, TypeError)):
        pckh(predicted[:1], keypoints, visibility, known, np.ones(2), MPII)
    with pytest.raises((ValueError, TypeError)):
        pckh(predicted, keypoints, visibility, known, np.ones(3), MPII)


def test_mean_pose_averages_labelled_joints_only():
    keypoints = np.array([[[0.0, 0.0], [1.0, 1.0], [5.0, 5.0]], [[4.0, 8.0], [np.nan, 9.0], [5.0, 5.0]]])
    visibility = np.array([[1, 2, 0], [2, 0, 0]], np.int8)
    pose = mean_pose(keypoints, visibility)
    np.testing.assert_array_equal(pose, [[2.0, 4.0], [1.0, 1.0], [np.nan, np.nan]])


def mpii_validation(folder):
    """Keypoints, visibility and head size (0.6 of the box diagonal) of the public annotations."""
    truth = scipy.io.loadmat(folder / "annot" / "gt_valid.mat")
    keypoints = truth["pos_gt_src"].transpose(2, 0, 1).astype(np.float64)
    labelled = truth["jnt_missing"].T == 0
    corner_a, corner_b = truth["headboxes_src"].astype(np.float64)
    head_size = 0.6 * np.linalg.norm(corner_b - corner_a, axis=0)
    visible = np.load(folder / "annot" / "valid.npz")["visible"] > 0
    visibility = np.where(labelled, np.where(visible, 2, 1), 0).astype(np.int8)
    return keypoints, visibility, head_size


@pytest.mark.realdata
@pytest.mark.parametrize("model", ["tompson", "bearpaw-hg_s2_b1"])
@pytest.mark.parametrize("threshold", [0.5, 0.1])
def test_pckh_reproduces_the_published_evaluator_on_mpii_validation(data_dir, model, threshold):
    folder = data_dir / "mpii"
    keypoints, visibility, head_size = mpii_validation(folder)
    if model == "tompson":
        predicted = np.load(folder / "preds" / "tompson.npz")["preds"].astype(np.float64)
    else:
        predicted = scipy.io.loadmat(folder / "preds" / f"{model}.mat")["preds"].astype(np.float64)
    known = np.ones(visibility.shape, bool)
    scores = pckh(predicted, keypoints, visibility, known, head_size, MPII, threshold)
    metric = f"pckh@{threshold:g}"
    recomputed = json.loads((folder / "expected_pckh.json").read_text())["models"][model]["recomputed"]
    expected, ours = recomputed[f"{metric}_le"], scores["all"][metric]
    for part in MPII.parts:
        assert ours[part] == pytest.approx(expected[part.capitalize()], abs=1e-9)
    assert ours["mean"] == pytest.approx(expected["Mean_count_weighted_14"], abs=1e-9)
    assert ours["mean_unweighted"] == pytest.approx(expected["Mean_unweighted_14"], abs=1e-9)
    if threshold == 0.5:
        for split in ("visible", "occluded"):
            mean = recomputed[split]["Mean_count_weighted_14"]
            assert scores[split][metric]["mean"] == pytest.approx(mean, abs=1e-9)
