"""A pose network's forward pass and train step: ours, and the same network in PyTorch.

A network is a backbone with a joint head for each stack and nothing else, in float32; all contenders start
from the same weights. A forward pass is an evaluation's, on a batch of normalised images. A train step is the
forward pass with batch statistics, the mean squared error of the heatmaps, summed over the stacks, its
gradients and the optimizer's update of the weights in place. Every call is one more step; outputs are those
of the first.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from experiments.benchmarks.building import compiled, cpu_torch
from experiments.benchmarks.harness import Built, Case, Contender, Effort, Value
from experiments.benchmarks.suite import Axis, Suite, Target
from oasjax.models import BACKBONES, OASNet, hourglass, hrnet, layers
from oasjax.models.erase_reconstruct import EraseReconstruct
from oasjax.ops.convolution import convolution
from oasjax.training.optimizers import OPTIMIZERS
from oasjax.training.state import create_train_state
from oasjax.training.step import make_train_step
from oasjax.weights.hourglass_layout import BEARPAW
from oasjax.weights.hrnet_layout import HRNET
from oasjax.weights.model_folder import SEPARATOR
from oasjax.weights.state_dict import Layout, assign, torch_name

SEED = 0
STRIDE = 4  # of the heatmaps, in both networks
EVERYWHERE: Mapping[str, Value] = {}


class Network(NamedTuple):
    """What a value of the axis `network` stands for.

    Attributes:
        layout: names of its weights in PyTorch; tells the backbone as well.
        fields: of the backbone, ours and PyTorch's.
        input_size: (height, width) of the images.
        optimizer: name in `oasjax.training.optimizers`.
    """

    layout: Layout
    fields: Mapping[str, Any]
    input_size: tuple[int, int]
    num_joints: int
    optimizer: str
    learning_rate: float

    def ours(self) -> OASNet:
        backbone = BACKBONES[self.layout.backbone](**self.fields)
        plain = EraseReconstruct(erase=False, reconstruct=False)
        return OASNet(backbone, self.num_joints, "none", plain)


NETWORKS = {
    "hourglass-2": Network(
        layout=BEARPAW,
        fields={
            "layout": "bearpaw",
            "num_stacks": 2,
            "depth": 4,
            "features": 256,
            "stem_features": 64,
            "num_blocks": 1,
        },
        input_size=(256, 256),
        num_joints=16,
        optimizer="rmsprop",
        learning_rate=5e-4,
    ),
    "hrnet-w32": Network(
        layout=HRNET,
        fields={
            "channels": ((32, 64), (32, 64, 128), (32, 64, 128, 256)),
            "modules": (1, 4, 3),
            "blocks": (4, 4, 4),
        },
        input_size=(256, 192),
        num_joints=17,
        optimizer="adam",
        learning_rate=1e-3,
    ),
}


def batch_of(network: Network, size: int) -> dict[str, np.ndarray]:
    """`image` (b, y, x, 3), normalised, and `heatmaps` (b, h, w, k) in [0, 1)."""
    height, width = network.input_size
    random = np.random.default_rng(SEED)
    return {
        "image": random.standard_normal((size, height, width, 3), np.float32),
        "heatmaps": random.random((size, height // STRIDE, width // STRIDE, network.num_joints), np.float32),
    }


def random_weights(network: Network) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The same weights as PyTorch's state dict and as our variables.

    Batch norms are random, too: one in the place of another would be seen in the outputs.
    """
    image = jax.ShapeDtypeStruct((1, *network.input_size, 3), jnp.float32)
    expected = jax.eval_shape(partial(network.ours().init, train=False), jax.random.key(0), image)
    rules = network.layout.rules(network.fields)
    random = np.random.default_rng(SEED)
    state = {
        torch_name(path, rules): _random_array(path, leaf.shape, random)
        for path, leaf in flatten_dict(expected, sep=SEPARATOR).items()
    }
    variables, report = assign(expected, rules, state)
    assert not any(report), report
    return state, variables


def _random_array(path: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """As PyTorch has it, from the path and the shape of ours."""
    if path.endswith("kernel"):
        kernel = random.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[:-1]))
        return kernel.transpose(3, 2, 0, 1).astype(np.float32)
    if path.endswith(("scale", "var")):
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    return 0.1 * random.standard_normal(shape, np.float32)


@contextmanager
def nothing_for_the_cpu() -> Iterator[None]:
    """What is traced within it is written plainly: JAX's own weight gradients, `maximum(x, 0)`."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(layers, "convolution", convolution.__wrapped__))
        for module in (layers, hourglass, hrnet):
            stack.enter_context(patch.object(module, "relu", jax.nn.relu))
        yield


class _Task(NamedTuple):
    """What our train step asks for a loss."""

    network: OASNet

    def loss(self, params: Any, model_state: Any, batch: dict[str, jax.Array], key: Any, step: Any):
        output, changed = self.network.apply(
            {"params": params, **model_state}, batch["image"], train=True, mutable=["batch_stats"]
        )
        error = jnp.square(output.heatmaps - batch["heatmaps"])
        loss = jnp.sum(jnp.mean(error, axis=(1, 2, 3, 4)))
        return loss, ({"loss": loss}, changed)


def _ours_forward(network: Network, batch: int) -> Built:
    model = network.ours()
    _, variables = random_weights(network)
    variables = jax.tree.map(jnp.asarray, variables)
    images = jnp.asarray(batch_of(network, batch)["image"])
    program = jax.jit(lambda variables, images: model.apply(variables, images, train=False).heatmaps)
    call, seconds, temp_bytes = compiled(program, variables, images)

    def run() -> jax.Array:
        return jax.block_until_ready(call(variables, images))

    return Built(run, lambda heatmaps: {"heatmaps": np.asarray(heatmaps)}, seconds, temp_bytes)


def _ours_train(network: Network, batch: int) -> Built:
    _, variables = random_weights(network)
    optimizer = optax.chain(
        OPTIMIZERS[network.optimizer](), optax.scale_by_learning_rate(network.learning_rate)
    )
    model_state = {"batch_stats": variables["batch_stats"]}
    state = create_train_state({"params": variables["params"], "model_state": model_state}, optimizer)
    data = jax.tree.map(jnp.asarray, batch_of(network, batch))
    program = jax.jit(make_train_step(_Task(network.ours()), optimizer, SEED), donate_argnums=0)
    call, seconds, temp_bytes = compiled(program, state, data)

    def run() -> dict[str, jax.Array]:
        nonlocal state
        state, metrics = jax.block_until_ready(call(state, data))
        return metrics

    first = {name: np.asarray(value) for name, value in run().items()}
    return Built(run, lambda _: first, seconds, temp_bytes)


def _torch_forward(network: Network, batch: int, memory_format: str) -> Built:
    torch = cpu_torch()
    model, images, _ = _on_torch(network, batch, memory_format)
    model.eval()

    def run() -> list[Any]:
        with torch.inference_mode():
            return model(images)

    def outputs(heatmaps: list[Any]) -> dict[str, np.ndarray]:
        return {"heatmaps": torch.stack(heatmaps).permute(0, 1, 3, 4, 2).numpy()}

    return Built(run, outputs)


def _torch_train(network: Network, batch: int, memory_format: str) -> Built:
    torch = cpu_torch()
    model, images, targets = _on_torch(network, batch, memory_format)
    model.train()
    optimizers = {
        "rmsprop": partial(torch.optim.RMSprop, alpha=0.99, eps=1e-8),
        "adam": partial(torch.optim.Adam, betas=(0.9, 0.999), eps=1e-8),
    }
    optimizer = optimizers[network.optimizer](model.parameters(), lr=network.learning_rate)

    def run() -> Any:
        optimizer.zero_grad(set_to_none=True)
        loss = sum(torch.nn.functional.mse_loss(heatmaps, targets) for heatmaps in model(images))
        loss.backward()
        optimizer.step()
        return loss.detach()

    loss = run()
    gradients = [parameter.grad for parameter in model.parameters()]
    first = {"loss": loss.numpy(), "gradient_norm": torch.nn.utils.get_total_norm(gradients).numpy()}
    return Built(run, lambda _: first)


def _on_torch(network: Network, batch: int, memory_format: str) -> tuple[Any, Any, Any]:
    """The network with its weights, images and targets, all in this memory format."""
    torch = cpu_torch()
    peers = importlib.import_module("experiments.benchmarks.torch_networks")
    build = {"hourglass": peers.stacked_hourglass, "hrnet": peers.HRNet}[network.layout.backbone]
    model = build(num_joints=network.num_joints, **network.fields)
    state, _ = random_weights(network)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    data = batch_of(network, batch)
    layout = getattr(torch, memory_format)
    images, targets = (
        torch.from_numpy(data[name]).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for name in ("image", "heatmaps")
    )
    return model.to(memory_format=layout), images, targets


# By the value of the axis `mode`.
_OURS = {"forward": _ours_forward, "train": _ours_train}
_TORCH = {"forward": _torch_forward, "train": _torch_train}


def contenders(networks: Mapping[str, Network]) -> tuple[Contender, ...]:
    """For the axis `network` with these values."""

    def ours(
        name: str,
        tracing: Callable[[], AbstractContextManager] = nullcontext,
        only: Mapping[str, Value] = EVERYWHERE,
    ) -> Contender:
        """`tracing` is entered while the program is traced and compiled."""

        def build(case: Case) -> Built:
            with tracing():
                return _OURS[case["mode"]](networks[case["network"]], case["batch"])

        return Contender(name, build, "jit", only)

    def torch(name: str, memory_format: str) -> Contender:
        def build(case: Case) -> Built:
            return _TORCH[case["mode"]](networks[case["network"]], case["batch"], memory_format)

        return Contender(name, build, "eager")

    return (
        ours("ours"),
        ours("ours, written plainly", nothing_for_the_cpu, only={"mode": "train"}),
        torch("torch contiguous", "contiguous_format"),
        torch(REFERENCE, "channels_last"),
    )


REFERENCE = "torch channels_last"

SUITE = Suite(
    name="pose_step",
    summary="Forward pass and train step of pose networks",
    contenders=contenders(NETWORKS),
    reference=REFERENCE,
    axes={
        "network": Axis("", tuple(NETWORKS)),
        "mode": Axis("", tuple(_OURS)),
        "batch": Axis("B", (1, 4)),
    },
    panels=("network", "mode"),
    over="batch",
    outputs=("loss", "heatmaps", "gradient_norm"),
    headline={},
    packages=("oasjax", "jax", "jaxlib", "flax", "optax", "numpy", "torch"),
    seed=SEED,
    targets=(
        Target("our train step takes at most 1.6x PyTorch's time", "ours", {"mode": "train"}, at_most=1.6),
        Target("our forward pass takes at most 1.1x", "ours", {"mode": "forward"}, at_most=1.1),
    ),
    # Calls last from a tenth of a second to several.
    effort=Effort(seconds=10, fewest=5, most=30, patience=60),
)
