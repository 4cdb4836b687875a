"""Test time: a joint is found where the picture shows it, whatever scales, mirror image and geometry."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.input_pipeline.crop import crop_config, crop_example
from oasjax.models.oasnet import OASNetOutput
from oasjax.ops.affine import apply_affine
from oasjax.training.tasks import make_task

SIX_SCALES = "--config.eval.scales=(0.8,0.9,1.0,1.1,1.2,1.3)"
HRNET = ("--config.target.codec=hrnet", "--config.data.geometry=hrnet")
# A cell is 5.5 pixels of the picture wide, and what is not refined is off by up to half of it.
JOINTS = np.random.default_rng(0).uniform([56, 36], [94, 74], (16, 2)).round(1)


class BrightestPixel:
    """Stands in for a network: every heatmap is the crop's brightness, read at its cells."""

    dtype = jnp.float32

    def __init__(self, codec):
        axes = zip(codec.map_size_wh, codec.pitch_px, codec.first_cell_px, strict=True)
        # Linear between pixels.
        self.columns, self.rows = (
            jnp.maximum(1 - jnp.abs((first + pitch * jnp.arange(cells))[:, None] - jnp.arange(64)), 0)
            for cells, pitch, first in axes
        )

    def apply(self, variables, images, train):
        maps = jnp.einsum("hy,byxc,wx->bhw", self.rows, images, self.columns)[..., None] / 3
        heatmaps = jnp.repeat(maps, 16, axis=-1)[None]
        return OASNetOutput(heatmaps, maps[None], None, maps, maps, maps)


def person(joint: np.ndarray) -> dict:
    """A dark picture with a bright spot where all joints are."""
    y, x = np.mgrid[:120, :160]
    spot = np.exp(-((x - joint[0]) ** 2 + (y - joint[1]) ** 2) / (2 * 6.0**2))
    return {
        "image": np.repeat((200 * spot).astype(np.uint8)[..., None], 3, axis=-1),
        "keypoints": np.tile(joint, (16, 1)).astype(np.float32),
        "visibility": np.full(16, 2, np.int8),
        "occlusion_known": np.ones(16, bool),
        "bbox_xywh": np.array([40, 20, 70, 70], np.float32),
        "head_size": np.float32(np.nan),
        "area": np.float32(4900),
        "example_id": 0,
        "image_id": "spot",
    }


@pytest.mark.parametrize(
    ("overrides", "tolerance_px"),
    [
        ((), 0.6),
        ((*HRNET, "--config.eval.flip_test=False"), 2.5),
        ((SIX_SCALES,), 2.5),
        ((SIX_SCALES, "--config.eval.flip_test=False"), 2.5),
        ((SIX_SCALES, *HRNET, "--config.eval.flip_test=False"), 2.5),
        ((SIX_SCALES, "--config.target.codec=udp", "--config.data.geometry=udp"), 2.5),
    ],
)
def test_a_bright_spot_is_found_where_it_is(tiny_config, overrides, tolerance_px):
    config = tiny_config(
        "--config.data.input_size_wh=(64,64)", "--config.data.normalization=none", *overrides
    )
    task = make_task(config)
    task.net = BrightestPixel(task.codec)
    crop = crop_config(config.data, scales=tuple(config.eval.scales))
    examples = [crop_example(person(joint), crop, None) for joint in JOINTS]
    images = jnp.stack([example["image"] for example in examples])
    assert images.ndim == (4 if len(config.eval.scales) == 1 else 5)
    predicted = jax.jit(task.predict)({"params": {"net": {}}, "model_state": {"net": {}}}, images)
    to_image = np.stack([example["crop_to_image"] for example in examples]).astype(np.float64)
    errors = apply_affine(np.asarray(predicted["keypoints"], np.float64), to_image) - JOINTS[:, None]
    assert np.abs(errors).max() < tolerance_px
    assert np.abs(errors.mean((0, 1))).max() < 0.4  # no frame is off by a pixel of the crop, 1.4 here
    # The occlusion map shows the spot as well, over the plain crop.
    maps = np.asarray(predicted["occlusion_map"])
    assert maps.shape == (16, 16, 16) and (np.asarray(predicted["occlusion"]) > 0.5).all()
    for shown, example in zip(maps, examples, strict=True):
        cell = np.unravel_index(shown.argmax(), shown.shape)
        expected = task.codec.to_cells(jnp.asarray(example["keypoints"][0]))
        np.testing.assert_allclose(cell, expected[::-1], atol=1.0)


def test_one_scale_is_the_plain_crop_at_that_scale(tiny_config):
    """The crop of scale 1.2 shows a fifth more on each side: the axis of the scales changes nothing else."""
    config = tiny_config("--config.data.input_size_wh=(64,64)", "--config.eval.scales=(1.2,)")
    crop = crop_config(config.data, scales=(1.2,))
    wider = replace(crop_config(config.data), padding=1.2 * config.data.padding)
    several, plain = crop_example(person(JOINTS[0]), crop, None), crop_example(person(JOINTS[0]), wider, None)
    np.testing.assert_array_equal(several["image"][0], plain["image"])
    assert make_task(config).plain_scale == 0
    assert make_task(tiny_config(SIX_SCALES)).plain_scale == 2
