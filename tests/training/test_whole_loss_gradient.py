"""The gradient of the whole of eq. 11 in float64, against finite differences along random directions.

Every mimicking loss, the clean branch detached or not, on a tiny hourglass and a tiny HRNet. One forward pass
serves all of them: the network's output is given to each task.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.augmentation.siamese import Branch, SiamesePair
from oasjax.cli.config_files import apply_override
from oasjax.training.tasks import make_task
from oasjax.training.tasks.branches import branch_output, interleave

# Weights that make each loss as large as the others, so that it shows.
KINDS = {"l2": 1.0, "cosine": 1.0, "kl": 100.0, "js": 100.0, "ot": 1.0}
HRNET = (
    "--config.model.hrnet.channels=((4,8),(4,8,16),(4,8,16,32))",
    "--config.model.hrnet.modules=(1,1,1)",
    "--config.model.hrnet.blocks=(1,1,1)",
    "--config.model.erase_reconstruct.width=8",
)
STEP = 1e-9  # ReLU and pooling switch within larger ones


def random_pair(size_px: int) -> SiamesePair:
    random = np.random.default_rng(0)
    cells = size_px // 4

    def array(*shape):
        return jnp.asarray(random.uniform(size=(2, *shape)))

    def branch() -> Branch:
        return Branch(array(size_px, size_px, 3), array(cells, cells, 1), jnp.ones(2), array(16, 3))

    return SiamesePair(branch(), branch(), array(cells, cells, 16), array(16))


def tasks_of(make_config, backbone: str):
    """A task for each kind, detached and not."""
    from oasjax import config_sections

    tasks = []
    for kind, weight in KINDS.items():
        for detach in (False, True):
            config = make_config(
                f"--config.loss.mimic.kind={kind}",
                f"--config.loss.mimic.weight={weight}",
                f"--config.loss.mimic.detach={detach}",
            )
            if backbone == "hrnet":
                with config.unlocked():
                    config.model = config_sections.model("hrnet")
                    for override in HRNET:
                        apply_override(config, override)
            tasks.append(make_task(config))
    return tasks


def totals(tasks, params, state, pair, frozen=None):
    """L of each task. With `frozen` features the detached clean branches show these instead of their own."""
    images = interleave(pair.occluded.images, pair.clean.images)
    output = tasks[-1]._train(params["net"], state["net"], images)
    values = []
    for task in tasks:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(task, "_train", lambda *_: output)
            if frozen is not None and task.config.loss.mimic.detach:
                original = task.mimic.loss
                patch.setattr(
                    task.mimic, "loss", lambda p, s, clean, *rest, o=original: o(p, s, frozen, *rest)
                )
            values.append(task.loss_on_pair(params, state, pair, 0)[0])
    return jnp.stack(values)


@pytest.mark.parametrize("backbone", ["hourglass", "hrnet"])
def test_the_gradient_for_every_mimicking_loss_agrees_with_finite_differences(tiny_config, backbone):
    with jax.enable_x64(True):
        tasks, pair = tasks_of(tiny_config, backbone), random_pair(32)
        # The transport's critic is a parameter of its two tasks alone.
        variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tasks[-1].init(0))
        params, state = variables["params"], variables["model_state"]

        @jax.jit
        def gradients(params):
            value, pull = jax.vjp(lambda p: totals(tasks, p, state, pair), params)
            output, _ = tasks[0]._train(
                params["net"], state["net"], interleave(pair.occluded.images, pair.clean.images)
            )
            return value, jax.vmap(pull)(jnp.eye(len(tasks)))[0], branch_output(output, 1).reconstructed

        @jax.jit
        def along(params, direction, distance, frozen):
            moved = jax.tree.map(lambda p, d: p + distance * d, params, direction)
            return totals(tasks, moved, state, pair, frozen)

        values, gradient, frozen = gradients(params)
        leaves = jax.tree.leaves(gradient)
        assert all(leaf.dtype == jnp.float64 for leaf in leaves)
        norms = np.sqrt(sum(np.sum(np.square(leaf.reshape(len(tasks), -1)), axis=1) for leaf in leaves))
        # Detached or not the value is the same, the gradient is not; and each loss shows.
        np.testing.assert_allclose(values[0::2], values[1::2], rtol=1e-12)
        assert len(np.unique(values.round(6))) == len(KINDS) and len(np.unique(norms.round(6))) == len(tasks)
        random = np.random.default_rng(1)
        for _ in range(3):
            direction = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape)), params)
            ahead, behind = (along(params, direction, sign * STEP, frozen) for sign in (1, -1))
            expected = sum(
                jnp.tensordot(g, d, d.ndim) for g, d in zip(leaves, jax.tree.leaves(direction), strict=True)
            )
            error = np.abs((ahead - behind) / (2 * STEP) - expected)
            rounding = 1e-14 * np.abs(values) / STEP
            assert (error <= 2e-6 * np.abs(expected) + rounding).all(), error / np.abs(expected)
