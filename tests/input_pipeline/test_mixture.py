"""Training on several data sets at once, with the joints of one skeleton."""

import itertools
import json
import os
import threading
from pathlib import Path

import numpy as np
import pytest

import oasjax.datasets
from oasjax import config_sections
from oasjax.datasets.skeletons import COCO, CROWDPOSE, LSP, MPII, Skeleton
from oasjax.errors import UserError
from oasjax.input_pipeline import open_source, open_train_batches
from oasjax.input_pipeline.arrays_source import ArraysSource, save_arrays
from oasjax.input_pipeline.batching import eval_batches, train_batches
from oasjax.input_pipeline.crop import CropConfig
from oasjax.input_pipeline.mixture import MappedSource, Mixture

# pycocotools hands numpy an array in a way that numpy has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DATASETS = Path(oasjax.datasets.__path__[0])
CROP = CropConfig((24, 32), rotation_deg=20.0, scale_factor=0.25)


def data_config(**values):
    data = config_sections.data()
    data.update({"source": "arrays", "render_size": 64, **values})
    return data


@pytest.fixture(scope="module")
def data_dir_of_all(tmp_path_factory):
    """One folder with the dummy data of several sets under their usual names."""
    root = tmp_path_factory.mktemp("all")
    folders = {"mpii": "mpii", "lsp": "lsp", "lspet": "lsp_extended", "coco": "coco_person"}
    for folder, name in folders.items():
        (root / folder).symlink_to(DATASETS / name / "dummy_data")
    return str(root)


def people_of(source):
    return [source[n] for n in range(len(source))]


def test_a_mixture_is_its_members_one_after_the_other_numbered_anew(data_dir_of_all):
    data = data_config(data_dir=data_dir_of_all, train_on=("mpii", "mpii:eval", "lsp_extended", "lsp"))
    mixture = open_source(data, "train", MPII)
    assert mixture.skeleton == MPII
    expected = []
    for name, split in (("mpii", "train"), ("mpii", "eval"), ("lsp_extended", "train"), ("lsp", "train")):
        expected += people_of(open_source(data_config(data_dir=data_dir_of_all, name=name), split, MPII))
    assert len(mixture) == len(expected)
    for n, (person, alone) in enumerate(zip(people_of(mixture), expected, strict=True)):
        assert person["example_id"] == n
        for key in alone.keys() - {"example_id"}:
            np.testing.assert_array_equal(person[key], alone[key], err_msg=key)
    for index in (-1, len(mixture)):
        with pytest.raises(IndexError):
            mixture[index]


def test_other_splits_than_train_know_nothing_of_the_mixture(data_dir_of_all):
    data = data_config(data_dir=data_dir_of_all, name="lsp", train_on=("mpii", "lsp"))
    alone = open_source(data_config(data_dir=data_dir_of_all, name="lsp"), "eval")
    assert [p["image_id"] for p in people_of(open_source(data, "eval"))] == [
        p["image_id"] for p in people_of(alone)
    ]


def test_without_a_skeleton_the_mixture_has_that_of_its_first_member(data_dir_of_all):
    data = data_config(data_dir=data_dir_of_all, train_on=("lsp_extended", "mpii"))
    mixture = open_source(data, "train")
    assert mixture.skeleton == LSP
    assert {person["keypoints"].shape for person in people_of(mixture)} == {(LSP.num_joints, 2)}


def test_the_size_limits_each_member(data_dir_of_all):
    data = data_config(data_dir=data_dir_of_all, train_on=("lsp_extended", "mpii"), train_size=1)
    alone = [open_source(data_config(data_dir=data_dir_of_all, name=name), "train") for name in data.train_on]
    first = [person["image_id"] for person in people_of(open_source(data, "train"))]
    assert first == [source[0]["image_id"] for source in alone]
    drawn = data_config(train_on=("synthetic_people", "synthetic_people:eval"), train_size=3, eval_size=2)
    assert len(open_source(drawn, "train")) == 5


def test_boxes_of_a_detector_never_enter_a_mixture(data_dir_of_all, tmp_path):
    data = data_config(data_dir=data_dir_of_all, train_on=("coco_person:eval",), boxes_path="boxes.json")
    assert all(person["visibility"].any() for person in people_of(open_source(data, "train")))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            ("mpii", "coco"),
            r"^A data set of config\.data\.train_on is 'coco'; choose one of synthetic",
        ),
        (
            ("mpii:validation",),
            r"^The split of mpii in config\.data\.train_on is 'validation'; choose one",
        ),
        (("mpii:",), r"^The split of mpii in config\.data\.train_on is ''; choose one of train, eval, test"),
        (("ochuman",), r"^ochuman has no split for train: it has validation, test"),
    ],
)
def test_an_unknown_data_set_or_split_is_told(data_dir_of_all, entries, message):
    root = str(DATASETS / "ochuman" / "dummy_data") if entries == ("ochuman",) else data_dir_of_all
    with pytest.raises(UserError, match=message) as caught:
        open_source(data_config(data_dir=root, train_on=entries), "train")
    assert "\n" not in str(caught.value)


def test_a_mixture_and_arrays_of_ones_own_exclude_each_other():
    with pytest.raises(UserError, match=r"train_on and config\.data\.arrays_path both say"):
        open_source(data_config(train_on=("mpii",), arrays_path="a.npz"), "train")


def test_joints_are_those_of_the_same_meaning_and_unlabelled_where_there_is_none(arrays):
    arrays["visibility"][:] = 2
    arrays["visibility"][:, 4] = 0
    people = ArraysSource(arrays | {"hidden_by": arrays["visibility"]}, MPII)
    mapped = MappedSource(people, CROWDPOSE)
    assert mapped.skeleton == CROWDPOSE and len(mapped) == len(people)
    for n in range(len(people)):
        before, after = people[n], mapped[n]
        assert "hidden_by" not in after
        for joint, name in enumerate(CROWDPOSE.joints):
            place = MPII.joints.index({"neck": "upper_neck"}.get(name, name))
            assert after["visibility"][joint] == before["visibility"][place]
            if before["visibility"][place]:
                np.testing.assert_array_equal(after["keypoints"][joint], before["keypoints"][place])
    faces = MappedSource(people, COCO)[0]["visibility"]
    assert not faces[:5].any() and faces[5]


def test_the_same_joints_are_left_as_they_are(arrays, tmp_path):
    arrays["visibility"][:] = 0
    save_arrays(tmp_path / "train.npz", arrays, MPII)
    source = open_source(data_config(arrays_path=str(tmp_path)), "train", MPII)
    np.testing.assert_array_equal(source[2]["keypoints"], arrays["keypoints"][2])


def test_data_without_any_of_the_joints_are_refused(arrays, tmp_path):
    hand = Skeleton("hand", ("thumb", "palm"), (), (), {}, None, None)
    save_arrays(tmp_path / "train.npz", arrays, MPII)
    with pytest.raises(UserError, match=r"None of the joints of 'hand' \(thumb, palm\) can be had"):
        open_source(data_config(arrays_path=str(tmp_path)), "train", hand)


def batches_of(source, num_threads=1, count=6, **options):
    options = {"seed": 1, "start_step": 0, "batch_size": 4, **options}
    batches = train_batches(source, CROP, num_threads=num_threads, **options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_batches_equal(a, b):
    for (device_a, host_a), (device_b, host_b) in zip(a, b, strict=True):
        for part_a, part_b in ((device_a, device_b), (host_a, host_b)):
            assert part_a.keys() == part_b.keys()
            for key, value in part_a.items():
                np.testing.assert_array_equal(value, part_b[key], err_msg=key)


def test_a_mixture_of_drawn_people_is_the_same_whatever_the_threads_and_when_resumed():
    data = data_config(train_on=("synthetic_people", "synthetic_people:eval"), train_size=4, eval_size=3)
    mixture = open_source(data, "train", LSP)
    whole = batches_of(mixture)
    assert_batches_equal(whole, batches_of(mixture, num_threads=2))
    assert_batches_equal(whole[4:], batches_of(mixture, count=2, start_step=4))
    [(device, _)] = eval_batches(mixture, CROP, batch_size=len(mixture))
    assert device["example_id"].tolist() == list(range(7))
    assert device["keypoints"].shape == (7, LSP.num_joints, 2)


def test_two_members_of_the_same_number_are_cut_differently(arrays):
    people = ArraysSource({key: value[:1] for key, value in arrays.items()}, MPII)
    [(device, _)] = batches_of(Mixture([people, people]), count=1, batch_size=2)
    assert sorted(device["example_id"].tolist()) == [0, 1]
    assert (device["crop_to_image"][0] != device["crop_to_image"][1]).any()


def test_pictures_in_memory_and_files_are_batched_together_by_several_threads(data_dir_of_all, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    data = data_config(data_dir=data_dir_of_all, train_on=("synthetic_people", "lsp"), train_size=2)
    mixture = open_source(data, "train", MPII)
    batches = open_train_batches(mixture, CROP, "arrays", seed=0, start_step=0, batch_size=len(mixture))
    device, _ = next(batches)
    assert sum(thread.name.startswith("oasjax-crop") for thread in threading.enumerate()) == 3
    batches.close()
    assert sorted(device["example_id"].tolist()) == list(range(len(mixture)))
    assert (device["image"].std(axis=(1, 2, 3)) > 5).all()


@pytest.mark.realdata
def test_real_people_of_mpii_and_lsp_extended_are_the_same_whatever_the_threads(data_dir, tmp_path):
    # MPII as HRNet's authors pass it on: here its validation people alone, as people to train on.
    (tmp_path / "mpii").mkdir()
    (tmp_path / "mpii" / "images").symlink_to(data_dir / "mpii" / "images")
    text = (data_dir / "mpii" / "annot" / "test_mpii.json").read_text()
    (tmp_path / "mpii" / "train.json").write_text(text)
    (tmp_path / "lspet").symlink_to(data_dir / "lspet")
    data = data_config(data_dir=str(tmp_path), train_on=("lsp_extended", "mpii"), train_size=12)
    mixture = open_source(data, "train", MPII)
    num_mpii = len(json.loads(text))
    assert len(mixture) == 12 + num_mpii
    assert_batches_equal(batches_of(mixture), batches_of(mixture, num_threads=2))
    pelvis, thorax = (MPII.joints.index(name) for name in ("pelvis", "thorax"))
    hips = [MPII.joints.index(name) for name in ("left_hip", "right_hip")]
    people = people_of(mixture)
    labelled = 0
    for person in people[:12]:
        if person["visibility"][pelvis]:
            middle = person["keypoints"][hips].mean(0)
            np.testing.assert_allclose(person["keypoints"][pelvis], middle, rtol=1e-5)
            labelled += 1
        assert not person["occlusion_known"].any()
    assert labelled
    assert all(person["visibility"][thorax] for person in people[12:])
