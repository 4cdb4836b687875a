"""Each mistake in people's own annotations is told, and a sound file is left in peace."""

import contextlib
import copy
import io
import json

import numpy as np
import pycocotools.coco
import pytest
from pycocotools.cocoeval import COCOeval

from oasjax.datasets.skeletons import COCO
from oasjax.datasets.zero_ap import explain_zero_ap, shared_pictures

NUM_PEOPLE = 8


def sound_document():
    """Eight people with 17 joints in pictures of 200 x 100; medium and large ones, hidden joints."""
    rng = np.random.default_rng(0)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 200, "height": 100} for n in range(1, 9)]
    annotations = []
    for n in range(1, NUM_PEOPLE + 1):
        width, height = (90, 50) if n % 2 else (110, 98)
        points = rng.uniform((62, 1), (58 + width, height - 1), (17, 2)).round(1)
        visibility = rng.choice([1, 2], 17)
        annotations.append(
            {
                "id": 100 + n, "image_id": n, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                "bbox": [60, 1, width, height], "area": 0.9 * width * height,
                "keypoints": np.column_stack([points, visibility]).ravel().tolist(),
            }
        )  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(COCO.joints), "skeleton": [[1, 2]]}
    return {"images": images, "annotations": annotations, "categories": [category]}


@pytest.fixture
def folder(tmp_path):
    """The pictures of `sound_document`; nobody opens them here."""
    (tmp_path / "images").mkdir()
    for n in range(1, NUM_PEOPLE + 1):
        (tmp_path / "images" / f"{n}.jpg").touch()
    return tmp_path


def findings_of(document, folder, sizes_wh=None):
    return {each.code: each for each in explain_zero_ap(document, folder, sizes_wh or {})}


def scale_joints(entry, factor):
    triplets = np.array(entry["keypoints"]).reshape(-1, 3)
    entry["keypoints"] = (triplets * (*np.broadcast_to(factor, 2), 1)).ravel().tolist()


def set_visibility(entry, value):
    triplets = np.array(entry["keypoints"]).reshape(-1, 3)
    triplets[:, 2] = value
    entry["keypoints"] = triplets.ravel().tolist()


def to_corners(entry):
    x, y, width, height = entry["bbox"]
    entry["bbox"] = [x, y, x + width, y + height]


def every(change):
    """A change of one annotation, made to all."""

    def change_all(document):
        for entry in document["annotations"]:
            change(entry)

    return change_all


def one(position, change):
    return lambda document: change(document["annotations"][position])


def rename_joints(document):
    document["categories"][0]["keypoints"] = [f"point{n}" for n in range(17)]


def second_category(document):
    document["categories"].append({**document["categories"][0], "id": 2, "name": "rider"})
    document["annotations"][3]["category_id"] = 2


def swap_ids(document):
    for entry in document["annotations"]:
        entry["id"], entry["image_id"] = entry["image_id"], entry["id"]


def text_ids(document):
    for image in document["images"]:
        image["id"] = str(image["id"])


def copy_person(document):
    document["annotations"].append({**document["annotations"][0], "id": 999})


# What is done to a sound file -> (code, serious, count, a record or part of the sentence).
MISTAKES = {
    "no area": (every(lambda a: a.pop("area")), "no_area", False, 8, "annotation 101 (1.jpg)"),
    "area null": (one(2, lambda a: a.update(area=None)), "no_area", False, 1, "annotation 103 (3.jpg)"),
    "area zero": (every(lambda a: a.update(area=0)), "zero_area", True, 8, "left out here"),
    "area one": (every(lambda a: a.update(area=1.0)), "odd_area", True, 8, "placeholder"),
    "area of the picture": (every(lambda a: a.update(area=40_000)), "odd_area", True, 8, "flatters"),
    "all small": (every(lambda a: a.update(area=500)), "no_medium_people", False, 0, "APM is -1"),
    "none large": (every(lambda a: a.update(area=1500)), "no_large_people", False, 0, "APL is -1"),
    "no num_keypoints": (
        every(lambda a: a.pop("num_keypoints")), "no_num_keypoints", False, 8, "`num_keypoints`"),
    "num_keypoints zero": (
        every(lambda a: a.update(num_keypoints=0)), "zero_num_keypoints", False, 8, "AP -1"),
    "v all 0": (every(lambda a: set_visibility(a, 0)), "nothing_labelled", True, 8, "write 2"),
    "v 1 for visible": (every(lambda a: set_visibility(a, 1)), "visible_as_1", True, 8, "counts as hidden"),
    "v a score": (one(0, lambda a: set_visibility(a, 0.8)), "strange_visibility", True, 1, "score"),
    "unknown image": (one(0, lambda a: a.update(image_id=77)), "unknown_image", True, 1, "annotation 101"),
    "ids exchanged": (swap_ids, "unknown_image", True, 8, "changed places"),
    "ids as text": (text_ids, "unknown_image", True, 8, "text instead of numbers"),
    "no categories": (lambda d: d.pop("categories"), "no_categories", True, 0, "`categories`"),
    "unknown category": (one(0, lambda a: a.update(category_id=0)), "unknown_category", True, 1, "101"),
    "two categories": (second_category, "several_categories", True, 2, "rider (1)"),
    "another category": (
        lambda d: d["categories"][0].update(name="lamb"), "category_name", False, 8, "'lamb'"),
    "bad category": (
        lambda d: d["categories"][0].update(keypoints=["a", "b"], skeleton=[[0, 99]]),
        "bad_category", True, 1, "99"),
    "joint count": (one(4, lambda a: a["keypoints"].extend([1, 1, 2])), "joint_count", True, 1, "105"),
    "corners": (every(to_corners), "corner_boxes", True, 8, "[x1, y1, x2, y2]"),
    "box in fractions": (
        every(lambda a: a.update(bbox=[0.2, 0.1, 0.5, 0.6])), "normalised_boxes", True, 8, "fractions"),
    "box without area": (one(0, lambda a: a.update(bbox=[5, 5, 0, 9])), "bad_box", True, 1, "101"),
    "no box": (one(0, lambda a: a.pop("bbox")), "no_box", False, 1, "101"),
    "joints in fractions": (
        every(lambda a: scale_joints(a, (1 / 200, 1 / 100))), "normalised_joints", True, 8, "fractions"),
    "another resolution": (
        every(lambda a: scale_joints(a, 4)), "joints_outside_picture", True, 8, "another resolution"),
    "box elsewhere": (
        every(lambda a: a.update(bbox=[0, 0, 30, 40])), "joints_outside_box", True, 8, "cut out"),
    "joint at NaN": (
        one(2, lambda a: a["keypoints"].__setitem__(3, float("nan"))), "not_finite", True, 1, "103"),
    "all crowds": (every(lambda a: a.update(iscrowd=1)), "crowds", True, 8, "nobody is left"),
    "one crowd": (one(0, lambda a: a.update(iscrowd=1)), "crowds", True, 1, "101"),
    "ids twice": (one(0, lambda a: a.update(id=102)), "duplicate_ids", True, 2, "102"),
    "id zero": (one(0, lambda a: a.update(id=0)), "id_zero", True, 1, "annotation 0"),
    "image id twice": (
        lambda d: d["images"].append({**d["images"][0], "file_name": "2b.jpg"}),
        "duplicate_image_ids", True, 1, "more than once"),
    "image twice": (
        lambda d: d["images"].append({**d["images"][0], "id": 50}),
        "duplicate_image_file_names", True, 1, "1.jpg"),
    "person twice": (copy_person, "duplicate_people", True, 1, "annotation 999 (1.jpg)"),
    "no file name": (lambda d: d["images"][0].pop("file_name"), "no_file_name", True, 1, "file_name"),
    "mirror pairs unknown": (rename_joints, "no_flip_pairs", True, 17, "mirror"),
    "sigmas unknown": (rename_joints, "default_sigmas", False, 17, "mean of COCO's"),
}  # fmt: skip


def test_a_sound_file_gives_no_finding(folder):
    assert findings_of(sound_document(), folder) == {}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_with_its_records(case, folder):
    change, code, serious, count, expected = MISTAKES[case]
    document = sound_document()
    change(document)
    found = findings_of(document, folder)
    assert code in found, list(found)
    finding = found[code]
    assert (finding.serious, finding.count) == (serious, count)
    assert expected in finding.sentence + " ".join(finding.records)
    assert len(finding.records) == min(count, 5) or not finding.records


def test_serious_findings_stand_first(folder):
    document = sound_document()
    rename_joints(document)
    serious = [finding.serious for finding in findings_of(document, folder).values()]
    assert serious == sorted(serious, reverse=True) and len(set(serious)) == 2


def test_boxes_that_reach_beyond_the_picture_are_not_taken_for_corners(folder):
    document = sound_document()
    for entry in document["annotations"]:
        entry["bbox"] = [120, 40, 100, 70]
    assert "corner_boxes" not in findings_of(document, folder)


def test_pictures_may_lie_beside_the_annotations(folder):
    for picture in list((folder / "images").iterdir()):
        picture.rename(folder / picture.name)
    assert findings_of(sound_document(), folder) == {}


def test_pictures_turned_by_exif_are_told_from_scaled_ones(folder):
    sizes = {"1.jpg": (100, 200), "2.jpg": (200, 100), "3.jpg": (400, 200)}
    found = findings_of(sound_document(), folder, sizes)
    assert found["turned_pictures"].records == ("1.jpg (200 x 100 annotated, 100 x 200 decoded)",)
    assert found["other_size"].records == ("3.jpg (200 x 100 annotated, 400 x 200 decoded)",)


def test_missing_pictures_are_looked_for_in_the_other_folders(folder):
    (folder / "elsewhere").mkdir()
    for n in (1, 2):
        (folder / "images" / f"{n}.jpg").rename(folder / "elsewhere" / f"{n}.jpg")
    finding = findings_of(sound_document(), folder)["missing_files"]
    assert finding.count == 2 and finding.serious
    assert f"2 of them lie in {folder / 'elsewhere'}" in finding.sentence
    (folder / "elsewhere" / "1.jpg").unlink()
    (folder / "elsewhere" / "2.jpg").unlink()
    finding = findings_of(sound_document(), folder)["missing_files"]
    assert not finding.serious and "lie in" not in finding.sentence


@pytest.mark.parametrize(
    "document", [{}, {"annotations": []}, {"annotations": {"a": 1}}, {"annotations": [3, "x"]}]
)
def test_a_file_without_annotations_says_so(document, folder):
    assert list(findings_of(document, folder)) == ["no_annotations"]


@pytest.mark.parametrize("value", [None, "text", 7, [], {}, [None], float("nan")])
@pytest.mark.parametrize("key", ["keypoints", "bbox", "area", "image_id", "category_id", "id", "iscrowd"])
def test_no_value_of_the_wrong_kind_upsets_the_checks(key, value, folder):
    document = sound_document()
    document["annotations"][0][key] = value
    findings_of(document, folder)


def test_pictures_that_two_splits_share_are_found_under_any_name():
    digests = {"train": {"a.jpg": b"1", "b.jpg": b"2"}, "validation": {"c.jpg": b"2", "d.jpg": b"3"}}
    (finding,) = shared_pictures(digests)
    assert finding.records == ("c.jpg (= b.jpg)",) and "1 of 2 pictures of validation" in finding.sentence
    assert shared_pictures({"train": {"a.jpg": b"1"}, "validation": {"d.jpg": b"3"}}) == []


def scores_of_perfect_predictions(document):
    """AP, APM and APL of pycocotools where the predictions are the annotations."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = pycocotools.coco.COCO()
        truth.dataset = copy.deepcopy(document)
        truth.createIndex()
        results = [
            {key: entry[key] for key in ("image_id", "category_id", "keypoints")} | {"score": 1.0}
            for entry in document["annotations"]
        ]
        scorer = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "keypoints")
        # A pixel off, as no prediction is exact.
        for entry in scorer.cocoDt.anns.values():
            entry["keypoints"] = [x + 1 if n % 3 < 2 else x for n, x in enumerate(entry["keypoints"])]
        scorer.evaluate()
        scorer.accumulate()
        scorer.summarize()
    return scorer.stats[0], scorer.stats[3], scorer.stats[4]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("area zero", (0, -1, -1)),
        ("area one", (0, -1, -1)),
        ("num_keypoints zero", (-1, -1, -1)),
        ("v all 0", None),
        ("all crowds", (-1, -1, -1)),
        ("all small", (None, -1, -1)),
        ("none large", (None, None, -1)),
    ],
)
def test_the_scores_are_indeed_what_the_sentences_say(case, expected):
    document = sound_document()
    ap, medium, large = scores_of_perfect_predictions(document)
    assert min(ap, medium, large) > 0.5
    MISTAKES[case][0](document)
    if expected is None:
        for entry in document["annotations"]:
            entry["num_keypoints"] = 0  # as a tool that counts v > 0 writes it
        expected = (-1, -1, -1)
    scores = scores_of_perfect_predictions(document)
    for score, wanted in zip(scores, expected, strict=True):
        assert score == wanted if wanted is not None else score > 0


def test_a_match_with_the_annotation_of_id_zero_is_lost():
    document = sound_document()
    whole = scores_of_perfect_predictions(document)[0]
    MISTAKES["id zero"][0](document)
    assert scores_of_perfect_predictions(document)[0] < whole - 0.05
