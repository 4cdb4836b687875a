import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import oasjax.datasets.crowdpose
from oasjax.datasets.crowdpose.annotations import (
    annotation_file,
    find_folder,
    ground_truth,
    read_boxes,
    read_ignored,
    read_people,
    splits_of,
)

DUMMY_DATA = Path(oasjax.datasets.crowdpose.__file__).parent / "dummy_data"


def test_the_area_is_what_the_evaluator_of_crowdpose_takes():
    for split in ("train", "validation", "test"):
        people = read_people(DUMMY_DATA, split)
        assert [float(person["area"]) for person in people] == [
            pytest.approx(0.53 * 20 * 44), pytest.approx(0.53 * 24 * 40)
        ]  # fmt: skip
        areas = [entry["area"] for entry in ground_truth(DUMMY_DATA, split)["annotations"]]
        assert areas == pytest.approx([0.53 * 20 * 44, 0.53 * 24 * 40])


def test_an_area_of_the_file_changes_nothing(tmp_path):
    folder = shutil.copytree(DUMMY_DATA, tmp_path / "crowdpose")
    path = annotation_file(folder, "train")
    document = json.loads(path.read_text())
    document["annotations"][0]["area"] = 1
    path.write_text(json.dumps(document))
    assert read_people(folder, "train")[0]["area"] == pytest.approx(0.53 * 20 * 44)


def test_there_are_no_masks_and_pictures_keep_their_crowd_index():
    assert all(person["segmentation"] == b"" for person in read_people(DUMMY_DATA, "train"))
    assert [image["crowdIndex"] for image in ground_truth(DUMMY_DATA, "train")["images"]] == [0.5]


def test_whether_head_and_neck_are_occluded_is_unknown():
    head_and_neck = slice(12, 14)
    people = read_people(DUMMY_DATA, "train")
    document = json.loads(annotation_file(DUMMY_DATA, "train").read_text())
    flags = {entry["id"]: np.array(entry["keypoints"][2::3]) for entry in document["annotations"]}
    for person in people:
        given = flags[person["person_number"]]
        np.testing.assert_array_equal(person["visibility"][:12], given[:12])
        np.testing.assert_array_equal(person["occlusion_known"][:12], given[:12] > 0)
        np.testing.assert_array_equal(
            person["visibility"][head_and_neck], np.where(given[head_and_neck], 2, 0)
        )
        assert not person["occlusion_known"][head_and_neck].any()
    assert any((given[head_and_neck] == 1).any() for given in flags.values())


@pytest.mark.parametrize("place", ["annotations", "json", "."])
def test_annotations_may_lie_where_others_unpacked_them(tmp_path, place):
    folder = tmp_path / "crowdpose"
    shutil.copytree(DUMMY_DATA / "images", folder / "images")
    shutil.copytree(DUMMY_DATA / "annotations", folder / place, dirs_exist_ok=True)
    assert find_folder(tmp_path) == folder
    assert splits_of(folder) == ("train", "validation", "test")
    assert [len(read_people(folder, split)) for split in splits_of(folder)] == [2, 2, 2]


@pytest.mark.realdata
def test_the_real_data_are_counted_as_their_file_says(data_dir):
    folder = find_folder(data_dir)
    for split in splits_of(folder):
        document = json.loads(annotation_file(folder, split).read_text())
        flags = [entry["keypoints"][2::3] for entry in document["annotations"]]
        labelled = [joints for joints in flags if any(joints)]
        people, ignored = read_people(folder, split), read_ignored(folder, split)
        assert (len(people), len(ignored)) == (len(labelled), len(flags) - len(labelled))
        visibility = Counter(np.concatenate([person["visibility"][:12] for person in people]).tolist())
        assert visibility == Counter(v for joints in labelled for v in joints[:12])
        if len(document["images"]) == 2:  # the cut with a known content
            assert (len(flags), len(people)) == (5, 4)


@pytest.mark.realdata
def test_a_detectors_boxes_go_with_their_pictures(data_dir):
    folder = find_folder(data_dir)
    [path] = folder.glob("*det*.json")
    people = read_boxes(folder, "test", path)
    assert [float(person["box_score"]) for person in people] == pytest.approx(
        [box["score"] for box in json.loads(path.read_text())]
    )
    assert {person["keypoints"].shape for person in people} == {(14, 2)}
