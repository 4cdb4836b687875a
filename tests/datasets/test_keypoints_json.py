import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import oasjax.datasets.keypoints_json
from oasjax.datasets.keypoints_json.annotations import (
    find_folder,
    ground_truth,
    read_boxes,
    read_ignored,
    read_people,
    skeleton_of,
    splits_of,
)
from oasjax.datasets.skeletons import CROWDPOSE
from oasjax.errors import UserError

DUMMY_DATA = Path(oasjax.datasets.keypoints_json.__file__).parent / "dummy_data"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(DUMMY_DATA, tmp_path / "mine")


def edit(folder, change, name="train.json"):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def test_any_of_the_three_files_makes_a_folder(tmp_path, folder):
    assert find_folder(folder) == folder and splits_of(folder) == ("train", "validation")
    (folder / "train.json").unlink()
    (folder / "validation.json").rename(folder / "test.json")
    assert find_folder(folder) == folder and splits_of(folder) == ("test",)
    assert len(read_people(folder, "test")) == 1
    with pytest.raises(UserError, match=r"keypoints_json not found in .*Expected there: train\.json"):
        find_folder(tmp_path)


def test_the_skeleton_is_that_of_the_category():
    skeleton = skeleton_of(DUMMY_DATA)
    assert skeleton.joints == ("nose", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
    assert skeleton.flip_pairs == ((1, 2), (3, 4))
    assert skeleton.limbs == ((1, 0), (0, 2), (1, 3), (2, 4), (3, 4))


def test_known_joints_give_the_known_skeleton(folder):
    source = Path(oasjax.datasets.__file__).parent / "crowdpose" / "dummy_data"
    (folder / "validation.json").unlink()
    shutil.copy(source / "annotations" / "crowdpose_train.json", folder / "train.json")
    assert skeleton_of(folder) is CROWDPOSE


def test_splits_with_other_joints_are_refused(folder):
    def swap(document):
        document["categories"][0]["keypoints"][1:3] = ["right_wrist", "left_wrist"]

    edit(folder, swap, "validation.json")
    with pytest.raises(UserError, match=r"validation\.json has the joints nose, right_wrist.*same order"):
        skeleton_of(folder)


def test_a_category_that_makes_no_skeleton_is_named(folder):
    edit(folder, lambda document: document["categories"][0].update(skeleton=[[1, 9]]))
    with pytest.raises(UserError, match=r"train\.json: .*\[1, 9\]"):
        skeleton_of(folder)


def test_what_is_missing_is_filled_in():
    first, second = read_people(DUMMY_DATA, "train")
    assert first["bbox_xywh"].tolist() == [20, 6, 24, 40] and first["area"] == 24 * 40 / 2
    labelled = second["keypoints"][second["visibility"] > 0]
    low, high = labelled.min(0), labelled.max(0)
    np.testing.assert_allclose(second["bbox_xywh"][:2], low - 0.1 * (high - low), rtol=1e-6)
    np.testing.assert_allclose(second["bbox_xywh"][2:], 1.2 * (high - low), rtol=1e-6)
    assert second["area"] == pytest.approx(np.prod(second["bbox_xywh"][2:]))
    [third] = read_people(DUMMY_DATA, "validation")
    assert third["area"] == 30 * 42

    truth = ground_truth(DUMMY_DATA, "train")["annotations"][1]
    assert (truth["num_keypoints"], truth["iscrowd"]) == (4, 0)
    assert truth["bbox"] == pytest.approx(second["bbox_xywh"].tolist())
    assert truth["area"] == pytest.approx(second["area"])


def test_people_without_labels_and_without_a_box_are_left_out(folder):
    edit(folder, lambda document: document["annotations"][1].update(keypoints=[0] * 15))
    assert [person["person_number"] for person in read_people(folder, "train")] == [1]
    people = read_ignored(folder, "train")
    assert people == [] and people.left_out == {"without a box that has an area": ["more/b.png person 2"]}
    [_, truth] = ground_truth(folder, "train")["annotations"]
    assert (truth["bbox"], truth["area"], truth["num_keypoints"]) == ([0, 0, 0, 0], 0, 0)


def test_file_names_are_relative_to_the_images_or_to_the_folder(folder):
    assert [person["image_id"] for person in read_people(folder, "train")] == ["a.jpg", "more/b.png"]

    def prepend(document):
        for image in document["images"]:
            image["file_name"] = f"images/{image['file_name']}"

    edit(folder, prepend)
    people = read_people(folder, "train")
    assert [person["image_id"] for person in people] == ["images/a.jpg", "images/more/b.png"]
    assert [Path(person["image_path"]) for person in people] == [
        folder / "images" / "a.jpg", folder / "images" / "more" / "b.png"
    ]  # fmt: skip


def test_boxes_take_the_number_of_joints_from_the_file(folder):
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 1}]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    [person] = read_boxes(folder, "train", folder / "boxes.json")
    assert person["keypoints"].shape == (5, 2)
