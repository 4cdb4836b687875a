"""Several scales put together: every crop's map lies where the crop was cut."""

import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.codecs import heatmap, pyramid

SCALES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
SIZE, STRIDE, CELLS = 64, 4, 16
GRID = {"size": SIZE, "num_cells": CELLS, "pitch_px": 4.0, "first_cell_px": 1.5}


def maps_of(points_px: np.ndarray, center: float) -> jnp.ndarray:
    """Maps (1, s, h, w, k) of joints at pixels of the crop of scale 1, seen at all scales."""
    points = np.stack([center + (points_px - center) / scale for scale in SCALES])
    cells = jnp.asarray((points - GRID["first_cell_px"]) / GRID["pitch_px"], jnp.float32)
    drawn = jnp.ones(cells.shape[:-1], bool)
    return heatmap.draw(cells, drawn, height=CELLS, width=CELLS, sigma_cells=1.0)[0][None]


def weights(positions: np.ndarray, center: float) -> np.ndarray:
    return np.stack([pyramid.resampling(positions, center=center, scale=scale, **GRID) for scale in SCALES])


@pytest.mark.parametrize("center", [31.5, 32.0])
def test_joints_seen_at_six_scales_are_found_again(center):
    points = np.array([[20.0, 41.0], [31.0, 30.0], [50.0, 12.0]])
    pixels = pyramid.canvas_pixels(SIZE, center, SCALES)
    both = weights(pixels, center)
    canvas = pyramid.average(maps_of(points, center), both, both)
    found, scores = pyramid.decode(canvas, (float(pixels[0]), float(pixels[0])))
    # The maximum of an average of bilinear surfaces is off by less than half a cell of the coarsest map.
    np.testing.assert_allclose(found[0], points, atol=2.0)
    assert (np.asarray(scores) > 0.7).all()


def test_the_canvas_shows_what_the_largest_crop_shows():
    pixels = pyramid.canvas_pixels(SIZE, 31.5, SCALES)
    seen = 31.5 + (pixels - 31.5) / max(SCALES)
    assert seen[0] <= -0.5 <= seen[1] and seen[-2] <= SIZE - 0.5 <= seen[-1]
    assert (np.diff(pixels) == 1).all() and 0.0 in pixels


def test_a_joint_that_only_the_larger_crops_show_is_found_beyond_the_plain_one():
    points = np.array([[70.0, 30.0]])
    pixels = pyramid.canvas_pixels(SIZE, 31.5, SCALES)
    both = weights(pixels, 31.5)
    canvas = pyramid.average(maps_of(points, 31.5), both, both)
    found, scores = pyramid.decode(canvas, (float(pixels[0]), float(pixels[0])))
    np.testing.assert_allclose(found[0], points, atol=2.0)
    # Crops that do not reach it count as zero in the mean.
    assert float(scores[0, 0]) < 0.6


def test_readings_are_bilinear_inside_hold_to_the_edge_and_are_zero_outside():
    ramp = np.arange(CELLS, dtype=np.float64)
    pixels = np.array([-1.0, -0.5, 0.0, 1.5, 3.5, 61.5, 63.5, 64.0])
    values = pyramid.resampling(pixels, center=31.5, scale=1.0, **GRID) @ ramp
    np.testing.assert_allclose(values, [0, 0, 0, 0, 0.5, 15, 15, 0])
    ones = pyramid.resampling(pixels, center=31.5, scale=1.0, **GRID).sum(1)
    np.testing.assert_allclose(ones, [0, 1, 1, 1, 1, 1, 1, 0])
