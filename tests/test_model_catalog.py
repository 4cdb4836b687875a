"""The catalogue's figures, counted again on the models, beside those of the original networks.

What is called original was counted on the original PyTorch code: leoxiaobin/deep-high-resolution-net.pytorch
(6f69e46), bearpaw/pytorch-pose (edc7aec), princeton-vl/pytorch_stacked_hourglass (ceedc14).
"""

import functools
import math

import pytest
from flax.traverse_util import flatten_dict

from oasjax.model_catalog import CATALOG, Measured, measure, parameters_by_part, published_gflops


@functools.cache
def measured(name) -> Measured:
    """Traced once for all tests of a process."""
    return measure(CATALOG[name])


def parts(name):
    return parameters_by_part(measured(name).variables["params"])


def kinds(name):
    """Numbers of convolution weights, convolution biases, batch norm parameters and running statistics."""
    params = flatten_dict(measured(name).variables["params"])
    counts = {"weights": 0, "biases": 0, "batch_norm": 0}
    for path, leaf in params.items():
        of_batch_norm = (*path[:-1], "scale") in params
        kind = "batch_norm" if of_batch_norm else {"kernel": "weights", "bias": "biases"}[path[-1]]
        counts[kind] += math.prod(leaf.shape)
    running = flatten_dict(measured(name).variables["batch_stats"]).values()
    return *counts.values(), sum(math.prod(leaf.shape) for leaf in running)


@pytest.mark.parametrize("name", CATALOG)
def test_the_figures_of_the_catalogue_are_those_of_the_model(name):
    entry = CATALOG[name]
    assert sum(parts(name).values()) == entry.parameters
    assert measured(name).multiply_adds == entry.multiply_adds


@pytest.mark.parametrize(
    ("name", "weights", "biases", "batch_norm"),
    [
        ("hrnet_w32_256x192", 28_481_760, 17, 54_336),
        ("hrnet_w32_256x256", 28_481_728, 16, 54_336),
        ("hrnet_w48_256x192", 63_516_144, 17, 79_584),
        ("hrnet_w48_256x256", 63_516_096, 16, 79_584),
        ("hourglass_bearpaw_1", 3_560_640, 9_168, 17_152),
        ("hourglass_bearpaw_2", 6_681_792, 17_120, 32_000),
        ("hourglass_bearpaw_4", 12_924_096, 33_024, 61_696),
        ("hourglass_bearpaw_8", 25_408_704, 64_832, 121_088),
    ],
)
def test_a_network_has_as_many_parameters_of_each_kind_as_the_original(name, weights, biases, batch_norm):
    assert kinds(name) == (weights, biases, batch_norm, batch_norm)
    assert CATALOG[name].parameters == weights + biases + batch_norm


@pytest.mark.parametrize(
    ("stacks", "original", "never_used"),
    [(1, 4_364_048, 937_600), (2, 8_429_088, 1_858_688), (8, 32_819_328, 7_385_216)],
)
def test_princetons_hourglass_lacks_exactly_what_the_original_never_uses(stacks, original, never_used):
    entry = CATALOG[f"hourglass_princeton_{stacks}"]
    assert entry.parameters == original - never_used
    assert f"{original:,}" in entry.note and f"{never_used:,}" in entry.note


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("hrnet_w32_256x192", 7.645),
        ("hrnet_w32_384x288", 17.201),
        ("hrnet_w32_256x256", 10.193),
        ("hrnet_w48_256x192", 15.692),
        ("hrnet_w48_384x288", 35.307),
        ("hrnet_w48_256x256", 20.922),
        ("hourglass_bearpaw_1", 5.805),
        ("hourglass_bearpaw_2", 8.989),
        ("hourglass_bearpaw_4", 15.357),
        ("hourglass_bearpaw_8", 28.094),
        ("hourglass_princeton_1", 5.150),
        ("hourglass_princeton_2", 8.335),
        ("hourglass_princeton_8", 27.440),
    ],
)
def test_a_network_takes_as_many_multiply_adds_as_the_original(name, billions):
    assert round(CATALOG[name].multiply_adds / 1e9, 3) == billions


@pytest.mark.parametrize("name", [name for name in CATALOG if name.startswith("hrnet")])
def test_what_hrnet_prints_is_what_we_count_in_its_units(name):
    entry = CATALOG[name]
    height, width = map(int, name.rpartition("_")[2].split("x"))
    assert entry.input_size_wh == (width, height)
    if entry.published is None:
        assert entry.num_joints == 16  # it prints no figures for MPII
    else:
        assert round(entry.parameters / 1e6, 1) == entry.published.parameters_m
        assert round(published_gflops(entry.multiply_adds), 1) == entry.published.gflops


def convolution(size, inputs, outputs):
    """Weights of one, and the scale and bias of its batch norm."""
    return size**2 * inputs * outputs + 2 * outputs


@pytest.mark.parametrize(
    ("name", "plain", "channels", "reconstruction"),
    [
        ("oasnet_hourglass_2", "hourglass_bearpaw_2", 256, 2 * convolution(3, 256, 256)),
        ("oasnet_hourglass_8", "hourglass_bearpaw_8", 256, 2 * convolution(3, 256, 256)),
        ("oasnet_hrnet_w32_literal", "hrnet_w32_256x192", 32, 2 * convolution(3, 32, 32)),
        ("oasnet_hrnet_w48_literal", "hrnet_w48_256x192", 48, 2 * convolution(3, 48, 48)),
        *(
            (
                f"oasnet_hrnet_w{c}_budget",
                f"hrnet_w{c}_256x192",
                c,
                convolution(3, c, 256) + 2 * convolution(3, 256, 256) + convolution(3, 256, c),
            )
            for c in (32, 48)
        ),
    ],
)
def test_erasing_and_reconstruction_add_their_layers_and_a_1x1_occlusion_head(
    name, plain, channels, reconstruction
):
    added = parts(name)
    assert added["occlusion"] == channels + 1
    assert added["reconstruction"] == reconstruction
    assert CATALOG[name].parameters == CATALOG[plain].parameters + reconstruction + channels + 1


def test_the_multiply_adds_of_the_presets_are_those_of_their_layers():
    def added(name, plain):
        return CATALOG[name].multiply_adds - CATALOG[plain].multiply_adds

    positions = 64 * 64
    hourglass = positions * (2 * 9 * 256 * 256 + 256)
    assert added("oasnet_hourglass_2", "hourglass_bearpaw_2") == hourglass
    assert added("oasnet_hourglass_8", "hourglass_bearpaw_8") == hourglass
    positions = 64 * 48
    for c in (32, 48):
        literal = positions * (2 * 9 * c * c + c)
        # The dilated pair at half resolution, a quarter of the positions.
        budget = positions * (2 * 9 * c * 256 + c) + positions // 4 * 2 * 9 * 256 * 256
        assert added(f"oasnet_hrnet_w{c}_literal", f"hrnet_w{c}_256x192") == literal
        assert added(f"oasnet_hrnet_w{c}_budget", f"hrnet_w{c}_256x192") == budget


def test_the_budget_preset_meets_three_of_the_four_figures_of_the_paper_in_units_of_a_billion():
    def figures(name):
        entry = CATALOG[name]
        ours = round(entry.parameters / 1e6, 1), round(entry.multiply_adds / 1e9, 1)
        return ours, (entry.published.parameters_m, entry.published.gflops)

    assert figures("oasnet_hrnet_w32_budget") == ((29.9, 9.0), (29.9, 9.0))
    assert figures("oasnet_hrnet_w48_budget") == ((65.0, 17.3), (66.0, 17.3))


def test_parts_are_summed_over_the_stacks():
    assert parts("hourglass_bearpaw_2") == {"backbone": 6_730_912 - 2 * 4_112, "joints": 2 * (256 * 16 + 16)}


def test_a_changed_configuration_leaves_the_catalogue_as_it_was():
    entry = CATALOG["hourglass_bearpaw_2"]
    model = entry.model()
    model.hourglass.num_stacks = 3
    assert entry.model().hourglass.num_stacks == 2
