"""L_o of OASNet: classification of each joint (eq. 1) or regression of the occlusion map (eq. 2).

Both are summed over the stacks that predict occlusion, as L_J is over all.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oasjax.losses.heatmap import REDUCTIONS
from oasjax.ops.choices import check_choice


def occlusion_class_loss(logits: Float[Array, "t b k 3"], target: Float[Array, "b k 3"]) -> Float[Array, ""]:
    """L_o (eq. 1): cross entropy, -target * log p, mean over the joints that count.

    Printed is p log p without a target, which would be an entropy.

    Args:
        logits: of the classes not labelled, labelled and occluded, labelled and visible.
        target: one-hot; all zero for a joint that does not count.
    """
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    entropy = -jnp.sum(target * jax.nn.log_softmax(wide, axis=-1))
    return entropy / jnp.maximum(jnp.sum(target), 1.0)


def occlusion_map_loss(
    predicted: Float[Array, "t b h w 1"],
    target: Float[Array, "b h w 1"],
    weight: Float[Array, "b"],
    *,
    reduction: str = "mean",
) -> Float[Array, ""]:
    """L_o (eq. 2): squared error, averaged over the people whose occlusion is known (weight 1).

    Args:
        reduction: `mean` over cells, or their `sum` as printed. Raises ValueError for another one.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    reduce = jnp.mean if reduction == "mean" else jnp.sum
    error = reduce(jnp.square(predicted - target), axis=(2, 3, 4))
    return jnp.sum(weight * error) / jnp.maximum(jnp.sum(weight), 1.0)
