"""2-D convolution, NHWC, whose weight gradient is fast on a CPU as well.

XLA:CPU is slow at two weight gradients: that of a 1x1 convolution takes three times as long as the same
matrix product, and that of a grouped one a hundred times as long as the convolution itself.
docs/benchmarks.md has the forms that were tried, and their times.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


class Geometry(NamedTuple):
    """Stride, zero padding on every side, dilation and groups of a convolution with a square kernel."""

    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    def is_product(self, size: int) -> bool:
        """Whether a kernel of this size multiplies the channels of each cell and does nothing else."""
        return size == 1 and self == Geometry(dilation=self.dilation)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolution(
    x: Float[Array, "b h w i"], kernel: Float[Array, "s s j o"], geometry: Geometry
) -> Float[Array, "b y x o"]:
    """Cross-correlation, as in every network; j = i / groups. Reverse-mode differentiation only."""
    return _forward(x, kernel, geometry)


def _forward(x: Array, kernel: Array, geometry: Geometry) -> Array:
    if geometry.is_product(kernel.shape[0]):
        return jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
    stride, padding, dilation, groups = geometry
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding),) * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def _forward_kept(x: Array, kernel: Array, geometry: Geometry) -> tuple[Array, tuple[Array, Array]]:
    return _forward(x, kernel, geometry), (x, kernel)


def _backward(geometry: Geometry, kept: tuple[Array, Array], y_bar: Array) -> tuple[Array, Array]:
    x, kernel = kept
    (x_bar,) = jax.linear_transpose(lambda x: _forward(x, kernel, geometry), x)(y_bar)
    return x_bar, _kernel_gradient(x, kernel, y_bar, geometry)


convolution.defvjp(_forward_kept, _backward)


def _kernel_gradient(x: Array, kernel: Array, y_bar: Array, geometry: Geometry) -> Array:
    def default(x: Array, y_bar: Array) -> Array:
        return jax.linear_transpose(lambda kernel: _forward(x, kernel, geometry), kernel)(y_bar)[0]

    if geometry.is_product(kernel.shape[0]):
        return kernel_gradient_by_product(x, y_bar)
    if geometry.groups == 1:
        return default(x, y_bar)
    by_group = partial(kernel_gradient_by_group, size=kernel.shape[0], geometry=geometry)
    return lax.platform_dependent(x, y_bar, cpu=by_group, default=default)


def kernel_gradient_by_product(
    x: Float[Array, "b h w i"], y_bar: Float[Array, "b h w o"]
) -> Float[Array, "1 1 i o"]:
    """Gradient of a 1x1 kernel: x^T y_bar.

    Not (y_bar^T x)^T, which is what JAX derives: there XLA:CPU writes y_bar transposed, and computes all that
    y_bar is made from in that order.
    """
    rows, columns = x.reshape(-1, x.shape[-1]), y_bar.reshape(-1, y_bar.shape[-1])
    return lax.dot_general(rows, columns, (((0,), (0,)), ((), ())))[None, None]


def kernel_gradient_by_group(
    x: Float[Array, "b h w i"], y_bar: Float[Array, "b y x o"], *, size: int, geometry: Geometry
) -> Float[Array, "{size} {size} j o"]:
    """Gradient of a grouped kernel: for one group after the other, one product of patches and y_bar."""
    stride, padding, dilation, groups = geometry
    height, width, outputs = y_bar.shape[1:]
    inner, outer = x.shape[-1] // groups, outputs // groups
    padded = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))

    def tap(group: Array, row: int, column: int) -> Array:
        top, left = row * dilation, column * dilation
        below, right = top + stride * (height - 1) + 1, left + stride * (width - 1) + 1
        return group[:, top:below:stride, left:right:stride]

    def gradient(pair: tuple[Array, Array]) -> Array:
        group, bar = pair
        taps = [tap(group, row, column) for row in range(size) for column in range(size)]
        patches = jnp.concatenate(taps, axis=-1).reshape(-1, size * size * inner)
        return lax.dot_general(patches, bar.reshape(-1, outer), (((0,), (0,)), ((), ())))

    groups_of_x = jnp.moveaxis(padded.reshape(*padded.shape[:3], groups, inner), 3, 0)
    groups_of_bar = jnp.moveaxis(y_bar.reshape(*y_bar.shape[:3], groups, outer), 3, 0)
    gradients = lax.map(gradient, (groups_of_x, groups_of_bar))
    return jnp.moveaxis(gradients.reshape(groups, size, size, inner, outer), 0, 3).reshape(
        size, size, inner, outputs
    )
