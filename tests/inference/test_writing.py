import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from oasjax.datasets.skeletons import MPII
from oasjax.errors import UserError
from oasjax.inference.results import ImageResult, PersonResult
from oasjax.inference.writing import draw_people, make_folder, overlay_names, write_predictions


def result(file, people=1, **changes):
    person = PersonResult(
        bbox_xywh=np.array([1.0, 2.0, 30.0, 40.0]),
        score=0.25,
        keypoints=np.linspace(5, 35, 32).reshape(16, 2),
        scores=np.full(16, 0.5, np.float32),
        occlusion=np.linspace(0, 1, 16, dtype=np.float32),
        occlusion_map=np.zeros((8, 8), np.float32),
        crop_to_image=np.eye(2, 3),
    )
    return ImageResult(str(file), 40, 50, (replace(person, **changes),) * people)


def photo(path):
    cv2.imwrite(str(path), np.full((50, 40, 3), 60, np.uint8))
    return path


def test_equal_stems_get_distinct_overlays():
    files = ["x/a.jpg", "y/a.png", "A.jpg", "a_pose_2.jpg", "b.jpg"]
    names = overlay_names(files)
    assert names[:2] == ["a_pose.png", "a_pose_2.png"] and names[4] == "b_pose.png"
    assert len({name.lower() for name in names}) == len(files)


def test_json_follows_the_documented_schema(tmp_path):
    paths = write_predictions(tmp_path, [result(photo(tmp_path / "p.png"))], MPII, "oasnet")
    assert [path.name for path in paths] == ["p_pose.png", "predictions.json"]
    document = json.loads(paths[-1].read_text())
    assert list(document) == ["model", "images"] and document["model"] == "oasnet"
    (image,) = document["images"]
    assert list(image) == ["file", "width", "height", "overlay", "people"]
    assert (image["width"], image["height"], image["overlay"]) == (40, 50, "p_pose.png")
    (person,) = image["people"]
    assert list(person) == ["bbox_xywh", "score", "keypoints"]
    assert person["bbox_xywh"] == [1.0, 2.0, 30.0, 40.0] and person["score"] == 0.25
    assert [keypoint["name"] for keypoint in person["keypoints"]] == list(MPII.joints)
    expected = {"name": "left_wrist", "x": 34.032, "y": 35.0, "score": 0.5, "occlusion": 1.0}
    assert person["keypoints"][-1] == expected


def test_an_occlusion_that_is_not_predicted_is_null(tmp_path):
    silent = result(photo(tmp_path / "p.png"), occlusion=None, occlusion_map=None)
    document = json.loads(write_predictions(tmp_path, [silent], MPII, "hrnet")[-1].read_text())
    keypoints = document["images"][0]["people"][0]["keypoints"]
    assert [keypoint["occlusion"] for keypoint in keypoints] == [None] * 16
    assert keypoints[-1] | {"occlusion": 1.0} == {
        "name": "left_wrist", "x": 34.032, "y": 35.0, "score": 0.5, "occlusion": 1.0
    }  # fmt: skip


def test_without_occlusion_all_joints_are_drawn_alike_and_the_legend_says_nothing_of_hidden_ones():
    picture = np.full((50, 40, 3), 60, np.uint8)
    visible = draw_people(picture, result("p", occlusion=np.zeros(16, np.float32)), MPII)
    silent = draw_people(picture, result("p", occlusion=None, occlusion_map=None), MPII)
    enlarged = 50 * (visible.shape[1] // 40)
    np.testing.assert_array_equal(silent[:enlarged], visible[:enlarged])
    assert (visible.shape[0] - enlarged, silent.shape[0] - enlarged) == (52, 26)  # rows of signs


def test_overlay_is_the_enlarged_picture_with_the_people_and_a_legend(tmp_path):
    path = photo(tmp_path / "p.png")
    write_predictions(tmp_path, [result(path)], MPII, "m")
    drawn = cv2.imread(str(tmp_path / "p_pose.png"))
    factor = drawn.shape[1] // 40
    assert factor >= 4 and drawn.shape[0] > 50 * factor
    assert (drawn[: 50 * factor] != 60).any()


def test_a_picture_without_people_is_only_enlarged():
    picture = np.full((50, 40, 3), 60, np.uint8)
    drawn = draw_people(picture, result("p", people=0), MPII)
    assert (drawn[:300] == 60).all()


def test_an_output_folder_that_cannot_be_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="output folder"):
            make_folder(path)
