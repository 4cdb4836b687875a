"""The transport loss of Algorithm 1, against naive loops, finite differences, exact optima and references."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import linear_sum_assignment

from oasjax.ops import sinkhorn
from oasjax.ops.sinkhorn import cosine_cost, plan_diagnostics, sinkhorn_loss, sinkhorn_plan

DOMAINS = pytest.mark.parametrize("domain", sinkhorn.DOMAINS)
# 1: one window of one sweep; 5: one window; 13: a whole window and a part; 50: many.
ITERATIONS = pytest.mark.parametrize("num_iters", [1, 5, 13, 50])


loss_of = jax.jit(sinkhorn_loss, static_argnames=("num_iters", "domain", "plan_grad", "debias", "dead_rows"))
plan_of = jax.jit(sinkhorn_plan, static_argnames=("num_iters", "domain", "plan_grad"))


@pytest.fixture
def wide():
    """Float64 for the time of a test."""
    with jax.enable_x64(True):
        yield


def features(rows: int, columns: int, seed: int = 0, dtype=np.float64) -> jax.Array:
    """Rows as after a ReLU: cosine costs up to 1."""
    return jnp.maximum(signed(rows, columns, seed, dtype), 0)


def signed(rows: int, columns: int, seed: int = 0, dtype=np.float64) -> jax.Array:
    """Rows in all directions: cosine costs up to 2."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=(rows, columns)), dtype)


@partial(jax.jit, static_argnames="num_iters")
def naive_plan(cost: jax.Array, epsilon: float, num_iters: int, u=None, v=None) -> jax.Array:
    """Algorithm 1 as printed, with weights 1/C and the new `a` in each second half-sweep."""
    rows, columns = cost.shape
    u, v = 1 / rows if u is None else u, 1 / columns if v is None else v
    kernel, b = jnp.exp(-cost / epsilon), u * jnp.ones(rows, cost.dtype)
    for _ in range(num_iters):
        a = v / (kernel.T @ b)
        b = u / (kernel @ a)
    return b[:, None] * kernel * a


@partial(jax.jit, static_argnames="num_iters")
def naive_loss(x: jax.Array, y: jax.Array, epsilon: float, num_iters: int) -> jax.Array:
    cost = cosine_cost(x, y)
    return jnp.sum(cost * naive_plan(cost, epsilon, num_iters=num_iters))


@partial(jax.jit, static_argnames="num_iters")
def logsumexp_plan(cost: jax.Array, epsilon: float, num_iters: int) -> jax.Array:
    """The same on logarithms, a maximum in each half-sweep."""
    rows, columns = cost.shape
    log_b = jnp.full(rows, -np.log(rows))
    for _ in range(num_iters):
        log_a = -np.log(columns) - jax.nn.logsumexp(-cost / epsilon + log_b[:, None], axis=0)
        log_b = -np.log(rows) - jax.nn.logsumexp(-cost / epsilon + log_a, axis=1)
    return jnp.exp(log_b[:, None] - cost / epsilon + log_a)


def exact_transport(cost: jax.Array) -> float:
    """Smallest mean cost of a one-to-one assignment."""
    return float(np.asarray(cost)[linear_sum_assignment(np.asarray(cost))].mean())


# Cost


def test_costs_of_parallel_orthogonal_opposite_and_dead_rows(wide):
    x = jnp.asarray([[2.0, 0.0], [0.0, 0.0]])
    y = jnp.asarray([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(cosine_cost(x, y), [[0, 1, 2, 1], [1, 1, 1, 1]], atol=1e-15)


def test_a_dead_row_leaves_the_gradients_of_the_others_as_they_are_and_gets_none(wide):
    """It acts as a row that is orthogonal to everything: its cost is 1 as well."""
    y = features(5, 7, seed=1)
    dead, orthogonal = features(5, 7).at[2].set(0.0), jnp.zeros((5, 8)).at[:, :7].set(features(5, 7))
    orthogonal = orthogonal.at[2].set(0.0).at[2, 7].set(1.0)
    gradient = jax.grad(partial(loss_of, epsilon=0.1, num_iters=5))
    with jax.debug_nans(True):
        ours = gradient(dead, y)
    expected = gradient(orthogonal, jnp.pad(y, ((0, 0), (0, 1))))
    np.testing.assert_array_equal(ours[2], 0.0)
    others = np.asarray([0, 1, 3, 4])
    np.testing.assert_allclose(ours[others], expected[others, :7], rtol=1e-12)


# The plan


@ITERATIONS
@DOMAINS
def test_the_plan_is_that_of_the_naive_loop(wide, domain, num_iters):
    cost = cosine_cost(features(6, 9), features(5, 9, seed=1))
    for epsilon in (1.0, 0.1, 0.02):
        plan = plan_of(cost, epsilon=epsilon, num_iters=num_iters, domain=domain)
        np.testing.assert_allclose(
            plan, naive_plan(cost, epsilon, num_iters=num_iters), rtol=1e-11, atol=1e-15
        )


def test_rows_are_updated_last(wide):
    """The transposed problem with the other half-sweep first has the transposed plan: rows are exact."""
    cost = np.asarray(cosine_cost(features(6, 9), features(6, 9, seed=1)))
    kernel, a = np.exp(-cost / 0.1), np.full(6, 1 / 6)
    for _ in range(5):
        b = 1 / 6 / (kernel @ a)
        a = 1 / 6 / (kernel.T @ b)
    transposed = plan_of(jnp.asarray(cost.T), epsilon=0.1, num_iters=5)
    np.testing.assert_allclose(transposed.T, b[:, None] * kernel * a, rtol=1e-12)


@DOMAINS
def test_the_plan_is_one_and_its_rows_are_exact(domain):
    cost = cosine_cost(signed(6, 9, dtype=np.float32), signed(7, 9, seed=1, dtype=np.float32))
    for num_iters in (1, 5, 50):
        plan = plan_of(cost, epsilon=0.1, num_iters=num_iters, domain=domain)
        assert (plan >= 0).all()
        np.testing.assert_allclose(plan.sum(1), 1 / 6, rtol=1e-6)
        np.testing.assert_allclose(plan.sum(), 1, rtol=1e-6)


def test_the_column_error_does_not_grow(wide):
    cost = cosine_cost(features(6, 9), features(6, 9, seed=1))
    plans = [plan_of(cost, epsilon=0.1, num_iters=n) for n in (1, 2, 3, 5, 8, 13, 30)]
    errors = np.asarray([plan_diagnostics(plan).column_error for plan in plans])
    assert (np.diff(errors) <= 1e-15).all()
    assert errors[0] > 1e-2 and errors[-1] < 1e-4


def test_diagnostics_of_known_plans():
    identity = plan_diagnostics(jnp.eye(4) / 4)
    np.testing.assert_allclose(identity, [0, 0, np.log(4)], atol=1e-6)
    independent = plan_diagnostics(jnp.full((4, 3), 1 / 12))
    np.testing.assert_allclose(independent, [0, 0, np.log(12)], atol=1e-6)
    one_cell = plan_diagnostics(jnp.zeros((2, 2)).at[0, 0].set(1.0))
    np.testing.assert_allclose(one_cell, [1, 1, 0], atol=1e-6)


def test_given_weights_are_met_and_those_of_zero_are_as_if_the_points_were_not_there(wide):
    x, y = signed(6, 9), signed(5, 9, seed=1)
    u = jnp.asarray([0.3, 0.0, 0.2, 0.1, 0.4, 0.0])
    v = jnp.asarray([0.0, 0.25, 0.25, 0.1, 0.4])
    cost, kept = cosine_cost(x, y), np.ix_(u > 0, v > 0)
    for domain, num_iters in (("log", 1), ("log", 7), ("plain", 7)):
        plan = plan_of(
            cost, epsilon=0.05, num_iters=num_iters, row_weights=u, column_weights=v, domain=domain
        )
        expected = naive_plan(cost[kept], 0.05, num_iters=num_iters, u=u[u > 0], v=v[v > 0])
        np.testing.assert_allclose(plan[kept], expected, rtol=1e-11)
        np.testing.assert_allclose(plan.sum(1), u, atol=1e-15)
        assert plan_diagnostics(plan, u, v).row_error < 1e-14
    assert not plan[1].any() and not plan[:, 0].any()


def test_zero_weights_stay_finite_at_small_epsilon():
    cost = cosine_cost(signed(6, 9, dtype=np.float32), signed(5, 9, seed=1, dtype=np.float32))
    u = jnp.asarray([0.5, 0.0, 0.0, 0.0, 0.5, 0.0], jnp.float32)

    def loss(cost):
        return jnp.sum(cost * plan_of(cost, epsilon=0.001, num_iters=20, row_weights=u))

    with jax.debug_nans(True):
        value, gradient = jax.value_and_grad(loss)(cost)
    assert value > 0 and not gradient[np.asarray(u == 0)].any() and gradient[0].any()


def test_dropped_dead_rows_are_as_if_they_were_not_there(wide):
    x, y = features(6, 9).at[2].set(0.0), features(5, 9, seed=1).at[0].set(0.0)
    dropped = loss_of(x, y, epsilon=0.1, num_iters=5, dead_rows="drop")
    alone = loss_of(jnp.delete(x, 2, 0), y[1:], epsilon=0.1, num_iters=5)
    np.testing.assert_allclose(dropped, alone, rtol=1e-13)
    assert dropped < loss_of(x, y, epsilon=0.1, num_iters=5)
    nothing_alive = loss_of(0 * x, y, epsilon=0.1, num_iters=5, dead_rows="drop")
    np.testing.assert_allclose(nothing_alive, 1.0, rtol=1e-14)


# Gradients


@pytest.mark.parametrize("num_iters", [1, 5, 50])
@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.01])
def test_the_gradient_agrees_with_finite_differences(wide, epsilon, num_iters):
    loss = partial(loss_of, epsilon=epsilon, num_iters=num_iters)
    x, y = features(5, 7), features(5, 7, seed=1)
    check_grads(
        lambda x, y: loss(jnp.asarray(x), jnp.asarray(y)),
        (x, y),
        order=1,
        modes=["rev"],
        atol=1e-5,
        rtol=1e-5,
        eps=1e-6,
    )


def test_the_second_derivative_agrees_with_finite_differences(wide):
    check_grads(
        lambda x: loss_of(jnp.asarray(x), signed(4, 6, seed=1), epsilon=0.1, num_iters=5),
        (signed(4, 6),),
        order=2,
        modes=["rev"],
        atol=1e-4,
        rtol=1e-4,
        eps=1e-5,
    )


@ITERATIONS
@DOMAINS
def test_the_gradient_is_that_of_autodiff_through_the_naive_loop(wide, domain, num_iters):
    x, y = signed(6, 9), signed(5, 9, seed=1)
    for epsilon in (1.0, 0.1, 0.03):
        ours = jax.grad(loss_of, argnums=(0, 1))(x, y, epsilon=epsilon, num_iters=num_iters, domain=domain)
        naive = jax.grad(naive_loss, argnums=(0, 1))(x, y, epsilon, num_iters=num_iters)
        for a, b in zip(ours, naive, strict=True):
            assert jnp.abs(a - b).max() <= 1e-12 * jnp.abs(b).max()


@ITERATIONS
def test_any_function_of_the_plan_has_the_gradient_of_the_naive_loop(wide, num_iters):
    """Here the squares of P, and by epsilon as well as by the cost."""
    cost = cosine_cost(signed(6, 9), signed(5, 9, seed=1))

    def ours(cost, epsilon):
        return jnp.sum(plan_of(cost, epsilon=epsilon, num_iters=num_iters) ** 2)

    def naive(cost, epsilon):
        return jnp.sum(naive_plan(cost, epsilon, num_iters=num_iters) ** 2)

    gradients = [jax.grad(f, argnums=(0, 1))(cost, jnp.asarray(0.1)) for f in (ours, naive)]
    for a, b in zip(*gradients, strict=True):
        assert jnp.abs(a - b).max() <= 1e-12 * jnp.abs(b).max()


def test_a_stopped_plan_passes_the_gradient_of_the_cost_alone(wide):
    x, y = features(6, 9), features(6, 9, seed=1)
    plan = plan_of(cosine_cost(x, y), epsilon=0.1, num_iters=5)
    expected = jax.grad(lambda x: jnp.sum(plan * cosine_cost(x, y)))(x)
    stopped = jax.grad(partial(loss_of, epsilon=0.1, num_iters=5, plan_grad="stop"))(x, y)
    np.testing.assert_allclose(stopped, expected, rtol=1e-12, atol=1e-15)
    unrolled = jax.grad(partial(loss_of, epsilon=0.1, num_iters=5))(x, y)
    assert jnp.abs(stopped - unrolled).max() > 0.05 * jnp.abs(unrolled).max()


@pytest.mark.parametrize("epsilon", [1.0, 0.1])
def test_the_implicit_gradient_is_the_unrolled_one_of_many_sweeps(wide, epsilon):
    x, y = features(12, 9), features(12, 9, seed=1)
    settings = {"epsilon": epsilon, "num_iters": 500}
    gradient = jax.grad(loss_of, argnums=(0, 1))
    implicit = gradient(x, y, **settings, plan_grad="implicit")
    unrolled = gradient(x, y, **settings)
    stopped = gradient(x, y, **settings, plan_grad="stop")
    for a, b, c in zip(implicit, unrolled, stopped, strict=True):
        assert jnp.abs(a - b).max() < 1e-5 * jnp.abs(b).max()
        assert jnp.abs(a - c).max() > 1e-2 * jnp.abs(b).max()


def test_the_implicit_gradient_by_epsilon_and_with_zero_weights(wide):
    cost = cosine_cost(features(6, 9), features(5, 9, seed=1))
    u = jnp.asarray([0.3, 0.0, 0.2, 0.1, 0.4, 0.0])

    def loss(cost, epsilon, plan_grad):
        plan = plan_of(cost, epsilon=epsilon, num_iters=300, row_weights=u, plan_grad=plan_grad)
        return jnp.sum(plan**2)

    implicit, unrolled = (
        jax.grad(loss, argnums=(0, 1))(cost, jnp.asarray(0.2), mode) for mode in ("implicit", "unrolled")
    )
    for a, b in zip(implicit, unrolled, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)


def test_a_row_is_orthogonal_to_its_gradient_and_its_length_does_not_matter(wide):
    x, y = features(5, 7), features(5, 7, seed=1)
    value, gradient = jax.value_and_grad(partial(loss_of, epsilon=0.1, num_iters=5))(x, y)
    np.testing.assert_allclose(jnp.sum(x * gradient, axis=-1), 0, atol=1e-15)
    length = jnp.asarray([1.0, 2.0, 1e-5, 1e5, 3.0])[:, None]
    scaled_value, scaled = jax.value_and_grad(partial(loss_of, epsilon=0.1, num_iters=5))(length * x, y)
    np.testing.assert_allclose(value, scaled_value, rtol=1e-13)
    np.testing.assert_allclose(length * scaled, gradient, rtol=1e-9, atol=1e-15)


# What does not matter, and what follows from theory


@pytest.mark.parametrize("num_iters", [1, 5])
def test_the_order_of_points_and_of_positions_does_not_matter(wide, num_iters):
    x, y = signed(6, 9), signed(5, 9, seed=1)
    random = np.random.default_rng(2)
    rows, columns, positions = (random.permutation(n) for n in (6, 5, 9))
    settings = {"epsilon": 0.1, "num_iters": num_iters}
    loss = loss_of(x, y, **settings)
    plan = plan_of(cosine_cost(x, y), **settings)
    np.testing.assert_allclose(
        plan_of(cosine_cost(x[rows], y[columns]), **settings), plan[rows][:, columns], rtol=1e-12
    )
    np.testing.assert_allclose(loss_of(x[rows], y, **settings), loss, rtol=1e-13)
    np.testing.assert_allclose(loss_of(x[:, positions], y[:, positions], **settings), loss, rtol=1e-13)


def test_swapping_the_sides_matters_only_as_much_as_the_column_error(wide):
    x, y = features(6, 9), features(6, 9, seed=1)
    for num_iters in (5, 500):
        settings = {"epsilon": 0.1, "num_iters": num_iters}
        difference = abs(loss_of(x, y, **settings) - loss_of(y, x, **settings))
        error = plan_diagnostics(plan_of(cosine_cost(x, y), **settings)).column_error
        assert difference <= max(2 * float(error), 1e-10)
    assert difference < 1e-10


def test_the_converged_loss_lies_between_the_exact_optimum_and_its_entropic_bound(wide):
    x, y = features(8, 6), features(8, 6, seed=1)
    exact = exact_transport(cosine_cost(x, y))
    loss = partial(loss_of, num_iters=20_000)
    losses = [float(loss(x, y, epsilon=jnp.asarray(e))) for e in (0.002, 0.01, 0.05, 0.1, 0.5, 1.0)]
    for value, epsilon in zip(losses, (0.002, 0.01, 0.05, 0.1, 0.5, 1.0), strict=True):
        assert exact - 1e-9 <= value <= exact + epsilon * np.log(8)
    assert (np.diff(losses) > -1e-9).all()
    np.testing.assert_allclose(losses[0], exact, atol=1e-4)


def test_equal_sets_cost_something_unless_debiased(wide):
    x = features(32, 48)
    shuffled = x[np.random.default_rng(0).permutation(32)]
    plain = loss_of(x, x, epsilon=0.1, num_iters=5)
    assert 0.02 < plain < 0.5
    settings = {"epsilon": 0.1, "num_iters": 500, "debias": True}
    value, gradient = jax.value_and_grad(loss_of)(x, x, **settings)
    np.testing.assert_allclose(value, 0.0, atol=1e-14)
    plain_gradient = jax.grad(loss_of)(x, x, epsilon=0.1, num_iters=500)
    assert jnp.abs(gradient).max() < 1e-9 * jnp.abs(plain_gradient).max()
    assert abs(loss_of(x, shuffled, **settings)) < 1e-10
    assert loss_of(x, features(32, 48, seed=1), **settings) > 0.05
    assert exact_transport(cosine_cost(x, shuffled)) < 1e-12


# Numbers


def test_small_epsilon_stays_finite_in_float32_where_the_naive_loop_does_not():
    x, y = signed(6, 4, dtype=np.float32), signed(6, 4, seed=1, dtype=np.float32)
    for epsilon, num_iters in ((0.01, 5), (0.001, 5), (0.001, 100), (1e-6, 20)):
        loss = partial(loss_of, epsilon=epsilon, num_iters=num_iters)
        with jax.debug_nans(True):
            value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(x, y)
        assert jnp.isfinite(value) and all(jnp.isfinite(g).all() for g in gradients)
    naive = jax.grad(naive_loss)(x, y, 0.001, num_iters=5)
    assert not jnp.isfinite(naive).all()


@pytest.mark.parametrize("epsilon", [0.1, 1e-2, 1e-3])
def test_float32_follows_float64_over_many_windows(epsilon):
    """Costs of up to 2000 epsilon: entries flushed in one window come to matter in later ones."""
    with jax.enable_x64(True):
        x, y = signed(64, 5), signed(64, 5, seed=1)
        cost = cosine_cost(x, y)
        expected = float(jnp.sum(cost * logsumexp_plan(cost, epsilon, num_iters=60)))
    x, y = (jnp.asarray(np.asarray(f, np.float32)) for f in (x, y))
    loss = loss_of(x, y, epsilon=epsilon, num_iters=60)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


def test_bfloat16_features_are_raised_to_float32(wide):
    x, y = features(32, 48), features(32, 48, seed=1)
    loss = jax.value_and_grad(partial(loss_of, epsilon=0.1, num_iters=5))
    expected, expected_gradient = loss(x, y)
    narrow = (x.astype(jnp.bfloat16), y.astype(jnp.bfloat16))
    value, gradient = loss(*narrow)
    assert value.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    error = jnp.abs(gradient.astype(jnp.float64) - expected_gradient).max()
    assert error < 2e-2 * jnp.abs(expected_gradient).max()
    narrow_types = {
        str(variable.aval.dtype)
        for equation in jax.make_jaxpr(partial(sinkhorn_loss, epsilon=0.1, num_iters=5))(*narrow).eqns
        if equation.primitive.name != "convert_element_type"
        for variable in equation.invars
        if hasattr(variable, "aval") and variable.aval.ndim and variable.aval.dtype != bool
    }
    assert narrow_types == {"float32"}, narrow_types


def test_a_batch_is_the_single_problems_side_by_side():
    x = jnp.stack([features(5, 7, seed=s, dtype=np.float32) for s in range(6)]).reshape(2, 3, 5, 7)
    y = x[::-1] + 0.1
    loss = partial(loss_of, epsilon=0.1, num_iters=5, debias=True)
    together, gradient = jax.jit(jax.value_and_grad(lambda x, y: loss(x, y).sum()))(x, y)
    losses = loss(x, y)
    assert losses.shape == (2, 3)
    np.testing.assert_allclose(together, losses.sum(), rtol=1e-6)
    np.testing.assert_allclose(losses, jax.vmap(jax.vmap(loss))(x, y), rtol=1e-6)
    for i in np.ndindex(2, 3):
        np.testing.assert_allclose(losses[i], loss(x[i], y[i]), rtol=1e-5)
        alone = jax.grad(loss)(x[i], y[i])
        np.testing.assert_allclose(gradient[i], alone, rtol=1e-4, atol=1e-6)


def test_new_data_and_a_new_epsilon_do_not_retrace_and_buffers_may_be_donated():
    traces = []

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(x, y, epsilon):
        traces.append(1)
        loss = partial(loss_of, epsilon=epsilon, num_iters=5)
        return jax.grad(loss, argnums=(0, 1))(x, y)

    for seed, epsilon in ((0, 0.1), (1, 0.1), (2, 0.05)):
        x, y = (features(5, 7, seed=seed + n, dtype=np.float32) for n in (0, 9))
        expected = jax.grad(loss_of)(x, y, epsilon=epsilon, num_iters=5)
        gradient, _ = step(x, y, jnp.asarray(epsilon, jnp.float32))
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        assert x.is_deleted()
    assert len(traces) == 1


@DOMAINS
def test_memory_grows_with_the_vectors_not_with_the_plans(domain):
    """C = 256, batch of 8: from 5 sweeps to 500."""
    batch, points, sweeps = 8, 256, (5, 500)
    shape = jax.ShapeDtypeStruct((batch, points, 64), jnp.float32)

    def compiled(num_iters: int) -> jax.stages.Compiled:
        loss = partial(loss_of, epsilon=0.1, num_iters=num_iters, domain=domain)
        step = jax.value_and_grad(lambda x, y: loss(x, y).mean(), argnums=(0, 1))
        return jax.jit(step).lower(shape, shape).compile()

    few, many = map(compiled, sweeps)
    vectors = 2 * batch * (sweeps[1] - sweeps[0]) * points * 4
    grown = many.memory_analysis().temp_size_in_bytes - few.memory_analysis().temp_size_in_bytes
    assert grown <= 1.1 * vectors
    sizes = [
        np.prod([int(n) for n in dimensions.split(",")])
        for dimensions in re.findall(r"f32\[([\d,]+)\]", many.as_text())
    ]
    assert max(sizes) == batch * points * points
    assert max(sizes) < sweeps[1] * points * points
