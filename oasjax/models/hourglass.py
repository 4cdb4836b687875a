"""Stacked hourglass (Newell et al. 2016) in the two layouts that are public for PyTorch: a backbone."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import BatchNorm, Conv, ConvBlock, max_pool, relu, repeated, upsample
from oasjax.ops.choices import check_choice

# Features after the first two residuals of the stem, in units of stem_features.
STEMS = {"bearpaw": (2, 4), "princeton": (2, 2)}


class Bottleneck(nn.Module):
    """Pre-activation residual block 1x1, 3x3, 1x1; the inner convolutions have half the features."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        inner = self.features // 2
        y = relu(BatchNorm(name="bn1")(x, train))
        y = Conv(inner, 1, dtype=self.dtype, name="conv1")(y)
        y = relu(BatchNorm(name="bn2")(y, train))
        y = Conv(inner, 3, dtype=self.dtype, name="conv2")(y)
        y = relu(BatchNorm(name="bn3")(y, train))
        y = Conv(self.features, 1, dtype=self.dtype, name="conv3")(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, dtype=self.dtype, name="downsample")(x)
        return x + y


class Residual(nn.Module):
    """`num_blocks` bottlenecks one after the other."""

    features: int
    num_blocks: int
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        block = repeated(Bottleneck, self.remat)
        for n in range(self.num_blocks):
            x = block(self.features, self.dtype, name=f"block{n}")(x, train)
        return x


class Hourglass(nn.Module):
    """`depth` poolings down, as many upsamplings back, a skip branch at each level (0 is the finest)."""

    depth: int
    features: int
    num_blocks: int
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        def residual(name: str, y: Array) -> Array:
            return Residual(self.features, self.num_blocks, self.remat, self.dtype, name=name)(y, train)

        skips = []
        for level in range(self.depth):
            skips.append(residual(f"skip{level}", x))
            x = residual(f"down{level}", max_pool(x))
        x = residual("bottom", x)
        for level in reversed(range(self.depth)):
            x = skips[level] + upsample(residual(f"up{level}", x))
        return x


class StackedHourglass(nn.Module):
    """`num_stacks` hourglasses with intermediate supervision.

    Attributes:
        layout: what the stem is like: 'bearpaw' (bearpaw/pytorch-pose) has 2 and 4 times `stem_features`
            after its first two residuals, 'princeton' (princeton-vl/pytorch_stacked_hourglass) 2 and 2
            times. All else is the same network in both.
        num_stacks, depth, features, num_blocks: 2, 4, 256, 1 in the paper's ablations.
        stem_features: channels of the first convolution.
        stem_pool: pool once in the stem (stride 4, published). Without it the stride is 2, for small crops.
        remat: compute the residual blocks again in the backward pass instead of keeping what is inside.
        dtype: compute type of the features; parameters stay float32.
    """

    layout: str = "bearpaw"
    num_stacks: int = 2
    depth: int = 4
    features: int = 256
    stem_features: int = 64
    num_blocks: int = 1
    stem_pool: bool = True
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @property
    def stride(self) -> int:
        return 4 if self.stem_pool else 2

    @nn.compact
    def __call__(
        self, images: Float[Array, "b y x 3"], train: bool, head: Callable[[int, Array], Any]
    ) -> list[Any]:
        """Returns `head(stack, features)` of every stack, the features (b, y / stride, x / stride, features).

        The heads' `heatmaps` (b, y / stride, x / stride, k) go into the next stack.

        Raises:
            ValueError: an unknown layout; sides that the poolings do not divide.
        """
        x = self._stem(images, train)
        outputs: list[Any] = []
        for stack in range(self.num_stacks):
            hourglass = Hourglass(
                self.depth, self.features, self.num_blocks, self.remat, self.dtype, name=f"hourglass{stack}"
            )
            y = hourglass(x, train)
            y = self._residual(f"res{stack}", self.features, self.num_blocks)(y, train)
            y = ConvBlock(self.features, 1, use_bias=True, dtype=self.dtype, name=f"fc{stack}")(y, train)
            outputs.append(head(stack, y))
            if stack < self.num_stacks - 1:
                heatmaps = outputs[-1].heatmaps
                x = x + Conv(self.features, 1, dtype=self.dtype, name=f"fc_back{stack}")(y)
                x = x + Conv(self.features, 1, dtype=self.dtype, name=f"score_back{stack}")(heatmaps)
        return outputs

    def _stem(self, images: Float[Array, "b y x 3"], train: bool) -> Float[Array, "b h w c"]:
        check_choice("layout", self.layout, STEMS)
        divisor = self.stride * 2**self.depth
        if images.shape[1] % divisor or images.shape[2] % divisor:
            raise ValueError(
                f"an hourglass of depth {self.depth} and stride {self.stride} needs crops whose sides are"
                f" multiples of {divisor}, got {images.shape[2]}x{images.shape[1]}"
            )
        first, second = (factor * self.stem_features for factor in STEMS[self.layout])
        stem = ConvBlock(self.stem_features, 7, stride=2, use_bias=True, dtype=self.dtype, name="stem")
        x = self._residual("layer1", first, 1)(stem(images, train), train)
        if self.stem_pool:
            x = max_pool(x)
        x = self._residual("layer2", second, 1)(x, train)
        return self._residual("layer3", self.features, 1)(x, train)

    def _residual(self, name: str, features: int, num_blocks: int) -> Residual:
        return Residual(features, num_blocks, self.remat, self.dtype, name=name)
