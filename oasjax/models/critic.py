"""The critic D of the transport loss (OASNet, section 3.3 and Fig. 5b); used in training only."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import Conv, relu
from oasjax.ops.choices import check_choice

KINDS = ("convolution", "average_pool")


class Critic(nn.Module):
    """One layer that keeps the channels: (b, h, w, c) -> (b, h / stride, w / stride, c).

    The paper's is "only one convolution layer". By default without a bias, so that masked regions
    stay zero, and without an activation, so that costs span [0, 2]. Padding is explicit, on each side
    (kernel_size - stride + 1) // 2: 'SAME' would shift the grid of even inputs.

    Attributes:
        kind: 'convolution', or 'average_pool' of the same window, which has nothing to learn.
        groups: of the convolution; 0: one for each channel.
    """

    kind: str = "convolution"
    kernel_size: int = 3
    stride: int = 2
    groups: int = 1
    bias: bool = False
    relu: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x c"]:
        check_choice("kind", self.kind, KINDS)
        if not 1 <= self.stride <= self.kernel_size:
            raise ValueError(
                f"stride is {self.stride}; it must be from 1 to kernel_size ({self.kernel_size})"
            )
        channels, padding = x.shape[-1], (self.kernel_size - self.stride + 1) // 2
        if self.kind == "average_pool":
            window, strides = (self.kernel_size,) * 2, (self.stride,) * 2
            x = nn.avg_pool(x, window, strides, ((padding, padding),) * 2)
        else:
            x = Conv(
                channels,
                self.kernel_size,
                stride=self.stride,
                padding=padding,
                groups=self.groups or channels,
                use_bias=self.bias,
                dtype=self.dtype,
                name="conv",
            )(x)
        return relu(x) if self.relu else x
