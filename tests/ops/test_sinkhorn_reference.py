"""The transport loss against the reference numbers of OASJAX_GOLDEN_DIR/ot."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.ops.sinkhorn import cosine_cost, sinkhorn_loss, sinkhorn_plan

pytestmark = pytest.mark.golden

# Rows and columns of the files' tables.
EPSILONS, SWEEPS = (1.0, 0.1, 0.05, 0.01, 0.001), (1, 5, 50, 500)
MODES = {"": {}, "stopP": {"plan_grad": "stop"}, "debiased": {"debias": True}}


@pytest.fixture(scope="module")
def cases(golden_dir) -> dict[str, dict[str, np.ndarray]]:
    """One problem x, y a file."""
    found = {}
    for path in sorted((golden_dir / "ot").glob("*.npz")):
        with np.load(path) as file:
            if "x" in file:
                found[path.stem] = dict(file)
    assert found
    return found


def gradients_of(case: dict[str, np.ndarray]) -> dict[tuple[str, float, int], dict[str, np.ndarray]]:
    """(mode, epsilon, sweeps) -> {'x', 'y'}, from keys such as `grad_x_stopP_eps0.1_R5`."""
    found: dict[tuple[str, float, int], dict[str, np.ndarray]] = {}
    for key in case:
        match = re.fullmatch(r"(debiased_)?grad_([xy])(_stopP)?_eps([\dp.]+)_R(\d+)", key)
        if match:
            debiased, side, stopped, epsilon, num_iters = match.groups()
            mode = "debiased" if debiased else "stopP" if stopped else ""
            setting = (mode, float(epsilon.replace("p", ".")), int(num_iters))
            found.setdefault(setting, {})[side] = case[key]
    assert found
    return found


@functools.cache
def compiled_loss(mode: str, num_iters: int, with_gradient: bool):
    """(x, y, epsilon) -> (loss, gradients): one program for all epsilons."""

    def loss(x, y, epsilon):
        return sinkhorn_loss(x, y, epsilon=epsilon, num_iters=num_iters, **MODES[mode])

    if with_gradient:
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return jax.jit(lambda *arguments: (loss(*arguments), ()))


# By default what float32 rounds is seen with the plain loss; dozens of programs are compiled for each.
DTYPES_AND_MODES = [
    *[("float64", mode) for mode in MODES],
    *[pytest.param("float32", mode, marks=[pytest.mark.slow] if mode else []) for mode in MODES],
]


@pytest.mark.parametrize("dtype, mode", DTYPES_AND_MODES)
def test_losses_and_gradients(cases, dtype, mode):
    with jax.enable_x64(True):
        for name, case in cases.items():
            table, expected = gradients_of(case), case.get("debiased" if mode == "debiased" else "loss")
            if expected is None:
                continue  # the debiased loss of the large cases
            for column, num_iters in enumerate(SWEEPS):
                with_gradient = any((m, n) == (mode, num_iters) for m, _, n in table)
                if mode == "stopP" and not with_gradient:
                    continue  # the same loss as without
                loss = compiled_loss(mode, num_iters, with_gradient)
                for row, epsilon in enumerate(EPSILONS):
                    check(
                        loss,
                        case,
                        dtype,
                        epsilon,
                        expected[row, column],
                        table.get((mode, epsilon, num_iters)),
                        where=f"{name}, epsilon {epsilon}, {num_iters} sweeps",
                    )


def check(loss, case, dtype: str, epsilon: float, expected: float, gradients, where: str) -> None:
    """Within the tolerances stated beside the numbers; gradients times the length of their row."""
    exact, hard = dtype == "float64", epsilon < 0.01
    x, y = (jnp.asarray(case[side], dtype) for side in "xy")
    value, ours = loss(x, y, jnp.asarray(epsilon, dtype))
    assert value.dtype == dtype
    assert abs(float(value) - expected) < (1e-10 if exact else 1e-3 if hard else 1e-5), where
    relative, floor = (1e-9, 1e-14) if exact else (1e-3 if hard else 1e-4, 1e-6)
    for side, gradient in zip("xy", ours if gradients else (), strict=False):
        length = np.linalg.norm(case[side], axis=1, keepdims=True)
        theirs = gradients[side] * length
        error = np.abs(np.asarray(gradient) * length - theirs).max()
        assert error <= max(relative * np.abs(theirs).max(), floor), f"{where}: {error}"


@pytest.mark.parametrize("domain", ["log", "plain"])
def test_plans(cases, domain):
    plan_of = jax.jit(functools.partial(sinkhorn_plan, domain=domain), static_argnames="num_iters")
    compared = 0
    with jax.enable_x64(True):
        for name, case in cases.items():
            cost = cosine_cost(jnp.asarray(case["x"]), jnp.asarray(case["y"]))
            for key in case:
                match = re.fullmatch(r"P_eps([\d.]+)_R(\d+)", key)
                # exp(-2 / 0.001) underflows in float64, too.
                if match and (domain == "log" or float(match[1]) >= 0.01):
                    plan = plan_of(cost, epsilon=float(match[1]), num_iters=int(match[2]))
                    np.testing.assert_allclose(plan, case[key], atol=1e-12, err_msg=f"{name} {key}")
                    compared += 1
    assert compared > 0
