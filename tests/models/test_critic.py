"""The critic's options: shapes, parameters, and the grid that it samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.models.critic import Critic


def applied(critic: Critic, x: jax.Array) -> tuple[jax.Array, dict]:
    out, variables = critic.init_with_output(jax.random.key(0), x)
    return out, variables.get("params", {})


def image(height: int = 8, width: int = 6, channels: int = 4) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, height, width, channels)), jnp.float32)


@pytest.mark.parametrize(
    ("fields", "shape", "parameters"),
    [
        ({}, (2, 4, 3, 4), 9 * 4 * 4),
        ({"kernel_size": 2}, (2, 4, 3, 4), 4 * 4 * 4),
        ({"kernel_size": 3, "stride": 1}, (2, 8, 6, 4), 9 * 4 * 4),
        ({"groups": 2}, (2, 4, 3, 4), 9 * 4 * 4 // 2),
        ({"groups": 0}, (2, 4, 3, 4), 9 * 4),
        ({"bias": True}, (2, 4, 3, 4), 9 * 4 * 4 + 4),
        ({"kind": "average_pool"}, (2, 4, 3, 4), 0),
        ({"kind": "average_pool", "kernel_size": 2}, (2, 4, 3, 4), 0),
    ],
)
def test_shapes_and_parameters(fields, shape, parameters):
    out, weights = applied(Critic(**fields), image())
    assert out.shape == shape
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == parameters


def test_eight_by_eight_windows_tile_the_map():
    out, _ = applied(Critic(kind="average_pool", kernel_size=8, stride=8), image(16, 8))
    np.testing.assert_allclose(out, image(16, 8).reshape(2, 2, 8, 1, 8, 4).mean((2, 4)), rtol=1e-5)


def test_the_default_window_is_centred_on_even_cells():
    """Padding (1, 1): output (0, 0) sees rows and columns -1 to 1. 'SAME' would see 0 to 2."""
    critic = Critic()
    x = image()
    variables = critic.init(jax.random.key(0), x)
    gradient = jax.grad(lambda x: critic.apply(variables, x)[:, 0, 0].sum())(x)
    seen = np.asarray(jnp.abs(gradient).sum((0, 3)) > 0)
    assert seen[:2, :2].all() and not seen[2:].any() and not seen[:, 2:].any()


def test_relu_and_bias_as_asked():
    assert (applied(Critic(relu=True), image())[0] >= 0).all()
    np.testing.assert_array_equal(applied(Critic(), jnp.zeros((1, 4, 4, 2)))[0], 0.0)


@pytest.mark.parametrize("fields", [{"kind": "attention"}, {"groups": 3}, {"stride": 4}])
def test_what_does_not_fit_is_named(fields):
    with pytest.raises(ValueError, match="kind is 'attention'|3 groups do not divide 4 -> 4|stride is 4"):
        applied(Critic(**fields), image())
