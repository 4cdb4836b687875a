"""OASNet: which heads stand where, and what they give."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from oasjax import config_sections
from oasjax.models import build_oasnet
from oasjax.models.critic import Critic
from oasjax.models.erase_reconstruct import EraseReconstruct
from oasjax.models.oasnet import Head

IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
NOT_ERASED = EraseReconstruct(erase=False, reconstruct=False)


def tiny_model(**changes) -> ConfigDict:
    """Two stacks of an hourglass with 8 features; `changes` of config.model and its erase_reconstruct."""
    config = config_sections.model("hourglass")
    config.hourglass.update(num_stacks=2, depth=1, features=8, stem_features=2)
    for name, value in changes.items():
        section = config if name in config else config.erase_reconstruct
        section[name] = value
    return config


def traced(config):
    """(output, params) of a tiny network, as shapes."""
    net = build_oasnet(config, 16)
    output, variables = jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, False), IMAGES)
    return output, variables["params"]


FULL = {"joints", "occlusion", "reconstruction"}


@pytest.mark.parametrize(
    ("changes", "first", "last"),
    [
        ({}, {"joints"}, FULL),
        ({"every_stack": True}, FULL, FULL),
        ({"erase": False}, {"joints"}, FULL),
        ({"reconstruct": False}, {"joints"}, {"joints", "occlusion"}),
        ({"occlusion_head": "none", "erase": False}, {"joints"}, {"joints", "reconstruction"}),
        ({"occlusion_head": "classification", "erase": False}, {"joints"}, FULL),
        ({"occlusion_head": "none", "erase": False, "reconstruct": False}, {"joints"}, {"joints"}),
    ],
)
def test_each_switch_decides_which_layers_a_stack_has(changes, first, last):
    _, params = traced(tiny_model(**changes))
    assert set(params) == {"backbone", "head0", "head1"}
    assert (set(params["head0"]), set(params["head1"])) == (first, last)


def test_heads_are_1x1_convolutions():
    _, params = traced(tiny_model())
    assert params["head0"]["joints"]["kernel"].shape == (1, 1, 8, 16)
    assert params["head1"]["occlusion"]["kernel"].shape == (1, 1, 8, 1)
    assert params["head1"]["occlusion"]["bias"].shape == (1,)


def test_the_output_holds_every_stage_and_what_is_lost_or_decoded_is_float32():
    output, _ = traced(tiny_model(dtype="bfloat16"))
    assert output.heatmaps.shape == (2, 2, 8, 8, 16) and output.heatmaps.dtype == jnp.float32
    assert output.occlusion_maps.shape == (1, 2, 8, 8, 1) and output.occlusion_maps.dtype == jnp.float32
    assert output.occlusion_logits is None
    for features in (output.features, output.cleaned, output.reconstructed):
        assert (features.shape, features.dtype) == ((2, 8, 8, 8), jnp.bfloat16)
    every, _ = traced(tiny_model(every_stack=True))
    assert every.occlusion_maps.shape == (2, 2, 8, 8, 1)


def test_without_a_head_its_output_is_absent():
    classes, params = traced(tiny_model(occlusion_head="classification", erase=False, every_stack=True))
    assert classes.occlusion_maps is None and classes.occlusion_logits.shape == (2, 2, 16, 3)
    assert params["head0"]["occlusion"]["kernel"].shape == (1, 1, 8, 48)
    plain, _ = traced(tiny_model(occlusion_head="none", erase=False))
    assert plain.occlusion_maps is None and plain.occlusion_logits is None


def head(occlusion: str, options: EraseReconstruct):
    """(output, params) of a head of 5 joints with random weights on random features."""
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 6, 4, 8)).astype(np.float32)
    module = Head(5, occlusion, options)
    shapes = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), features)
    variables = jax.tree.map(lambda leaf: random.uniform(size=leaf.shape).astype(np.float32) - 0.2, shapes)
    output = jax.jit(lambda v, x: module.apply(v, x, True, mutable="batch_stats")[0])(variables, features)
    return jax.device_get(output), variables["params"]


def test_features_pass_through_erasing_and_reconstruction_only_where_they_are_on():
    output, params = head("heatmap", EraseReconstruct(reconstruct=False))
    np.testing.assert_allclose(output.cleaned, output.features * (1 - output.occlusion_map), rtol=1e-6)
    np.testing.assert_array_equal(output.reconstructed, output.cleaned)
    joints = params["joints"]
    np.testing.assert_allclose(
        output.heatmaps, output.cleaned @ joints["kernel"][0, 0] + joints["bias"], atol=1e-5
    )
    output, _ = head("heatmap", EraseReconstruct(erase=False))
    np.testing.assert_array_equal(output.cleaned, output.features)
    assert (output.reconstructed >= 0).all() and (output.features < 0).any()
    output, _ = head("heatmap", EraseReconstruct(reconstruct=False, clip_attention=True))
    attention = 1 - output.occlusion_map
    assert (attention < 0).any() and (attention > 1).any()
    np.testing.assert_allclose(output.cleaned, output.features * np.clip(attention, 0, 1), rtol=1e-6)


def test_the_classes_are_a_linear_function_of_the_features_mean_over_the_map():
    output, params = head("classification", NOT_ERASED)
    layer = params["occlusion"]
    expected = output.features.mean((1, 2)) @ layer["kernel"][0, 0] + layer["bias"]
    np.testing.assert_allclose(output.occlusion_logits, expected.reshape(2, 5, 3), atol=1e-5)
    assert np.ptp(output.occlusion_logits, axis=0).min() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "resnet"}, "name is 'resnet'.*hourglass.*hrnet"),
        ({"name": "hrnet"}, r"section 'hrnet' is missing.*config_sections.model\('hrnet'\)"),
        ({"occlusion_head": "map"}, "occlusion_head is 'map'.*classification.*heatmap.*none"),
        ({"occlusion_head": "none"}, "erasing needs an occlusion map.*'none'"),
        ({"occlusion_head": "classification"}, "erasing needs an occlusion map.*'classification'"),
    ],
)
def test_what_cannot_be_built_is_explained(changes, message):
    with pytest.raises(ValueError, match=message):
        build_oasnet(tiny_model(**changes), 16)


@pytest.mark.parametrize("name", ["hourglass", "hrnet"])
def test_a_config_read_back_from_json_builds_the_same_network(name):
    config = config_sections.model(name)
    config.remat = True
    read = json.loads(config.to_json())
    net = build_oasnet(config, 17)
    assert net == build_oasnet(read, 17) and hash(net) is not None
    assert net.backbone.remat and net.num_joints == 17


def test_backbones_have_their_published_size_unless_told_otherwise():
    hourglass = build_oasnet(config_sections.model("hourglass"), 16).backbone
    assert hourglass == type(hourglass)()
    hrnet = build_oasnet(config_sections.model("hrnet"), 16).backbone
    assert hrnet == type(hrnet)()
    assert config_sections.hrnet(48).channels == ((48, 96), (48, 96, 192), (48, 96, 192, 384))
    with pytest.raises(ValueError, match="name is 'vgg'.*hourglass.*hrnet"):
        config_sections.model("vgg")


def test_the_critic_halves_the_map_keeps_the_channels_and_has_no_bias():
    variables = Critic().init(jax.random.key(0), jnp.zeros((1, 8, 6, 5)))
    assert jax.tree.map(jnp.shape, variables["params"]) == {"conv": {"kernel": (3, 3, 5, 5)}}
    assert Critic().apply(variables, jnp.ones((2, 8, 6, 5))).shape == (2, 4, 3, 5)
    assert not Critic().apply(variables, jnp.zeros((2, 8, 6, 5))).any()
