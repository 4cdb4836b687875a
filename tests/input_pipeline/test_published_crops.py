"""From annotation files through our readers to the crops and targets of published networks."""

import json

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.codecs.codec import make_codec
from oasjax.datasets.coco_person import annotations as coco_person
from oasjax.datasets.mpii import annotations as mpii
from oasjax.input_pipeline.crop import CropConfig, crop_example, padded_areas
from oasjax.input_pipeline.decode import read_image
from oasjax.input_pipeline.hourglass_crop import cut_hourglass
from oasjax.ops.affine import apply_affine


def save_picture(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name may say JPEG; what counts is the contents, which must lose nothing.
    path.write_bytes(cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes())


@pytest.fixture
def mpii_people(golden_dir, tmp_path):
    """(golden, people of MPII as our reader gives them, whether boxes are clipped)"""
    golden = np.load(golden_dir / "prepost_hrnet" / "mpii_pipeline.npz")
    text = str(golden["json"])
    for n, person in enumerate(json.loads(text)):
        image = golden[f"image{n}"] if f"image{n}" in golden else np.zeros((9, 9, 3), np.uint8)
        save_picture(tmp_path / "images" / person["image"], image)
    (tmp_path / "valid.json").write_text(text)
    return golden, mpii.read_people(tmp_path, "validation"), False


@pytest.fixture
def coco_people(golden_dir, tmp_path):
    golden = np.load(golden_dir / "prepost_hrnet" / "coco_pipeline.npz")
    document = json.loads(str(golden["json"]))
    shown = {
        int(number): golden[f"image{n}"]
        for n, number in enumerate(golden["db_image_id"])
        if f"image{n}" in golden
    }
    for entry in document["images"]:
        blank = np.zeros((entry["height"], entry["width"], 3), np.uint8)
        save_picture(tmp_path / "val2017" / entry["file_name"], shown.get(entry["id"], blank))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "person_keypoints_val2017.json").write_text(json.dumps(document))
    people = coco_person.read_people(tmp_path, "validation")
    assert [person["image_number"] for person in people] == golden["db_image_id"].tolist()
    return golden, people, True


@pytest.fixture(params=["mpii_people", "coco_people"])
def people_of(request):
    return request.getfixturevalue(request.param)


def cut(person, golden, clip_boxes, geometry="hrnet"):
    height, width = golden["crop0"].shape[:2]
    crop = CropConfig((width, height), padding=1.25, geometry=geometry, clip_boxes=clip_boxes)
    return crop, crop_example({**person, "image": read_image(person["image_path"])}, crop, None)


@pytest.mark.golden
def test_centre_and_scale_of_everybody_are_those_of_hrnet(people_of):
    golden, people, clip_boxes = people_of
    assert len(people) == len(golden["db_center"])
    for n, person in enumerate(people):
        labelled = golden["db_vis"][n, :, 0] > 0
        np.testing.assert_array_equal(person["visibility"] > 0, labelled)
        np.testing.assert_allclose(
            person["keypoints"][labelled], golden["db_joints"][n, labelled, :2], rtol=1e-5
        )
        crop, example = cut(person, golden, clip_boxes)
        middle = np.array([crop.input_size_wh]) / 2
        to_image = example["crop_to_image"].astype(np.float64)
        np.testing.assert_allclose(apply_affine(middle, to_image)[0], golden["db_center"][n], rtol=1e-5)
        scale = golden["db_scale"][n]
        np.testing.assert_allclose(padded_areas(to_image[None], crop), np.prod(200 * scale), rtol=1e-5)


@pytest.mark.golden
def test_crops_joints_and_targets_are_those_of_hrnet(people_of):
    golden, people, clip_boxes = people_of
    cases = [n for n in range(len(people)) if f"crop{n}" in golden]
    target, (height, width) = golden["target0"], golden["crop0"].shape[:2]
    codec = make_codec(
        {"codec": "hrnet", "sigma_cells": sigma_of(target), "blur_kernel": 11},
        stride=width // target.shape[2],
        input_size_wh=(width, height),
    )
    encode = jax.jit(codec.encode)
    for n in cases:
        _, example = cut(people[n], golden, clip_boxes)
        near = np.abs(example["image"].astype(int) - golden[f"crop{n}"]).max(-1) <= 2
        assert near.mean() >= 0.99
        labelled = example["visibility"] > 0
        np.testing.assert_allclose(
            example["keypoints"][labelled], golden[f"crop_joints{n}"][labelled, :2], rtol=1e-5, atol=1e-4
        )
        maps, drawn = encode(jnp.asarray(example["keypoints"][None]), jnp.asarray(labelled[None]))
        np.testing.assert_array_equal(drawn[0], golden[f"target_weight{n}"][:, 0])
        np.testing.assert_allclose(maps[0], golden[f"target{n}"].transpose(1, 2, 0), atol=1e-5)


def sigma_of(target):
    """The Gaussians' width in cells, from the value next to their peaks."""
    next_to_peak = target[target < 1].max()
    return round(float(np.sqrt(-0.5 / np.log(next_to_peak))), 3)


@pytest.mark.golden
@pytest.mark.parametrize("geometry", ["hrnet", "hourglass", "udp"])
def test_the_published_crop_and_ours_show_the_same_person(people_of, geometry):
    golden, people, clip_boxes = people_of
    for n in [n for n in range(len(people)) if f"crop{n}" in golden]:
        (_, ours), (_, theirs) = (cut(people[n], golden, clip_boxes, name) for name in ("centre", geometry))
        apart = theirs["keypoints"] - ours["keypoints"]
        if geometry == "udp":  # the edges of the box lie half a pixel further in
            inside = (np.abs(ours["keypoints"] / np.array(golden["crop0"].shape[1::-1]) - 0.5) < 0.5).all(-1)
            assert np.abs(apart[inside]).max() <= 0.5 + 1e-3
        else:
            np.testing.assert_allclose(apart, 0.5, atol=1e-3)
        pictures = (cv2.GaussianBlur(each["image"], (0, 0), 3).ravel() for each in (ours, theirs))
        assert np.corrcoef(*pictures)[0, 1] > 0.95


@pytest.mark.golden
def test_the_hourglass_is_shown_mpii_as_published_with_centres_that_count_from_1(mpii_people):
    golden, people, _ = mpii_people
    annotated = json.loads(str(golden["json"]))
    assert len(annotated) == len(people)
    for n in [n for n in range(len(people)) if f"crop{n}" in golden]:
        _, example = cut(people[n], golden, clip_boxes=False, geometry="hourglass")
        # bearpaw/pytorch-pose: pose/datasets/mpii.py
        scale = annotated[n]["scale"] * 1.25
        center = np.array(annotated[n]["center"]) + [0, 15 * annotated[n]["scale"]]
        height, width = golden["crop0"].shape[:2]
        expected = cut_hourglass(golden[f"image{n}"], center, (200 * scale, 200 * scale), (width, height))
        np.testing.assert_array_equal(example["image"], expected)
