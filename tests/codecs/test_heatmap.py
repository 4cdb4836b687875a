"""Keypoints to heatmaps and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oasjax.codecs import heatmap

encode = jax.jit(heatmap.encode, static_argnames=("height", "width", "sigma_cells"))
draw = jax.jit(heatmap.draw, static_argnames=("height", "width", "sigma_cells"))
decode = jax.jit(heatmap.decode)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(2, 29), st.floats(2, 21)), min_size=3, max_size=3),
    st.sampled_from([1.0, 1.5, 2.0]),
)
def test_decoding_inverts_encoding_at_sub_pixel_precision(points, sigma):
    points = jnp.asarray([points], jnp.float32)
    maps = encode(points, jnp.ones((1, 3), bool), height=24, width=32, sigma_cells=sigma)
    decoded, scores = decode(maps)
    np.testing.assert_allclose(decoded, points, atol=2e-3)
    assert (scores > np.exp(-0.25 / sigma**2) - 1e-3).all()


def test_a_gaussian_has_peak_one_at_its_joint_and_the_given_width():
    maps = encode(jnp.asarray([[5.0, 3.0]]), jnp.asarray([True]), height=8, width=10, sigma_cells=2.0)
    assert maps.shape == (8, 10, 1)
    assert maps[3, 5, 0] == 1.0
    np.testing.assert_allclose(maps[3, 7, 0], np.exp(-0.5), rtol=1e-6)
    np.testing.assert_allclose(maps[5, 5, 0], np.exp(-0.5), rtol=1e-6)


@pytest.mark.parametrize("wild", [np.nan, np.inf, -1e9])
def test_a_joint_that_is_not_drawn_leaves_a_zero_map_whatever_its_coordinates(wild):
    points = jnp.asarray([[5.0, 3.0], [wild, wild]])
    maps = encode(points, jnp.asarray([True, False]), height=8, width=10, sigma_cells=1.0)
    assert jnp.isfinite(maps).all()
    assert not maps[..., 1].any()


def test_a_map_that_moves_by_one_cell_keeps_its_first_column():
    maps = jnp.arange(4.0).reshape(1, 4, 1)  # one row of four cells
    np.testing.assert_array_equal(heatmap.move_right(maps)[0, :, 0], [0, 0, 1, 2])


def test_only_labelled_joints_on_the_maps_are_drawn():
    points = jnp.asarray([[5.0, 3.0], [5.0, 3.0], [-0.6, 3.0], [9.4, 7.4]])
    labelled = jnp.asarray([True, False, True, True])
    maps, drawn = draw(points, labelled, height=8, width=10, sigma_cells=1.0)
    np.testing.assert_array_equal(drawn, [True, False, False, True])
    np.testing.assert_array_equal(maps.any((0, 1)), drawn)


def test_a_peak_on_the_border_and_an_all_zero_map_decode_to_finite_points():
    maps = jnp.zeros((1, 6, 6, 2)).at[0, 0, 5, 0].set(1.0)
    points, scores = decode(maps)
    np.testing.assert_allclose(points[0, 0], [5, 0])
    np.testing.assert_allclose(points[0, 1], [0, 0])
    np.testing.assert_allclose(scores, [[1, 0]])


def test_inside_is_false_for_nan_and_beyond_the_border():
    points = jnp.asarray([[0.0, 0.0], [-0.5, 0], [-0.6, 0], [9.4, 7.4], [9.5, 0], [np.nan, 1]])
    inside = heatmap.inside(points, 8, 10)
    np.testing.assert_array_equal(inside, [True, True, False, True, False, False])
