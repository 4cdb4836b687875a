import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.io

import oasjax.datasets.lsp_extended
from oasjax.datasets.lsp_extended.annotations import (
    find_folder,
    is_test_number,
    labelled_box,
    read_people,
)
from oasjax.errors import UserError
from oasjax.input_pipeline.decode import read_image

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
        "LSP-extended train: 4 people; 21 of 25 pictures have no file, 0 people have too few labelled joints."
    )


def test_labels_become_visibility_two_without_occlusion_and_coordinates_stay():
    joints = scipy.io.loadmat(DUMMY_DATA / "joints.mat")["joints"]
    for position, person in enumerate(read_people(DUMMY_DATA, "train")):
        column = joints[:, :, int(person["image_id"][2:7]) - 1]
        np.testing.assert_array_equal(person["keypoints"], column[:, :2].astype(np.float32))
        np.testing.assert_array_equal(person["visibility"], np.where(column[:, 2] == 1, 2, 0))
        assert not person["occlusion_known"].any()
        assert person["example_id"] == position
        assert np.isnan(person["head_size"])
        assert person["area"] == pytest.approx(np.prod(person["bbox_xywh"][2:]), rel=1e-6)


def test_the_box_is_a_fifth_larger_than_the_labelled_joints():
    keypoints = np.array([[10.0, 20.0], [60.0, 40.0], [-900.0, 900.0]])
    box = labelled_box(keypoints, np.array([True, True, False]))
    np.testing.assert_allclose(box, [5, 18, 60, 24])


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
    assert "2 people have too few labelled joints" in caplog.text


def test_another_file_named_joints_mat_is_refused(tmp_path):
    (tmp_path / "images").mkdir()
    path = tmp_path / "joints.mat"
    path.write_text("not a mat file")
    with pytest.raises(UserError, match=r"joints\.mat is not LSP-extended's"):
        read_people(tmp_path, "train")
    scipy.io.savemat(path, {"other": np.zeros(3)})
    with pytest.raises(UserError, match=r"joints\.mat is not LSP-extended's"):
        read_people(tmp_path, "train")
    scipy.io.savemat(path, {"joints": np.zeros((3, 14, 2000))})
    with pytest.raises(UserError, match=r"shape \(3, 14, 2000\), expected \(14, 3, N\)"):
        read_people(tmp_path, "train")


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


@pytest.mark.filterwarnings("ignore")  # TFDS uses what others have deprecated.
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_the_builder_prepares_what_the_annotations_say(tmp_path):
    import tensorflow_datasets as tfds

    from oasjax.datasets.lsp_extended.lsp_extended_dataset_builder import Builder

    builder = Builder(data_dir=tmp_path, file_format="array_record")
    assert builder.name == "lsp_extended"
    assert "Johnson" in builder.info.citation and "Leeds Sports Pose" in builder.info.description
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=DUMMY_DATA))
    ids = {}
    for split in ("train", "test"):
        people = read_people(DUMMY_DATA, split)
        assert builder.info.splits[split].num_examples == len(people)
        # Through TensorFlow, decoded, as any user of TFDS reads it.
        for person, example in zip(people, builder.as_data_source(split), strict=True):
            np.testing.assert_array_equal(example["image"], read_image(person["image_path"]))
            for key in set(person) - {"image_path", "image_id"}:
                np.testing.assert_array_equal(example[key], person[key], err_msg=key)
        ids[split] = {example["image_id"].decode() for example in builder.as_data_source(split)}
    assert not ids["train"] & ids["test"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_the_builder_names_the_files_to_get_when_there_is_no_folder(tmp_path):
    from oasjax.datasets.lsp_extended.lsp_extended_dataset_builder import Builder

    for word in ("joints.mat", "images/im00001.jpg"):
        assert word in Builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    with pytest.raises(AssertionError, match=r"joints\.mat"):
        Builder(data_dir=tmp_path).download_and_prepare()
