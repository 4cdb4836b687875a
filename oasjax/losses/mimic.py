"""Mimicking losses: the occluded branch's features are drawn towards the clean branch's (OASNet, 3.3)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from oasjax.ops.sinkhorn import DEAD_NORM, sinkhorn_loss


def optimal_transport_loss(
    clean: Float[Array, "b h w c"],
    occluded: Float[Array, "b h w c"],
    *,
    epsilon: float,
    num_iters: int,
) -> Float[Array, ""]:
    """L_mimic by optimal transport (eq. 10, Algorithm 1), the mean over images.

    Args:
        clean, occluded: the critic's output for both branches, masked features F^R and F_o^R before it.
            The transported points are the *channels*, each a vector of the h * w = k positions.
        epsilon: entropic regularisation (0.1 in the paper).
        num_iters: sweeps R (5 in the paper).

    Images never mix. A wholly masked image has no direction in any channel: it costs a constant 1 without
    gradient, so it is left out of the mean.
    """

    def channels(features: Array) -> Float[Array, "b c k"]:
        return features.reshape(features.shape[0], -1, features.shape[-1]).swapaxes(1, 2)

    x, y = channels(clean), channels(occluded)
    loss = sinkhorn_loss(x, y, epsilon=epsilon, num_iters=num_iters)
    alive = jnp.any(jnp.square(x) > DEAD_NORM**2, axis=(1, 2)).astype(loss.dtype)
    return jnp.sum(loss * alive) / jnp.maximum(jnp.sum(alive), 1.0)
