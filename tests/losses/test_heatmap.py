"""Eq. 3."""

import jax.numpy as jnp
import numpy as np

from oasjax.losses.heatmap import joints_loss


def test_joints_loss_by_hand():
    predicted = jnp.zeros((1, 2, 2, 2, 3))
    target = jnp.zeros((2, 2, 2, 3)).at[0, 0, 0, 0].set(2.0).at[1, 1, 1, 2].set(3.0)
    weight = jnp.ones((2, 3)).at[1, 2].set(0.0)
    # One squared error of 4 among 2 people * 4 cells * 3 joints; the 9 has weight 0.
    np.testing.assert_allclose(joints_loss(predicted, target, weight), 4 / 24)


def test_stacks_are_summed():
    target, weight = jnp.ones((2, 2, 2, 3)), jnp.ones((2, 3))
    np.testing.assert_allclose(joints_loss(jnp.zeros((4, 2, 2, 2, 3)), target, weight), 4.0)
