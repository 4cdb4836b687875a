"""Heatmap regression loss of the joints (OASNet, eq. 3), as an elementwise mean.

The paper prints sums of squares and calls them "MSE"; the mean is the common scheme that it refers to, and
the only one under which its lambda_mimic has a sensible size (docs/choices.md).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def joints_loss(
    predicted: Float[Array, "*s b h w k"],
    target: Float[Array, "b h w k"],
    weight: Float[Array, "b k"],
) -> Float[Array, ""]:
    """L_J (eq. 3): mean squared error over people, cells and joints, summed over stacks.

    A joint of weight 0 contributes nothing but still counts in the mean, as in HRNet, so that a person
    with few labels does not pull harder on each of them.
    """
    error = jnp.square(predicted - target) * weight[:, None, None, :]
    stacks = predicted.shape[0] if predicted.ndim == 5 else 1
    return stacks * jnp.mean(error)
