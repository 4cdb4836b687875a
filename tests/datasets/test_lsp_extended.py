import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io

import oasjax.datasets.lsp_extended
from oasjax.datasets.lsp_extended.annotations import (
    find_folder,
    is_test_number,
    read_people,
    read_visibility,
)
from oasjax.errors import UserError

DUMMY_DATA = Path(oasjax.datasets.lsp_extended.__file__).parent / "dummy_data"


def test_the_splits_follow_the_picture_number_and_the_files_that_exist():
    names = {
        split: [person["image_id"] for person in read_people(DUMMY_DATA, split)]
        for split in ("train", "test")
    }
    assert names == {
        "train": ["im00002.jpg", "im00003.jpg", "im00005.jpg", "im00008.jpg"],
        "test": ["im00001.jpg", "im00026.jpg"],
    }


def test_one_line_says_how_many_pictures_are_missing(caplog):
    read_people(DUMMY_DATA, "train")
    [record] = caplog.records
    assert record.getMessage() == (
        "LSP-extended's train split: 4 people; 21 of 25 pictures have no file (im00004.jpg, im00006.jpg, "
        "im00007.jpg, ...), with 21 people."
    )


def test_labels_become_visibility_two_without_occlusion_and_coordinates_stay():
    joints = scipy.io.loadmat(DUMMY_DATA / "joints.mat")["joints"]
    for position, person in enumerate(read_people(DUMMY_DATA, "train")):
        column = joints[:, :, int(person["image_id"][2:7]) - 1]
        np.testing.assert_array_equal(person["keypoints"], column[:, :2].astype(np.float32))
        np.testing.assert_array_equal(person["visibility"], np.where(column[:, 2] == 1, 2, 0))
        assert not person["occlusion_known"].any()
        assert person["example_id"] == position and person["person_number"] == -1
        assert person["image_id"] == f"im{person['image_number']:05d}.jpg"
        assert np.isnan(person["head_size"])
        assert person["area"] == pytest.approx(np.prod(person["bbox_xywh"][2:]), rel=1e-6)


def test_the_box_is_a_fifth_larger_than_the_labelled_joints():
    joints = scipy.io.loadmat(DUMMY_DATA / "joints.mat")["joints"]
    for person in read_people(DUMMY_DATA, "test"):
        column = joints[:, :, person["image_number"] - 1]
        labelled = column[column[:, 2] == 1, :2]
        size = labelled.max(0) - labelled.min(0)
        expected = [*(labelled.min(0) - 0.1 * size), *(1.2 * size)]
        np.testing.assert_allclose(person["bbox_xywh"], expected, rtol=1e-5)


def test_people_with_too_few_labelled_joints_are_left_out(tmp_path, caplog):
    joints = np.zeros((14, 3, 4))
    joints[:, :2] = np.random.default_rng(0).uniform(0, 50, (14, 2, 4))
    joints[:, 2, 1] = 1  # picture 2: all labelled
    joints[0, 2, 2] = 1  # picture 3: one joint; picture 4: none
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    (tmp_path / "images").mkdir()
    for number in (2, 3, 4):
        (tmp_path / "images" / f"im{number:05d}.jpg").touch()
    assert [person["image_id"] for person in read_people(tmp_path, "train")] == ["im00002.jpg"]
    assert "2 without a box that has an area (im00003.jpg, im00004.jpg)" in caplog.text


def test_another_file_named_joints_mat_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    path = tmp_path / "joints.mat"
    path.write_text("not a mat file")
    with pytest.raises(UserError, match=r"joints\.mat is no whole MATLAB file"):
        read_people(tmp_path, "train")
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(UserError, match=r"joints\.mat lacks the variable joints"):
        read_people(tmp_path, "train")
    scipy.io.savemat(path, {"joints": np.zeros((3, 14, 2000))})
    with pytest.raises(UserError, match=r"shape \(3, 14, 2000\), expected \(14, 3, N\)"):
        read_people(tmp_path, "train")
    scipy.io.savemat(path, {"joints": "text"})
    with pytest.raises(UserError, match="`joints` holds no numbers"):
        read_people(tmp_path, "train")


def test_flags_and_positions_that_cannot_be_are_told_with_the_picture(tmp_path):
    joints = np.ones((14, 3, 3))
    joints[2, 2, 1] = 2
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(UserError, match=r"joints\.mat: a joint of picture 2 has a flag"):
        read_visibility(tmp_path, "train")
    joints[2, :, 1] = np.nan, 4, 1
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(UserError, match=r"joint 2 \(counted from 0\) of picture 2 is labelled"):
        read_visibility(tmp_path, "train")
    joints[2, 2, 1] = 0  # not labelled: the position is junk by definition
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    assert read_visibility(tmp_path, "train").tolist() == [[2, 2, 0] + [2] * 11, [2] * 14]


@pytest.mark.realdata
def test_the_real_data_are_counted_as_their_files_say(data_dir):
    folder = find_folder(data_dir)
    joints = scipy.io.loadmat(folder / "joints.mat")["joints"]
    numbers = sorted(int(path.stem[2:]) for path in (folder / "images").glob("im*.jpg"))
    for split in ("train", "test"):
        people = read_people(folder, split)
        expected = [n for n in numbers if is_test_number(n) == (split == "test")]
        assert [int(person["image_id"][2:7]) for person in people] == expected
        visibility = Counter(np.concatenate([person["visibility"] for person in people]).tolist())
        flags = joints[:, 2, np.array(expected) - 1]
        assert visibility == {0: (flags == 0).sum(), 2: (flags == 1).sum()}
        boxes = np.stack([person["bbox_xywh"] for person in people])
        assert np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()


@pytest.mark.realdata
def test_the_real_file_labels_as_many_joints_as_published(data_dir):
    path = find_folder(data_dir) / "joints.mat"
    flags = scipy.io.loadmat(path)["joints"][:, 2]
    counts = {split: (read_visibility(path.parent, split) > 0).sum() for split in ("train", "test")}
    is_test = np.arange(1, flags.shape[1] + 1) % 25 == 1
    assert counts == {"train": flags[:, ~is_test].sum(), "test": flags[:, is_test].sum()}
    if hashlib.sha256(path.read_bytes()).hexdigest().startswith("cc66465117888d9f"):
        assert sum(counts.values()) == 123_213
