import json
from collections import Counter
from pathlib import Path

import numpy as np
import pycocotools.mask
import pytest

import oasjax.datasets.coco_person
from oasjax.datasets.coco_person.annotations import (
    find_folder,
    ground_truth,
    read_boxes,
    read_ignored,
    read_images,
    read_people,
)

DUMMY_DATA = Path(oasjax.datasets.coco_person.__file__).parent / "dummy_data"


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_record_holds_what_the_file_says(split):
    name = f"person_keypoints_{split[:5].replace('valid', 'val')}2017.json"
    document = json.loads((DUMMY_DATA / "annotations" / name).read_text())
    entries = {entry["id"]: entry for entry in document["annotations"]}
    file_names = {image["id"]: image["file_name"] for image in document["images"]}
    people = read_people(DUMMY_DATA, split) + read_ignored(DUMMY_DATA, split)
    assert sorted(person["person_number"] for person in people) == sorted(entries)
    for person in people:
        entry = entries[person["person_number"]]
        joints = np.array(entry["keypoints"], np.float32).reshape(17, 3)
        np.testing.assert_array_equal(person["keypoints"], joints[:, :2])
        np.testing.assert_array_equal(person["visibility"], joints[:, 2])
        np.testing.assert_array_equal(person["occlusion_known"], joints[:, 2] > 0)
        np.testing.assert_array_equal(person["bbox_xywh"], np.float32(entry["bbox"]))
        assert person["area"] == entry["area"] and person["is_crowd"] == entry["iscrowd"]
        assert person["image_number"] == entry["image_id"]
        assert person["image_id"] == file_names[entry["image_id"]]
        code = {"size": [56, 64], "counts": person["segmentation"]}
        assert pycocotools.mask.area(code) == pytest.approx(entry["area"], rel=0.05)


@pytest.mark.realdata
@pytest.mark.parametrize(("split", "year"), [("train", "train2017"), ("validation", "val2017")])
def test_the_real_data_are_counted_as_their_files_say(data_dir, split, year):
    folder = find_folder(data_dir)
    document = json.loads((folder / "annotations" / f"person_keypoints_{year}.json").read_text())
    entries = document["annotations"]
    present = {path.name for path in (folder / year).iterdir()}
    assert {image["file_name"] for image in document["images"]} <= present, "the test counts all pictures"
    flags = {entry["id"]: Counter(entry["keypoints"][2::3]) for entry in entries}
    crowds = {entry["id"] for entry in entries if entry["iscrowd"]}
    kept = {number for number, counts in flags.items() if counts[1] + counts[2]} - crowds

    people, ignored = read_people(folder, split), read_ignored(folder, split)
    assert {person["person_number"] for person in people} == kept
    assert {person["person_number"] for person in ignored} == set(flags) - kept
    assert {person["person_number"] for person in ignored if person["is_crowd"]} == crowds
    visibility = Counter(np.concatenate([person["visibility"] for person in people]).tolist())
    assert visibility == sum((flags[number] for number in kept), Counter())
    assert len(read_images(folder, split)) == len(document["images"])

    truth = ground_truth(folder, split)
    by_id = {entry["id"]: entry for entry in entries}
    assert {entry["id"]: entry for entry in truth["annotations"]} == by_id
    masks = [{"size": [1, 1], "counts": person["segmentation"]} for person in people]
    areas = pycocotools.mask.area(masks)
    # The annotated areas are of the polygons, before they became pixels.
    assert np.median(np.abs(areas / [person["area"] for person in people] - 1)) < 0.02

    known = {  # a cut of COCO: pictures, records -> with keypoints, crowds, v = 0, 1, 2 over all records
        (48, 172): (86, 5, 2124, 102, 698),
        (24, 59): (35, 1, 656, 47, 300),
    }
    found = (len(document["images"]), len(entries))
    if found in known:
        of_all = Counter(np.concatenate([person["visibility"] for person in people + ignored]).tolist())
        assert (len(people), len(crowds), of_all[0], of_all[1], of_all[2]) == known[found]


@pytest.mark.realdata
def test_a_published_detectors_boxes_go_with_their_pictures(data_dir, tmp_path):
    source = data_dir / "coco_mmpose4"
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").symlink_to(source)
    target = tmp_path / "annotations" / "person_keypoints_val2017.json"
    target.write_bytes((source / "test_coco.json").read_bytes())
    path = source / "test_coco_det_AP_H_56.json"
    detected = json.loads(path.read_text())
    people = read_boxes(tmp_path, "validation", path)
    assert [person["image_number"] for person in people] == [box["image_id"] for box in detected]
    np.testing.assert_allclose(
        np.stack([person["bbox_xywh"] for person in people]), [box["bbox"] for box in detected], rtol=1e-6
    )
    np.testing.assert_allclose([person["box_score"] for person in people], [box["score"] for box in detected])


@pytest.mark.golden
def test_the_kept_people_are_those_of_hrnet(golden_dir, tmp_path):
    golden = np.load(golden_dir / "prepost_hrnet" / "coco_pipeline.npz")
    document = json.loads(str(golden["json"]))
    path = tmp_path / "annotations" / "person_keypoints_val2017.json"
    path.parent.mkdir()
    path.write_text(str(golden["json"]))
    (tmp_path / "val2017").mkdir()
    for image in document["images"]:
        (tmp_path / "val2017" / image["file_name"]).touch()
    people = read_people(tmp_path, "validation")
    assert [person["image_number"] for person in people] == golden["db_image_id"].tolist()
    assert len(people) < len(document["annotations"])
    for person, joints, labelled in zip(people, golden["db_joints"], golden["db_vis"][:, :, 0], strict=True):
        np.testing.assert_array_equal(person["visibility"] > 0, labelled)
        np.testing.assert_allclose(person["keypoints"], joints[:, :2], rtol=1e-6)
