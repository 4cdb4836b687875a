"""The TFDS builders of the data sets in COCO's form, in one file: importing TensorFlow takes seconds."""

import importlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import oasjax.datasets
from oasjax.errors import UserError
from oasjax.input_pipeline.decode import read_image

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    # TensorFlow and TFDS use what others have deprecated.
    pytest.mark.filterwarnings("ignore"),
]

DATASETS = Path(oasjax.datasets.__file__).parent
SPLITS = {
    "coco_person": {"train": 3, "train_ignored": 2, "validation": 1, "validation_ignored": 1},
    "crowdpose": {"train": 2, "validation": 2, "test": 2},
    "ochuman": {"validation": 2, "test": 2},
    "keypoints_json": {"train": 2, "validation": 1},
}
NAMED_FILES = {
    "coco_person": (
        "person_keypoints_train2017.json", "person_keypoints_val2017.json", "train2017/", "val2017/",
    ),
    "crowdpose": ("crowdpose_train.json", "crowdpose_val.json", "crowdpose_test.json", "images/"),
    "ochuman": ("ochuman_coco_format_val_range_0.00_1.00.json", "_test_range_0.00_1.00.json", "images/"),
    "keypoints_json": ("train.json", "validation.json", "test.json", "images/"),
}  # fmt: skip


def load(name):
    """(annotations, builder class) of a data set."""
    return (
        importlib.import_module(f"oasjax.datasets.{name}.annotations"),
        importlib.import_module(f"oasjax.datasets.{name}.{name}_dataset_builder").Builder,
    )


def prepare(builder_class, manual_dir, data_dir):
    import tensorflow_datasets as tfds

    builder = builder_class(data_dir=data_dir, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir))
    return builder


def records(annotations, folder, split):
    if split.endswith("_ignored"):
        return annotations.read_ignored(folder, split.removesuffix("_ignored"))
    return annotations.read_people(folder, split)


@pytest.mark.parametrize("name", SPLITS)
def test_the_builder_prepares_what_the_annotations_say(tmp_path, name):
    annotations, builder_class = load(name)
    folder = DATASETS / name / "dummy_data"
    builder = prepare(builder_class, folder, tmp_path)
    assert builder.name == name
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == SPLITS[name]
    for split in SPLITS[name]:
        # Through TensorFlow, decoded, as any user of TFDS reads it.
        people = records(annotations, folder, split)
        for person, example in zip(people, builder.as_data_source(split), strict=True):
            np.testing.assert_array_equal(example["image"], read_image(person["image_path"]))
            assert example["image_id"].decode() == person["image_id"]
            assert set(example) - {"image"} == set(person) - {"image_path"}
            for key in set(person) - {"image_path", "image_id"}:
                np.testing.assert_array_equal(example[key], person[key], err_msg=key)


@pytest.mark.parametrize("name", SPLITS)
def test_pictures_are_stored_as_the_bytes_of_their_files(tmp_path, name):
    import tensorflow_datasets as tfds

    annotations, builder_class = load(name)
    folder = DATASETS / name / "dummy_data"
    builder = prepare(builder_class, folder, tmp_path)
    decoders = {"image": tfds.decode.SkipDecoding()}
    examples = builder.as_data_source("validation", decoders=decoders)
    for person, example in zip(annotations.read_people(folder, "validation"), examples, strict=True):
        assert example["image"] == Path(person["image_path"]).read_bytes()


@pytest.mark.parametrize("name", SPLITS)
def test_the_builder_says_what_it_is_and_names_the_files_to_get(tmp_path, name):
    _, builder_class = load(name)
    builder = builder_class(data_dir=tmp_path)
    for word in NAMED_FILES[name]:
        assert word in builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
    assert "disk space" in builder.info.description
    assert ("@inproceedings" in builder.info.citation) == (name != "keypoints_json")
    with pytest.raises(AssertionError, match="point manual_dir at"):
        builder.download_and_prepare()


def test_a_split_without_its_pictures_is_not_prepared(tmp_path):
    _, builder_class = load("coco_person")
    folder = shutil.copytree(DATASETS / "coco_person" / "dummy_data", tmp_path / "coco")
    shutil.rmtree(folder / "train2017")
    builder = prepare(builder_class, folder, tmp_path / "prepared")
    assert set(builder.info.splits) == {"validation", "validation_ignored"}


def test_a_split_of_which_nobody_can_be_used_is_refused(tmp_path):
    _, builder_class = load("keypoints_json")
    folder = shutil.copytree(DATASETS / "keypoints_json" / "dummy_data", tmp_path / "mine")
    path = folder / "validation.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["keypoints"] = [0] * 15
    path.write_text(json.dumps(document))
    with pytest.raises(UserError, match="holds no person that can be used in the split validation"):
        prepare(builder_class, folder, tmp_path / "prepared")


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["coco_person", "crowdpose", "ochuman"])
def test_real_pictures_are_prepared(data_dir, tmp_path, name):
    annotations, builder_class = load(name)
    folder = annotations.find_folder(data_dir)
    builder = prepare(builder_class, folder, tmp_path)
    for split, info in builder.info.splits.items():
        people = records(annotations, folder, split)
        assert info.num_examples == len(people)
        example = builder.as_data_source(split)[len(people) - 1]
        np.testing.assert_array_equal(example["keypoints"], people[-1]["keypoints"])
        assert example["segmentation"] == people[-1]["segmentation"]
