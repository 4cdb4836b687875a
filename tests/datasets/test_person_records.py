import logging
from pathlib import Path

import numpy as np
import pytest

from oasjax.datasets.person_records import (
    check_labelled_positions,
    existing_files,
    labelled_box,
    person_record,
    usable_people,
)
from oasjax.errors import UserError


def candidate(image_id="a.jpg", visibility=(2, 1, 0), bbox=(1, 2, 3, 4), **fields):
    return person_record(
        image_id=image_id,
        keypoints=np.arange(2 * len(visibility), dtype=np.float64).reshape(-1, 2),
        visibility=np.array(visibility, np.int8),
        occlusion_known=np.array(visibility) > 0,
        bbox_xywh=np.array(bbox, np.float64),
        area=5.0,
        **fields,
    )


def keep(tmp_path, candidates, image_names, **options):
    return usable_people("COCO train", candidates, tmp_path, image_names, "pictures", **options)


def test_a_record_has_the_fields_and_dtypes_that_a_pose_example_is_cut_from(tmp_path):
    (tmp_path / "a.jpg").touch()
    [record] = keep(tmp_path, [candidate(image_number=7, person_number=9, box_score=0.5)], ["a.jpg"])
    assert {key: getattr(value, "dtype", type(value)) for key, value in record.items()} == {
        "image_path": str, "image_id": str, "keypoints": np.float32, "visibility": np.int8,
        "occlusion_known": np.bool_, "bbox_xywh": np.float32, "head_size": np.float32,
        "area": np.float32, "example_id": int, "image_number": int, "person_number": int,
        "box_score": np.float32,
    }  # fmt: skip
    assert record["image_path"] == str(tmp_path / "a.jpg")
    assert (record["image_number"], record["person_number"], record["box_score"]) == (7, 9, 0.5)
    assert np.isnan(record["head_size"])


def test_a_source_without_numbers_or_detector_has_the_defaults():
    record = candidate()
    assert (record["image_number"], record["person_number"], record["box_score"]) == (-1, -1, 1.0)


def test_one_line_counts_and_names_all_that_is_left_out(tmp_path, caplog):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).touch()
    candidates = [
        candidate("a.jpg", person_number=1),
        candidate("gone.jpg"),
        candidate("b.jpg", bbox=(0, 0, 0, 9), person_number=2),
        candidate("b.jpg", bbox=(0, 0, np.nan, 9)),
        candidate("b.jpg", bbox=(0, np.inf, 5, 9)),
        candidate("c.jpg", visibility=(0, 0, 0), person_number=3),
        candidate("c.jpg", person_number=4),
    ]
    names = ["a.jpg", "b.jpg", "gone.jpg", "c.jpg", "gone2.jpg", "gone3.jpg", "gone4.jpg"]
    people = keep(
        tmp_path, candidates, names,
        left_out={"without a shoe": ["x", "y"], "without a hat": []}, remarks={"crowds": ["z"], "none": []},
    )  # fmt: skip
    assert [person["example_id"] for person in people] == [0, 1]
    assert [person["person_number"] for person in people] == [1, 4]
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "COCO train: 2 people; 4 of 7 pictures have no file (gone.jpg, gone2.jpg, gone3.jpg, ...), with "
        "1 people; left out: 2 without a shoe (x, y), 3 without a box that has an area (b.jpg person 2, "
        "b.jpg, b.jpg), 1 without a labelled joint (c.jpg person 3); crowds: 1 (z)."
    )
    assert people.num_pictures == 7
    assert people.missing == ["gone.jpg", "gone2.jpg", "gone3.jpg", "gone4.jpg"]
    assert {reason: len(names) for reason, names in people.left_out.items()} == {
        "without a shoe": 2, "without a hat": 0, "without a box that has an area": 3,
        "without a labelled joint": 1,
    }  # fmt: skip


def test_a_complete_split_is_no_warning(tmp_path, caplog):
    (tmp_path / "a.jpg").touch()
    caplog.set_level(logging.INFO)
    keep(tmp_path, [candidate()], ["a.jpg"])
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.INFO, "COCO train: 1 people.")


def test_people_to_be_predicted_need_no_labels(tmp_path):
    (tmp_path / "a.jpg").touch()
    unlabelled = [candidate(visibility=(0, 0, 0))]
    assert len(keep(tmp_path, unlabelled, ["a.jpg"], need_labels=False)) == 1
    assert len(keep(tmp_path, unlabelled, ["a.jpg"])) == 0


def test_only_a_split_without_any_picture_is_refused(tmp_path):
    message = r"No picture of COCO train in .*none of the 2 files a\.jpg, b\.jpg is there.*data_dir"
    with pytest.raises(UserError, match=message):
        keep(tmp_path, [candidate()], ["a.jpg", "b.jpg"])
    (tmp_path / "b.jpg").touch()
    assert keep(tmp_path, [candidate()], ["a.jpg", "b.jpg"]) == []


def test_files_are_found_in_subfolders_and_folders_are_no_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    (tmp_path / "b.jpg").mkdir()
    names = ["sub/a.jpg", "a.jpg", "b.jpg", "nowhere/c.jpg"]
    assert existing_files(tmp_path, names) == {"sub/a.jpg"}


def test_a_labelled_joint_without_a_position_is_named():
    keypoints = np.zeros((2, 3, 2))
    labelled = np.ones((2, 3), bool)
    check_labelled_positions(Path("x.json"), keypoints - 1e6, labelled, ["p", "q"])
    keypoints[1, 2, 0] = np.nan
    with pytest.raises(UserError, match=r"x\.json: joint 2 \(counted from 0\) of q .* \(nan, 0\)"):
        check_labelled_positions(Path("x.json"), keypoints, labelled, ["p", "q"])
    labelled[1, 2] = False
    check_labelled_positions(Path("x.json"), keypoints, labelled, ["p", "q"])


def test_the_box_is_a_fifth_larger_than_the_labelled_joints():
    keypoints = np.array([[10.0, 20.0], [60.0, 40.0], [-900.0, 900.0]])
    np.testing.assert_allclose(labelled_box(keypoints, np.array([True, True, False])), [5, 18, 60, 24])
    assert np.isnan(labelled_box(keypoints, np.zeros(3, bool))).all()
