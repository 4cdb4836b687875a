"""The stacked hourglass."""

import math

import jax
import jax.numpy as jnp
import pytest

from oasjax.models import build_oasnet
from oasjax.models.hourglass import StackedHourglass


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "num_stacks, published", [(1, 3_586_960), (2, 6_730_912), (4, 13_018_816), (8, 25_594_624)]
)
def test_parameter_counts_are_the_published_ones(num_stacks, published):
    """Counts of bearpaw/pytorch-pose with 16 joints; our last joint head belongs to OASNet."""
    net = build_oasnet({"name": "hourglass", "dtype": "float32", "hourglass": {"num_stacks": num_stacks}}, 16)
    images = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    params = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), images)["params"]
    assert count(params["backbone"]) + count(params["joint_head"]) == published
    # Erasing and reconstruction: one 1x1 head and two 3x3 convolutions with their batch norms.
    assert count(params["occlusion_head"]) == 256 + 1
    assert count(params["reconstruction"]) == 2 * (9 * 256 * 256 + 256 + 2 * 256)


def test_maps_have_the_stride_and_every_earlier_stack_gives_one():
    backbone = StackedHourglass(num_joints=5, num_stacks=3, depth=2, features=8)
    images = jax.ShapeDtypeStruct((2, 48, 32, 3), jnp.float32)
    (features, heatmaps), _ = jax.eval_shape(
        lambda x: backbone.init_with_output(jax.random.key(0), x, False), images
    )
    assert features.shape == (2, 12, 8, 8)
    assert [m.shape for m in heatmaps] == [(2, 12, 8, 5)] * 2


def test_crops_that_the_poolings_do_not_divide_are_refused():
    backbone = StackedHourglass(num_joints=5, num_stacks=1, depth=3, features=8)
    with pytest.raises(ValueError, match="multiples of 32, got 40x64"):
        jax.eval_shape(lambda x: backbone.init(jax.random.key(0), x, False), jnp.zeros((1, 64, 40, 3)))
