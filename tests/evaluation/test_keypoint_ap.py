"""Keypoint AP: worked by hand, against pycocotools called plainly, and against published figures."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools import coco as coco_api
from pycocotools.cocoeval import COCOeval

from oasjax.datasets.skeletons import COCO, CROWDPOSE, MPII, Skeleton
from oasjax.evaluation.keypoint_ap import coco_results, crowd_index, keypoint_ap, pose_category

PARTS = ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]
CROWD_PARTS = ["AP", "AP50", "AP75", "AR", "AR50", "AR75", "AP_easy", "AP_medium", "AP_hard"]

# A joint at distance d of a person of area 10000 has the similarity exp(-d^2 / (2 (2 * .1)^2 10000)).
HANDS = Skeleton(
    name="hands",
    joints=("left_hand", "right_hand"),
    flip_pairs=((0, 1),),
    limbs=(),
    parts={"hand": (0, 1)},
    torso=None,
    sigmas=(0.1, 0.1),
)
PERSON = {"id": 1, "name": "person", "keypoints": list(HANDS.joints)}


def annotation(number, keypoints, bbox, area=10000.0, image=1, **others):
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": keypoints,
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "bbox": bbox,
        "area": area,
    } | others


def result(keypoints, score, image=1):
    return {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}


def document(annotations, images=({"id": 1},), category=PERSON):
    return {"images": list(images), "annotations": annotations, "categories": [category]}


def at_similarity(similarity, area=10000.0):
    return float(np.sqrt(-np.log(similarity) * 0.08 * area))


def scores(truth, results, skeleton=HANDS):
    return {split: metrics["keypoints"] for split, metrics in keypoint_ap(truth, results, skeleton).items()}


def two_people():
    """A's left hand is visible and found exactly, its right one hidden and found at .62; B's are exact."""
    a = annotation(1, [10, 10, 2, 90, 10, 1], [0, 0, 100, 100])
    b = annotation(2, [1010, 1010, 2, 1090, 1010, 2], [1000, 1000, 100, 100], area=2000.0)
    results = [
        result([10, 10, 1, 90, 10 + at_similarity(0.62), 1], 0.5),
        result([1010, 1010, 1, 1090, 1010, 1], 0.9),
    ]
    return document([a, b]), results


def test_splits_hold_the_numbers_worked_out_by_hand():
    found = scores(*two_people())
    # All: A's similarity is (1 + .62) / 2 = .81, so it is found at 7 of the 10 thresholds, B at all of them.
    # Without A recall ends at .5: precision is 1 at 51 of the 101 recalls and 0 at the others.
    assert found["all"] == pytest.approx(
        {
            "AP": 0.7 + 0.3 * 51 / 101, "AP50": 1, "AP75": 1, "APM": 1, "APL": 0.7,
            "AR": 0.85, "AR50": 1, "AR75": 1, "ARM": 1, "ARL": 0.7,
        }
    )  # fmt: skip
    # Visible: A's left hand and both of B's, all exact.
    assert found["visible"] == pytest.approx(dict.fromkeys(PARTS, 1.0))
    # Occluded: A's right hand at .62, found at .5, .55 and .6. B has no joint left and is ignored: its better
    # prediction is no false alarm, which would halve the precision. Areas stay, so A is large.
    assert found["occluded"] == pytest.approx(
        {
            "AP": 0.3, "AP50": 1, "AP75": 0, "APM": None, "APL": 0.3,
            "AR": 0.3, "AR50": 1, "AR75": 0, "ARM": None, "ARL": 0.3,
        }
    )  # fmt: skip


def test_a_prediction_where_nobody_is_counts_as_wrong_in_every_split():
    truth, results = two_people()
    found = scores(truth, [*results, result([5000, 5000, 1, 5100, 5000, 1], 1.0)])
    assert found["visible"]["AP"] == pytest.approx(2 / 3)
    assert found["occluded"]["AP50"] == pytest.approx(1 / 2)


def test_without_predictions_scores_are_zero_and_without_people_none():
    truth, results = two_people()
    assert scores(truth, [])["all"] == dict.fromkeys(PARTS, 0.0)
    visible = document([truth["annotations"][1]])
    assert scores(visible, results)["occluded"] == dict.fromkeys(PARTS)
    assert scores(document([]), results)["all"] == dict.fromkeys(PARTS)


def test_a_missing_area_is_that_of_the_box_and_missing_keypoints_are_unlabelled():
    truth, results = two_people()
    expected = scores(truth, results)
    a, b = truth["annotations"]
    del a["area"], a["num_keypoints"], a["iscrowd"]
    crowd = {"id": 3, "image_id": 1, "category_id": 1, "bbox": [5000, 0, 9, 9], "iscrowd": 1}
    assert scores(document([a, b, crowd]), results) == expected


def test_annotation_ids_do_not_matter():
    """pycocotools alone takes a match with annotation 0 for none."""
    truth, results = two_people()
    expected = scores(truth, results)
    truth["annotations"][0]["id"] = 0
    assert scores(truth, results) == expected


def test_other_categories_are_passed_over():
    truth, results = two_people()
    expected = scores(truth, results)
    truth["categories"].append({"id": 7, "name": "dog"})
    truth["annotations"].append({"id": 9, "image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9]})
    assert scores(truth, results) == expected


def test_nothing_is_printed_and_nothing_changed(capfd):
    truth, results = two_people()
    before = copy.deepcopy((truth, results))
    scores(truth, results)
    assert (truth, results) == before
    assert capfd.readouterr() == ("", "")


def test_a_skeleton_without_sigmas_is_refused():
    with pytest.raises(ValueError, match="mpii.*no sigmas"):
        keypoint_ap(document([]), [], MPII)


def test_the_category_with_keypoints_is_scored():
    dog = {"id": 2, "name": "dog", "keypoints": ["nose"]}
    assert pose_category([{"id": 5, "name": "car"}, dog]) == dog
    assert pose_category([dog, PERSON]) == PERSON
    assert pose_category([{"id": 5, "name": "car"}, {"id": 1, "name": "person"}])["id"] == 1
    for categories in ([], [{"id": 5, "name": "car"}], [dog, dog]):
        with pytest.raises(ValueError, match="categories have keypoints"):
            pose_category(categories)


def many_people(seed=0, with_box=False):
    """Crowds, unlabelled people, tied scores, false alarms, and more predictions of an image than count."""
    random = np.random.default_rng(seed)
    truth, results = [], []
    for number in range(60):
        image = int(random.integers(12))
        size = random.uniform(20, 300)
        joints = random.uniform(0, size, (17, 2)) + random.uniform(0, 100, 2)
        visibility = random.choice(3, 17, p=random.dirichlet([1, 1, 1])) * (number % 9 > 0)
        points = np.concatenate([np.where(visibility[:, None] > 0, joints, 0), visibility[:, None]], 1)
        box = [*joints.min(0).tolist(), *np.ptp(joints, axis=0).tolist()]
        truth.append(
            annotation(number + 1, points.round(2).ravel().tolist(), box, size**2 * 0.4, image)
            | {"iscrowd": int(number % 20 == 5)}
        )
        for _ in range(random.integers(6)):
            near = joints + random.normal(0, random.choice([0.02, 0.1, 0.5]) * size, joints.shape)
            points = np.concatenate([near, random.random((17, 1))], 1).ravel().tolist()
            results.append(
                result(points, float(random.integers(1, 20)) / 20, int(random.integers(2)) or image)
            )
            if with_box:
                results[-1]["bbox"] = box
    images = [{"id": number, "height": 9, "width": 9} for number in range(14)]
    return document(truth, images, PERSON | {"keypoints": list(COCO.joints)}), results


def plain_pycocotools(truth, results, kept=(1, 2)):
    truth, results = copy.deepcopy((truth, results))
    if kept != (1, 2):
        for person in truth["annotations"]:
            points = np.array(person["keypoints"])
            points[2::3] *= np.isin(points[2::3], kept)
            person["keypoints"] = points.tolist()
            person["num_keypoints"] = int((points[2::3] > 0).sum())
    with contextlib.redirect_stdout(io.StringIO()):
        annotated = coco_api.COCO()
        annotated.dataset = truth
        annotated.createIndex()
        evaluation = COCOeval(annotated, annotated.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(PARTS, evaluation.stats.tolist(), strict=True))


@pytest.mark.parametrize("with_box", [False, True])
def test_every_split_equals_pycocotools_to_the_last_bit(with_box):
    truth, results = many_people(with_box=with_box)
    assert max(sum(each["image_id"] == image for each in results) for image in range(14)) > 20
    found = scores(truth, results, COCO)
    assert found["all"] == plain_pycocotools(truth, results)
    assert found["visible"] == plain_pycocotools(truth, results, kept=(2,))
    assert found["occluded"] == plain_pycocotools(truth, results, kept=(1,))
    assert all(0.05 < parts["AP"] < 0.95 for parts in found.values())


def crowd(index_of_image):
    """A person in each image, and a prediction of similarity .701 if .53 of the box is the person's area."""
    category = {"id": 1, "name": "person", "keypoints": list(CROWDPOSE.joints)}
    shoulder_px = float(np.sqrt(-np.log(0.701) * 2 * (2 * 0.079) ** 2 * 0.53 * 100 * 100))
    points = np.zeros((14, 3))
    points[0] = (10, 10, 2)
    away = points + [0, shoulder_px, 0]
    people = [
        annotation(n + 1, points.ravel().tolist(), [0, 0, 100, 100], area=1.0, image=n)
        for n in range(len(index_of_image))
    ]
    images = [{"id": n, "crowdIndex": index} for n, index in enumerate(index_of_image)]
    return document(people, images, category), away.ravel().tolist()


def test_crowdpose_takes_its_own_area_and_groups_images_by_their_crowd_index():
    truth, away = crowd([0.19, 0.2, 0.79, 0.8])
    exact = truth["annotations"][0]["keypoints"]
    results = [result(exact, 0.9, 0), result(away, 0.8, 1), result(away, 0.7, 2)]
    found = scores(truth, results, CROWDPOSE)["all"]
    assert list(found) == CROWD_PARTS
    # .701 is above 5 of the 10 thresholds. Of four people one is found always, two at those, one never.
    assert found == pytest.approx(
        {
            "AP": (76 / 101 + 26 / 101) / 2, "AP50": 76 / 101, "AP75": 26 / 101,
            "AR": (3 / 4 + 1 / 4) / 2, "AR50": 3 / 4, "AR75": 1 / 4,
            "AP_easy": 1, "AP_medium": 0.5, "AP_hard": 0,
        }
    )  # fmt: skip


def test_head_and_neck_of_crowdpose_are_neither_visible_nor_occluded():
    truth, _ = crowd([0.5])
    person = truth["annotations"][0]
    person["keypoints"] = [*person["keypoints"][:36], 50, 10, 1, 50, 30, 1]
    person["num_keypoints"] = 3
    predicted = [*person["keypoints"][:36], 90, 90, 1, 90, 90, 1]
    found = scores(truth, [result(predicted, 1.0, 0)], CROWDPOSE)
    assert found["all"]["AP50"] == 0  # two of three joints are far off
    assert found["visible"]["AP"] == pytest.approx(1)
    assert found["occluded"]["AP"] is None


def test_crowdpose_without_images_of_a_kind_has_none_there():
    truth, away = crowd([0.5])
    found = scores(truth, [result(away, 1.0, 0)], CROWDPOSE)
    assert (found["all"]["AP_easy"], found["all"]["AP_medium"], found["all"]["AP_hard"]) == (
        None, pytest.approx(0.5), None,
    )  # fmt: skip
    assert found["occluded"] == dict.fromkeys(CROWD_PARTS)


def test_a_crowd_index_of_some_images_alone_is_refused():
    assert crowd_index([{"id": 1}, {"id": 2, "crowdIndex": None}]) is None
    for other in ({}, {"crowdIndex": "many"}, {"crowdIndex": float("nan")}):
        with pytest.raises(ValueError, match="image 2 has the crowdIndex"):
            crowd_index([{"id": 1, "crowdIndex": 0.5}, {"id": 2} | other])


def three_predictions():
    keypoints = np.zeros((3, 17, 2)) + np.array([5.0, 5.1, 5.0])[:, None, None]
    return {
        "keypoints": keypoints,
        "joint_scores": np.full((3, 17), 0.5),
        "image_numbers": np.array([7, 7, 3]),
        "person_scores": np.array([0.4, 0.8, 0.6]),
        "areas": np.full(3, 1e4),
        "skeleton": COCO,
    }


def test_results_are_rescored_and_freed_of_duplicates_image_by_image():
    records = coco_results(**three_predictions())
    assert [(each["image_id"], each["score"]) for each in records] == [(3, 0.3), (7, 0.4)]
    assert records[1]["keypoints"] == [5.1, 5.1, 0.5] * 17
    assert records[0]["category_id"] == 1
    json.dumps(records, allow_nan=False)


def test_results_without_suppression_keep_their_order_and_without_rescoring_their_scores():
    records = coco_results(**three_predictions(), rescoring=False, nms=None)
    assert [(each["image_id"], each["score"]) for each in records] == [(7, 0.4), (7, 0.8), (3, 0.6)]
    softly = coco_results(**three_predictions(), nms="soft_oks")
    assert [(each["image_id"], each["score"]) for each in softly] == [(3, 0.3), (7, 0.4), (7, 0.2)]


def test_no_people_are_no_results():
    nobody = {key: value[:0] if key != "skeleton" else value for key, value in three_predictions().items()}
    assert coco_results(**nobody) == []


def test_suppression_of_unknown_name_or_without_sigmas_is_refused():
    with pytest.raises(ValueError, match="'hard'; choose one of oks, soft_oks"):
        coco_results(**three_predictions(), nms="hard")
    with pytest.raises(ValueError, match="mpii"):
        coco_results(**three_predictions() | {"skeleton": MPII})


@pytest.mark.golden
@pytest.mark.parametrize(("nms", "case"), [("oks", "hard"), ("soft_oks", "soft")])
def test_all_ten_numbers_of_hrnets_evaluation_and_what_it_keeps(golden_dir, nms, case):
    golden = np.load(golden_dir / "prepost_hrnet" / "coco_eval.npz")
    truth = json.loads(str(golden["json"]))
    records = coco_results(
        golden["preds"][..., :2], golden["preds"][..., 2], golden["image_ids"], golden["boxes"][:, 5],
        golden["boxes"][:, 4], COCO, nms=nms,
    )  # fmt: skip
    expected = json.loads(str(golden[f"results_{case}"]))
    assert len(records) == len(expected)
    for ours, theirs in zip(records, expected, strict=True):
        assert ours["image_id"] == theirs["image_id"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-12)
        np.testing.assert_allclose(ours["keypoints"], theirs["keypoints"], rtol=0, atol=1e-12)
    found = keypoint_ap(truth, records, COCO)["all"]["keypoints"]
    np.testing.assert_allclose(list(found.values()), golden[f"stats_{case}"], rtol=0, atol=1e-12)


@pytest.mark.realdata
@pytest.mark.parametrize("recipe", ["bbox_keypoint", "bbox_rle"])
def test_the_known_answer_of_rescoring(data_dir, recipe):
    folder = data_dir / "coco_mmpose4"
    known = json.loads((folder / "rescoring_known_answer.json").read_text())
    truth = json.loads((folder / "test_coco.json").read_text())
    inputs = known["inputs"]
    joint_scores = np.array([each["keypoint_scores"] for each in inputs])
    box_scores = np.array([each["bbox_score"] for each in inputs])
    rescoring = recipe == "bbox_keypoint"
    # mmpose holds float32 scores here, and numpy's mean of them is float32, too; it decides who of two equal
    # people in different images goes first.
    single = joint_scores.astype(np.float32)
    records = coco_results(
        np.array([each["keypoints_xy"] for each in inputs]),
        joint_scores,
        np.array([each["image_id"] for each in inputs]),
        box_scores if rescoring else box_scores + single.mean(1) + single.max(1),
        np.array([each["box_area_for_oks_nms"] for each in inputs]),
        COCO,
        rescoring=rescoring,
    )
    found = keypoint_ap(truth, records, COCO)["all"]["keypoints"]
    assert found == pytest.approx(known["expected"][recipe], abs=1e-12)
