"""Entropic optimal transport between two sets of feature vectors (OASNet, section 3.3 and Algorithm 1)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# A row shorter than this has no direction: it costs 1 to everything and receives no gradient.
DEAD_NORM = 1e-12


def normalize_rows(x: Float[Array, "*b c k"]) -> Float[Array, "*b c k"]:
    """Rows divided by their Euclidean norm; dead rows become zero, with zero gradient.

    The norm is replaced before the division, not after it: `where` alone would let the NaN of the
    untaken branch through in the backward pass.
    """
    squared = jnp.sum(x * x, axis=-1, keepdims=True)
    alive = squared > DEAD_NORM**2
    return jnp.where(alive, x * jax.lax.rsqrt(jnp.where(alive, squared, 1.0)), 0.0)


def cosine_cost(x: Float[Array, "*b c k"], y: Float[Array, "*b d k"]) -> Float[Array, "*b c d"]:
    """Cost M_ij = 1 - cos(x_i, y_j), in [0, 2] (Algorithm 1, line 2).

    Computed at the highest matrix precision: an error of M is amplified by 1/epsilon in the plan.
    """
    similarity = jnp.einsum(
        "...ck,...dk->...cd",
        normalize_rows(x),
        normalize_rows(y),
        precision=jax.lax.Precision.HIGHEST,
    )
    return 1.0 - similarity


def sinkhorn_plan(cost: Float[Array, "*b c d"], *, epsilon: float, num_iters: int) -> Float[Array, "*b c d"]:
    """Transport plan P = diag(b) K diag(a) after `num_iters` sweeps (Algorithm 1, lines 3 to 6).

    K = exp(-M / epsilon), with uniform weights 1/c and 1/d. Each sweep sets a = (1/d) / (K^T b) and
    then b = (1/c) / (K a) with the *new* a (Gauss-Seidel): row sums are exact, column sums approximate.
    Works on log a and log b: exp(-M / epsilon) underflows in float32 from M / epsilon of about 87.
    """
    rows, columns = cost.shape[-2:]
    log_kernel = -cost / epsilon
    log_b = jnp.full(cost.shape[:-1], -jnp.log(rows), cost.dtype)
    log_a = jnp.zeros((*cost.shape[:-2], columns), cost.dtype)
    for _ in range(num_iters):
        log_a = -jnp.log(columns) - jax.nn.logsumexp(log_kernel + log_b[..., None], axis=-2)
        log_b = -jnp.log(rows) - jax.nn.logsumexp(log_kernel + log_a[..., None, :], axis=-1)
    return jnp.exp(log_b[..., None] + log_kernel + log_a[..., None, :])


def sinkhorn_loss(
    x: Float[Array, "*b c k"], y: Float[Array, "*b d k"], *, epsilon: float, num_iters: int
) -> Float[Array, "*b"]:
    """Transport cost <M, P> between the rows of x and of y (eq. 10; Algorithm 1, line 7), in [0, 2].

    Differentiable through all sweeps. Inputs of lower precision are raised to float32 first.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    cost = cosine_cost(x.astype(dtype), y.astype(dtype))
    plan = sinkhorn_plan(cost, epsilon=epsilon, num_iters=num_iters)
    return jnp.sum(cost * plan, axis=(-2, -1))
