"""Everything that needs TensorFlow, in one file: importing it takes seconds."""

import itertools
import json
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from ml_collections import ConfigDict

import oasjax.datasets
from oasjax.datasets.skeletons import LSP, MPII, lower_body
from oasjax.errors import UserError
from oasjax.input_pipeline import open_eval_batches, open_source, open_train_batches
from oasjax.input_pipeline.batching import batches_by_threads, eval_batches, train_batches
from oasjax.input_pipeline.crop import CropConfig, MapGrid

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")

from oasjax.input_pipeline.tfds_source import batches_by_tf_data, folder_fingerprint  # noqa: E402 - needs TensorFlow

pytestmark = [
    # TensorFlow and TFDS use what others have deprecated.
    pytest.mark.filterwarnings("ignore"),
]

DATASETS = Path(oasjax.datasets.__path__[0])
DUMMY_DATA = DATASETS / "lsp_extended" / "dummy_data"
CROP = CropConfig((32, 40), rotation_deg=20.0, scale_factor=0.25)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(a copy of the dummy data, where to prepare it)"""
    root = tmp_path_factory.mktemp("tfds")
    shutil.copytree(DUMMY_DATA, root / "lspet")
    return root / "lspet", root / "prepared"


def data_config(source, data_dir, prepared_dir, name="lsp_extended"):
    return ConfigDict(
        {
            "name": name,
            "source": source,
            "data_dir": str(data_dir),
            "boxes_path": "",
            "arrays_path": "",
            "prepared_dir": str(prepared_dir),
            "train_on": (),
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
        for key in record.keys() - {"picture"}:
            np.testing.assert_array_equal(record[key], files[index][key], err_msg=key)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *itertools.product(["mpii", "lsp", "crowdpose"], ["train", "eval", "test"]),
        *itertools.product(["coco_person", "keypoints_json"], ["train", "eval"]),
        *itertools.product(["ochuman"], ["eval", "test"]),
    ],
)
def test_every_data_set_is_the_same_through_tfds(name, split, tmp_path):
    data_dir = DATASETS / name / "dummy_data"
    runs = []
    for kind in ("tfds", "arrays"):
        source = open_source(data_config(kind, data_dir, tmp_path, name), split)
        runs.append(list(open_eval_batches(source, CROP, kind, batch_size=2)))
    assert_batches_equal(*runs)
    assert any(tmp_path.iterdir())


def test_splits_that_are_not_prepared_are_read_from_their_files(tmp_path):
    data = data_config("tfds", DATASETS / "coco_person" / "dummy_data", tmp_path, "coco_person")
    with pytest.raises(UserError, match=r"test split of COCO .* --config\.data\.boxes_path"):
        open_source(data, "test")
    data.source = "arrays"
    number = open_source(data, "eval")[0]["image_number"]
    box = {"image_id": number, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}
    (tmp_path / "boxes.json").write_text(json.dumps([box]))
    data.update({"source": "tfds", "boxes_path": str(tmp_path / "boxes.json")})
    [(_, host)] = open_eval_batches(open_source(data, "eval"), CROP, "tfds", batch_size=1)
    assert host["image_number"].tolist() == [number] and host["box_score"].tolist() == [0.5]
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.json"]


def train_run(source, count, **options):
    """The first batches; a small batch, so that every run passes from epoch to epoch."""
    options = {"seed": 3, "start_step": 0, "batch_size": 6, "execute": batches_by_tf_data, **options}
    batches = train_batches(source, CROP, **options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


class Uneven:
    """A source whose even records take so long that an idle worker overtakes the busy one."""

    def __init__(self, source):
        self.source, self.skeleton = source, source.skeleton

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        time.sleep(0.02 * (index % 2 == 0))
        return self.source[index]


def test_one_worker_and_two_give_the_same_batches_in_the_same_order(folders):
    source = Uneven(open_both(folders, "train")[0])
    one, two = (train_run(source, 8, num_threads=num_threads) for num_threads in (1, 2))
    assert_batches_equal(one, two)
    one, two = (
        list(eval_batches(source, CROP, batch_size=3, num_threads=n, execute=batches_by_tf_data))
        for n in (1, 2)
    )
    assert_batches_equal(one, two)


def test_nothing_is_tuned_since_the_end_would_wait_for_the_tuner(folders, monkeypatch):
    given = []
    real = tf.data.Dataset.with_options
    monkeypatch.setattr(
        tf.data.Dataset, "with_options", lambda self, options: given.append(options) or real(self, options)
    )
    train_run(open_both(folders, "train")[0], 1)
    assert [options.autotune.enabled for options in given] == [False]


def test_a_resumed_run_gives_the_tail_of_the_unbroken_one(folders):
    source, _ = open_both(folders, "train")
    assert_batches_equal(train_run(source, 8)[5:], train_run(source, 3, start_step=5))


def test_two_processes_put_together_are_one(folders):
    source, _ = open_both(folders, "train")
    whole = train_run(source, 5)
    parts = [train_run(source, 5, process_index=index, process_count=2) for index in range(2)]
    for one, first, second in zip(whole, *parts, strict=True):
        for part in range(2):
            for key, value in one[part].items():
                np.testing.assert_array_equal(
                    value, np.concatenate([first[part][key], second[part][key]]), err_msg=key
                )


def test_memory_stays_flat_over_2000_steps(folders, grown_over_2000_batches):
    _, source = open_both(folders, "train")
    batches = train_batches(
        source, CropConfig((64, 96)), seed=0, start_step=0, batch_size=2, execute=batches_by_tf_data
    )
    grown, produced = grown_over_2000_batches(batches)
    batches.close()
    assert grown < produced / 4


def test_tensorflow_traces_once_for_all_batches(folders, monkeypatch):
    traced = []
    real = tf.numpy_function

    def counted(*arguments, **options):
        traced.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr(tf, "numpy_function", counted)
    source, _ = open_both(folders, "train")
    train_run(source, 20)
    assert len(traced) == 1


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


@pytest.fixture(scope="module")
def mixtures(folders, tmp_path_factory):
    """People of four sources, prepared and from their files."""
    root = tmp_path_factory.mktemp("all")
    (root / "lspet").symlink_to(folders[0])
    (root / "mpii").symlink_to(DATASETS / "mpii" / "dummy_data")
    sources = []
    for kind in ("tfds", "arrays"):
        data = data_config(kind, root, folders[1])
        data.update({"look": "studio", "render_size": 64, "seed": 7, "train_size": 3, "eval_size": 2})
        data.train_on = ("mpii", "mpii:eval", "lsp_extended", "synthetic_people")
        sources.append(open_source(data, "train", MPII))
    return sources


class Labelled:
    """A source whose even people have a pseudo label."""

    def __init__(self, source):
        self.source, self.skeleton = source, source.skeleton

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        label = np.random.default_rng(index).uniform(0, 1, (9, 7)).astype(np.float32)
        labels = {"occlusion_map": label, "occlusion_map_to_image": np.eye(2, 3) * 20}
        return self.source[index] | (labels if index % 2 == 0 else {})


# Published crops with all that may be random, and pseudo labels; several scales of the plain one.
EVERYTHING = CropConfig(
    (32, 40), geometry="hrnet", clip_boxes=True, rotation_deg=20.0, scale_factor=0.25,
    half_body_probability=0.5, lower_body=lower_body(MPII),
    occlusion_grid=MapGrid((8, 10), (4.0, 4.0), (0.0, 0.0)),
)  # fmt: skip
SCALES = CropConfig((32, 40), geometry="hourglass", scales=(0.8, 1.0, 1.2))


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("crop", [EVERYTHING, SCALES], ids=["everything", "scales"])
def test_a_mixture_through_tf_data_gives_the_batches_of_the_threads(mixtures, crop, num_threads):
    runs = []
    for source, execute in zip(mixtures, (batches_by_tf_data, batches_by_threads), strict=True):
        batches = train_batches(
            Labelled(source), crop, seed=3, start_step=1, batch_size=4, num_threads=num_threads,
            execute=execute,
        )  # fmt: skip
        runs.append(list(itertools.islice(batches, 4)))
        batches.close()
    assert_batches_equal(*runs)
    device = runs[0][0][0]
    assert ("occlusion_map" in device) == (crop is EVERYTHING)
    assert device["image"].ndim == (4 if crop is EVERYTHING else 5)


def test_a_resumed_mixture_gives_the_tail_of_the_unbroken_one(mixtures):
    for source, execute in zip(mixtures, (batches_by_tf_data, batches_by_threads), strict=True):
        assert_batches_equal(
            train_run(source, 6, execute=execute)[4:], train_run(source, 2, start_step=4, execute=execute)
        )


@pytest.mark.realdata
def test_a_mixture_of_real_people_is_the_same_through_tf_data(data_dir, tmp_path):
    for folder in ("lspet", "mpii"):
        (tmp_path / folder / "images").mkdir(parents=True)
    pictures = sorted((data_dir / "lspet" / "images").iterdir())[:9]
    for picture in (*pictures, *(data_dir / "mpii" / "images").iterdir()):
        folder = "lspet" if picture in pictures else "mpii"
        (tmp_path / folder / "images" / picture.name).symlink_to(picture)
    (tmp_path / "lspet" / "joints.mat").symlink_to(data_dir / "lspet" / "joints.mat")
    (tmp_path / "mpii" / "train.json").symlink_to(data_dir / "mpii" / "annot" / "test_mpii.json")
    runs = []
    for kind in ("tfds", "arrays"):
        data = data_config(kind, tmp_path, tmp_path / "prepared")
        data.train_on = ("lsp_extended", "mpii")
        source = open_source(data, "train", MPII)
        batches = open_train_batches(source, CROP, kind, seed=5, start_step=0, batch_size=4)
        runs.append(list(itertools.islice(batches, 6)))
        batches.close()
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


@pytest.mark.parametrize("change", ["annotation", "picture", "new picture", "name", "touch"])
def test_the_fingerprint_follows_annotations_and_pictures(tmp_path, change):
    folder = tmp_path / "data"
    (folder / "images" / "deep").mkdir(parents=True)
    picture, annotation = folder / "images" / "deep" / "a.JPG", folder / "people.json"
    for path in (picture, annotation):
        path.write_bytes(b"1")
        os.utime(path, (0, 0))
    before = folder_fingerprint(folder)
    assert folder_fingerprint(folder) == before
    if change == "new picture":
        (folder / "b.png").touch()
    elif change == "name":
        picture.rename(picture.with_name("b.JPG"))
    elif change == "touch":
        os.utime(picture, (0, 1))
    else:
        path = picture if change == "picture" else annotation
        path.write_bytes(b"22")
        os.utime(path, (0, 0))
    assert folder_fingerprint(folder) != before


def test_the_fingerprint_leaves_out_other_files_and_is_not_caught_in_a_circle_of_links(tmp_path):
    (tmp_path / "a.jpg").touch()
    before = folder_fingerprint(tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.jpg").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "again").symlink_to(tmp_path)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    assert folder_fingerprint(tmp_path) == before
    (tmp_path / "elsewhere").symlink_to(DUMMY_DATA)
    assert folder_fingerprint(tmp_path) != before


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
    problem = "is truncated" if form == "cut" else "is not a JPEG or PNG picture"
    prepared, files = messages
    assert files.startswith(f"{picture} {problem}")
    assert prepared == files.replace(str(picture), f"im00005.jpg in {tmp_path / 'lspet'}")
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
