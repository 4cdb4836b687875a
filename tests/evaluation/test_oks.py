"""OKS, suppression and rescoring: by hand, against HRNet's numbers, and as properties."""

import numpy as np
import pytest

from oasjax.datasets.skeletons import COCO
from oasjax.evaluation.oks import box_nms, oks_matrix, oks_nms, rescore, soft_oks_nms

SIGMAS = np.array(COCO.sigmas)


@pytest.fixture(scope="module")
def golden(golden_dir):
    case = dict(np.load(golden_dir / "prepost_hrnet" / "oks_nms.npz"))
    people = (case["keypoints"][..., :2], case["scores"], case["areas"], SIGMAS)
    return case, people


@pytest.mark.golden
def test_similarities_equal_hrnets(golden):
    case, (keypoints, _, areas, sigmas) = golden
    np.testing.assert_allclose(oks_matrix(keypoints, areas, sigmas), case["oks"], atol=1e-6)


@pytest.mark.golden
def test_all_three_suppressions_keep_what_hrnets_keep_in_the_same_order(golden):
    case, people = golden
    boxes = case["nms_boxes"]
    checked = set()
    for key in case:
        kind, _, threshold = key.rpartition("_")
        if kind == "oks_nms":
            kept = oks_nms(*people, float(threshold))
        elif kind == "soft_oks_nms":
            kept = soft_oks_nms(*people, float(threshold))
        elif kind == "box_nms":
            kept = box_nms(boxes[:, :4], boxes[:, 4], float(threshold))
        else:
            continue
        checked.add(kind)
        np.testing.assert_array_equal(kept, case[key], err_msg=key)
    assert checked == {"oks_nms", "soft_oks_nms", "box_nms"}


def two_joints(*offsets_px):
    """People of two joints at (0, 0) and (100, 0), each moved right by so many pixels."""
    base = np.array([[0.0, 0.0], [100.0, 0.0]])
    return np.stack([base + (offset, 0.0) for offset in offsets_px])


def test_similarity_worked_out_by_hand():
    people = two_joints(0.0, 6.0)
    people[1, 1] += (0.0, 8.0)  # 6 px and 10 px apart
    areas, sigmas = np.array([800.0, 1200.0]), np.array([0.05, 0.1])
    # d^2 / (2 (2 sigma)^2 mean area) = 36 / 20 and 100 / 80
    expected = (np.exp(-36 / 20) + np.exp(-100 / 80)) / 2
    np.testing.assert_allclose(oks_matrix(people, areas, sigmas), [[1, expected], [expected, 1]], rtol=1e-12)


def test_a_nan_joint_is_like_no_other():
    people = two_joints(0.0, 0.0)
    people[1, 0] = np.nan
    similarity = oks_matrix(people, np.ones(2), np.full(2, 0.1))
    np.testing.assert_array_equal(similarity, [[1.0, 0.5], [0.5, 0.5]])


def test_a_similarity_equal_to_the_threshold_stays_and_the_dropped_suppress_nobody():
    areas, sigmas = np.full(3, 1000.0), np.full(2, 0.05)
    people = two_joints(0.0, 4.0, 8.0)  # neighbours exp(-0.8), ends exp(-3.2)
    scores = np.array([0.9, 0.8, 0.7])
    neighbours = float(oks_matrix(people, areas, sigmas)[0, 1])
    assert neighbours == pytest.approx(np.exp(-0.8))
    np.testing.assert_array_equal(oks_nms(people, scores, areas, sigmas, neighbours), [0, 1, 2])
    np.testing.assert_array_equal(oks_nms(people, scores, areas, sigmas, neighbours - 1e-9), [0, 2])


def test_soft_suppression_lowers_scores_and_takes_the_next_best_each_time():
    areas, sigmas = np.full(3, 1000.0), np.full(2, 0.05)
    people = two_joints(0.0, 0.0, 500.0)
    scores = np.array([0.9, 0.8, 0.5])
    # The twin falls to 0.8 exp(-1 / 0.9) = 0.26, below the stranger.
    np.testing.assert_array_equal(soft_oks_nms(people, scores, areas, sigmas), [0, 2, 1])
    np.testing.assert_array_equal(soft_oks_nms(people, scores, areas, sigmas, max_kept=2), [0, 2])
    np.testing.assert_array_equal(scores, [0.9, 0.8, 0.5])


def test_soft_suppression_stops_at_twenty_people():
    people = two_joints(*np.arange(30) * 1000.0)
    kept = soft_oks_nms(people, np.linspace(1, 0.1, 30), np.ones(30), np.full(2, 0.1))
    np.testing.assert_array_equal(kept, np.arange(20))


def test_box_overlap_counts_the_last_pixel_as_inside():
    # 10 x 10 and 10 x 10 pixels, 5 x 10 shared: 50 / 150
    boxes = np.array([[0.0, 0, 9, 9], [5.0, 0, 14, 9]])
    scores = np.array([0.5, 0.6])
    np.testing.assert_array_equal(box_nms(boxes, scores, 1 / 3), [1, 0])
    np.testing.assert_array_equal(box_nms(boxes, scores, 0.33), [1])
    apart = np.array([[0.0, 0, 9, 9], [11.0, 11, 20, 20]])  # both gaps negative: no overlap
    np.testing.assert_array_equal(box_nms(apart, scores, 0.0), [1, 0])


def test_of_equal_scores_the_later_goes_first():
    people = two_joints(0.0, 0.0)
    np.testing.assert_array_equal(oks_nms(people, np.ones(2), np.ones(2), np.full(2, 0.1)), [1])
    boxes = np.array([[0.0, 0, 9, 9], [0.0, 0, 9, 9]])
    np.testing.assert_array_equal(box_nms(boxes, np.ones(2), 0.5), [1])


def test_suppressing_twice_changes_nothing_and_kept_ones_are_unlike():
    rng = np.random.default_rng(0)
    people = np.repeat(rng.uniform(0, 200, (12, 17, 2)), 4, axis=0)
    people += rng.normal(0, 4, people.shape)
    scores, areas = rng.random(len(people)), rng.uniform(2e3, 2e4, len(people))
    kept = oks_nms(people, scores, areas, SIGMAS, 0.5)
    assert 0 < len(kept) < len(people) and (np.diff(scores[kept]) < 0).all()
    similarity = oks_matrix(people, areas, SIGMAS)
    among = similarity[np.ix_(kept, kept)]
    assert (among[~np.eye(len(kept), dtype=bool)] <= 0.5).all()
    dropped = np.setdiff1d(np.arange(len(people)), kept)
    assert all((similarity[index, kept][scores[kept] > scores[index]] > 0.5).any() for index in dropped)
    again = oks_nms(people[kept], scores[kept], areas[kept], SIGMAS, 0.5)
    np.testing.assert_array_equal(again, np.arange(len(kept)))


def test_no_predictions_keep_nothing():
    people = (np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0), SIGMAS)
    assert oks_nms(*people).shape == soft_oks_nms(*people).shape == (0,)
    assert box_nms(np.zeros((0, 4)), np.zeros(0), 0.5).shape == (0,)
    assert rescore(np.zeros(0), np.zeros((0, 17))).shape == (0,)


def test_rescoring_takes_the_mean_of_joints_above_the_threshold():
    joints = np.array([[0.8, 0.4, 0.2, 0.1], [0.1, 0.2, np.nan, 0.0], [np.nan, 0.6, 0.5, 0.1]])
    scores = rescore(np.array([0.5, 0.9, 1.0]), joints)
    np.testing.assert_allclose(scores, [0.5 * 0.6, 0.0, 0.55], rtol=1e-12)
    np.testing.assert_allclose(rescore(np.ones(1), joints[:1], 0.0), [0.375], rtol=1e-12)


def test_rescoring_float32_scores_is_float64_so_that_equal_joints_tie():
    joints = np.full((2, 17), 1.6, np.float32)
    joints[1, 3:5] = 0.0
    scores = rescore(np.full(2, 0.98, np.float32), joints)
    assert scores.dtype == np.float64 and scores[0] == scores[1]


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="must be finite"):
        oks_nms(two_joints(0.0, 1.0), np.array([1.0, np.nan]), np.ones(2), np.full(2, 0.1))
    with pytest.raises(ValueError, match="must be finite"):
        box_nms(np.zeros((1, 4)), np.array([np.inf]), 0.5)


def test_arrays_that_do_not_belong_together_are_refused(unchecked_types):
    people = two_joints(0.0, 1.0)
    with pytest.raises(ValueError, match=r"areas \(2,\) must be \(2,\) and sigmas \(17,\) must be \(2,\)"):
        oks_matrix(people, np.ones(2), SIGMAS)
    with pytest.raises(ValueError, match=r"areas \(3,\) must be \(2,\)"):
        oks_nms(people, np.ones(2), np.ones(3), np.full(2, 0.1))
    with pytest.raises(ValueError, match=r"3 scores for 2 predictions"):
        soft_oks_nms(people, np.ones(3), np.ones(2), np.full(2, 0.1))
    with pytest.raises(ValueError, match=r"1 scores for 2 predictions"):
        box_nms(np.zeros((2, 4)), np.ones(1), 0.5)
    with pytest.raises(ValueError, match=r"boxes of shape \(2, 5\)"):
        box_nms(np.zeros((2, 5)), np.ones(2), 0.5)
    with pytest.raises(ValueError, match=r"box scores \(2,\) do not fit joint scores \(3, 17\)"):
        rescore(np.ones(2), np.ones((3, 17)))
