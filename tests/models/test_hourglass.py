"""The stacked hourglass: its layers are those of the two published networks, at every size."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from flax.traverse_util import flatten_dict

from oasjax import config_sections
from oasjax.models import build_oasnet
from oasjax.models.hourglass import StackedHourglass


class Output(NamedTuple):
    heatmaps: jax.Array


def shapes_of(backbone, height=64, width=64, num_joints=5):
    """(features of each stack, {path: shape} of the parameters), traced."""
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    features = []

    def head(stack, x):
        features.append(x.shape)
        return Output(jnp.zeros((*x.shape[:3], num_joints)))

    variables = jax.eval_shape(lambda x: backbone.init(jax.random.key(0), x, False, head), images)
    return features, {path: x.shape for path, x in flatten_dict(variables["params"], sep="/").items()}


# Totals of bearpaw/pytorch-pose; of princeton-vl/pytorch_stacked_hourglass without what it never uses.
@pytest.mark.parametrize(
    "layout, num_stacks, total",
    [
        ("bearpaw", 1, 3_586_960),
        ("bearpaw", 2, 6_730_912),
        ("bearpaw", 4, 13_018_816),
        ("bearpaw", 8, 25_594_624),
        ("princeton", 1, 4_364_048 - 937_600),
        ("princeton", 2, 8_429_088 - 1_858_688),
        ("princeton", 8, 32_819_328 - 7_385_216),
    ],
)
def test_parameter_counts_are_the_published_ones(layout, num_stacks, total):
    model = config_sections.model("hourglass")
    model.hourglass.update(layout=layout, num_stacks=num_stacks)
    model.occlusion_head = "none"
    model.erase_reconstruct.update(erase=False, reconstruct=False)
    net = build_oasnet(model, 16)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    params = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), images)["params"]
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == total


def test_the_bearpaw_counts_hold_for_weights_biases_and_batch_norms_apart():
    _, shapes = shapes_of(StackedHourglass(), num_joints=16)
    counts = {"kernel": 0, "bias": 0, "affine": 0}
    for path, shape in shapes.items():
        *_, layer, leaf = path.split("/")
        counts["affine" if layer.startswith("bn") else leaf] += math.prod(shape)
    # Without the two joint heads of 256 x 16 weights and 16 biases.
    assert counts == {"kernel": 6_681_792 - 2 * 256 * 16, "bias": 17_120 - 2 * 16, "affine": 32_000}


def test_the_layouts_differ_in_the_stem_alone():
    (_, bearpaw), (_, princeton) = (
        shapes_of(StackedHourglass(layout=layout, depth=2, features=24, stem_features=4))
        for layout in ("bearpaw", "princeton")
    )
    differing = {
        path for path in bearpaw.keys() | princeton.keys() if bearpaw.get(path) != princeton.get(path)
    }
    assert differing and all(path.split("/")[0] in ("layer2", "layer3") for path in differing)
    assert bearpaw["layer2/block0/conv3/kernel"] == (1, 1, 8, 16)
    assert princeton["layer2/block0/conv3/kernel"] == (1, 1, 4, 8)


@pytest.mark.parametrize("stem_pool, stride", [(True, 4), (False, 2)])
def test_features_have_the_stride_and_every_level_its_blocks(stem_pool, stride):
    backbone = StackedHourglass(
        num_stacks=3, depth=2, features=8, stem_features=2, num_blocks=2, stem_pool=stem_pool
    )
    features, shapes = shapes_of(backbone, 48, 32)
    assert backbone.stride == stride
    assert features == [(1, 48 // stride, 32 // stride, 8)] * 3
    residuals = {tuple(path.split("/")[1:3]) for path in shapes if path.startswith("hourglass1/")}
    places = ("skip0", "skip1", "down0", "down1", "up0", "up1", "bottom")
    assert residuals == {(place, f"block{n}") for place in places for n in range(2)}
    assert shapes["score_back1/kernel"] == (1, 1, 5, 8)
    assert "score_back2/kernel" not in shapes and "fc_back2/kernel" not in shapes


def test_crops_that_the_poolings_do_not_divide_are_refused():
    backbone = StackedHourglass(num_stacks=1, depth=3, features=8)
    with pytest.raises(ValueError, match="multiples of 32, got 40x64"):
        shapes_of(backbone, 64, 40)


def test_an_unknown_layout_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"layout is 'newell'; choose one of bearpaw, princeton"):
        shapes_of(StackedHourglass(layout="newell"))
