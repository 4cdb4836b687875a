import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import oasjax.datasets
from oasjax.datasets.skeletons import LSP, MPII
from oasjax.errors import UserError
from oasjax.input_pipeline import (
    DATA,
    annotations_of,
    open_eval_batches,
    open_source,
    open_train_batches,
    skeleton_in,
)
from oasjax.input_pipeline.arrays_source import save_arrays
from oasjax.input_pipeline.crop import CropConfig

# pycocotools hands numpy an array in a way that numpy has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DATASETS = Path(oasjax.datasets.__path__[0])
DUMMY_DATA = DATASETS / "lsp_extended" / "dummy_data"
# What each data set calls our splits; the test people of those that are left out are not annotated.
OWN_SPLITS = {
    "mpii": {"train": "train", "eval": "validation", "test": "test"},
    "lsp": {"train": "train", "eval": "test", "test": "test"},
    "lsp_extended": {"train": "train", "eval": "test", "test": "test"},
    "coco_person": {"train": "train", "eval": "validation"},
    "crowdpose": {"train": "train", "eval": "validation", "test": "test"},
    "ochuman": {"eval": "validation", "test": "test"},
    "keypoints_json": {"train": "train", "eval": "validation"},
}
OF_COCO_FORM = ("coco_person", "crowdpose", "ochuman", "keypoints_json")


def data_config(**values):
    return ConfigDict(
        {
            "name": "lsp_extended",
            "source": "arrays",
            "data_dir": str(DUMMY_DATA),
            "boxes_path": "",
            "arrays_path": "",
            "train_on": (),
            "prepared_dir": "",
            "train_size": 0,
            "eval_size": 0,
            "look": "studio",
            "render_size": 64,
            "seed": 0,
            **values,
        }
    )


def dummy_config(name, **values):
    return data_config(name=name, data_dir=str(DATASETS / name / "dummy_data"), **values)


def test_an_unknown_name_or_source_lists_the_choices():
    with pytest.raises(UserError, match="'coco'; choose one of synthetic_people, mpii, lsp, lsp_extended"):
        open_source(data_config(name="coco"), "train")
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
    save_arrays(tmp_path / "test.npz", {k: v[:3] for k, v in arrays.items()}, MPII)
    data.arrays_path = str(tmp_path)
    assert len(open_source(data, "test")) == 3
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


def test_every_data_set_on_disk_has_dummy_data_and_splits_here():
    assert set(OWN_SPLITS) | {"synthetic_people"} == set(DATA)


@pytest.mark.parametrize(("name", "split"), [(n, s) for n, splits in OWN_SPLITS.items() for s in splits])
def test_the_splits_of_a_data_set_are_those_of_its_reader(name, split):
    source = open_source(dummy_config(name), split)
    folder = DATASETS / name / "dummy_data"
    people = annotations_of(name).read_people(folder, OWN_SPLITS[name][split])
    assert source.skeleton == skeleton_in(name, folder)
    assert len(source) == len(people) > 0
    for position, person in enumerate(people):
        record = source[position]
        assert record["image"] == Path(person["image_path"]).read_bytes()
        for key, value in person.items():
            np.testing.assert_array_equal(record[key], value, err_msg=key)


@pytest.mark.parametrize("name", OWN_SPLITS)
def test_the_numbers_of_a_data_set_reach_the_host_part_of_a_batch(name):
    source = open_source(dummy_config(name), "eval")
    [(_, host)] = open_eval_batches(source, CropConfig((24, 32)), "arrays", batch_size=len(source))
    for key in ("image_number", "person_number", "box_score"):
        assert host[key].tolist() == [source[n][key] for n in range(len(source))]
    assert (host["image_number"] >= 0).all()


@pytest.mark.parametrize("name", OWN_SPLITS)
def test_without_a_data_dir_the_environment_says_where_the_data_are(name, monkeypatch):
    monkeypatch.setenv("OASJAX_DATA_DIR", str(DATASETS / name / "dummy_data"))
    assert len(open_source(data_config(name=name, data_dir=""), "eval"))
    monkeypatch.delenv("OASJAX_DATA_DIR")
    with pytest.raises(UserError, match=f"^{name} needs a folder with .*--config.data.data_dir=FOLDER"):
        open_source(data_config(name=name, data_dir=""), "eval")


def test_a_split_that_a_data_set_does_not_have_is_told():
    with pytest.raises(UserError, match="^ochuman has no split for train: it has validation, test"):
        open_source(dummy_config("ochuman"), "train")
    with pytest.raises(UserError, match="^synthetic_people has no split for test: it has train, eval"):
        open_source(data_config(name="synthetic_people", train_size=1, eval_size=1), "test")
    with pytest.raises(UserError, match=r"test split of COCO .* --config\.data\.boxes_path"):
        open_source(dummy_config("coco_person"), "test")


def detected_boxes(name, split, path):
    """A file with one box of a person in each picture of a split, and one of another category."""
    annotations, folder = annotations_of(name), DATASETS / name / "dummy_data"
    numbers = [image["image_number"] for image in annotations.read_images(folder, split)]
    document = json.loads(annotations.annotation_file(folder, split).read_text())
    [category] = [each["id"] for each in document["categories"]]
    boxes = [
        {"image_id": number, "category_id": category, "bbox": [4, 5, 30.5, 40], "score": 0.25 + position / 8}
        for position, number in enumerate(numbers)
    ]
    path.write_text(json.dumps([*boxes, {**boxes[0], "category_id": category + 1}]))
    return boxes


@pytest.mark.parametrize("name", OF_COCO_FORM)
def test_a_detectors_boxes_take_the_place_of_the_annotated_people(name, tmp_path):
    path = tmp_path / "boxes.json"
    boxes = detected_boxes(name, "validation", path)
    source = open_source(dummy_config(name, boxes_path=str(path)), "eval")
    assert source.skeleton == open_source(dummy_config(name), "eval").skeleton
    [(device, host)] = open_eval_batches(source, CropConfig((24, 32)), "arrays", batch_size=len(source))
    existing = [box for box in boxes if box["image_id"] in host["image_number"]]
    assert host["image_number"].tolist() == [box["image_id"] for box in existing]
    np.testing.assert_allclose(host["box_score"], [box["score"] for box in existing])
    np.testing.assert_allclose(host["bbox_xywh"], [box["bbox"] for box in existing])
    assert not device["visibility"].any()
    assert (host["person_number"] == -1).all()


def test_the_test_split_of_coco_is_made_of_a_detectors_boxes(tmp_path):
    boxes = detected_boxes("coco_person", "test", tmp_path / "boxes.json")
    source = open_source(dummy_config("coco_person", boxes_path=str(tmp_path / "boxes.json")), "test")
    assert [source[n]["image_number"] for n in range(len(source))] == [box["image_id"] for box in boxes]


def test_training_keeps_to_the_annotated_people_whatever_the_boxes(tmp_path):
    data = dummy_config("coco_person", boxes_path=str(tmp_path / "nowhere.json"))
    assert open_source(data, "train")[0]["visibility"].any()
    with pytest.raises(UserError, match=r"nowhere\.json"):
        open_source(data, "eval")


def test_boxes_are_refused_where_nothing_says_their_pictures():
    with pytest.raises(UserError, match=r"boxes_path is boxes\.json, but lsp is not of COCO's form"):
        open_source(dummy_config("lsp", boxes_path="boxes.json"), "eval")


def test_the_size_of_the_evaluation_is_not_that_of_the_test_split():
    data = dummy_config("mpii", train_size=1, eval_size=2)
    assert [len(open_source(data, split)) for split in ("train", "eval", "test")] == [1, 2, 3]


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
    with pytest.raises(UserError, match=rf"^{picture} is truncated"):
        list(open_eval_batches(source, crop, "arrays", batch_size=4))
    picture.unlink()
    with pytest.raises(UserError, match=r"Picture not found: .*im00002\.jpg"):
        list(open_eval_batches(source, crop, "arrays", batch_size=4))


def test_no_people_are_refused():
    with pytest.raises(UserError, match=r"config\.data\.eval_size"):
        open_source(data_config(name="synthetic_people"), "eval")
