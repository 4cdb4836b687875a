"""Run by test_multidevice.py: the transport loss of a batch split over eight devices.

Values and gradients are those of one device, and the compiled program communicates for the mean alone.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from oasjax.losses.mimic import mimic_loss
from oasjax.models.critic import Critic

BATCH, HEIGHT, WIDTH, CHANNELS = 16, 8, 6, 12


def loss(kernel, clean, occluded, mask, **options):
    critic = partial(Critic().apply, {"params": {"conv": {"kernel": kernel}}})
    return mimic_loss(clean, occluded, mask, kind="ot", critic=critic, **options)


def main() -> None:
    assert jax.device_count() == 8
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["data"], []))
    random = np.random.default_rng(0)
    kernel = jnp.asarray(random.normal(size=(3, 3, CHANNELS, CHANNELS)))
    clean, occluded = jnp.asarray(random.normal(size=(2, BATCH, HEIGHT, WIDTH, CHANNELS)))
    mask = jnp.ones((BATCH, HEIGHT, WIDTH, 1)).at[3].set(0.0)

    for options in ({}, {"domain": "plain"}, {"num_iters": 40}, {"debias": True}):
        gradient = jax.value_and_grad(partial(loss, **options), argnums=(0, 1, 2))
        one = jax.jit(gradient)(kernel, clean, occluded, mask)
        eight = jax.jit(gradient, in_shardings=(whole, split, split, split))(kernel, clean, occluded, mask)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)

    # Features alone, so that no gradient of shared weights has to be summed.
    by_features = jax.jit(
        jax.value_and_grad(partial(loss, kernel), argnums=(0, 1)),
        in_shardings=(split, split, split),
        out_shardings=(whole, (split, split)),
    )
    program = by_features.lower(clean, occluded, mask).compile().as_text()
    collectives = re.findall(
        r"= (.+) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)\(", program
    )
    assert collectives, "the mean over images needs one"
    for result, name in collectives:
        assert name == "all-reduce", (name, result)
        assert not re.search(r"\[\d", result), f"an array is communicated: {result}"
    print("eight devices equal one")


if __name__ == "__main__":
    main()
