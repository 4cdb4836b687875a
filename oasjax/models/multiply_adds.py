"""Multiply-adds of convolutions and matrix products, counted on a function's jaxpr.

The function is traced on shapes: nothing is compiled, nothing runs, so that a network of full size takes no
longer than its tracing. One multiply-add is one multiplication and one addition; batch norm, activations,
pooling and everything else elementwise count nothing, as in the tables of papers.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

# Primitives that run their body exactly once. Any other that holds a body with products is refused: a guess
# (a `shard_map` body, say, has the shapes of one device) would give a wrong number without a word.
# JAX 0.12 calls closed_call eval_jaxpr.
RUN_ONCE = ("jit", "closed_call", "eval_jaxpr", "custom_jvp_call", "custom_vjp_call", "remat2")


def multiply_adds(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiply-adds of all convolutions and matrix products in one call `function(*arguments)`.

    A convolution counts its output elements times the taps of its kernel times the input channels of a
    group. Taps that fall into the padding count too, as in every published table. Taps that fall between
    the pixels of a dilated input do not (transposed convolutions, the gradient of strided ones): they belong
    to one way of writing the operation, not to the operation.

    A scan counts its body `length` times. Of the branches of a `cond` the largest counts, since shapes do not
    tell which one runs: exact where they do the same work in different ways (`platform_dependent`), an upper
    bound otherwise.

    Args:
        function: traceable by JAX.
        arguments: pytrees of arrays or of `jax.ShapeDtypeStruct`.

    Raises:
        ValueError: there are products inside of a `while` loop, or of another primitive that runs its body an
            unknown number of times.
    """
    return multiply_adds_of(jax.make_jaxpr(function)(*arguments))


def multiply_adds_of(jaxpr: ClosedJaxpr | Jaxpr) -> int:
    """As `multiply_adds`, of a function that is traced already."""
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: JaxprEqn) -> int:
    name = equation.primitive.name
    if name == "conv_general_dilated":
        return _of_convolution(equation)
    if name == "dot_general":
        return _of_product(equation)
    bodies = [multiply_adds_of(body) for body in _bodies(equation)]
    # Many primitives carry a small body, the addition of a scatter-add for one; most have no products in it.
    if not any(bodies):
        return 0
    if name == "cond":
        return max(bodies)
    if name == "scan":
        return equation.params["length"] * sum(bodies)
    if name in RUN_ONCE:
        return sum(bodies)
    if name == "while":
        raise ValueError(
            "the multiply-adds of a while loop cannot be counted: its number of rounds is known only when it"
            " runs; use jax.lax.scan, or fori_loop with constant bounds"
        )
    raise ValueError(
        f"the multiply-adds inside of '{name}' cannot be counted: it may run its body any number of times"
    )


def _bodies(equation: JaxprEqn) -> Iterator[ClosedJaxpr | Jaxpr]:
    """The jaxprs among the parameters of a primitive, also those in tuples, as `cond` keeps its branches."""
    for leaf in jax.tree.leaves(list(equation.params.values())):
        if isinstance(leaf, ClosedJaxpr | Jaxpr):
            yield leaf


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _of_product(equation: JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = _shape(equation.invars[0])
    return math.prod(_shape(equation.outvars[0])) * math.prod(left[axis] for axis in contracted)


def _of_convolution(equation: JaxprEqn) -> int:
    params = equation.params
    numbers = params["dimension_numbers"]
    kernel, output = _shape(equation.invars[1]), _shape(equation.outvars[0])
    count = output[numbers.out_spec[0]] * output[numbers.out_spec[1]] * kernel[numbers.rhs_spec[1]]
    for out_axis, kernel_axis, stride, (padding, _), input_dilation, kernel_dilation in zip(
        numbers.out_spec[2:],
        numbers.rhs_spec[2:],
        params["window_strides"],
        params["padding"],
        params["lhs_dilation"],
        params["rhs_dilation"],
        strict=True,
    ):
        count *= _taps_on_pixels(
            output[out_axis], kernel[kernel_axis], stride, padding, input_dilation, kernel_dilation
        )
    return count


def _taps_on_pixels(
    outputs: int, taps: int, stride: int, padding: int, input_dilation: int, kernel_dilation: int
) -> int:
    """Along one axis: pairs of an output and a tap that meet a pixel of the input or of the padding.

    Output o and tap k read position o * stride + k * kernel_dilation - padding of the dilated input, whose
    pixels are `input_dilation` apart.
    """
    if input_dilation == 1:
        return outputs * taps
    return sum(
        (output * stride + tap * kernel_dilation - padding) % input_dilation == 0
        for output in range(outputs)
        for tap in range(taps)
    )
