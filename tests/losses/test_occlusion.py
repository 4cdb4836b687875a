"""Eqs. 1 and 2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.losses.occlusion import occlusion_class_loss, occlusion_map_loss


def one_hot(*classes: int | None) -> jax.Array:
    """(1, k, 3); None: a row of zeros."""
    rows = np.zeros((1, len(classes), 3), np.float32)
    for joint, chosen in enumerate(classes):
        if chosen is not None:
            rows[0, joint, chosen] = 1.0
    return jnp.asarray(rows)


def test_cross_entropy_by_hand():
    probabilities = jnp.asarray([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]])
    # Logits are probabilities up to a constant for each joint.
    logits = jnp.log(probabilities) + jnp.asarray([[[3.0], [-80.0]]])
    loss = occlusion_class_loss(logits[None], one_hot(0, 1))
    np.testing.assert_allclose(loss, -(np.log(0.5) + np.log(0.2)) / 2, rtol=1e-5)


def test_joints_that_do_not_count_are_in_neither_sum_nor_mean_nor_gradient():
    logits = jnp.asarray([[[[5.0, 0.0, 0.0], [0.0, 2.0, 1.0]]]])
    np.testing.assert_allclose(
        occlusion_class_loss(logits, one_hot(None, 2)), occlusion_class_loss(logits[:, :, 1:], one_hot(2))
    )
    gradient = jax.grad(occlusion_class_loss)(logits, one_hot(None, 2))
    assert not gradient[0, 0, 0].any() and gradient[0, 0, 1].all()
    value, gradient = jax.value_and_grad(occlusion_class_loss)(logits, one_hot(None, None))
    assert value == 0.0 and not gradient.any()


def test_both_losses_are_summed_over_the_stacks_that_have_them():
    logits = jnp.asarray([[[[1.0, 0.0, 0.0]]], [[[0.0, 4.0, 0.0]]]])
    both = occlusion_class_loss(logits, one_hot(1))
    np.testing.assert_allclose(both, sum(occlusion_class_loss(each[None], one_hot(1)) for each in logits))
    maps = jnp.asarray([1.0, 3.0])[:, None, None, None, None] * jnp.ones((2, 1, 2, 2, 1))
    np.testing.assert_allclose(occlusion_map_loss(maps, jnp.zeros((1, 2, 2, 1)), jnp.ones(1)), 1.0 + 9.0)


def test_logits_of_half_the_width_are_compared_in_float32():
    logits = jnp.asarray([[[[0.0, 1.0, 9.0]]]], jnp.bfloat16)
    loss = occlusion_class_loss(logits, one_hot(2))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, np.log1p(np.exp(-9.0) + np.exp(-8.0)), rtol=1e-4)


def test_an_image_without_known_occlusion_has_no_map_loss():
    predicted, target = jnp.zeros((1, 2, 2, 2, 1)), jnp.ones((2, 2, 2, 1)).at[1].set(5.0)
    np.testing.assert_allclose(occlusion_map_loss(predicted, target, jnp.asarray([1.0, 0.0])), 1.0)
    np.testing.assert_allclose(occlusion_map_loss(predicted, target, jnp.zeros(2)), 0.0)


def test_the_sum_over_cells_is_averaged_over_the_people_that_count():
    predicted, target = jnp.zeros((1, 3, 2, 5, 1)), jnp.ones((3, 2, 5, 1)).at[0].set(3.0).at[1].set(7.0)
    loss = occlusion_map_loss(predicted, target, jnp.asarray([1.0, 0.0, 1.0]), reduction="sum")
    np.testing.assert_allclose(loss, (9 * 10 + 10) / 2)
    with pytest.raises(ValueError, match="reduction is 'max'.*mean.*sum"):
        occlusion_map_loss(predicted, target, jnp.ones(3), reduction="max")


def test_maps_of_half_the_width_are_compared_in_float32():
    predicted = jnp.ones((1, 1, 64, 64, 1), jnp.bfloat16)
    loss = occlusion_map_loss(predicted, jnp.zeros((1, 64, 64, 1)), jnp.ones(1), reduction="sum")
    assert loss.dtype == jnp.float32 and loss == 4096.0
