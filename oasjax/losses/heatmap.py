"""Heatmap regression loss of the joints (OASNet, eq. 3).

The paper prints sums of squares and calls them "MSE". The mean is the common scheme that it refers to, and
the only one under which its lambda_mimic has a sensible size (docs/choices.md).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oasjax.ops.choices import check_choice

REDUCTIONS = ("mean", "sum")


def joints_loss(
    predicted: Float[Array, "*s b h w k"],
    target: Float[Array, "b h w k"],
    weight: Float[Array, "b k"],
    *,
    reduction: str = "mean",
    hard_joints: int = 0,
) -> Float[Array, ""]:
    """L_J (eq. 3): squared error, averaged over people and summed over stacks.

    A joint of weight 0 contributes nothing but still counts in the mean, as in HRNet, so that a person
    with few labels does not pull harder on each of them.

    Args:
        weight: multiplies the squared error. HRNet's code multiplies both maps before they are compared:
            its loss is half of this one with its weights squared.
        reduction: `mean` over cells and joints, or their `sum` as printed.
        hard_joints: of each person and stack only so many joints count, those with the largest errors; 0: all
            (HRNet's JointsOHKMMSELoss; lib/core/loss.py).

    Raises ValueError for an unknown reduction and for hard joints that are fewer than 0 or not there.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    joints = weight.shape[-1]
    if not 0 <= hard_joints <= joints:
        raise ValueError(f"hard_joints is {hard_joints}; choose 0 for all joints, or at most {joints}")
    reduce = jnp.mean if reduction == "mean" else jnp.sum
    errors = weight * reduce(jnp.square(predicted - target), axis=(-3, -2))
    if hard_joints:
        errors = jax.lax.top_k(errors, hard_joints)[0]
    return reduce(errors, axis=-1).mean(-1).sum()
