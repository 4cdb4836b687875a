"""HRNet (Sun et al. 2019, in the layout of leoxiaobin/deep-high-resolution-net.pytorch): a backbone."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from oasjax.models.layers import ConvBlock, relu, repeated, upsample

STEM_FEATURES = 64
LAYER1_BLOCKS = 4


class Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1 of ResNet; the inner convolutions have a quarter of the features."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        inner = self.features // 4
        y = ConvBlock(inner, 1, dtype=self.dtype, name="conv1")(x, train)
        y = ConvBlock(inner, 3, dtype=self.dtype, name="conv2")(y, train)
        y = ConvBlock(self.features, 1, relu=False, dtype=self.dtype, name="conv3")(y, train)
        if x.shape[-1] != self.features:
            x = ConvBlock(self.features, 1, relu=False, dtype=self.dtype, name="downsample")(x, train)
        return relu(x + y)


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions; keeps the channels."""

    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        features = x.shape[-1]
        y = ConvBlock(features, 3, dtype=self.dtype, name="conv1")(x, train)
        y = ConvBlock(features, 3, relu=False, dtype=self.dtype, name="conv2")(y, train)
        return relu(x + y)


class Layer1(nn.Module):
    """Four bottlenecks at stride 4: (b, h, w, 64) -> (b, h, w, 256)."""

    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b h w o"]:
        block = repeated(Bottleneck, self.remat)
        for n in range(LAYER1_BLOCKS):
            x = block(4 * STEM_FEATURES, self.dtype, name=f"block{n}")(x, train)
        return x


class Downsampling(nn.Module):
    """3x3 convolutions of stride 2; only the last one changes the channels.

    Attributes:
        features: channels of the result.
        steps: number of convolutions.
        relu: whether the last one, too, ends in a ReLU.
    """

    features: int
    steps: int
    relu: bool
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w i"], train: bool) -> Float[Array, "b y x o"]:
        for step in range(self.steps):
            last = step == self.steps - 1
            x = ConvBlock(
                self.features if last else x.shape[-1],
                stride=2,
                relu=self.relu or not last,
                dtype=self.dtype,
                name=f"step{step}",
            )(x, train)
        return x


class Transition(nn.Module):
    """From the branches of one stage to those of the next, which has `len(channels)` of them.

    A branch goes on as it is where its channels stay, through a 3x3 convolution where they change. New
    branches come from the lowest of the old ones.
    """

    channels: Sequence[int]
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, branches: list[Array], train: bool) -> list[Array]:
        old = len(branches)
        out = []
        for i, features in enumerate(self.channels):
            if i >= old:
                x = branches[-1]
                layer = Downsampling(features, i - old + 1, relu=True, dtype=self.dtype, name=f"branch{i}")
                out.append(layer(x, train))
            elif branches[i].shape[-1] != features:
                layer = ConvBlock(features, 3, dtype=self.dtype, name=f"branch{i}")
                out.append(layer(branches[i], train))
            else:
                out.append(branches[i])
        return out


class Branch(nn.Module):
    """`num_blocks` basic blocks one after the other."""

    num_blocks: int
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
        block = repeated(BasicBlock, self.remat)
        for n in range(self.num_blocks):
            x = block(self.dtype, name=f"block{n}")(x, train)
        return x


class MultiResolutionModule(nn.Module):
    """Parallel branches, then each output is the sum of all branches brought to its resolution.

    Attributes:
        num_blocks: basic blocks of each branch.
        num_outputs: resolutions that are wanted, from the highest.
    """

    num_blocks: int
    num_outputs: int
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, branches: list[Array], train: bool) -> list[Array]:
        branches = [
            Branch(self.num_blocks, self.remat, self.dtype, name=f"branch{i}")(x, train)
            for i, x in enumerate(branches)
        ]

        def brought_to(i: int, j: int) -> Array:
            """Branch j at the resolution and with the channels of branch i."""
            x, features, name = branches[j], branches[i].shape[-1], f"fuse{i}_{j}"
            if j > i:
                x = ConvBlock(features, 1, relu=False, dtype=self.dtype, name=name)(x, train)
                return upsample(x, 2 ** (j - i))
            if j < i:
                return Downsampling(features, i - j, relu=False, dtype=self.dtype, name=name)(x, train)
            return x

        out = []
        for i in range(self.num_outputs):
            y = brought_to(i, 0)
            for j in range(1, len(branches)):
                y = y + brought_to(i, j)
            out.append(relu(y))
        return out


class Stage(nn.Module):
    """`num_modules` multi-resolution modules; with `top_only` the last one gives the top branch alone."""

    num_modules: int
    num_blocks: int
    top_only: bool = False
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, branches: list[Array], train: bool) -> list[Array]:
        for n in range(self.num_modules):
            num_outputs = 1 if self.top_only and n == self.num_modules - 1 else len(branches)
            module = MultiResolutionModule(
                self.num_blocks, num_outputs, self.remat, self.dtype, name=f"module{n}"
            )
            branches = module(branches, train)
        return branches


class HRNet(nn.Module):
    """High-resolution network; its features are the branch of stride 4. One stack.

    The defaults are HRNet-W32; W48 has channels ((48, 96), (48, 96, 192), (48, 96, 192, 384)).

    Attributes:
        channels: for each stage (the published ones are called 2, 3 and 4) those of its branches, from the
            highest resolution; each branch has half the resolution of the one before.
        modules: multi-resolution modules of each stage.
        blocks: basic blocks of each branch, by stage.
        remat: compute the residual blocks again in the backward pass instead of keeping what is inside.
        dtype: compute type of the features; parameters stay float32.
    """

    channels: Sequence[Sequence[int]] = ((32, 64), (32, 64, 128), (32, 64, 128, 256))
    modules: Sequence[int] = (1, 4, 3)
    blocks: Sequence[int] = (4, 4, 4)
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @property
    def stride(self) -> int:
        return 4

    @property
    def num_stacks(self) -> int:
        return 1

    @nn.compact
    def __call__(
        self, images: Float[Array, "b y x 3"], train: bool, head: Callable[[int, Array], Any]
    ) -> list[Any]:
        """Returns `[head(0, features)]` with the features (b, y / 4, x / 4, channels[-1][0]).

        Raises:
            ValueError: sides that the lowest branch does not divide; stages of different number.
        """
        self._check(images.shape[1], images.shape[2])
        x = ConvBlock(STEM_FEATURES, 3, stride=2, dtype=self.dtype, name="stem1")(images, train)
        x = ConvBlock(STEM_FEATURES, 3, stride=2, dtype=self.dtype, name="stem2")(x, train)
        branches = [Layer1(self.remat, self.dtype, name="layer1")(x, train)]
        for n, channels in enumerate(self.channels):
            # The published stage 1 is layer1.
            branches = Transition(channels, self.dtype, name=f"transition{n + 1}")(branches, train)
            stage = Stage(
                self.modules[n],
                self.blocks[n],
                n == len(self.channels) - 1,
                self.remat,
                self.dtype,
                name=f"stage{n + 2}",
            )
            branches = stage(branches, train)
        return [head(0, branches[0])]

    def _check(self, height: int, width: int) -> None:
        if not len(self.channels) == len(self.modules) == len(self.blocks) > 0:
            raise ValueError(
                f"channels, modules and blocks are given for {len(self.channels)}, {len(self.modules)} and"
                f" {len(self.blocks)} stages; all three need one entry for each stage"
            )
        num_branches = max(map(len, self.channels))
        divisor = self.stride * 2 ** (num_branches - 1)
        if height % divisor or width % divisor:
            raise ValueError(
                f"an HRNet of {num_branches} branches needs crops whose sides are multiples of {divisor},"
                f" got {width}x{height}"
            )
