"""The layouts of HRNet and both hourglasses: sizes from names, names from paths."""

import re

import numpy as np
import pytest

from oasjax.weights import hourglass_layout, hrnet_layout
from oasjax.weights.published import describe
from oasjax.weights.state_dict import torch_name

PAIRS = {
    "hrnet": {
        "backbone/stem2/conv/kernel": "conv2.weight",
        "backbone/stem2/bn/var": "bn2.running_var",
        "backbone/layer1/block3/conv2/bn/scale": "layer1.3.bn2.weight",
        "backbone/layer1/block0/downsample/conv/kernel": "layer1.0.downsample.0.weight",
        "backbone/layer1/block0/downsample/bn/mean": "layer1.0.downsample.1.running_mean",
        "backbone/transition1/branch0/conv/kernel": "transition1.0.0.weight",
        "backbone/transition3/branch3/step0/bn/bias": "transition3.3.0.1.bias",
        "backbone/stage4/module2/branch3/block1/conv1/conv/kernel": "stage4.2.branches.3.1.conv1.weight",
        "backbone/stage3/module0/fuse0_2/bn/scale": "stage3.0.fuse_layers.0.2.1.weight",
        "backbone/stage3/module0/fuse2_0/step1/conv/kernel": "stage3.0.fuse_layers.2.0.1.0.weight",
        "head0/joints/bias": "final_layer.bias",
    },
    "bearpaw": {
        "backbone/stem/conv/kernel": "conv1.weight",
        "backbone/stem/bn/scale": "bn1.weight",
        "backbone/layer2/block0/downsample/kernel": "layer2.0.downsample.0.weight",
        "backbone/hourglass1/skip0/block0/conv1/bias": "hg.1.hg.2.0.0.conv1.bias",
        "backbone/hourglass1/down1/block1/bn3/var": "hg.1.hg.1.1.1.bn3.running_var",
        "backbone/hourglass0/up2/block0/bn1/bias": "hg.0.hg.0.2.0.bn1.bias",
        "backbone/hourglass0/bottom/block1/conv2/kernel": "hg.0.hg.0.3.1.conv2.weight",
        "backbone/res1/block0/conv3/kernel": "res.1.0.conv3.weight",
        "backbone/fc0/conv/bias": "fc.0.0.bias",
        "backbone/fc1/bn/mean": "fc.1.1.running_mean",
        "backbone/fc_back0/kernel": "fc_.0.weight",
        "backbone/score_back0/bias": "score_.0.bias",
        "head1/joints/kernel": "score.1.weight",
    },
    "princeton": {
        "backbone/stem/conv/kernel": "pre.0.conv.weight",
        "backbone/stem/bn/scale": "pre.0.bn.weight",
        "backbone/layer1/block0/downsample/kernel": "pre.1.skip_layer.conv.weight",
        "backbone/layer2/block0/conv1/kernel": "pre.3.conv1.conv.weight",
        "backbone/layer3/block0/bn2/mean": "pre.4.bn2.running_mean",
        "backbone/hourglass2/skip0/block0/conv1/bias": "hgs.2.0.up1.conv1.conv.bias",
        "backbone/hourglass0/down1/block0/bn3/var": "hgs.0.0.low2.low1.bn3.running_var",
        "backbone/hourglass0/up1/block0/conv3/kernel": "hgs.0.0.low2.low3.conv3.conv.weight",
        "backbone/hourglass0/bottom/block0/conv2/kernel": "hgs.0.0.low2.low2.conv2.conv.weight",
        "backbone/res1/block0/conv3/kernel": "features.1.0.conv3.conv.weight",
        "backbone/fc0/conv/bias": "features.0.1.conv.bias",
        "backbone/fc1/bn/mean": "features.1.1.bn.running_mean",
        "backbone/fc_back0/kernel": "merge_features.0.conv.conv.weight",
        "backbone/score_back1/bias": "merge_preds.1.conv.conv.bias",
        "head2/joints/kernel": "outs.2.conv.weight",
    },
}


@pytest.mark.parametrize("name", PAIRS)
def test_each_layer_has_the_published_name(name, small_network):
    network, _ = small_network(name)
    assert {path: torch_name(f"x/{path}", network.rules) for path in PAIRS[name]} == PAIRS[name]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("num_joints", [1, 14])
def test_all_sizes_are_read_from_the_weights(name, num_joints, small_network):
    network, state = small_network(name, num_joints)
    found = describe(state)
    assert found.layout is network.layout
    assert found.fields == network.fields
    assert found.num_joints == num_joints


def test_the_coarsest_level_of_each_layout_is_found_at_depth_one():
    for rules, name in [
        (hourglass_layout.bearpaw_rules({"depth": 1}), "hg.0.hg.0.3.0.conv1.weight"),
        (hourglass_layout.princeton_rules({"depth": 1}), "hgs.0.0.low2.conv1.conv.weight"),
    ]:
        assert torch_name("params/backbone/hourglass0/bottom/block0/conv1/kernel", rules) == name


def test_what_the_published_networks_never_use_is_told_by_name():
    patterns = hrnet_layout.never_used({"modules": (1, 4, 3)}).values()
    names = ["stage4.2.fuse_layers.1.0.0.0.weight", "stage4.2.fuse_layers.0.1.0.weight",
             "stage4.1.fuse_layers.1.0.0.0.weight", "stage3.2.fuse_layers.1.0.0.0.weight",
             "incre_modules.0.0.conv1.weight", "downsamp_modules.2.1.bias", "final_layer.0.bias",
             "classifier.weight", "final_layer.weight", "stage4.2.branches.0.0.conv1.weight"]  # fmt: skip
    assert [name for name in names if any(re.search(pattern, name) for pattern in patterns)] == [
        "stage4.2.fuse_layers.1.0.0.0.weight", "incre_modules.0.0.conv1.weight",
        "downsamp_modules.2.1.bias", "final_layer.0.bias", "classifier.weight",
    ]  # fmt: skip


def test_weights_of_two_layouts_or_of_none_are_refused_with_names(small_network):
    (_, hrnet), (_, princeton) = small_network("hrnet"), small_network("princeton")
    with pytest.raises(ValueError, match=r"HRNet .* and of the stacked hourglass \(princeton-vl.* at once"):
        describe(hrnet | princeton)
    strangers = {f"features.{n}.weight": np.zeros(1) for n in range(9)}
    with pytest.raises(ValueError, match=r"no network known here .* features\.4\.weight and 4 more"):
        describe(strangers)
