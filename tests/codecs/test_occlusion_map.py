"""The occlusion map as target and as reading."""

import jax.numpy as jnp
import numpy as np

from oasjax.codecs import heatmap, occlusion_map


def test_the_target_is_the_clamped_sum_of_the_occluded_joints():
    points = jnp.asarray([[[4.0, 4.0], [4.5, 4.0], [1.0, 1.0]]])
    drawn = jnp.ones((1, 3), bool)
    maps = heatmap.encode(points, drawn, height=8, width=8, sigma_cells=1.0)
    target = occlusion_map.encode(maps, jnp.asarray([[True, True, False]]))
    assert target.shape == (1, 8, 8, 1)
    assert target.max() == 1.0  # two Gaussians overlap: clamped
    np.testing.assert_allclose(target[0, 4, 7, 0], maps[0, 4, 7, 0] + maps[0, 4, 7, 1], rtol=1e-6)
    assert target[0, 1, 1, 0] < 0.1  # the visible joint leaves no mark


def test_a_nan_in_an_unused_heatmap_does_not_leak():
    maps = jnp.zeros((1, 4, 4, 2)).at[..., 1].set(jnp.nan)
    assert jnp.isfinite(occlusion_map.encode(maps, jnp.asarray([[True, False]]))).all()


def test_reading_at_a_joint_is_bilinear_and_clipped():
    field = jnp.zeros((1, 4, 4, 1)).at[0, 2, 1, 0].set(0.8).at[0, 0, 3, 0].set(-1.0)
    field = field.at[0, 3, 3, 0].set(7.0)
    points = jnp.asarray([[[1.0, 2.0], [1.5, 2.0], [3.0, 0.0], [3.0, 3.0], [-9.0, 99.0]]])
    read = occlusion_map.decode(field, points)
    np.testing.assert_allclose(read, [[0.8, 0.4, 0.0, 1.0, 0.0]], atol=1e-6)
