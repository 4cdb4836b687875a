"""The two branches of a siamese step: how they pass through the network, and how they are told apart.

The pair of an example stays side by side, (b, ...), (b, ...) -> (2b, ...), not one branch after the other: a
batch split over devices would have to travel.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from oasjax.augmentation.siamese import SiamesePair
from oasjax.models.oasnet import OASNetOutput

# (batch statistics, images) -> (output, new statistics), in training.
Apply = Callable[[Any, Array], tuple[OASNetOutput, Any]]
# Parts of the output whose first axis is that of the stacks.
STACKED = ("heatmaps", "occlusion_maps", "occlusion_logits")


def interleave(first: Float[Array, "b ..."], second: Float[Array, "b ..."]) -> Float[Array, "n ..."]:
    """(b, ...), (b, ...) -> (2b, ...) with the pair of an example side by side."""
    return jnp.stack([first, second], axis=1).reshape(-1, *first.shape[1:])


def branch(pairs: Float[Array, "n ..."], number: int) -> Float[Array, "b ..."]:
    """The first (0) or second (1) of what `interleave` put together."""
    return pairs.reshape(-1, 2, *pairs.shape[1:])[:, number]


def interleave_outputs(first: OASNetOutput, second: OASNetOutput) -> OASNetOutput:
    """Outputs of two passes as those of one."""

    def both(name: str) -> Any:
        a, b = getattr(first, name), getattr(second, name)
        return a if a is None else (jax.vmap(interleave) if name in STACKED else interleave)(a, b)

    return OASNetOutput(*map(both, OASNetOutput._fields))


def branch_output(output: OASNetOutput, number: int) -> OASNetOutput:
    """The output of one branch, of interleaved ones."""

    def one(name: str) -> Any:
        part = getattr(output, name)
        if part is None:
            return None
        return jax.vmap(branch, (0, None))(part, number) if name in STACKED else branch(part, number)

    return OASNetOutput(*map(one, OASNetOutput._fields))


def joint_pass(apply: Apply, statistics: Any, pair: SiamesePair) -> tuple[OASNetOutput, Any]:
    """Both branches in one pass of 2b: batch norm sees them as one batch."""
    return apply(statistics, interleave(pair.occluded.images, pair.clean.images))


def separate_passes(apply: Apply, statistics: Any, pair: SiamesePair) -> tuple[OASNetOutput, Any]:
    """First the occluded branch, then the clean one, each normalised by statistics of its own.

    The running statistics take in the one, then the other.
    """
    occluded, statistics = apply(statistics, pair.occluded.images)
    clean, statistics = apply(statistics, pair.clean.images)
    return interleave_outputs(occluded, clean), statistics


# `config.train.batch_norm`
PASSES = {"joint": joint_pass, "separate": separate_passes}
