"""Stacked hourglass (Newell et al. 2016, in the layout of bearpaw/pytorch-pose): a backbone."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import BatchNorm, Conv, max_pool, upsample


class Bottleneck(nn.Module):
    """Pre-activation residual block 1x1, 3x3, 1x1; the inner convolutions have half the features."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        inner = self.features // 2
        y = nn.relu(BatchNorm(name="bn1")(x, train))
        y = Conv(inner, 1, dtype=self.dtype, name="conv1")(y)
        y = nn.relu(BatchNorm(name="bn2")(y, train))
        y = Conv(inner, 3, dtype=self.dtype, name="conv2")(y)
        y = nn.relu(BatchNorm(name="bn3")(y, train))
        y = Conv(self.features, 1, dtype=self.dtype, name="conv3")(y)
        if x.shape[-1] != self.features:
            x = Conv(self.features, 1, dtype=self.dtype, name="downsample")(x)
        return x + y


class Residual(nn.Module):
    """`num_blocks` bottlenecks one after the other."""

    features: int
    num_blocks: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        for block in range(self.num_blocks):
            x = Bottleneck(self.features, self.dtype, name=f"block{block}")(x, train)
        return x


class Hourglass(nn.Module):
    """One hourglass: `depth` poolings down, as many upsamplings back, a skip branch at each level."""

    depth: int
    features: int
    num_blocks: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        def residual(name: str) -> Residual:
            return Residual(self.features, self.num_blocks, self.dtype, name=name)

        skip = residual("skip")(x, train)
        y = residual("down")(max_pool(x), train)
        if self.depth > 1:
            y = Hourglass(self.depth - 1, self.features, self.num_blocks, self.dtype, name="inner")(y, train)
        else:
            y = residual("bottom")(y, train)
        y = residual("up")(y, train)
        return skip + upsample(y)


class StackedHourglass(nn.Module):
    """`num_stacks` hourglasses with intermediate supervision.

    The joint head of the last stack is not part of the backbone: erasing and reconstruction come first.

    Attributes:
        num_joints: joints predicted by the heads of the earlier stacks.
        num_stacks, depth, features, num_blocks: 2, 4, 256, 1 in the paper's ablations.
        stem_pool: pool once in the stem (stride 4, published). Without it the stride is 2, for small crops.
        dtype: compute type of the features; parameters stay float32.
    """

    num_joints: int
    num_stacks: int = 2
    depth: int = 4
    features: int = 256
    num_blocks: int = 1
    stem_pool: bool = True
    dtype: DTypeLike = jnp.float32

    @property
    def stride(self) -> int:
        return 4 if self.stem_pool else 2

    @nn.compact
    def __call__(
        self, images: Float[Array, "b y x 3"], train: bool
    ) -> tuple[Float[Array, "b h w c"], list[Float[Array, "b h w k"]]]:
        """Returns the last stack's features F_J and the heatmaps of the earlier stacks."""
        divisor = self.stride * 2**self.depth
        if images.shape[1] % divisor or images.shape[2] % divisor:
            raise ValueError(
                f"an hourglass of depth {self.depth} and stride {self.stride} needs crops whose sides are"
                f" multiples of {divisor}, got {images.shape[2]}x{images.shape[1]}"
            )
        x = Conv(self.features // 4, 7, stride=2, dtype=self.dtype, name="conv1")(images)
        x = nn.relu(BatchNorm(name="bn1")(x, train))
        x = Residual(self.features // 2, 1, self.dtype, name="layer1")(x, train)
        if self.stem_pool:
            x = max_pool(x)
        x = Residual(self.features, 1, self.dtype, name="layer2")(x, train)
        x = Residual(self.features, 1, self.dtype, name="layer3")(x, train)

        heatmaps: list[jax.Array] = []
        for stack in range(self.num_stacks):
            hourglass = Hourglass(
                self.depth, self.features, self.num_blocks, self.dtype, name=f"hourglass{stack}"
            )
            y = hourglass(x, train)
            y = Residual(self.features, self.num_blocks, self.dtype, name=f"res{stack}")(y, train)
            y = Conv(self.features, 1, dtype=self.dtype, name=f"fc{stack}")(y)
            y = nn.relu(BatchNorm(name=f"fc_bn{stack}")(y, train))
            if stack < self.num_stacks - 1:
                score = Conv(self.num_joints, 1, dtype=self.dtype, name=f"score{stack}")(y)
                heatmaps.append(score)
                back = Conv(self.features, 1, dtype=self.dtype, name=f"fc_back{stack}")(y)
                x = x + back
                x = x + Conv(self.features, 1, dtype=self.dtype, name=f"score_back{stack}")(score)
        return y, heatmaps
