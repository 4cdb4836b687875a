"""Targets of the published codes, case by case."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.codecs import dark, hrnet, occlusion_map, udp
from oasjax.codecs.codec import Codec, make_codec

pytestmark = pytest.mark.golden

MMPOSE_SIGMA = 2.0  # in the cases' README


def nchw(maps) -> np.ndarray:
    return np.moveaxis(np.asarray(maps), -1, -3)


def load(golden_dir, name: str) -> dict[str, np.ndarray]:
    with np.load(golden_dir / f"{name}.npz") as file:
        return dict(file)


def codec_of(name: str, sigma: float, image_size_wh, map_size_wh) -> Codec:
    stride = int(image_size_wh[0] // map_size_wh[0])
    size = (int(image_size_wh[0]), int(image_size_wh[1]))
    return make_codec(
        {"codec": name, "sigma_cells": float(sigma), "blur_kernel": 11}, stride=stride, input_size_wh=size
    )


def encoded(codec: Codec, points_px: np.ndarray, labelled: np.ndarray):
    return jax.jit(codec.encode)(jnp.asarray(points_px, jnp.float32), labelled)


@pytest.mark.parametrize("name", ["mpii256", "coco256x192", "coco384x288"])
def test_targets_and_weights_are_those_of_hrnet(golden_dir, name):
    case = load(golden_dir, f"prepost_hrnet/target_{name}")
    codec = codec_of("hrnet", case["sigma"], case["image_size"], case["heatmap_size"])
    labelled = case["joints_vis"][..., 0] > 0
    maps, drawn = encoded(codec, case["joints"][..., :2], labelled)
    np.testing.assert_allclose(nchw(maps), case["target"], atol=1e-6)
    np.testing.assert_array_equal(drawn, case["target_weight"][..., 0] > 0)


def test_weights_of_joints_multiply_what_is_drawn(golden_dir):
    case = load(golden_dir, "prepost_hrnet/target_joint_weighted")
    height, width = case["target"].shape[1:]
    codec = codec_of("hrnet", 2.0, (4 * width, 4 * height), (width, height))
    maps, drawn = encoded(codec, case["joints"][:, :2], case["joints_vis"][:, 0] > 0)
    np.testing.assert_allclose(nchw(maps), case["target"], atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(drawn) * case["joints_weight"][:, 0], case["target_weight"][:, 0], rtol=1e-6
    )


def test_the_occlusion_map_is_the_clamped_sum_of_hidden_joints(golden_dir):
    case = load(golden_dir, "prepost_hrnet/occlusion_map_derived")
    height, width = case["occlusion_map"].shape[1:]
    codec = codec_of("hrnet", 2.0, (4 * width, 4 * height), (width, height))
    maps, drawn = encoded(codec, case["joints"][..., :2], case["visibility"] > 0)
    occlusion = occlusion_map.encode(maps, drawn & (case["visibility"] == 1))[..., 0]
    np.testing.assert_allclose(occlusion, case["occlusion_map"], atol=1e-6)
    np.testing.assert_allclose(1 - occlusion, case["attention"], atol=1e-6)


def test_labelmaps_are_drawn_as_by_the_hourglass_code_wherever_the_point_lies(golden_dir):
    case = load(golden_dir, "prepost_hourglass/labelmap")
    height, width = case["maps"].shape[1:]
    for sigma in np.unique(case["sigma"]):
        rows = case["sigma"] == sigma
        draw = jax.jit(partial(hrnet.labelmaps, height=height, width=width, sigma_cells=float(sigma)))
        maps, drawn = draw(case["points"][rows].astype(np.float32), np.ones(rows.sum(), bool))
        np.testing.assert_allclose(nchw(maps), case["maps"][rows], atol=1e-6)
        np.testing.assert_array_equal(drawn, case["drawn"][rows] > 0)


def test_targets_from_people_of_mpii_are_those_of_the_hourglass_code(golden_dir):
    """Its weights are its flag of visibility times ours: a hidden joint trains nothing there."""
    case = load(golden_dir, "prepost_hourglass/mpii_target")
    height, width = case["target"].shape[2:]
    crop = 4 * width
    scale = case["scale_provided"][:, None, None]
    center = case["objpos"][:, None] + scale * [0.0, 15.0]
    points = (np.float64(case["pts"][..., :2]) - center) * crop / (200 * 1.25 * scale) + crop / 2
    labelled, visible = case["pts"][..., 1] > 0, case["pts"][..., 2] > 0
    codec = codec_of("hourglass", 1.0, (crop, 4 * height), (width, height))
    maps, drawn = encoded(codec, points, labelled)
    np.testing.assert_allclose(nchw(maps), case["target"], atol=1e-6)
    np.testing.assert_array_equal(visible & (drawn | ~labelled), case["target_weight"][..., 0] > 0)


@pytest.mark.parametrize(("module", "name"), [(hrnet, "msra"), (dark, "unbiased"), (udp, "udp")])
def test_targets_and_weights_are_those_of_mmpose(golden_dir, module, name):
    case = load(golden_dir, "codecs_udp_dark/encode")
    height, width = case[f"{name}_heatmaps"].shape[2:]
    draw = jax.jit(partial(module.encode, height=height, width=width, sigma_cells=MMPOSE_SIGMA))
    maps, drawn = draw(case["keypoints"], case["visible"] > 0.5)
    np.testing.assert_allclose(nchw(maps), case[f"{name}_heatmaps"], atol=1e-6)
    np.testing.assert_array_equal(drawn, case[f"{name}_weights"] > 0)
