import hashlib
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

import oasjax.datasets.lsp
from oasjax.datasets.lsp.annotations import find_folder, read_people, read_visibility
from oasjax.errors import UserError

DUMMY_DATA = Path(oasjax.datasets.lsp.__file__).parent / "dummy_data"


def test_the_first_half_is_for_training_and_missing_pictures_are_left_out(caplog):
    names = {
        split: [person["image_id"] for person in read_people(DUMMY_DATA, split)]
        for split in ("train", "test")
    }
    assert names == {
        "train": ["im0001.jpg", "im0003.jpg", "im0004.jpg"],
        "test": ["im0005.jpg", "im0006.jpg", "im0008.jpg"],
    }
    assert [record.getMessage() for record in caplog.records] == [
        "LSP train: 3 people; 1 of 4 pictures have no file (im0002.jpg), with 1 people.",
        "LSP test: 3 people; 1 of 4 pictures have no file (im0007.jpg), with 1 people.",
    ]


def test_the_flag_one_means_occluded_and_all_joints_are_labelled():
    joints = scipy.io.loadmat(DUMMY_DATA / "joints.mat")["joints"]
    for position, person in enumerate(read_people(DUMMY_DATA, "test")):
        column = joints[:, :, person["image_number"] - 1]
        np.testing.assert_array_equal(person["keypoints"], column[:2].T.astype(np.float32))
        np.testing.assert_array_equal(person["visibility"], 2 - column[2])
        assert person["occlusion_known"].all() and person["example_id"] == position
        size = column[:2].max(1) - column[:2].min(1)
        expected = [*(column[:2].min(1) - 0.1 * size), *(1.2 * size)]
        np.testing.assert_allclose(person["bbox_xywh"], expected, rtol=1e-5)
        assert person["area"] == pytest.approx(1.44 * size.prod(), rel=1e-5)
        assert np.isnan(person["head_size"]) and person["person_number"] == -1


@pytest.mark.parametrize(("factor", "relation"), [(3.0, "smaller"), (1 / 3, "larger")])
def test_pictures_of_the_other_release_are_refused(tmp_path, factor, relation):
    shutil.copytree(DUMMY_DATA, tmp_path, dirs_exist_ok=True)
    joints = scipy.io.loadmat(DUMMY_DATA / "joints.mat")["joints"]
    joints[:2] *= factor
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(UserError, match=rf"pictures beside .*joints\.mat are {relation} than"):
        read_people(tmp_path, "train")


def test_a_joint_or_two_outside_of_the_picture_is_legal(tmp_path):
    shutil.copytree(DUMMY_DATA, tmp_path, dirs_exist_ok=True)
    joints = scipy.io.loadmat(DUMMY_DATA / "joints.mat")["joints"]
    joints[:2, 0, 0] = -40, 300
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    assert read_people(tmp_path, "train")[0]["keypoints"][0].tolist() == [-40, 300]


def test_a_broken_picture_does_not_keep_the_sizes_from_being_compared(tmp_path):
    shutil.copytree(DUMMY_DATA, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "images").iterdir():
        path.write_text("<html></html>")
    assert len(read_people(tmp_path, "train")) == 3
    cv2.imwrite(str(tmp_path / "images" / "im0003.jpg"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(UserError, match="are smaller than"):
        read_people(tmp_path, "train")


def test_another_file_named_joints_mat_is_refused(tmp_path):
    path = tmp_path / "joints.mat"
    path.write_text("not a mat file")
    with pytest.raises(UserError, match=r"joints\.mat is no whole MATLAB file"):
        read_visibility(tmp_path, "train")
    scipy.io.savemat(path, {"joints": np.zeros((14, 3, 10000))})
    with pytest.raises(UserError, match=r"shape \(14, 3, 10000\), expected \(3, 14, N\)"):
        read_visibility(tmp_path, "train")
    joints = np.zeros((3, 14, 4))
    joints[1, 5, 2] = np.inf
    scipy.io.savemat(path, {"joints": joints})
    with pytest.raises(UserError, match=r"joint 5 \(counted from 0\) of picture 3 is labelled, but"):
        read_visibility(tmp_path, "train")
    joints[2, 0, 3] = 0.5
    scipy.io.savemat(path, {"joints": joints})
    with pytest.raises(UserError, match="a joint of picture 4 has a flag that is neither 0 nor 1"):
        read_visibility(tmp_path, "train")


def test_the_folder_is_found_itself_or_as_lsp(tmp_path):
    assert find_folder(DUMMY_DATA) == DUMMY_DATA
    shutil.copytree(DUMMY_DATA, tmp_path / "lsp")
    assert find_folder(tmp_path) == tmp_path / "lsp"
    with pytest.raises(
        UserError, match=r"LSP not found in .*images: it lacks them\..*joints\.mat and images/"
    ):
        find_folder(tmp_path / "lsp" / "images")


def test_a_folder_without_pictures_is_told(tmp_path):
    shutil.copy(DUMMY_DATA / "joints.mat", tmp_path)
    with pytest.raises(
        UserError, match=r"No picture of LSP train in .*images: none of the 4 files im0001\.jpg"
    ):
        read_people(tmp_path, "train")


@pytest.mark.realdata
def test_the_real_file_marks_as_many_joints_occluded_as_published(data_dir):
    path = find_folder(data_dir) / "joints.mat"
    flags = scipy.io.loadmat(path)["joints"][2]
    visibility = np.concatenate([read_visibility(path.parent, split) for split in ("train", "test")])
    np.testing.assert_array_equal(visibility, np.where(flags.T == 1, 1, 2))
    if hashlib.sha256(path.read_bytes()).hexdigest().startswith("96e46fdc743ebf86"):
        assert (visibility.size, (visibility == 1).sum()) == (28_000, 2_044)
