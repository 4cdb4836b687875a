"""The critic D of the transport loss (OASNet, section 3.3 and Fig. 5b); used in training only."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import Conv


class Critic(nn.Module):
    """One 3x3 convolution of stride 2 that keeps the channels: (b, h, w, c) -> (b, h/2, w/2, c).

    Without a bias, so that masked regions stay zero, and without an activation, so that costs span [0, 2].
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b y x c"]:
        return Conv(x.shape[-1], 3, stride=2, use_bias=False, dtype=self.dtype, name="conv")(x)
