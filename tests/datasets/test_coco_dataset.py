"""What the data sets in COCO's form share, on drawn data of COCO's own layout."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import oasjax.datasets
from oasjax.datasets.coco_person import annotations
from oasjax.errors import UserError

DATASETS = Path(oasjax.datasets.__file__).parent
DUMMY_DATA = DATASETS / "coco_person" / "dummy_data"
TRAIN = "annotations/person_keypoints_train2017.json"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(DUMMY_DATA, tmp_path / "data")


def edit(folder, change, name=TRAIN):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def annotation(document, number):
    return next(entry for entry in document["annotations"] if entry["id"] == number)


def numbers(people):
    return [person["person_number"] for person in people]


def test_the_dummy_data_are_those_that_our_code_draws(tmp_path):
    spec = importlib.util.spec_from_file_location("draw", Path(__file__).parent / "draw_coco_dummy_data.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    draw.draw_all(tmp_path)
    for name in ("coco_person", "crowdpose", "ochuman", "keypoints_json"):
        drawn, kept = tmp_path / name / "dummy_data", DATASETS / name / "dummy_data"
        files = {path.relative_to(drawn) for path in drawn.rglob("*") if path.is_file()}
        assert files == {path.relative_to(kept) for path in kept.rglob("*") if path.is_file()}
        for file in files:
            assert (kept / file).stat().st_size < 4000
            if file.suffix == ".json":
                assert (kept / file).read_text() == (drawn / file).read_text()


def test_the_folder_is_found_itself_or_below(tmp_path):
    assert annotations.find_folder(DUMMY_DATA) == DUMMY_DATA
    shutil.copytree(DUMMY_DATA, tmp_path / "coco_mini")
    assert annotations.find_folder(str(tmp_path)) == tmp_path / "coco_mini"


def test_a_folder_without_annotations_names_the_files(tmp_path):
    with pytest.raises(UserError, match=r"COCO not found in .*: it lacks them.*coco_mini: annotations"):
        annotations.find_folder(tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        annotations.find_folder(tmp_path / "nowhere")


def test_only_splits_that_are_there_are_splits(folder):
    assert annotations.splits_of(folder) == ("train", "validation")
    shutil.rmtree(folder / "val2017")
    assert annotations.splits_of(folder) == ("train",)
    (folder / TRAIN).unlink()
    assert annotations.splits_of(folder) == ()
    with pytest.raises(UserError, match=rf"COCO has no annotations of its train split in .*expected {TRAIN}"):
        annotations.read_people(folder, "train")


def test_people_without_labels_and_crowds_are_kept_apart(caplog):
    people, ignored = (
        annotations.read_people(DUMMY_DATA, "train"),
        annotations.read_ignored(DUMMY_DATA, "train"),
    )
    assert numbers(people) == [11, 13, 12]  # picture by picture
    assert numbers(ignored) == [900100000002, 14]
    assert [person["is_crowd"] for person in people + ignored] == [False, False, False, True, False]
    assert [person["example_id"] for person in people + ignored] == [0, 1, 2, 0, 1]
    assert caplog.records[0].getMessage() == (
        "COCO train: 3 people; crowds, for scores to ignore: 1 (000000000025.jpg person 900100000002); "
        "people without a labelled joint, for scores to ignore: 1 (000000000030.jpg person 14)."
    )


def test_people_without_an_area_or_a_box_are_left_out_and_named(folder, caplog):
    def change(document):
        annotation(document, 11)["area"] = 0
        annotation(document, 12)["bbox"][2] = 0
        document["annotations"].append({**annotation(document, 13), "id": 15, "area": np.nan})
        document["annotations"].append({**annotation(document, 13), "id": 16, "bbox": [0, 0, np.inf, 9]})

    edit(folder, change)
    people = annotations.read_people(folder, "train")
    assert numbers(people) == [13]
    assert (
        "left out: 2 without a positive area (000000000009.jpg person 11, 000000000009.jpg person 15), 2 "
        "without a box that has an area (000000000009.jpg person 16, 000000000025.jpg person 12)"
    ) in caplog.text
    assert [len(names) for names in people.left_out.values()] == [2, 2]


def test_people_to_ignore_need_a_box_but_no_area(folder):
    def change(document):
        annotation(document, 14)["area"] = 0
        annotation(document, 900100000002)["bbox"] = [0, 0, 0, 0]

    edit(folder, change)
    assert numbers(annotations.read_ignored(folder, "train")) == [14]


def test_missing_pictures_are_counted_and_named(folder, caplog):
    (folder / "train2017" / "000000000025.jpg").unlink()
    people = annotations.read_people(folder, "train")
    assert numbers(people) == [11, 13] and people.missing == ["000000000025.jpg"]
    assert "1 of 3 pictures have no file (000000000025.jpg), with 1 people" in caplog.text
    truth = annotations.ground_truth(folder, "train")
    assert [image["id"] for image in truth["images"]] == [1, 3]
    assert [entry["id"] for entry in truth["annotations"]] == [11, 13, 14]
    for path in (folder / "train2017").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"No picture of COCO train in .*train2017: none of the 3 files"):
        annotations.read_people(folder, "train")


def test_a_segmentation_that_means_nothing_is_named_and_the_person_kept(folder, caplog):
    edit(folder, lambda document: annotation(document, 12).update(segmentation=[[1, 2, 3, 4]]))
    people = annotations.read_people(folder, "train")
    assert [person["segmentation"] == b"" for person in people] == [False, False, True]
    assert "segmentations that mean nothing, taken as none: 1 (000000000025.jpg person 12)" in caplog.text


def test_pictures_are_listed_with_the_size_that_the_file_states(folder):
    (folder / "val2017" / "000000000285.jpg").unlink()
    assert annotations.read_images(folder, "validation") == [
        {
            "image_id": f"{number:012d}.jpg",
            "image_path": str(folder / "val2017" / f"{number:012d}.jpg"),
            "image_number": position,
            "width": 64,
            "height": 56,
        }
        for position, number in ((1, 139), (2, 285))
    ]
    assert [image["image_id"] for image in annotations.read_images(folder, "test")] == ["000000000001.jpg"]


def test_the_ground_truth_is_the_file_with_what_scores_need(folder):
    def change(document):
        for entry in document["annotations"]:
            del entry["num_keypoints"]
            if not entry["iscrowd"]:
                del entry["iscrowd"]
        document["annotations"].append({**annotation(document, 11), "id": 99, "category_id": 2, "bbox": None})

    def truth():
        found = annotations.ground_truth(folder, "train")
        return {**found, "annotations": sorted(found["annotations"], key=lambda entry: entry["id"])}

    edit(folder, lambda document: document["annotations"].sort(key=lambda entry: entry["id"]))
    before = json.loads((folder / TRAIN).read_text())
    assert truth() == before
    edit(folder, change)
    assert truth() == before


def box(**fields):
    return {"image_id": 1, "category_id": 1, "bbox": [2.5, 3, 10, 20], "score": 0.75, **fields}


def read_boxes(folder, boxes, split="validation"):
    path = folder / "boxes.json"
    path.write_text(json.dumps(boxes))
    return annotations.read_boxes(folder, split, path)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_detectors_boxes_are_people_without_labels(folder, split):
    [person] = read_boxes(folder, [box()], split)
    assert person["bbox_xywh"].tolist() == [2.5, 3, 10, 20]
    assert (person["box_score"], person["area"]) == (0.75, 200)
    assert person["keypoints"].shape == (17, 2) and not person["visibility"].any()
    assert (person["image_number"], person["person_number"]) == (1, -1)
    assert Path(person["image_path"]).is_file()
    annotated = annotations.read_people(folder, "train")[0]
    assert {key: type(value) for key, value in person.items()} == {
        key: type(value) for key, value in annotated.items()
    }


def test_boxes_that_are_no_persons_of_the_split_are_left_out_and_named(folder, caplog):
    (folder / "val2017" / "000000000285.jpg").unlink()
    boxes = [
        box(score=0.1),
        box(category_id=3),
        box(image_id=777),
        box(image_id=2),
        box(bbox=[1, 1, 0, 5]),
        box(score=0.0),
    ]
    assert [float(person["box_score"]) for person in read_boxes(folder, boxes)] == [np.float32(0.1), 0]
    assert caplog.records[0].getMessage() == (
        "COCO validation, boxes of boxes.json: 2 people; 1 of 2 pictures have no file (000000000285.jpg), "
        "with 1 people; left out: 1 boxes of another category (position 1), 1 boxes in pictures that the "
        "annotations do not hold (image 777), 1 without a box that has an area (000000000139.jpg)."
    )


@pytest.mark.parametrize("boxes", [[], [box(image_id=777)], [box(category_id=2)]])
def test_boxes_of_which_none_fits_are_refused(folder, boxes):
    with pytest.raises(UserError, match=rf"boxes\.json: none of its {len(boxes)} boxes is of a person"):
        read_boxes(folder, boxes)


def test_the_test_split_has_no_people_but_boxes():
    with pytest.raises(UserError, match=r"test split of COCO has no annotated people.*boxes_path"):
        annotations.read_people(DUMMY_DATA, "test")
    assert annotations.read_ignored(DUMMY_DATA, "test") == []
