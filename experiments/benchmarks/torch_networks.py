"""HRNet and the stacked hourglass in PyTorch, with the names of the published state dicts.

Peers of `oasjax.models`: the same networks from the same weights. Images and maps are NCHW; `forward` returns
the heatmaps of each stack. Rectification is in place, as in the published networks.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import zip_longest
from operator import add

from torch import Tensor, nn, relu_
from torch.nn.functional import interpolate, max_pool2d

from oasjax.ops.choices import check_choice


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=bias)


class _Basic(nn.Module):
    """Two 3x3 convolutions beside an identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.bn1 = _convolution(channels, channels, 3), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = _convolution(channels, channels, 3), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = relu_(self.bn1(self.conv1(x)))
        return relu_(self.bn2(self.conv2(y)) + x)


class _Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside an identity, or beside a 1x1 convolution where the width changes."""

    def __init__(self, inputs: int, inner: int, outputs: int):
        super().__init__()
        self.conv1, self.bn1 = _convolution(inputs, inner, 1), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = _convolution(inner, inner, 3), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = _convolution(inner, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(_convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = relu_(self.bn1(self.conv1(x)))
        y = relu_(self.bn2(self.conv2(y)))
        return relu_(self.bn3(self.conv3(y)) + self.downsample(x))


def _unit(inputs: int, outputs: int, stride: int = 1, rectify: bool = True) -> nn.Sequential:
    """3x3 convolution, batch norm and, unless told otherwise, ReLU."""
    unit = nn.Sequential(_convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs))
    return unit.append(nn.ReLU(inplace=True)) if rectify else unit


def _path(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """From one resolution to another: 3x3 convolutions of stride 2 down, a 1x1 convolution and copies up."""
    inputs, outputs = channels[source], channels[target]
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            _convolution(inputs, outputs, 1),
            nn.BatchNorm2d(outputs),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    halvings = [_unit(inputs, inputs, stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, _unit(inputs, outputs, stride=2, rectify=False))


class _Exchange(nn.Module):
    """Blocks on every branch, then a sum over all branches for each of the first `outputs` resolutions."""

    def __init__(self, channels: Sequence[int], blocks: int, outputs: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_Basic(width) for _ in range(blocks))) for width in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        features = [branch(x) for branch, x in zip(self.branches, branches, strict=True)]
        return [
            relu_(reduce(add, (path(x) for path, x in zip(paths, features, strict=True))))
            for paths in self.fuse_layers
        ]


class _Transition(nn.ModuleList):
    """Between stages: branches of another width, and one more branch of half the resolution."""

    def __init__(self, before: Sequence[int], after: Sequence[int]):
        kept = [
            nn.Identity() if width == new else _unit(width, new)
            for width, new in zip(before, after[:-1], strict=True)
        ]
        super().__init__([*kept, nn.Sequential(_unit(before[-1], after[-1], stride=2))])

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        return [layer(x) for layer, x in zip(self, [*branches, branches[-1]], strict=True)]


class HRNet(nn.Module):
    """Names as in leoxiaobin/deep-high-resolution-net.pytorch.

    Args:
        channels: of the branches of each stage after the first; one branch more than in the stage before.
        modules: exchanges of each of these stages; the very last one has a single output, the top resolution.
        blocks: on a branch of an exchange, of each of these stages.
    """

    def __init__(
        self,
        channels: Sequence[Sequence[int]],
        modules: Sequence[int],
        blocks: Sequence[int],
        num_joints: int,
    ):
        super().__init__()
        self.conv1, self.bn1 = _convolution(3, 64, 3, stride=2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = _convolution(64, 64, 3, stride=2), nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(_Bottleneck(64, 64, 256), *(_Bottleneck(256, 64, 256) for _ in range(3)))
        before: Sequence[int] = (256,)
        stages = []
        for number, widths in enumerate(channels, start=1):
            outputs = [len(widths)] * modules[number - 1]
            if number == len(channels):
                outputs[-1] = 1
            transition = _Transition(before, widths)
            stage = nn.Sequential(*(_Exchange(widths, blocks[number - 1], count) for count in outputs))
            self.add_module(f"transition{number}", transition)
            self.add_module(f"stage{number + 1}", stage)
            stages += [transition, stage]
            before = widths
        self._stages = tuple(stages)
        self.final_layer = _convolution(before[0], num_joints, 1, bias=True)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = relu_(self.bn1(self.conv1(images)))
        x = relu_(self.bn2(self.conv2(x)))
        branches = [self.layer1(x)]
        for stage in self._stages:
            branches = stage(branches)
        return [self.final_layer(branches[0])]


def _biased(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    return _convolution(inputs, outputs, size, bias=True)


def _held(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """A convolution under a name of its own."""
    return _named(conv=_biased(inputs, outputs, size))


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


class _Residual(nn.Module):
    """Pre-activation 1x1, 3x3, 1x1 beside what `past` makes of the input."""

    def __init__(self, inputs: int, outputs: int, convolution: Callable[[int, int, int], nn.Module]):
        super().__init__()
        inner = outputs // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), convolution(inputs, inner, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(inner), convolution(inner, inner, 3)
        self.bn3, self.conv3 = nn.BatchNorm2d(inner), convolution(inner, outputs, 1)

    def past(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(relu_(self.bn1(x)))
        y = self.conv2(relu_(self.bn2(y)))
        y = self.conv3(relu_(self.bn3(y)))
        return y + self.past(x)


class _BearpawResidual(_Residual):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, _biased)
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(_biased(inputs, outputs, 1))

    def past(self, x: Tensor) -> Tensor:
        return self.downsample(x)


class _PrincetonResidual(_Residual):
    """Has a convolution past the block everywhere, and uses it where the width changes alone."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, _held)
        self.skip_layer = _held(inputs, outputs, 1)
        self._widens = inputs != outputs

    def past(self, x: Tensor) -> Tensor:
        return self.skip_layer(x) if self._widens else x


def _doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="nearest")


class _BearpawHourglass(nn.Module):
    """`hg` lists the levels, the poorest first: past it, down to it, up from it; in the first the bottom."""

    def __init__(self, depth: int, residual: Callable[[], nn.Module]):
        super().__init__()
        self.hg = nn.ModuleList(
            nn.ModuleList(residual() for _ in range(4 if level == 0 else 3)) for level in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self._from(len(self.hg) - 1, x)

    def _from(self, level: int, x: Tensor) -> Tensor:
        past, down, up, *bottom = self.hg[level]
        y = down(max_pool2d(x, 2))
        y = self._from(level - 1, y) if level else bottom[0](y)
        return past(x) + _doubled(up(y))


class _PrincetonHourglass(nn.Module):
    def __init__(self, depth: int, features: int):
        super().__init__()
        self.up1, self.low1, self.low3 = (_PrincetonResidual(features, features) for _ in range(3))
        self.low2: nn.Module = _PrincetonResidual(features, features)
        if depth > 1:
            self.low2 = _PrincetonHourglass(depth - 1, features)

    def forward(self, x: Tensor) -> Tensor:
        return self.up1(x) + _doubled(self.low3(self.low2(self.low1(max_pool2d(x, 2)))))


def _heatmaps(
    x: Tensor, stacks: Iterable[Sequence[nn.Module]], backs: Iterable[tuple[nn.Module, nn.Module]]
) -> list[Tensor]:
    """Of all stacks.

    Args:
        x: input of the first stack.
        stacks: the layers of each, the last of which makes heatmaps of the features before it.
        backs: what makes of a stack's features and of its heatmaps something to add to the next one's input.
    """
    heatmaps = []
    for (*layers, score), back in zip_longest(stacks, backs):
        features = reduce(lambda y, layer: layer(y), layers, x)
        heatmaps.append(score(features))
        if back is not None:
            x = x + back[0](features) + back[1](heatmaps[-1])
    return heatmaps


class _BearpawStacked(nn.Module):
    def __init__(
        self, num_joints: int, num_stacks: int, depth: int, features: int, stem_features: int, num_blocks: int
    ):
        super().__init__()
        stacks, between = range(num_stacks), range(num_stacks - 1)

        def residual() -> nn.Sequential:
            return nn.Sequential(*(_BearpawResidual(features, features) for _ in range(num_blocks)))

        self.conv1 = nn.Conv2d(3, stem_features, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(stem_features)
        self.layer1 = nn.Sequential(_BearpawResidual(stem_features, 2 * stem_features))
        self.layer2 = nn.Sequential(_BearpawResidual(2 * stem_features, 4 * stem_features))
        self.layer3 = nn.Sequential(_BearpawResidual(4 * stem_features, features))
        self.hg = nn.ModuleList(_BearpawHourglass(depth, residual) for _ in stacks)
        self.res = nn.ModuleList(residual() for _ in stacks)
        self.fc = nn.ModuleList(
            nn.Sequential(_biased(features, features, 1), nn.BatchNorm2d(features), nn.ReLU(inplace=True))
            for _ in stacks
        )
        self.score = nn.ModuleList(_biased(features, num_joints, 1) for _ in stacks)
        self.fc_ = nn.ModuleList(_biased(features, features, 1) for _ in between)
        self.score_ = nn.ModuleList(_biased(num_joints, features, 1) for _ in between)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.layer1(relu_(self.bn1(self.conv1(images))))
        x = self.layer3(self.layer2(max_pool2d(x, 2)))
        stacks = zip(self.hg, self.res, self.fc, self.score, strict=True)
        return _heatmaps(x, stacks, zip(self.fc_, self.score_, strict=True))


class _PrincetonStacked(nn.Module):
    def __init__(self, num_joints: int, num_stacks: int, depth: int, features: int, stem_features: int):
        super().__init__()
        stacks, between = range(num_stacks), range(num_stacks - 1)

        def block(convolution: nn.Conv2d) -> nn.Sequential:
            norm = nn.BatchNorm2d(convolution.out_channels)
            return _named(conv=convolution, bn=norm, relu=nn.ReLU(inplace=True))

        self.pre = nn.Sequential(
            block(nn.Conv2d(3, stem_features, 7, stride=2, padding=3)),
            _PrincetonResidual(stem_features, 2 * stem_features),
            nn.MaxPool2d(2),
            _PrincetonResidual(2 * stem_features, 2 * stem_features),
            _PrincetonResidual(2 * stem_features, features),
        )
        self.hgs = nn.ModuleList(nn.Sequential(_PrincetonHourglass(depth, features)) for _ in stacks)
        self.features = nn.ModuleList(
            nn.Sequential(_PrincetonResidual(features, features), block(_biased(features, features, 1)))
            for _ in stacks
        )
        self.outs = nn.ModuleList(_held(features, num_joints, 1) for _ in stacks)
        self.merge_features = nn.ModuleList(_named(conv=_held(features, features, 1)) for _ in between)
        self.merge_preds = nn.ModuleList(_named(conv=_held(num_joints, features, 1)) for _ in between)

    def forward(self, images: Tensor) -> list[Tensor]:
        stacks = zip(self.hgs, self.features, self.outs, strict=True)
        backs = zip(self.merge_features, self.merge_preds, strict=True)
        return _heatmaps(self.pre(images), stacks, backs)


def stacked_hourglass(
    layout: str,
    num_joints: int,
    num_stacks: int = 2,
    depth: int = 4,
    features: int = 256,
    stem_features: int = 64,
    num_blocks: int = 1,
) -> nn.Module:
    """Names as in bearpaw/pytorch-pose or as in princeton-vl/pytorch_stacked_hourglass.

    Args:
        layout: "bearpaw" or "princeton"; the stem of the latter is narrower.
        num_blocks: residual blocks in a place; princeton's layout has one.

    Raises:
        ValueError: no such layout, or more blocks than it has names for.
    """
    check_choice("layout", layout, ("bearpaw", "princeton"))
    if layout == "bearpaw":
        return _BearpawStacked(num_joints, num_stacks, depth, features, stem_features, num_blocks)
    if num_blocks != 1:
        raise ValueError(f"the princeton layout has one residual block in a place, not {num_blocks}")
    return _PrincetonStacked(num_joints, num_stacks, depth, features, stem_features)
