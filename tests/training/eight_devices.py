"""Run by test_multidevice.py: preparation and the gradient of the whole loss, on one device and on eight.

Of both backbones, each with its preset of erasing and reconstruction.

Gradients in float64, to 1e-9 of their norm; the loss also in float32, to 1e-5. (In float32 batch norm
amplifies rounding.) Preparation works in float32 whatever comes later, and is compared to 1e-5.
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from oasjax import config_sections
from oasjax.augmentation.siamese import SiamesePair, prepare
from oasjax.cli.config_files import load_config
from oasjax.training.mesh import replicated, shard_batch, split
from oasjax.training.tasks import make_task


def smoke_config(backbone: str):
    """The smoke test's, with a mimicking loss that shows; HRNet as small as the hourglass."""
    config = load_config("smoke", ["--config.loss.mimic.weight=1.0"])
    if backbone == "hrnet":
        with config.unlocked():
            config.model = config_sections.model("hrnet")
            config.model.erase_reconstruct.width = 8
            config.model.hrnet.channels = ((4, 8), (4, 8, 16), (4, 8, 16, 32))
            config.model.hrnet.modules = config.model.hrnet.blocks = (1, 1, 1)
    return config


def random_batch(size: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "image": random.integers(0, 256, (size, 32, 32, 3)).astype(np.uint8),
        "keypoints": random.uniform(-3, 35, (size, 16, 2)).astype(np.float32),
        "visibility": random.integers(0, 3, (size, 16)).astype(np.int8),
        "occlusion_known": random.integers(0, 2, (size, 16)).astype(bool),
    }


def siamese_pair(mesh: Mesh) -> SiamesePair:
    """Prepared on all devices of the mesh; patches take pieces of crops that lie on other devices."""
    config = smoke_config("hourglass")
    task = make_task(config)

    def prepared(batch):
        return prepare(
            jax.random.key(0),
            batch,
            codec=task.codec,
            flip_permutation=task.permutation,
            flip_probability=0.5,
            colour_jitter=0.2,
            patches=config.augment.patches,
            normalization=config.data.normalization,
        )

    return jax.jit(prepared, in_shardings=split(mesh))(shard_batch(mesh, random_batch(16)))


def compare(backbone: str, one: Mesh, eight: Mesh, pair: SiamesePair) -> None:
    """Loss and gradient in float64, the loss in float32 as well."""
    task = make_task(smoke_config(backbone))
    first = task.init(0)

    def loss(params, model_state, pair):
        return task.loss_on_pair(params, model_state, pair, 0)[0]

    def on(mesh: Mesh, function, dtype):
        compiled = jax.jit(function, in_shardings=(replicated(mesh), replicated(mesh), split(mesh)))
        params, model_state, data = jax.tree.map(
            lambda x: np.asarray(x, dtype), (first["params"], first["model_state"], pair)
        )
        return compiled(
            jax.device_put(params, replicated(mesh)),
            jax.device_put(model_state, replicated(mesh)),
            jax.device_put(data, split(mesh)),
        )

    (loss_one, gradient_one), (loss_eight, gradient_eight) = (
        on(mesh, jax.value_and_grad(loss), np.float64) for mesh in (one, eight)
    )
    leaves_one, leaves_eight = jax.tree.leaves(gradient_one), jax.tree.leaves(gradient_eight)
    assert all(leaf.dtype == np.float64 for leaf in leaves_one)
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in leaves_one))
    worst = max(
        np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(leaves_one, leaves_eight, strict=True)
    )
    assert norm > 0 and worst < 1e-9 * norm, (backbone, worst, norm)
    np.testing.assert_allclose(loss_one, loss_eight, rtol=1e-9)
    narrow = [on(mesh, loss, np.float32) for mesh in (one, eight)]
    assert narrow[0].dtype == np.float32
    np.testing.assert_allclose(narrow[0], narrow[1], rtol=1e-5)


def main() -> None:
    assert jax.device_count() == 8
    one, eight = (
        jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 8)
    )
    pair = siamese_pair(one)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), pair, siamese_pair(eight))
    for backbone in ("hourglass", "hrnet"):
        compare(backbone, one, eight, pair)
    print("eight devices equal one")


if __name__ == "__main__":
    main()
