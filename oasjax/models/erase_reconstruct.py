"""Feature erasing and reconstruction (OASNet, section 3.1, eqs. 5 and 6, Fig. 4)."""

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import ConvBlock, max_pool, upsample


@dataclass(frozen=True)
class EraseReconstruct:
    """How features are erased and rebuilt: `config.model.erase_reconstruct`.

    Attributes:
        erase: multiply by the attention H_A; off: "Recon." of the paper's Fig. 6a.
        reconstruct: rebuild with `Reconstruction`, whose fields the last four are.
        every_stack: after every stack of the backbone, not after the last alone.
        clip_attention: clip H_A to [0, 1].
    """

    erase: bool = True
    reconstruct: bool = True
    every_stack: bool = False
    clip_attention: bool = False
    width: int = 0
    stride: int = 1
    reduce_kernel: int = 0
    restore_kernel: int = 0


def erase(
    features: Float[Array, "b h w c"], occlusion_map: Float[Array, "b h w 1"], clip: bool = False
) -> Float[Array, "b h w c"]:
    """F_c = F_J * H_A with the attention H_A = 1 - H_o (eqs. 5 and 6).

    H_o is regressed and may leave [0, 1]: then features grow or change their sign. The paper lets them;
    `clip` does not.
    """
    attention = 1.0 - occlusion_map
    return features * (jnp.clip(attention, 0.0, 1.0) if clip else attention)


class Reconstruction(nn.Module):
    """Two 3x3 convolutions of dilation 2 and 4 that refill what was erased from its surroundings (Fig. 4).

    The paper gives kernels and dilations only. Batch norm and ReLU follow each convolution (none has a bias),
    as in the backbones. The result F^R has the channels of the features.

    Attributes:
        width: channels of the dilated pair; 0: those of the features.
        stride: 2 runs the dilated pair at half resolution: 2x2 max pooling before it, nearest-neighbour
            upsampling after it.
        reduce_kernel, restore_kernel: size of the convolution to `width` before, and back after; 0: none,
            which takes a width equal to the channels.
    """

    width: int = 0
    stride: int = 1
    reduce_kernel: int = 0
    restore_kernel: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        width = self.width or channels
        self._check(x.shape[1:3], channels, width)
        if self.reduce_kernel:
            x = ConvBlock(width, self.reduce_kernel, dtype=self.dtype, name="reduce")(x, train)
        if self.stride == 2:
            x = max_pool(x)
        for dilation in (2, 4):
            block = ConvBlock(width, dilation=dilation, dtype=self.dtype, name=f"dilation{dilation}")
            x = block(x, train)
        if self.stride == 2:
            x = upsample(x)
        if self.restore_kernel:
            x = ConvBlock(channels, self.restore_kernel, dtype=self.dtype, name="restore")(x, train)
        return x

    def _check(self, cells: tuple[int, ...], channels: int, width: int) -> None:
        """Raise ValueError for fields that do not fit together or the features."""
        kernels = {"reduce_kernel": self.reduce_kernel, "restore_kernel": self.restore_kernel}
        if width < 1:
            raise ValueError(f"width is {width}; it must be positive, or 0 for that of the features")
        if self.stride not in (1, 2):
            raise ValueError(f"stride of the reconstruction is {self.stride}; it must be 1 or 2")
        if self.stride == 2 and (cells[0] % 2 or cells[1] % 2):
            raise ValueError(
                f"a reconstruction of stride 2 needs maps with even sides, got {cells[1]}x{cells[0]}"
            )
        for name, size in kernels.items():
            if size < 0 or (size and size % 2 == 0):
                raise ValueError(f"{name} is {size}; it must be odd, or 0 for no such convolution")
            if width != channels and not size:
                raise ValueError(
                    f"{name} is 0, but the features have {channels} channels and the reconstruction"
                    f" {width}; a convolution between them is needed"
                )
