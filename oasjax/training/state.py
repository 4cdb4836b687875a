"""The training state and its first value."""

import math
import zlib
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from oasjax.errors import UserError

# Layers of `oasjax.models.oasnet.Head` that give maps or classes begin near zero, as in HRNet's code. From
# outputs of size 1 a network first learns to say nothing at all, and a small HRNet stays there.
HEADS = ("joints", "occlusion")
HEAD_STD = 0.001


@flax.struct.dataclass
class TrainState:
    """Everything that a step changes.

    `step` counts the updates made so far; `model_state` is what the model keeps beside its parameters and
    no optimizer touches (batch statistics, a frozen critic).
    """

    step: Any
    params: Any
    model_state: Any
    opt_state: Any


def initial_leaf(path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """First value of one variable, from its name: the last part of `path` decides.

    Kernels are LeCun normal (variance 1 / fan_in, truncated at 2 standard deviations), those of HEADS of
    standard deviation HEAD_STD. Each is drawn from a stream of its own (seed, path), so that adding a layer
    changes no other. Raises ValueError for a name without a rule.
    """
    *_, layer, name = ("", *path.split("/"))
    if name in ("bias", "mean"):
        return np.zeros(shape, np.float32)
    if name in ("scale", "var"):
        return np.ones(shape, np.float32)
    if name != "kernel":
        raise ValueError(f"no initial value is defined for variables named '{name}' ({path})")
    random = np.random.Generator(np.random.Philox(key=[seed, zlib.crc32(path.encode())]))
    draw = random.standard_normal(shape)
    while (outside := np.abs(draw) > 2).any():
        draw[outside] = random.standard_normal(int(outside.sum()))
    std = HEAD_STD if layer in HEADS else 1 / math.sqrt(math.prod(shape[:-1]))
    # Truncation leaves a standard deviation of .8796; dividing by it restores the variance.
    return (std / 0.87962566 * draw).astype(np.float32)


def initial_variables(module: nn.Module, *inputs: jax.ShapeDtypeStruct, seed: int, **kwargs: Any):
    """Variables of a module without running or compiling it: shapes by `eval_shape`, values by name.

    Compiling a random initialisation takes longer than compiling the train step itself.
    """
    shapes = jax.eval_shape(lambda *arrays: module.init(jax.random.key(0), *arrays, **kwargs), *inputs)
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    values = [initial_leaf("/".join(str(key.key) for key in path), leaf.shape, seed) for path, leaf in leaves]
    return jax.tree_util.tree_unflatten(tree, values)


def create_train_state(variables: dict[str, Any], optimizer: optax.GradientTransformation) -> TrainState:
    """State at step 0 from `{'params', 'model_state'}`."""
    params = jax.tree.map(jnp.asarray, variables["params"])
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=jax.tree.map(jnp.asarray, variables["model_state"]),
        opt_state=optimizer.init(params),
    )


def require_divisible(batch_size: int, what: str, devices: int) -> None:
    """Raise UserError unless a global batch is not empty and splits evenly over the devices."""
    if batch_size < 1 or batch_size % devices:
        raise UserError(f"{what} is {batch_size}; it must be a positive multiple of {devices}, the devices")
