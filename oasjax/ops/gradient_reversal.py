"""The identity whose gradient points the other way: what follows is maximised by what came before."""

from typing import Any

import jax
import jax.numpy as jnp


@jax.custom_vjp
def reverse_gradient(tree: Any) -> Any:
    """The arrays of `tree` as they are; their gradients are multiplied by -1 (Ganin & Lempitsky, 2015)."""
    return tree


def _forward(tree: Any) -> tuple[Any, None]:
    return tree, None


def _backward(_: None, gradients: Any) -> tuple[Any]:
    return (jax.tree.map(jnp.negative, gradients),)


reverse_gradient.defvjp(_forward, _backward)
