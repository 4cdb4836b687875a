"""The estimate of what a config costs to train."""

import pytest

from oasjax import config_sections, published_rows
from oasjax.model_catalog import CATALOG
from oasjax.training_cost import SUSTAINED_TFLOPS, training_cost


def siamese():
    config = config_sections.pose()
    config.model.hourglass.num_stacks = 8
    config.train.batch_size, config.train.num_steps = 10, 1000
    return config


def test_a_siamese_step_passes_both_crops_of_a_person_forward_and_twice_backward():
    cost = training_cost(siamese())
    forward = CATALOG["oasnet_hourglass_8"].multiply_adds
    assert (cost.multiply_adds, cost.passes, cost.people) == (forward, 6, 10_000)
    assert cost.flop == 2 * 6 * forward * 10_000
    assert cost.hours == pytest.approx(cost.flop / SUSTAINED_TFLOPS / 3.6e15)
    assert str(cost) == (
        "4.0e+15 FLOP, 0.0 hours at 50 TFLOP/s: an estimate, 2 x 32.9 G multiply-adds x 6 passes"
        " x 0.01 million people"
    )


@pytest.mark.parametrize(("kind", "passes"), [("none", 3), ("l2", 4)])
def test_a_single_branch_costs_half_and_a_teacher_one_pass_more(kind, passes):
    config = siamese()
    config.train.branches, config.loss.mimic.kind = "single", kind
    assert training_cost(config).passes == passes


def test_without_reconstruction_the_cost_is_the_backbones():
    config = siamese()
    published_rows.without_reconstruction(config, "heatmap")
    assert training_cost(config).multiply_adds == CATALOG["hourglass_bearpaw_8"].multiply_adds


def test_the_cost_of_another_crop_goes_with_its_pixels():
    small, large = (published_rows.coco_hrnet(48, size) for size in ((192, 256), (288, 384)))
    for config in (small, large):
        published_rows.backbone_alone(config)
    assert training_cost(small).multiply_adds == CATALOG["hrnet_w48_256x192"].multiply_adds
    assert training_cost(large).multiply_adds == CATALOG["hrnet_w48_384x288"].multiply_adds


def test_of_a_network_without_published_size_nothing_is_known():
    config = siamese()
    config.model.hourglass.features = 255
    assert training_cost(config) is None
    config.model.hourglass.features = 256
    config.model.erase_reconstruct.every_stack = True
    assert training_cost(config) is None
