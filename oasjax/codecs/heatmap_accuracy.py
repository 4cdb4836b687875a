"""How many joints a network finds in training, judged on heatmaps alone, as the published code logs it.

A joint is found where the highest cell of its map lies within half of a tenth of the map from that of its
target. This is no score of a network: it knows neither people's sizes nor positions within a cell.
"""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

from oasjax.codecs import hrnet


class HeatmapAccuracy(NamedTuple):
    """Part of the people for whom each joint is found.

    Attributes:
        mean: over the joints that have a target anywhere in the batch; 0 without any.
        joints: 0 for a joint without targets.
        has_targets: False for such a joint.
    """

    mean: Float[Array, ""]
    joints: Float[Array, "k"]
    has_targets: Bool[Array, "k"]


def hrnet_accuracy(predicted: Float[Array, "b h w k"], target: Float[Array, "b h w k"]) -> HeatmapAccuracy:
    """By leoxiaobin/deep-high-resolution-net.pytorch, lib/core/evaluate.py.

    Joints whose target peaks in one of the two first rows or columns do not count. The distance in x is taken
    in tenths of the map's height and that in y in tenths of its width: a slip of the published code, which
    shows in maps that are not square.
    """
    height, width = target.shape[1:3]
    cells, _ = hrnet.positive_peaks(predicted, absent=0)
    target_cells, _ = hrnet.positive_peaks(target, absent=0)
    return _accuracy(cells, target_cells, (target_cells > 1).all(-1), (height / 10, width / 10))


def hourglass_accuracy(
    predicted: Float[Array, "b h w k"], target: Float[Array, "b h w k"]
) -> HeatmapAccuracy:
    """By bearpaw/pytorch-pose, pose/utils/evaluation.py, whose list of joints is the caller's choice of maps.

    Joints whose target peaks in the first row or column do not count.
    """
    width = target.shape[2]
    cells, _ = hrnet.positive_peaks(predicted, absent=-1)
    target_cells, _ = hrnet.positive_peaks(target, absent=-1)
    return _accuracy(cells, target_cells, (target_cells > 0).all(-1), (width / 10, width / 10))


def _accuracy(
    cells: Int[Array, "b k 2"],
    target_cells: Int[Array, "b k 2"],
    counts: Bool[Array, "b k"],
    unit_cells: tuple[float, float],
) -> HeatmapAccuracy:
    """Joints within half a unit of their targets; the unit may differ between x and y."""
    x, y = ((cells - target_cells)[..., axis] / unit_cells[axis] for axis in (0, 1))
    found = counts & (x**2 + y**2 < 0.25)
    number = counts.sum(0)
    joints = found.sum(0) / number.clip(1)
    has_targets = number > 0
    return HeatmapAccuracy(joints.sum() / has_targets.sum().clip(1), joints, has_targets)
