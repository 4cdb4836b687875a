"""HRNet: its layers are those of the published networks, at every size."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from oasjax import config_sections
from oasjax.models import build_oasnet
from oasjax.models.hrnet import Downsampling, HRNet, MultiResolutionModule


def shapes_of(backbone, height=64, width=64):
    """(features, {path: shape} of the parameters), traced."""
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)

    def initialise(x):
        outputs, variables = backbone.init_with_output(
            jax.random.key(0), x, False, lambda _, features: features
        )
        return outputs, variables["params"]

    outputs, params = jax.eval_shape(initialise, images)
    assert len(outputs) == 1
    return outputs[0], {path: leaf.shape for path, leaf in flatten_dict(params, sep="/").items()}


@pytest.mark.parametrize(
    "width, num_joints, convolutions, affine, total",
    [
        (32, 17, 28_481_760, 54_336, 28_536_113),
        (32, 16, 28_481_728, 54_336, 28_536_080),
        (48, 17, 63_516_144, 79_584, 63_595_745),
        (48, 16, 63_516_096, 79_584, 63_595_696),
    ],
)
def test_parameter_counts_are_the_published_ones(width, num_joints, convolutions, affine, total):
    model = config_sections.model("hrnet")
    model.hrnet = config_sections.hrnet(width)
    model.occlusion_head = "none"
    model.erase_reconstruct.update(erase=False, reconstruct=False)
    net = build_oasnet(model, num_joints)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), images)
    params = flatten_dict(variables["params"], sep="/")
    counts = {"kernel": 0, "bias": 0, "affine": 0}
    for path, leaf in params.items():
        kind = "affine" if "/bn/" in path else path.rpartition("/")[2]
        counts[kind] += math.prod(leaf.shape)
    assert counts == {"kernel": convolutions, "bias": num_joints, "affine": affine}
    assert sum(counts.values()) == total
    assert len(params) == 878 and len(jax.tree.leaves(variables["batch_stats"])) == 2 * 292


def test_branches_whose_channels_change_between_stages_go_through_a_3x3_convolution():
    features, shapes = shapes_of(HRNet(((4, 8), (6, 8, 12)), (1, 1), (1, 1)))
    assert features.shape == (1, 16, 16, 6)
    assert shapes["transition1/branch0/conv/kernel"] == (3, 3, 256, 4)
    assert shapes["transition2/branch0/conv/kernel"] == (3, 3, 4, 6)
    assert shapes["transition2/branch2/step0/conv/kernel"] == (3, 3, 8, 12)
    assert not any(path.startswith("transition2/branch1") for path in shapes)


def test_several_branches_may_begin_at_once_and_each_comes_from_the_lowest_before():
    _, shapes = shapes_of(HRNet(((4, 8, 16),), (1,), (1,)))
    steps = {path: shape for path, shape in shapes.items() if path.startswith("transition1/branch2")}
    kernels = [shape for path, shape in sorted(steps.items()) if path.endswith("kernel")]
    assert kernels == [(3, 3, 256, 256), (3, 3, 256, 16)]


def test_modules_and_blocks_are_as_many_as_asked_and_only_the_last_module_fuses_to_the_top_alone():
    _, shapes = shapes_of(HRNet(((4, 8), (4, 8)), (1, 3), (1, 2)))
    layers = {path.rsplit("/", 1)[0] for path in shapes}
    for module in range(3):
        assert f"stage3/module{module}/branch1/block1/conv2/conv" in layers
        assert f"stage3/module{module}/fuse0_1/conv" in layers
        assert (f"stage3/module{module}/fuse1_0/step0/conv" in layers) == (module < 2)
    assert "stage3/module3/fuse0_1/conv" not in layers
    assert "stage2/module0/branch0/block1/conv1/conv" not in layers
    assert "stage2/module0/fuse1_0/step0/conv" in layers


def test_a_fused_output_is_the_rectified_sum_of_all_branches_at_its_size():
    """Worked by hand: blocks that add nothing, 1x1 and 3x3 kernels of one weight."""
    module = MultiResolutionModule(num_blocks=0, num_outputs=2)
    top = jnp.arange(16.0).reshape(1, 4, 4, 1) - 11
    low = jnp.array([[1.0, 2.0], [3.0, -2.0]]).reshape(1, 2, 2, 1)
    variables = jax.jit(lambda x: module.init(jax.random.key(0), x, False))([top, low])
    centre = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(10.0)
    params = variables["params"]
    params["fuse0_1"]["conv"]["kernel"] = jnp.full((1, 1, 1, 1), 2.0)
    params["fuse1_0"]["step0"]["conv"]["kernel"] = centre
    high, lower = jax.jit(lambda v, x: module.apply(v, x, False))(variables, [top, low])
    # Batch norm divides by the root of 1 + 1e-5 here.
    root = math.sqrt(1 + 1e-5)
    repeated = np.kron([[1, 2], [3, -2]], np.ones((2, 2)))
    np.testing.assert_allclose(
        high[0, ..., 0], np.maximum(top[0, ..., 0] + 2 * repeated / root, 0), rtol=1e-6
    )
    # Every second pixel. No ReLU before either sum: it would leave 4 - 4 above zero, and 3 - 30 below.
    picked = np.asarray(top)[0, ::2, ::2, 0]
    np.testing.assert_allclose(
        lower[0, ..., 0], np.maximum(np.asarray(low)[0, ..., 0] + 10 * picked / root, 0), rtol=1e-6
    )
    assert lower[0, 1, 0, 0] == 0


def test_only_the_last_step_down_changes_the_channels_and_may_lack_a_relu():
    x = jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32)
    layer = Downsampling(5, 3, relu=False)
    y, variables = jax.eval_shape(lambda x: layer.init_with_output(jax.random.key(0), x, False), x)
    assert y.shape == (1, 1, 1, 5)
    kernels = [variables["params"][f"step{n}"]["conv"]["kernel"].shape for n in range(3)]
    assert kernels == [(3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 5)]


@pytest.mark.parametrize("height, width", [(64, 48), (80, 64)])
def test_crops_that_the_lowest_branch_does_not_divide_are_refused(height, width):
    backbone = HRNet(((4, 8, 8, 8),), (1,), (1,))
    with pytest.raises(ValueError, match=f"4 branches .* multiples of 32, got {width}x{height}"):
        shapes_of(backbone, height, width)
    # Three branches need 16 only.
    assert shapes_of(HRNet(((4, 8, 8),), (1,), (1,)), height, width)[0].shape[1:3] == (
        height // 4,
        width // 4,
    )


def test_stages_that_are_not_described_in_full_are_refused():
    with pytest.raises(ValueError, match="2, 1 and 2 stages"):
        shapes_of(HRNet(((4, 8), (4, 8)), (1,), (1, 1)))
