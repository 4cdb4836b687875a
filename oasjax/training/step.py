"""The compiled train and eval steps."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from oasjax.training.mesh import replicated, split
from oasjax.training.state import TrainState

Metrics = dict[str, jax.Array]


def make_train_step(
    task: Any, optimizer: optax.GradientTransformation, seed: int
) -> Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, Metrics]]:
    """Pure `(state, batch) -> (state, metrics)`; random numbers are those of fold_in(seed, step)."""

    def train_step(state: TrainState, batch: dict[str, jax.Array]) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(jax.random.key(seed), state.step)

        def loss(params: Any) -> Any:
            return task.loss(params, state.model_state, batch, key, state.step)

        gradients, (parts, model_state) = jax.grad(loss, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        new_state = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=model_state,
            opt_state=opt_state,
        )
        return new_state, parts | {"gradient_norm": optax.tree.norm(gradients)}

    return train_step


def make_eval_step(task: Any, *, pasted: bool) -> Callable[[Any, dict[str, jax.Array]], dict[str, jax.Array]]:
    """Pure `(variables, batch) -> predictions`, one row an example.

    Besides the task's predictions the rows hold `image` as the network saw it (of several scales the one
    nearest to 1) and `pasted` (b, k): joints under one of the fixed test occluders, which are drawn when
    `pasted` is set.
    """

    def eval_step(variables: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        image = batch["image"]
        hidden = jnp.zeros(batch["visibility"].shape, bool)
        if pasted:
            image, hidden = task.paste_test_occluders(image, batch)
        shown = image if image.ndim == 4 else image[:, task.plain_scale]
        return task.predict(variables, image) | {"image": shown, "pasted": hidden}

    return eval_step


def compile_step(
    name: str,
    step: Callable,
    mesh: Mesh,
    first: Any,
    batch: Any,
    *,
    donate: bool,
    batched_output: bool,
    say: Callable[[str], None],
) -> jax.stages.Compiled:
    """Compile ahead of time for these arguments: later calls cannot retrace, other shapes are an error.

    Args:
        first: the state or the variables, on every device.
        batch: split along its first axis.
        donate: give the buffers of `first` to the result.
        batched_output: the output is split like the batch rather than copied to all devices.
        say: receives a line before and one after.
    """
    say(f"compiling {name} ...")
    start = time.perf_counter()
    jitted = jax.jit(
        step,
        in_shardings=(replicated(mesh), split(mesh)),
        out_shardings=split(mesh) if batched_output else replicated(mesh),
        donate_argnums=(0,) if donate else (),
    )
    compiled = jitted.lower(first, batch).compile()
    say(f"compiled {name} in {time.perf_counter() - start:.1f} s")
    return compiled
