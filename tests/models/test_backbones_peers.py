"""Both backbones against PyTorch networks in float64, at sizes of which there are no reference numbers."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from oasjax.datasets.skeletons import COCO
from oasjax.models import build_oasnet
from oasjax.weights.model_import import network_config
from oasjax.weights.published import convert, describe
from oasjax.weights.state_dict import state_dict_of, torch_name

pytestmark = pytest.mark.peers

NUM_JOINTS = 5
HEIGHT, WIDTH = 48, 32


def hrnet(networks):
    """Widths that change from stage to stage, three branches, other numbers of modules and blocks."""
    return networks.HRNet(((4, 6), (3, 6, 9)), (2, 1), (1, 3), num_joints=NUM_JOINTS)


def bearpaw(networks):
    """Two blocks everywhere, three stacks, two levels; the last residual of the stem keeps its width."""
    return networks.stacked_hourglass("bearpaw", NUM_JOINTS, 3, 2, 8, 2, 2)


def princeton(networks):
    """One level alone; the last residual of the stem changes the width."""
    return networks.stacked_hourglass("princeton", NUM_JOINTS, 2, 1, 6, 4)


@pytest.mark.parametrize("build", [hrnet, bearpaw, princeton])
def test_outputs_gradients_and_statistics_are_those_of_pytorch(build):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    peer = build(importlib.import_module("experiments.benchmarks.torch_networks"))
    for name, buffer in peer.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5) if name.endswith("var") else buffer.normal_()
    state = {name: value.numpy().copy() for name, value in peer.state_dict().items()}
    images = np.random.default_rng(0).normal(size=(3, HEIGHT, WIDTH, 3))

    peer, pixels = peer.double(), torch.tensor(images.transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected_eval = [maps.numpy() for maps in peer.eval()(pixels)]
    outputs = peer.train()(pixels)
    sum(maps.square().mean() for maps in outputs).backward()
    gradients = {name: p.grad.numpy() for name, p in peer.named_parameters() if p.grad is not None}
    statistics = {name: b.numpy() for name, b in peer.named_buffers() if "running" in name}

    state = state_dict_of(state)
    network = describe(state)
    size = (WIDTH, HEIGHT)
    net = build_oasnet(network_config(network, COCO, size).model, network.num_joints)
    variables, report = convert(network, state, net, size)
    assert report[:3] == ((), (), ())

    def loss(params, batch_stats, images):
        output, updates = net.apply(
            {"params": params, "batch_stats": batch_stats}, images, True, mutable=["batch_stats"]
        )
        return jnp.square(output.heatmaps).mean((1, 2, 3, 4)).sum(), (output.heatmaps, updates)

    @jax.jit
    def passes(params, batch_stats, images):
        evaluated = net.apply({"params": params, "batch_stats": batch_stats}, images, False).heatmaps
        gradients, (trained, updates) = jax.grad(loss, has_aux=True)(params, batch_stats, images)
        return evaluated, trained, {"params": gradients}, updates

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), variables)
        evaluated, trained, *trees = jax.tree.map(
            np.asarray, passes(wide["params"], wide["batch_stats"], images)
        )

    def assert_close(ours, theirs, name):
        np.testing.assert_allclose(
            ours, theirs, rtol=1e-7, atol=1e-9 * np.abs(theirs).max() + 1e-12, err_msg=name
        )

    for stack in range(len(outputs)):
        assert_close(evaluated[stack].transpose(0, 3, 1, 2), expected_eval[stack], "eval")
        assert_close(trained[stack].transpose(0, 3, 1, 2), outputs[stack].detach().numpy(), "train")
    for tree, theirs in zip(trees, (gradients, statistics), strict=True):
        ours = {torch_name(path, network.rules): leaf for path, leaf in flatten_dict(tree, sep="/").items()}
        assert ours.keys() == theirs.keys()
        for name, leaf in ours.items():
            assert_close(leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf, theirs[name], name)
