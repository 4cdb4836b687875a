"""Predictions of the published codes, and what they do with mirrored pictures, case by case."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.codecs import dark, hourglass, hrnet, udp
from oasjax.codecs.codec import Codec, make_codec
from oasjax.datasets.skeletons import MPII, flip_permutation

pytestmark = pytest.mark.golden

STRIDE, BLUR_KERNEL = 4, 11

peaks = jax.jit(hrnet.positive_peaks, static_argnames="absent")


def nhwc(maps: np.ndarray) -> jax.Array:
    return jnp.asarray(np.moveaxis(maps, -3, -1))


def load(golden_dir, name: str) -> dict[str, np.ndarray]:
    with np.load(golden_dir / f"{name}.npz") as file:
        return dict(file)


def codec_for(name: str, maps: np.ndarray) -> Codec:
    """The codec of crops whose maps (n, k, h, w) these are."""
    height, width = maps.shape[-2:]
    target = {"codec": name, "sigma_cells": 2.0, "blur_kernel": BLUR_KERNEL}
    return make_codec(target, stride=STRIDE, input_size_wh=(STRIDE * width, STRIDE * height))


def in_picture(codec: Codec, points_px, center: np.ndarray, box_width: np.ndarray) -> np.ndarray:
    """Crop pixels (n, k, 2) -> picture, by the published crops: boxes' centres at half the crop's size."""
    size = STRIDE * np.asarray(codec.map_size_wh, np.float64)
    pitch = box_width[:, None, None] / size[0]
    return (np.float64(points_px) - size / 2) * pitch + center[:, None]


@pytest.mark.parametrize("name", ["decode_mpii", "decode_coco"])
def test_predictions_are_those_of_hrnet_back_to_the_picture(golden_dir, name):
    case = load(golden_dir, f"prepost_hrnet/{name}")
    codec, maps = codec_for("hrnet", case["heatmaps"]), nhwc(case["heatmaps"])
    box = case["center"], 200 * case["scale"][:, 0]
    cells, scores = peaks(maps, absent=0)
    np.testing.assert_array_equal(cells, case["max_preds"])
    np.testing.assert_array_equal(scores, case["maxvals"][..., 0])
    points, scores = jax.jit(codec.decode)(maps)
    np.testing.assert_array_equal(scores, case["maxvals"][..., 0])
    np.testing.assert_allclose(in_picture(codec, points, *box), case["final_preds"], rtol=1e-6, atol=1e-4)
    unrefined = in_picture(codec, STRIDE * cells, *box)
    np.testing.assert_allclose(unrefined, case["final_preds_no_offset"], rtol=1e-6, atol=1e-4)


def test_predictions_are_those_of_the_hourglass_code_down_to_whole_pixels(golden_dir):
    """Both cells and pixels are 1-based there."""
    case = load(golden_dir, "prepost_hourglass/decode")
    codec, maps = codec_for("hourglass", case["heatmaps"]), nhwc(case["heatmaps"])
    cells, _ = peaks(maps, absent=-1)
    np.testing.assert_array_equal(cells + 1, case["get_preds_1based"])
    points, _ = jax.jit(codec.decode)(maps)
    assert codec.whole_pixels
    pixels = hourglass.whole_pixels(in_picture(codec, points, case["center"], 200 * case["scale"]))
    np.testing.assert_array_equal(pixels + 1, case["final_preds"])


def test_predictions_are_those_of_mmpose(golden_dir):
    case = load(golden_dir, "codecs_udp_dark/decode")
    maps = nhwc(case["heatmaps"])
    cells, values = peaks(maps, absent=-1)
    np.testing.assert_array_equal(cells, case["maximum"])
    np.testing.assert_array_equal(values, case["values"])
    np.testing.assert_allclose(
        np.moveaxis(jax.jit(dark.blur, static_argnums=1)(maps, BLUR_KERNEL), -1, 0),
        case["blurred"],
        atol=1e-6,
    )
    for module, name in ((dark, "dark"), (udp, "dark_udp")):
        refined, scores = jax.jit(partial(module.decode, blur_kernel=BLUR_KERNEL))(maps)
        np.testing.assert_allclose(refined, case[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(scores, case["values"])


def test_quarters_of_a_cell_are_those_of_mmpose_under_its_rule_for_the_border(golden_dir):
    """Its rule holds for each axis: away from the border along it, not in the first row or column across."""
    case = load(golden_dir, "codecs_udp_dark/decode")
    maps = nhwc(case["heatmaps"])
    cells, _ = peaks(maps, absent=-1)
    last = np.array(maps.shape[1::-1]) - 1
    along, across = (cells > 1) & (cells < last), np.asarray(cells > 0)[..., ::-1]
    moved = cells + np.where(along & across, jax.jit(hrnet.quarter_offsets)(maps, cells), 0)
    np.testing.assert_array_equal(moved, case["quarter"])


@pytest.mark.parametrize("name", ["flip_mpii", "flip_coco"])
def test_maps_of_mirrored_pictures_are_turned_back_as_by_hrnet(golden_dir, name):
    case = load(golden_dir, f"prepost_hrnet/{name}")
    output, mirrored = nhwc(case["output"]), nhwc(case["output_flipped"])
    swap = np.arange(output.shape[-1])
    for a, b in case["pairs"]:
        swap[[a, b]] = b, a
    shifted = codec_for("hrnet", case["output"]).mirror(mirrored)[..., swap]
    np.testing.assert_array_equal(shifted, nhwc(case["flip_back_shifted"]))
    np.testing.assert_allclose((output + shifted) / 2, nhwc(case["merged_shift"]), atol=1e-7)
    plain = codec_for("udp", case["output"]).mirror(mirrored)[..., swap]
    np.testing.assert_array_equal(plain, nhwc(case["flip_back"]))
    np.testing.assert_allclose((output + plain) / 2, nhwc(case["merged_noshift"]), atol=1e-7)


def test_maps_of_mirrored_pictures_are_turned_back_as_by_the_hourglass_code(golden_dir):
    case = load(golden_dir, "prepost_hourglass/flip")
    codec = codec_for("hourglass", case["output_flipped"])
    turned = codec.mirror(nhwc(case["output_flipped"]))[..., flip_permutation(MPII)]
    np.testing.assert_array_equal(turned, nhwc(case["flip_back"]))
