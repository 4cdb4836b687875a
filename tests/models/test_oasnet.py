"""Erasing, reconstruction, heads."""

import jax
import jax.numpy as jnp
import numpy as np

from oasjax.models import build_oasnet
from oasjax.models.critic import Critic
from oasjax.models.erase_reconstruct import Reconstruction, erase

TINY_MODEL = {
    "name": "hourglass",
    "dtype": "float32",
    "hourglass": {"num_stacks": 2, "depth": 1, "features": 8, "num_blocks": 1, "stem_pool": True},
}


def test_erasing_weighs_by_one_minus_the_map_without_clipping():
    features = jnp.ones((1, 1, 3, 2))
    occlusion = jnp.asarray([0.0, 1.0, 1.5]).reshape(1, 1, 3, 1)
    np.testing.assert_allclose(erase(features, occlusion)[0, 0, :, 0], [1.0, 0.0, -0.5])


def test_the_reconstruction_sees_six_cells_in_each_direction():
    module = Reconstruction()
    x = jnp.zeros((1, 21, 21, 3))
    # Positive weights keep every ReLU open.
    variables = jax.tree.map(jnp.abs, module.init(jax.random.key(0), x, False))
    gradient = jax.grad(lambda x: module.apply(variables, x + 1.0, False)[0, 10, 10].sum())(x)
    rows = np.flatnonzero(np.abs(gradient).sum((0, 2, 3)))
    assert (rows.min(), rows.max()) == (10 - 6, 10 + 6)


def test_the_output_holds_every_stage_and_the_heads_are_float32():
    net = build_oasnet(TINY_MODEL | {"dtype": "bfloat16"}, 16)
    output, _ = jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x, False), jnp.zeros((2, 32, 32, 3))
    )
    assert output.heatmaps.shape == (2, 2, 8, 8, 16) and output.heatmaps.dtype == jnp.float32
    assert output.occlusion_map.shape == (2, 8, 8, 1)
    assert output.features.dtype == jnp.bfloat16
    assert output.cleaned.shape == output.reconstructed.shape == (2, 8, 8, 8)


def test_the_critic_halves_the_map_keeps_the_channels_and_has_no_bias():
    variables = Critic().init(jax.random.key(0), jnp.zeros((1, 8, 6, 5)))
    assert jax.tree.map(jnp.shape, variables["params"]) == {"conv": {"kernel": (3, 3, 5, 5)}}
    assert Critic().apply(variables, jnp.ones((2, 8, 6, 5))).shape == (2, 4, 3, 5)
    assert not Critic().apply(variables, jnp.zeros((2, 8, 6, 5))).any()
