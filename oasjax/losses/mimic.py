"""Mimicking losses: the occluded branch's features are drawn towards the clean branch's (OASNet, 3.3).

`mimic_loss` is the whole of it: mask (eq. 7), critic, one of KINDS, mean over images. Each kind takes the
features of both branches and returns one number an image.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oasjax.ops.choices import check_choice
from oasjax.ops.sinkhorn import live_rows, normalize_rows, sinkhorn_loss

REDUCTIONS = ("mean", "sum")
AXES = ("channel", "space")


def natural_mask(
    occlusion_map: Float[Array, "b h w 1"], threshold: float | None = None
) -> Float[Array, "b h w 1"]:
    """Mask of eq. 7, which leaves out natural occlusions: 1 - H_o of the *clean* image.

    Args:
        occlusion_map: H_o; clipped to [0, 1] first, since a predicted one is unbounded.
        threshold: None: soft. Otherwise 1 where H_o is less than this and 0 elsewhere.
    """
    if threshold is not None:
        return (occlusion_map < threshold).astype(occlusion_map.dtype)
    return 1.0 - jnp.clip(occlusion_map, 0.0, 1.0)


def mimic_loss(
    clean: Float[Array, "b h w c"],
    occluded: Float[Array, "b h w c"],
    mask: Float[Array, "b h w 1"],
    *,
    kind: str,
    detach: bool = False,
    critic: Callable[[Array], Array] | None = None,
    **options: Any,
) -> Float[Array, ""]:
    """L_mimic (eqs. 7 to 10), the mean over the images that the mask leaves anything of.

    Args:
        clean, occluded: F^R and F_o^R, the reconstructed features of both branches.
        mask: see `natural_mask`.
        kind: key of KINDS.
        detach: the clean branch teaches without being taught. A critic still learns from both.
        critic: D of Algorithm 1, for kind 'ot'; None: the features themselves.
        options: of that kind.

    Raises:
        ValueError: an unknown kind, or an option with an unknown value.
    """
    check_choice("kind", kind, KINDS)
    if detach:
        clean = jax.lax.stop_gradient(clean)
    # Losses are taken in float32 whatever the features' type (or wider, in gradient checks).
    dtype = jnp.promote_types(clean.dtype, jnp.float32)
    branches = [features * mask.astype(features.dtype) for features in (clean, occluded)]
    if critic is not None:
        branches = [critic(features) for features in branches]
    clean, occluded = (features.astype(dtype) for features in branches)
    return mean_over_images(KINDS[kind](clean, occluded, **options), jnp.any(mask > 0, axis=(1, 2, 3)))


def mean_over_images(per_image: Float[Array, "b"], weight: Array) -> Float[Array, ""]:
    """Weighted mean; 0 where no image has weight.

    A wholly masked image would cost a constant without gradient, and make the mean drift with its number.
    """
    weight = weight.astype(per_image.dtype)
    return jnp.sum(per_image * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def l2(
    clean: Float[Array, "b h w c"], occluded: Float[Array, "b h w c"], *, reduction: str = "mean"
) -> Float[Array, "b"]:
    """Squared distance (eq. 8): its sum over locations and channels, or the mean."""
    return _reduce(jnp.square(clean - occluded), reduction)


def cosine(
    clean: Float[Array, "b h w c"], occluded: Float[Array, "b h w c"], *, reduction: str = "mean"
) -> Float[Array, "b"]:
    """1 - cosine between the C-vectors of each location, in [0, 2]; 0 where one of them is dead."""
    similarity = jnp.sum(normalize_rows(clean) * normalize_rows(occluded), axis=-1)
    alive = live_rows(clean) & live_rows(occluded)
    return _reduce(jnp.where(alive, 1.0 - similarity, 0.0), reduction)


def kl(
    clean: Float[Array, "b h w c"],
    occluded: Float[Array, "b h w c"],
    *,
    axis: str = "channel",
    reduction: str = "mean",
) -> Float[Array, "b"]:
    """KL(clean || occluded) of the softmax of the features, in nats.

    Args:
        axis: 'channel': one distribution over the channels at each location; 'space': one over the
            locations for each channel.
        reduction: 'sum' of all terms, or their 'mean' over locations *and* channels (PyTorch's default for
            this loss, and what the published weight of 100 fits).
    """
    p, q = _log_softmax(clean, axis), _log_softmax(occluded, axis)
    return _reduce(jnp.exp(p) * (p - q), reduction)


def js(
    clean: Float[Array, "b h w c"],
    occluded: Float[Array, "b h w c"],
    *,
    axis: str = "channel",
    reduction: str = "mean",
) -> Float[Array, "b"]:
    """Jensen-Shannon divergence of the softmax of the features; options as for `kl`."""
    p, q = _log_softmax(clean, axis), _log_softmax(occluded, axis)
    middle = jnp.logaddexp(p, q) - jnp.log(2.0).astype(p.dtype)
    return _reduce((jnp.exp(p) * (p - middle) + jnp.exp(q) * (q - middle)) / 2, reduction)


def optimal_transport(
    clean: Float[Array, "b h w c"],
    occluded: Float[Array, "b h w c"],
    *,
    epsilon: float | Float[Array, ""] = 0.1,
    num_iters: int = 5,
    reduction: str = "mean",
    **options: Any,
) -> Float[Array, "b"]:
    """W_M between the channels of both branches (eq. 10, Algorithm 1).

    The transported points are the *channels*, each a vector of its h * w = k positions; images never mix.

    Args:
        clean, occluded: what the critic makes of the masked features.
        reduction: 'mean': weights of 1/C, as under eq. 9; 'sum': weights of 1, C times as much.
        epsilon, num_iters, options: of `oasjax.ops.sinkhorn.sinkhorn_loss`.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    x, y = (f.reshape(f.shape[0], -1, f.shape[-1]).swapaxes(1, 2) for f in (clean, occluded))
    loss = sinkhorn_loss(x, y, epsilon=epsilon, num_iters=num_iters, **options)
    return loss * x.shape[1] if reduction == "sum" else loss


KINDS: dict[str, Callable[..., Array]] = {
    "l2": l2,
    "cosine": cosine,
    "kl": kl,
    "js": js,
    "ot": optimal_transport,
}


def _reduce(terms: Float[Array, "b ..."], reduction: str) -> Float[Array, "b"]:
    check_choice("reduction", reduction, REDUCTIONS)
    axes = tuple(range(1, terms.ndim))
    return jnp.sum(terms, axes) if reduction == "sum" else jnp.mean(terms, axes)


def _log_softmax(features: Float[Array, "b h w c"], axis: str) -> Float[Array, "b h w c"]:
    check_choice("axis", axis, AXES)
    return jax.nn.log_softmax(features, axis=-1 if axis == "channel" else (1, 2))
