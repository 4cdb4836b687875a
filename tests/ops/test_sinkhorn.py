"""The transport loss of Algorithm 1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from oasjax.ops.sinkhorn import cosine_cost, sinkhorn_loss, sinkhorn_plan


def features(rows: int, columns: int, seed: int = 0, dtype=np.float64) -> np.ndarray:
    return np.maximum(np.random.default_rng(seed).normal(size=(rows, columns)), 0).astype(dtype)


def scaling_loop(cost: np.ndarray, epsilon: float, num_iters: int) -> np.ndarray:
    """Algorithm 1 as printed, with weights 1/C and the new `a` in each second half-sweep."""
    kernel = np.exp(-cost / epsilon)
    rows, columns = cost.shape
    b = np.full(rows, 1 / rows)
    for _ in range(num_iters):
        a = (1 / columns) / (kernel.T @ b)
        b = (1 / rows) / (kernel @ a)
    return b[:, None] * kernel * a[None, :]


def test_the_plan_is_that_of_the_plain_scaling_loop():
    with jax.enable_x64(True):
        x, y = features(6, 9), features(5, 9, seed=1)
        cost = np.asarray(cosine_cost(jnp.asarray(x), jnp.asarray(y)))
        for num_iters in (1, 5):
            plan = sinkhorn_plan(jnp.asarray(cost), epsilon=0.1, num_iters=num_iters)
            np.testing.assert_allclose(plan, scaling_loop(cost, 0.1, num_iters), atol=1e-15)


def test_row_sums_are_exact_and_column_sums_approach_the_weights():
    with jax.enable_x64(True):
        cost = cosine_cost(jnp.asarray(features(6, 9)), jnp.asarray(features(6, 9, seed=1)))
        errors = []
        for num_iters in (1, 5, 50):
            plan = sinkhorn_plan(cost, epsilon=0.1, num_iters=num_iters)
            np.testing.assert_allclose(plan.sum(1), 1 / 6, atol=1e-14)
            errors.append(float(jnp.abs(plan.sum(0) - 1 / 6).sum()))
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 1e-6


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.02])
def test_the_gradient_agrees_with_finite_differences(epsilon):
    with jax.enable_x64(True):
        x, y = jnp.asarray(features(5, 7)), jnp.asarray(features(5, 7, seed=1))

        def loss(x, y):
            return sinkhorn_loss(jnp.asarray(x), jnp.asarray(y), epsilon=epsilon, num_iters=5)

        check_grads(loss, (x, y), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_scaling_a_row_changes_nothing_and_its_gradient_is_orthogonal_to_it():
    with jax.enable_x64(True):
        x, y = jnp.asarray(features(5, 7)), jnp.asarray(features(5, 7, seed=1))

        def loss(x):
            return sinkhorn_loss(x, y, epsilon=0.1, num_iters=5)

        scaled = x * jnp.arange(1.0, 6.0)[:, None]
        np.testing.assert_allclose(loss(x), loss(scaled), atol=1e-14)
        np.testing.assert_allclose(jnp.sum(x * jax.grad(loss)(x), axis=-1), 0, atol=1e-14)


def test_a_dead_row_costs_one_and_gets_a_zero_gradient():
    x = features(5, 7, dtype=np.float32)
    x[2] = 0
    y = jnp.asarray(features(5, 7, seed=1, dtype=np.float32))
    with jax.debug_nans(True):
        cost = cosine_cost(jnp.asarray(x), y)
        np.testing.assert_array_equal(cost[2], 1.0)
        gradient = jax.grad(lambda x: sinkhorn_loss(x, y, epsilon=0.1, num_iters=5))(jnp.asarray(x))
    assert jnp.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[2], 0.0)
    assert jnp.abs(gradient[0]).max() > 0


def test_small_epsilon_stays_finite_in_float32_where_plain_scaling_does_not():
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    y = np.random.default_rng(1).normal(size=(6, 4)).astype(np.float32)
    value, gradient = jax.value_and_grad(
        lambda x: sinkhorn_loss(x, jnp.asarray(y), epsilon=0.001, num_iters=5)
    )(jnp.asarray(x))
    assert jnp.isfinite(value) and jnp.isfinite(gradient).all()
    with np.errstate(all="ignore"):
        cost = np.asarray(cosine_cost(jnp.asarray(x), jnp.asarray(y)))
        assert not np.isfinite(scaling_loop(cost, 0.001, 5)).all()


def test_a_batch_is_the_single_problems_side_by_side():
    x = jnp.asarray(np.stack([features(5, 7, seed=s) for s in range(3)]), jnp.float32)
    y = x[::-1] + 0.1
    together = sinkhorn_loss(x, y, epsilon=0.1, num_iters=5)
    alone = [sinkhorn_loss(a, b, epsilon=0.1, num_iters=5) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_bfloat16_features_are_raised_to_float32():
    x = jnp.asarray(features(5, 7), jnp.bfloat16)
    loss = sinkhorn_loss(x, x[::-1], epsilon=0.1, num_iters=5)
    assert loss.dtype == jnp.float32


@pytest.mark.golden
@pytest.mark.parametrize("row, epsilon", list(enumerate([1.0, 0.1, 0.05, 0.01, 0.001])))
def test_losses_equal_the_reference_numbers(golden_dir, row, epsilon):
    with jax.enable_x64(True):
        for path in sorted((golden_dir / "ot").glob("*_*.npz")):
            case = np.load(path)
            for column, num_iters in enumerate((1, 5)):
                loss = sinkhorn_loss(
                    jnp.asarray(case["x"]),
                    jnp.asarray(case["y"]),
                    epsilon=epsilon,
                    num_iters=num_iters,
                )
                assert abs(float(loss) - case["loss"][row, column]) < 1e-10, path.name
