"""The TFDS builders of MPII, LSP and LSP-extended, in one file: importing TensorFlow takes seconds."""

import importlib
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from oasjax.input_pipeline.decode import read_image

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    # TensorFlow and TFDS use what others have deprecated.
    pytest.mark.filterwarnings("ignore"),
]


def parts_of(name):
    """(annotations module, builder class, folder of dummy data) of a data set."""
    annotations = importlib.import_module(f"oasjax.datasets.{name}.annotations")
    builder = importlib.import_module(f"oasjax.datasets.{name}.{name}_dataset_builder").Builder
    return annotations, builder, Path(annotations.__file__).parent / "dummy_data"


@pytest.mark.parametrize(
    ("name", "author", "title"),
    [
        ("mpii", "Andriluka", "MPII Human Pose"),
        ("lsp", "Johnson", "Leeds Sports Pose"),
        ("lsp_extended", "Johnson", "Leeds Sports Pose extended"),
    ],
)
def test_the_builder_prepares_what_the_annotations_say(tmp_path, name, author, title):
    import tensorflow_datasets as tfds

    annotations, builder_class, dummy_data = parts_of(name)
    builder = builder_class(data_dir=tmp_path, file_format="array_record")
    assert builder.name == name
    assert author in builder.info.citation and title in builder.info.description
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=dummy_data))
    assert set(builder.info.splits) == set(annotations.SPLITS)
    pictures = {}
    for split in annotations.SPLITS:
        people = annotations.read_people(dummy_data, split)
        assert builder.info.splits[split].num_examples == len(people)
        # Through TensorFlow, decoded, as any user of TFDS reads it.
        for person, example in zip(people, builder.as_data_source(split), strict=True):
            np.testing.assert_array_equal(example["image"], read_image(person["image_path"]))
            assert example["image_id"].decode() == person["image_id"]
            for key in set(person) - {"image_path", "image_id"}:
                np.testing.assert_array_equal(example[key], person[key], err_msg=key)
        pictures[split] = {person["image_id"] for person in people}
    assert sum(map(len, pictures.values())) == len(set.union(*pictures.values()))


def test_splits_of_mpii_without_annotations_are_not_prepared(tmp_path):
    import tensorflow_datasets as tfds

    _, builder_class, dummy_data = parts_of("mpii")
    shutil.copytree(dummy_data, tmp_path / "mpii")
    (tmp_path / "mpii" / "annot" / "mpii_human_pose_v1_u12_1.mat").unlink()
    builder = builder_class(data_dir=tmp_path / "prepared", file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=tmp_path))
    assert set(builder.info.splits) == {"validation"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mpii", ["mpii_human_pose_v1_u12_1.mat", "valid.h5", "valid.json", "images/*.jpg", "gt_valid.mat"]),
        ("lsp", ["joints.mat", "images/im0001.jpg", "lsp_dataset_original.zip"]),
        ("lsp_extended", ["joints.mat", "images/im00001.jpg"]),
    ],
)
def test_the_builder_names_the_files_to_get_when_there_is_no_folder(tmp_path, name, words):
    _, builder_class, _ = parts_of(name)
    for word in words:
        assert word in builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
    with pytest.raises(AssertionError, match=words[0]):
        builder_class(data_dir=tmp_path).download_and_prepare()
