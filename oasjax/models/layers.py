"""Convolution and batch norm with the exact semantics of the published (PyTorch) networks, NHWC."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.ops.convolution import Geometry, convolution


class Conv(nn.Module):
    """2-D convolution with explicit symmetric padding, by default `dilation * (kernel_size - 1) / 2`.

    'SAME' pads even inputs of a strided convolution on one side only, unlike the published networks.
    Parameters: `kernel` (kernel_size, kernel_size, in / groups, out) and `bias` (out,).
    Raises ValueError where the groups do not divide the channels.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    groups: int = 1
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b y x o"]:
        size = self.kernel_size
        if x.shape[-1] % self.groups or self.features % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {x.shape[-1]} -> {self.features} channels")
        kernel = self.param(
            "kernel",
            nn.initializers.lecun_normal(),
            (size, size, x.shape[-1] // self.groups, self.features),
        )
        dtype = jnp.promote_types(self.dtype, x.dtype if x.dtype == jnp.float64 else self.dtype)
        padding = self.dilation * (size - 1) // 2 if self.padding is None else self.padding
        geometry = Geometry(self.stride, padding, self.dilation, self.groups)
        y = convolution(jnp.asarray(x, dtype), jnp.asarray(kernel, dtype), geometry)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(dtype)
        return y


class BatchNorm(nn.Module):
    """Batch norm that keeps torch's *unbiased* running variance; statistics are taken in float32 or better.

    Under `jit` with a sharded batch the statistics are those of the global batch.
    Parameters: `scale`, `bias`; collection `batch_stats`: `mean`, `var`.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        channels = x.shape[-1:]
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_var = self.variable("batch_stats", "var", jnp.ones, channels)
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        if train:
            mean = jnp.mean(wide, axis=(0, 1, 2))
            var = jnp.mean(jnp.square(wide - mean), axis=(0, 1, 2))
            if not self.is_initializing():
                count = x.shape[0] * x.shape[1] * x.shape[2]
                keep = self.momentum
                unbiased = var * (count / max(count - 1, 1))
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        inverse = jax.lax.rsqrt(var + self.epsilon) * scale
        return (wide * inverse + (bias - mean * inverse)).astype(x.dtype)


def relu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """Rectifier; NaN stays NaN, the gradient at 0 is 0.

    A select of two arrays and not `maximum(x, 0)`: XLA:CPU computes a function of one array anew in every
    place that uses it, with all that it is made from. Each gradient would start from the first residual sum.
    """
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


class ConvBlock(nn.Module):
    """Convolution, batch norm and, unless told otherwise, ReLU."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    use_bias: bool = False
    relu: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b y x o"]:
        x = Conv(
            self.features,
            self.kernel_size,
            stride=self.stride,
            dilation=self.dilation,
            use_bias=self.use_bias,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = BatchNorm(name="bn")(x, train)
        return relu(x) if self.relu else x


def repeated(block: type[nn.Module], remat: bool) -> Any:
    """A block class whose call `(x, train)` is traced once for all of its repetitions.

    A full-size network then takes half the time to trace. With `remat` the backward pass computes again what
    is inside of a block.
    """
    return (nn.remat if remat else nn.jit)(block, static_argnums=(2,))


def _larger(a: Array, b: Array) -> Array:
    """Elementwise maximum whose gradient goes to the first of two equals; NaN stays NaN."""
    return jnp.where((b > a) | jnp.isnan(b), b, a)


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b y x c"]:
    """2x2 max pooling with stride 2 of maps with even sides.

    Not `reduce_window`: its gradient, a select-and-scatter, takes XLA:CPU thirty times as long. As there,
    the gradient of a tie goes to the first cell in reading order.
    """
    top, bottom = x[:, 0::2], x[:, 1::2]
    return _larger(_larger(top[:, :, 0::2], top[:, :, 1::2]), _larger(bottom[:, :, 0::2], bottom[:, :, 1::2]))


def upsample(x: Float[Array, "b h w c"], factor: int = 2) -> Float[Array, "b y x c"]:
    """Nearest-neighbour upsampling."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)
