import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import oasjax.datasets.lsp_extended
from oasjax.datasets.skeletons import LSP, MPII
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, open_source, open_train_batches
from oasjax.input_pipeline.arrays_source import save_arrays
from oasjax.input_pipeline.crop import CropConfig

DUMMY_DATA = Path(oasjax.datasets.lsp_extended.__file__).parent / "dummy_data"


def data_config(**values):
    return ConfigDict(
        {
            "name": "lsp_extended",
            "source": "arrays",
            "data_dir": str(DUMMY_DATA),
            "arrays_path": "",
            "prepared_dir": "",
            "train_size": 0,
            "eval_size": 0,
            "look": "studio",
            "render_size": 64,
            "seed": 0,
            **values,
        }
    )


def test_an_unknown_name_or_source_lists_the_choices():
    with pytest.raises(UserError, match="'lsp'; choose one of synthetic_people, lsp_extended"):
        open_source(data_config(name="lsp"), "train")
    with pytest.raises(UserError, match="'npz'; choose one of arrays, tfds"):
        open_source(data_config(source="npz"), "train")


def test_synthetic_people_are_drawn_afresh_for_evaluation():
    data = data_config(name="synthetic_people", train_size=3, eval_size=2)
    train, evaluation = open_source(data, "train"), open_source(data, "eval")
    assert (len(train), len(evaluation)) == (3, 2)
    assert train.skeleton is MPII
    assert train[0]["image"].shape == (64, 64, 3)
    assert (train[0]["image"] != evaluation[0]["image"]).any()
    device, _ = next(
        open_train_batches(train, CropConfig((32, 32)), "arrays", seed=0, start_step=0, batch_size=2)
    )
    assert device["image"].shape == (2, 32, 32, 3)


def test_saved_arrays_are_opened_by_split_from_a_folder_or_as_one_file(arrays, tmp_path):
    save_arrays(tmp_path / "train.npz", arrays, MPII)
    save_arrays(tmp_path / "eval.npz", {k: v[:2] for k, v in arrays.items()}, MPII)
    data = data_config(arrays_path=str(tmp_path))
    assert [len(open_source(data, split)) for split in ("train", "eval")] == [7, 2]
    data.arrays_path = str(tmp_path / "train.npz")
    assert [len(open_source(data, split)) for split in ("train", "eval")] == [7, 7]
    data.train_size = 5
    assert len(open_source(data, "train")) == 5


def test_saved_arrays_with_the_source_tfds_are_refused():
    with pytest.raises(UserError, match="arrays_path is read with config.data.source=arrays only"):
        open_source(data_config(source="tfds", arrays_path="a.npz"), "train")


def test_lsp_extended_is_read_from_its_files_without_tensorflow(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    source = open_source(data_config(), "eval")
    assert source.skeleton is LSP
    batches = list(open_eval_batches(source, CropConfig((32, 32)), "arrays", batch_size=2))
    assert batches[0][1]["image_id"] == ["im00001.jpg", "im00026.jpg"]
    assert np.std(batches[0][0]["image"]) > 10


def test_the_folder_may_be_given_by_its_parent_or_by_the_environment(monkeypatch, tmp_path):
    (tmp_path / "lspet").symlink_to(DUMMY_DATA)
    assert len(open_source(data_config(data_dir=str(tmp_path)), "train")) == 4
    monkeypatch.setenv("OASJAX_DATA_DIR", str(tmp_path))
    assert len(open_source(data_config(data_dir=""), "train")) == 4


def test_missing_data_are_told_with_what_is_expected_and_what_to_pass(monkeypatch, tmp_path):
    monkeypatch.delenv("OASJAX_DATA_DIR", raising=False)
    with pytest.raises(UserError, match=r"joints\.mat and images/.*--config\.data\.data_dir=FOLDER"):
        open_source(data_config(data_dir=""), "train")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=rf"not found in {folder}: .*joints\.mat and images/"):
            open_source(data_config(data_dir=str(folder)), "train")
    (tmp_path / "images").mkdir()
    (tmp_path / "joints.mat").write_bytes((DUMMY_DATA / "joints.mat").read_bytes())
    with pytest.raises(UserError, match="No picture of LSP-extended's train split"):
        open_source(data_config(data_dir=str(tmp_path)), "train")


def test_a_picture_that_vanished_or_was_cut_is_named(tmp_path):
    shutil.copytree(DUMMY_DATA, tmp_path / "lspet")
    data = data_config(data_dir=str(tmp_path))
    source = open_source(data, "train")
    picture = tmp_path / "lspet" / "images" / "im00002.jpg"
    picture.write_bytes(picture.read_bytes()[:900])
    crop = CropConfig((32, 32))
    with pytest.raises(UserError, match=r"im00002\.jpg is truncated"):
        list(open_eval_batches(source, crop, "arrays", batch_size=4))
    picture.unlink()
    with pytest.raises(UserError, match=r"Picture not found: .*im00002\.jpg"):
        list(open_eval_batches(source, crop, "arrays", batch_size=4))


def test_no_people_are_refused():
    with pytest.raises(UserError, match=r"config\.data\.eval_size"):
        open_source(data_config(name="synthetic_people"), "eval")
