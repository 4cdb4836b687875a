"""Optimizers against torch's update rules written out in numpy."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oasjax.errors import UserError
from oasjax.training.optimizers import make_optimizer, make_schedule

CONSTANT = {"name": "step", "warmup_steps": 0, "boundaries": (), "factor": 0.1}


def settings(name: str, weight_decay: float = 0.0, schedule: dict | None = None) -> dict:
    return {
        "name": name,
        "learning_rate": 1e-2,
        "weight_decay": weight_decay,
        "schedule": schedule or CONSTANT,
    }


def gradients(steps: int = 20) -> np.ndarray:
    """Gradients over six decades: where epsilon stands decides the small ones."""
    random = np.random.default_rng(0)
    return random.normal(size=(steps, 6)) * 10.0 ** np.arange(-6, 0)


def run(optimizer: optax.GradientTransformation, weights: np.ndarray) -> np.ndarray:
    weights = jnp.asarray(weights, jnp.float32)
    state = optimizer.init(weights)
    for gradient in gradients():
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, weights)
        weights = optax.apply_updates(weights, updates)
    return np.asarray(weights)


def torch_rmsprop(weights: np.ndarray, weight_decay: float) -> np.ndarray:
    square = np.zeros(6)
    for gradient in gradients():
        gradient = gradient + weight_decay * weights
        square = 0.99 * square + 0.01 * gradient**2
        weights = weights - 1e-2 * gradient / (np.sqrt(square) + 1e-8)
    return weights


def torch_adam(weights: np.ndarray, weight_decay: float) -> np.ndarray:
    first, second = np.zeros(6), np.zeros(6)
    for step, gradient in enumerate(gradients(), start=1):
        gradient = gradient + weight_decay * weights
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = second / (1 - 0.999**step)
        weights = weights - 1e-2 * first / (1 - 0.9**step) / (np.sqrt(unbiased) + 1e-8)
    return weights


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name, reference", [("rmsprop", torch_rmsprop), ("adam", torch_adam)])
def test_the_steps_are_torchs(name, reference, weight_decay):
    start = np.linspace(-1, 1, 6)
    ours = run(make_optimizer(settings(name, weight_decay), 100), start)
    np.testing.assert_allclose(ours, reference(start, weight_decay), atol=2e-6)


def test_the_step_schedule_drops_at_fractions_of_the_run_after_the_warm_up():
    schedule = {"name": "step", "warmup_steps": 10, "boundaries": (0.5, 0.75), "factor": 0.1}
    rate = make_schedule(settings("adam", schedule=schedule), 110)
    np.testing.assert_allclose(
        [rate(s) for s in (0, 5, 10, 59, 61, 86)], [0, 5e-3, 1e-2, 1e-2, 1e-3, 1e-4], rtol=1e-5
    )


def test_drops_that_fall_on_one_step_of_a_short_run_all_count():
    schedule = {"name": "step", "warmup_steps": 0, "boundaries": (0.55, 0.6, 0.95), "factor": 0.1}
    rate = make_schedule(settings("adam", schedule=schedule), 4)
    np.testing.assert_allclose([rate(1), rate(2), rate(4)], [1e-2, 1e-4, 1e-5], rtol=1e-5)


def test_the_cosine_ends_at_its_factor():
    schedule = {"name": "cosine", "warmup_steps": 0, "boundaries": (), "factor": 0.01}
    rate = make_schedule(settings("adam", schedule=schedule), 100)
    np.testing.assert_allclose([rate(0), rate(50), rate(100)], [1e-2, 5.05e-3, 1e-4], rtol=1e-4)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"name": "lion"}, "adam"),
        ({"schedule": CONSTANT | {"name": "exponential"}}, "cosine"),
        ({"schedule": CONSTANT | {"warmup_steps": 100}}, "warmup_steps is 100"),
    ],
)
def test_unknown_names_and_too_long_a_warm_up_are_explained(wrong, message):
    with pytest.raises(UserError, match=message):
        make_optimizer(settings("adam") | wrong, 100)
