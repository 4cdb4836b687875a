"""The gradient reversal layer."""

import jax
import jax.numpy as jnp
import numpy as np

from oasjax.ops.gradient_reversal import reverse_gradient


def test_values_pass_and_gradients_turn_around():
    tree = {"w": jnp.asarray([1.0, 2.0]), "b": jnp.asarray(3.0)}

    def loss(tree):
        return jnp.sum(jnp.square(tree["w"])) * tree["b"]

    value, gradient = jax.value_and_grad(lambda t: loss(reverse_gradient(t)))(tree)
    straight_value, straight = jax.value_and_grad(loss)(tree)
    assert value == straight_value
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, -b), gradient, straight)
