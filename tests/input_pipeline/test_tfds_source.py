"""Everything that needs TensorFlow, in one file: importing it takes seconds."""

import importlib.util
import itertools
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import oasjax.datasets.lsp_extended
from oasjax.datasets.skeletons import LSP
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, open_source, open_train_batches
from oasjax.input_pipeline.crop import CropConfig

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    # TensorFlow and TFDS use what others have deprecated.
    pytest.mark.filterwarnings("ignore"),
]

DUMMY_DATA = Path(oasjax.datasets.lsp_extended.__file__).parent / "dummy_data"
CROP = CropConfig((32, 40), rotation_deg=20.0, scale_factor=0.25)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(a copy of the dummy data, where to prepare it)"""
    root = tmp_path_factory.mktemp("tfds")
    shutil.copytree(DUMMY_DATA, root / "lspet")
    return root / "lspet", root / "prepared"


def data_config(source, data_dir, prepared_dir):
    return ConfigDict(
        {
            "name": "lsp_extended",
            "source": source,
            "data_dir": str(data_dir),
            "arrays_path": "",
            "prepared_dir": str(prepared_dir),
            "train_size": 0,
            "eval_size": 0,
        }
    )


def open_both(folders, split):
    return [open_source(data_config(kind, *folders), split) for kind in ("tfds", "arrays")]


def assert_batches_equal(a, b):
    assert len(a) == len(b) > 0
    for (device_a, host_a), (device_b, host_b) in zip(a, b, strict=True):
        for part_a, part_b in ((device_a, device_b), (host_a, host_b)):
            assert part_a.keys() == part_b.keys()
            for key, value in part_a.items():
                np.testing.assert_array_equal(value, part_b[key], err_msg=key)
                assert np.asarray(value).dtype == np.asarray(part_b[key]).dtype


@pytest.mark.parametrize("split", ["train", "eval"])
def test_prepared_records_are_the_records_of_the_files(folders, split):
    prepared, files = open_both(folders, split)
    assert prepared.skeleton is LSP and len(prepared) == len(files)
    for index in range(len(files)):
        record = prepared[index]
        assert isinstance(record["image"], bytes)
        for key, value in record.items():
            np.testing.assert_array_equal(value, files[index][key], err_msg=key)


@pytest.mark.parametrize("process_count", [1, 2])
def test_tf_data_gives_the_training_batches_of_the_threads(folders, process_count):
    runs = [
        list(
            itertools.islice(
                open_train_batches(
                    source, CROP, kind, seed=3, start_step=2, batch_size=6,
                    process_index=process_count - 1, process_count=process_count,
                ),
                5,
            )
        )
        for kind, source in zip(("tfds", "arrays"), open_both(folders, "train"), strict=True)
    ]  # fmt: skip
    assert_batches_equal(*runs)


def test_tf_data_gives_the_evaluation_batches_of_the_threads(folders):
    runs = [
        list(open_eval_batches(source, CROP, kind, batch_size=3))
        for kind, source in zip(("tfds", "arrays"), open_both(folders, "train"), strict=True)
    ]
    assert_batches_equal(*runs)
    assert runs[0][-1][0]["valid"].tolist() == [True, False, False]


def test_synthetic_people_are_the_same_through_tf_data(tmp_path):
    data = data_config("tfds", "", tmp_path)
    data.update(
        {"name": "synthetic_people", "train_size": 5, "eval_size": 3, "look": "studio"}
        | {"render_size": 64, "seed": 7}
    )
    for split in ("train", "eval"):
        runs = []
        for kind in ("tfds", "arrays"):
            data.source = kind
            source = open_source(data, split)
            runs.append(list(open_eval_batches(source, CROP, kind, batch_size=2)))
        assert_batches_equal(*runs)


def test_data_are_prepared_once_and_anew_for_another_or_a_changed_folder(folders, tmp_path):
    def prepared_folders():
        return sorted(path.name for path in folders[1].iterdir())

    open_source(data_config("tfds", *folders), "train")
    before = prepared_folders()
    open_source(data_config("tfds", *folders), "train")
    assert prepared_folders() == before
    copy = tmp_path / "lspet"
    shutil.copytree(folders[0], copy)
    open_source(data_config("tfds", copy, folders[1]), "train")
    assert len(prepared_folders()) == len(before) + 1
    (copy / "images" / "im00002.jpg").unlink()
    source = open_source(data_config("tfds", copy, folders[1]), "train")
    assert len(prepared_folders()) == len(before) + 2
    assert [source[i]["image_id"] for i in range(len(source))] == [
        "im00003.jpg", "im00005.jpg", "im00008.jpg",
    ]  # fmt: skip


def test_the_cache_folder_of_the_user_is_the_default(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    open_source(data_config("tfds", folders[0], ""), "eval")
    [prepared] = (tmp_path / "oasjax" / "prepared").iterdir()
    assert prepared.name.startswith("lsp_extended-")


@pytest.mark.parametrize("form", ["cut", "html"])
def test_an_unreadable_picture_is_the_same_user_error_as_without_tf(folders, tmp_path, form, capfd):
    shutil.copytree(folders[0], tmp_path / "lspet")
    picture = tmp_path / "lspet" / "images" / "im00005.jpg"
    picture.write_bytes(picture.read_bytes()[:900] if form == "cut" else b"<html></html>")
    pair = tmp_path / "lspet", tmp_path / "prepared"
    messages = []
    for kind, source in zip(("tfds", "arrays"), open_both(pair, "train"), strict=True):
        batches = open_eval_batches(source, CROP, kind, batch_size=2)
        assert next(batches)[1]["image_id"] == ["im00002.jpg", "im00003.jpg"]
        with pytest.raises(UserError) as caught:
            next(batches)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "im00005.jpg" in messages[0]
    assert "Traceback" not in capfd.readouterr().err


def test_a_missing_folder_is_told_with_what_is_expected(tmp_path):
    with pytest.raises(UserError, match=r"not found in .*nowhere: .*joints\.mat and images/"):
        open_source(data_config("tfds", tmp_path / "nowhere", tmp_path), "train")


def test_a_folder_without_pictures_is_told_and_leaves_nothing_prepared(folders, tmp_path):
    shutil.copytree(folders[0], tmp_path / "lspet")
    for picture in (tmp_path / "lspet" / "images").iterdir():
        picture.unlink()
    for _ in range(2):
        with pytest.raises(UserError, match="No picture of LSP-extended's train split"):
            open_source(data_config("tfds", tmp_path, tmp_path / "prepared"), "train")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write_is_told(folders, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=r"config\.data\.prepared_dir=FOLDER"):
        open_source(data_config("tfds", folders[0], tmp_path / "prepared"), "train")


def test_a_prepared_dir_that_is_a_file_is_told(folders, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"config\.data\.prepared_dir=FOLDER"):
        open_source(data_config("tfds", folders[0], tmp_path / "file"), "train")


def test_closing_the_batches_early_leaves_no_thread_of_python_behind(folders):
    source, _ = open_both(folders, "train")
    before = threading.active_count()
    batches = open_train_batches(source, CROP, "tfds", seed=0, start_step=0, batch_size=2)
    next(batches)
    batches.close()
    assert threading.active_count() <= before + 1
