"""Eq. 3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.losses.heatmap import joints_loss


def test_joints_loss_by_hand():
    predicted = jnp.zeros((1, 2, 2, 2, 3))
    target = jnp.zeros((2, 2, 2, 3)).at[0, 0, 0, 0].set(2.0).at[1, 1, 1, 2].set(3.0)
    weight = jnp.ones((2, 3)).at[1, 2].set(0.0)
    # One squared error of 4 among 2 people * 4 cells * 3 joints; the 9 has weight 0.
    np.testing.assert_allclose(joints_loss(predicted, target, weight), 4 / 24)
    np.testing.assert_allclose(joints_loss(predicted, target, weight, reduction="sum"), 4 / 2)
    np.testing.assert_allclose(joints_loss(predicted, target, 0.5 * weight), 2 / 24)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("hard_joints", [0, 2])
def test_stacks_are_summed(reduction, hard_joints):
    maps = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 3))
    target, weight = jnp.ones((2, 4, 4, 3)), jnp.ones((2, 3))
    options = {"reduction": reduction, "hard_joints": hard_joints}
    total = joints_loss(maps, target, weight, **options)
    each = [joints_loss(stack[None], target, weight, **options) for stack in maps]
    np.testing.assert_allclose(total, sum(each), rtol=1e-6)
    np.testing.assert_allclose(joints_loss(maps[0], target, weight, **options), each[0], rtol=1e-6)


def test_hard_joints_are_the_worst_of_each_person_and_stack():
    # Squared errors of joints, the same in all four cells: of two people in two stacks.
    errors = np.array([[[1.0, 2.0, 4.0], [7.0, 5.0, 3.0]], [[9.0, 0.0, 1.0], [1.0, 1.0, 6.0]]])
    predicted = jnp.asarray(np.sqrt(errors)[:, :, None, None, :] * np.ones((2, 2, 1)), jnp.float32)
    target, weight = jnp.zeros((2, 2, 2, 3)), jnp.ones((2, 3))
    hard = joints_loss(predicted, target, weight, hard_joints=2)
    np.testing.assert_allclose(hard, (3.0 + 6.0) / 2 + (5.0 + 3.5) / 2, rtol=1e-6)
    hard = joints_loss(predicted, target, weight, hard_joints=2, reduction="sum")
    np.testing.assert_allclose(hard, 4 * ((6.0 + 12.0) / 2 + (10.0 + 7.0) / 2), rtol=1e-6)
    # A joint without weight is no hard one.
    hard = joints_loss(predicted[:1], target, weight.at[0, 2].set(0.0), hard_joints=1)
    np.testing.assert_allclose(hard, (2.0 + 7.0) / 2, rtol=1e-6)


def test_all_joints_are_hard_when_so_many_are_asked_for():
    maps, target = jax.random.normal(jax.random.key(1), (2, 1, 2, 4, 4, 3))
    weight = jnp.ones((2, 3))
    np.testing.assert_allclose(
        joints_loss(maps, target[0], weight, hard_joints=3), joints_loss(maps, target[0], weight), rtol=1e-6
    )


def test_maps_of_half_the_width_are_compared_in_float32():
    predicted = jnp.full((1, 1, 64, 64, 1), 1.0, jnp.bfloat16)
    loss = joints_loss(predicted, jnp.zeros((1, 64, 64, 1)), jnp.ones((1, 1)), reduction="sum")
    assert loss.dtype == jnp.float32 and loss == 4096.0


def test_unknown_reductions_and_too_many_hard_joints_are_refused():
    maps, weight = jnp.zeros((1, 2, 2, 3)), jnp.ones((1, 3))
    with pytest.raises(ValueError, match="reduction is 'max'.*mean.*sum"):
        joints_loss(maps, maps, weight, reduction="max")
    for number in (4, -1):
        with pytest.raises(ValueError, match=f"hard_joints is {number}; .* at most 3"):
            joints_loss(maps, maps, weight, hard_joints=number)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["mse_w", "mse", "ohkm_w", "ohkm"])
def test_half_of_it_with_squared_weights_is_the_loss_of_hrnet(golden_dir, name):
    with np.load(golden_dir / "prepost_hrnet/losses.npz") as file:
        case = dict(file)
    output, target = (jnp.asarray(np.moveaxis(case[key], 1, -1)) for key in ("output", "target"))
    weight = np.square(case["target_weight"][..., 0])
    if not name.endswith("_w"):
        weight = np.ones_like(weight)
    hard_joints = 8 if name.startswith("ohkm") else 0  # its default

    def half(output):
        return 0.5 * joints_loss(output, target, jnp.asarray(weight), hard_joints=hard_joints)

    value, gradient = jax.jit(jax.value_and_grad(half))(output)
    np.testing.assert_allclose(value, case[name], rtol=1e-5)
    np.testing.assert_allclose(np.moveaxis(gradient, -1, 1), case[f"{name}_grad"], rtol=1e-5, atol=1e-9)
