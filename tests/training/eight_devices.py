"""Run by test_multidevice.py: preparation and the gradient of the whole loss, on one device and on eight.

Gradients in float64, to 1e-9 of their norm; the loss also in float32, to 1e-5. (In float32 batch norm
amplifies rounding.) Preparation works in float32 whatever comes later, and is compared to 1e-5.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from oasjax.augmentation.siamese import SiamesePair, prepare
from oasjax.cli.config_files import load_config
from oasjax.training.mesh import replicated, shard_batch, split
from oasjax.training.tasks import make_task

OVERRIDES = ("--config.loss.mimic.weight=1.0",)


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
    config = load_config("smoke", OVERRIDES)
    task = make_task(config)

    def prepared(batch):
        return prepare(
            jax.random.key(0),
            batch,
            flip_permutation=task.permutation,
            stride=task.stride,
            sigma_cells=1.0,
            flip_probability=0.5,
            colour_jitter=0.2,
            patches=config.augment.patches,
        )

    return jax.jit(prepared, in_shardings=split(mesh))(shard_batch(mesh, random_batch(16)))


def loss_and_gradient(mesh: Mesh, pair: SiamesePair, dtype) -> tuple[jax.Array, list[jax.Array]]:
    task = make_task(load_config("smoke", OVERRIDES))
    variables = jax.tree.map(lambda x: jnp.asarray(x, dtype), task.init(0))

    def loss(params, pair):
        return task.loss_on_pair(params, variables["model_state"], pair, 0)[0]

    compiled = jax.jit(jax.value_and_grad(loss), in_shardings=(replicated(mesh), split(mesh)))
    value, gradient = compiled(
        jax.device_put(variables["params"], replicated(mesh)),
        jax.tree.map(lambda x: jax.device_put(np.asarray(x, dtype), split(mesh)), pair),
    )
    return value, jax.tree.leaves(gradient)


def main() -> None:
    assert jax.device_count() == 8
    one, eight = (
        jax.make_mesh((n,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:n]) for n in (1, 8)
    )
    pair = siamese_pair(one)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), pair, siamese_pair(eight))
    (loss_one, gradient_one), (loss_eight, gradient_eight) = (
        loss_and_gradient(mesh, pair, jnp.float64) for mesh in (one, eight)
    )
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradient_one))
    worst = max(
        np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(gradient_one, gradient_eight, strict=True)
    )
    assert norm > 0 and worst < 1e-9 * norm, (worst, norm)
    np.testing.assert_allclose(loss_one, loss_eight, rtol=1e-9)
    narrow = [loss_and_gradient(mesh, pair, jnp.float32)[0] for mesh in (one, eight)]
    np.testing.assert_allclose(narrow[0], narrow[1], rtol=1e-5)
    print("eight devices equal one")


if __name__ == "__main__":
    main()
