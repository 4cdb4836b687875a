"""Feature erasing and reconstruction (OASNet, section 3.1, eqs. 5 and 6, Fig. 4)."""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import BatchNorm, Conv


def erase(
    features: Float[Array, "b h w c"], occlusion_map: Float[Array, "b h w 1"]
) -> Float[Array, "b h w c"]:
    """F_c = F_J * H_A with the attention H_A = 1 - H_o (eqs. 5 and 6).

    H_o is regressed and may leave [0, 1]; like the paper, nothing is clipped here.
    """
    return features * (1.0 - occlusion_map)


class Reconstruction(nn.Module):
    """Two 3x3 convolutions of dilation 2 and 4 that refill what was erased from its surroundings (Fig. 4).

    The paper gives kernels and dilations only; batch norm and ReLU after each follow the backbones, and the
    width is that of the features.
    """

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        for dilation in (2, 4):
            convolution = Conv(
                x.shape[-1], 3, dilation=dilation, dtype=self.dtype, name=f"conv_dilation{dilation}"
            )
            x = nn.relu(BatchNorm(name=f"bn_dilation{dilation}")(convolution(x), train))
        return x
