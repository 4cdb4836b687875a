"""The train step as a pure function, and the compiled one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oasjax.training.mesh import data_mesh
from oasjax.training.state import TrainState, create_train_state
from oasjax.training.step import compile_step, make_train_step

OPTIMIZER = optax.sgd(0.1)


class QuadraticTask:
    """Loss w^2 / 2 on one weight; reports the random number that the step was given."""

    def loss(self, params, model_state, batch, key, step):
        loss = 0.5 * jnp.sum(jnp.square(params["w"]))
        return loss, ({"loss": loss, "draw": jax.random.uniform(key)}, model_state)


def first_state() -> TrainState:
    return create_train_state({"params": {"w": np.float32([3.0])}, "model_state": {}}, OPTIMIZER)


def test_a_step_descends_counts_and_reports_the_gradient_norm():
    state, metrics = make_train_step(QuadraticTask(), OPTIMIZER, seed=0)(first_state(), {})
    np.testing.assert_allclose(state.params["w"], 2.7, rtol=1e-6)
    assert int(state.step) == 1
    np.testing.assert_allclose(metrics["gradient_norm"], 3.0, rtol=1e-6)


def test_random_numbers_are_a_function_of_seed_and_step_alone():
    def draw(seed: int, step: int) -> float:
        state = first_state().replace(step=jnp.asarray(step, jnp.int32))
        return float(make_train_step(QuadraticTask(), OPTIMIZER, seed)(state, {})[1]["draw"])

    assert draw(0, 5) == draw(0, 5)
    assert len({draw(0, 5), draw(0, 6), draw(1, 5)}) == 3


def test_a_compiled_step_says_so_and_refuses_other_shapes_instead_of_retracing():
    said: list[str] = []
    batch = {"x": jnp.zeros((2, 3))}
    compiled = compile_step(
        "train_step",
        make_train_step(QuadraticTask(), OPTIMIZER, seed=0),
        data_mesh(),
        first_state(),
        batch,
        donate=True,
        batched_output=False,
        say=said.append,
    )
    assert said[0] == "compiling train_step ..." and said[1].startswith("compiled train_step in ")
    state = first_state()
    compiled(state, batch)
    assert state.params["w"].is_deleted()  # its buffers were given to the new state
    with pytest.raises(TypeError, match="compiled"):
        compiled(first_state(), {"x": jnp.zeros((4, 3))})
