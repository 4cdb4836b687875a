"""State dicts with the names of the published networks, and files of them in PyTorch's formats."""

import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from oasjax.datasets.skeletons import COCO
from oasjax.models import build_oasnet
from oasjax.weights.hourglass_layout import BEARPAW, PRINCETON
from oasjax.weights.hrnet_layout import HRNET
from oasjax.weights.model_import import network_config
from oasjax.weights.published import Network
from oasjax.weights.state_dict import torch_name

# Small networks of each layout: another size in every place that a state dict tells.
SMALL = {
    "hrnet": (HRNET, {"channels": ((4, 8), (6, 8, 12)), "modules": (1, 2), "blocks": (1, 2)}),
    "bearpaw": (
        BEARPAW,
        {
            "layout": "bearpaw",
            "num_stacks": 2,
            "depth": 3,
            "features": 12,
            "stem_features": 2,
            "num_blocks": 2,
            "stem_pool": True,
        },
    ),
    "princeton": (
        PRINCETON,
        {
            "layout": "princeton",
            "num_stacks": 3,
            "depth": 2,
            "features": 6,
            "stem_features": 4,
            "num_blocks": 1,
            "stem_pool": True,
        },
    ),
}


@pytest.fixture(scope="session")
def small_network() -> Callable[..., tuple[Network, dict[str, np.ndarray]]]:
    """Function `(name in SMALL, num_joints) -> (network, state dict)` with random weights."""

    def make(name: str, num_joints: int = 17) -> tuple[Network, dict[str, np.ndarray]]:
        layout, fields = SMALL[name]
        network = Network(layout, fields, layout.rules(fields), num_joints)
        config = network_config(network, COCO, (64, 64))
        images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        net = build_oasnet(config.model, num_joints)
        shapes = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), images)
        random = np.random.default_rng(0)
        state = {}
        for path, leaf in flatten_dict(shapes, sep="/").items():
            shape = [leaf.shape[axis] for axis in (3, 2, 0, 1)] if path.endswith("kernel") else leaf.shape
            state[torch_name(path, network.rules)] = random.uniform(0.1, 1, shape).astype(np.float32)
        return network, state

    return make


@pytest.fixture(scope="session")
def write_torch_file() -> Callable[[Path, Any, bool], Path]:
    """Function that writes nested dicts of float32 arrays byte by byte as `torch.save` does."""
    torch = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_torch_file.py"))))

    def write(path: Path, contents: Any, legacy: bool) -> Path:
        storages: dict[str, bytes] = {}
        counts: dict[str, int] = {}

        def described(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: described(inner) for name, inner in value.items()}
            if not isinstance(value, np.ndarray):
                return value
            key = str(len(storages))
            storages[key], counts[key] = value.tobytes(), value.size
            view = (None,) if legacy else ()
            stored = torch.storage(key, "FloatStorage", value.size, *view)
            return torch.tensor(stored, value.shape, tuple(stride // 4 for stride in value.strides))

        pickled = described(contents)
        if legacy:
            return torch.legacy_file(path, pickled, storages, counts)
        return torch.zip_file(path, pickled, storages)

    return write
