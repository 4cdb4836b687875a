"""PyTorch networks of our own writing against the published ones: the same names, numbers and sizes."""

import importlib

import numpy as np
import pytest

from oasjax.weights.hourglass_layout import BEARPAW, PRINCETON
from oasjax.weights.hrnet_layout import HRNET

pytestmark = pytest.mark.peers

LAYOUTS = {"hrnet": HRNET, "hourglass_bearpaw": BEARPAW, "hourglass_princeton": PRINCETON}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def networks(torch):
    return importlib.import_module("experiments.benchmarks.torch_networks")


@pytest.fixture(params=LAYOUTS)
def published(request, torch, networks, golden_dir):
    """(network with the published names and weights, function that reads its golden numbers)"""
    folder = golden_dir / request.param
    layout = LAYOUTS[request.param]
    state = dict(np.load(folder / "state_dict.npz"))
    num_joints = np.load(folder / "eval_forward.npz")["output.0"].shape[1]
    sizes = {name: size for name, size in layout.fields(state).items() if name != "stem_pool"}
    builders = {"hrnet": networks.HRNet, "hourglass": networks.stacked_hourglass}
    network = builders[layout.backbone](num_joints=num_joints, **sizes)
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, strict=True)

    def read(name):
        golden = dict(np.load(folder / name))
        if golden["input"].shape[-1] == 3:
            golden["input"] = golden["input"].transpose(0, 3, 1, 2)
        return golden

    return network, read


def outputs(golden):
    return [golden[name] for name in sorted(golden) if name.startswith("output.")]


def test_published_weights_load_strictly_and_give_the_published_heatmaps(torch, published):
    network, read = published
    golden = read("eval_forward.npz")
    with torch.inference_mode():
        heatmaps = network.eval()(torch.from_numpy(golden["input"]))
    for ours, theirs in zip(heatmaps, outputs(golden), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-3, rtol=1e-3)


def test_a_pass_in_train_mode_gives_the_published_gradients_and_statistics(torch, published):
    network, read = published
    golden = read("train_step.npz")
    # The published numbers are float32's: batch norms of eight cells magnify its rounding to 2 % of a norm.
    image, target, weight = (
        torch.from_numpy(golden[name]).double() for name in ("input", "target", "target_weight")
    )
    heatmaps = network.double().train()(image)
    loss = sum(0.5 * ((each - target) * weight[..., None]).square().mean() for each in heatmaps)
    loss.backward()
    np.testing.assert_allclose(loss.item(), golden["loss"], rtol=1e-4)
    gradients = dict(network.named_parameters())
    norms = np.array([gradients[name].grad.norm().item() for name in golden["grad_names"]])
    # A bias in front of a batch norm has no gradient but rounding.
    np.testing.assert_allclose(norms, golden["grad_l2"], rtol=2e-2, atol=1e-5 * golden["grad_l2"].max())
    statistics = dict(network.named_buffers())
    norms = [statistics[name].norm().item() for name in golden["bn_names"]]
    np.testing.assert_allclose(norms, golden["bn_l2"], rtol=1e-4)


def test_networks_of_the_published_sizes_have_as_many_parameters_as_the_published_ones(torch, networks):
    def size(build, *args, **kwargs):
        with torch.device("meta"):
            return sum(parameter.numel() for parameter in build(*args, **kwargs).parameters())

    for width, num_joints, expected in (
        (32, 17, 28_536_113),
        (32, 16, 28_536_080),
        (48, 17, 63_595_745),
        (48, 16, 63_595_696),
    ):
        channels = [[width * 2**branch for branch in range(count)] for count in (2, 3, 4)]
        assert size(networks.HRNet, channels, (1, 4, 3), (4, 4, 4), num_joints) == expected
    for layout, num_stacks, expected in (
        ("bearpaw", 1, 3_586_960),
        ("bearpaw", 2, 6_730_912),
        ("bearpaw", 4, 13_018_816),
        ("bearpaw", 8, 25_594_624),
        ("princeton", 1, 4_364_048),
        ("princeton", 2, 8_429_088),
        ("princeton", 8, 32_819_328),
    ):
        assert size(networks.stacked_hourglass, layout, 16, num_stacks) == expected


def test_a_layout_that_is_not_public_is_refused(networks):
    with pytest.raises(ValueError, match="layout is 'newell'; choose one of"):
        networks.stacked_hourglass("newell", 16)
    with pytest.raises(ValueError, match="one residual block in a place, not 2"):
        networks.stacked_hourglass("princeton", 16, num_blocks=2)
