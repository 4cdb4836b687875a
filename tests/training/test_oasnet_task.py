"""The whole loss of eq. 11, and what each of its switches reaches."""

import jax
import jax.numpy as jnp
import numpy as np

from oasjax.augmentation.siamese import Branch, SiamesePair
from oasjax.training.tasks import make_task


def siamese_pair(size: int = 2, dtype=jnp.float32) -> SiamesePair:
    """Random inputs and targets of a 32x32 pair at stride 4."""
    random = np.random.default_rng(0)

    def array(*shape):
        return jnp.asarray(random.uniform(size=shape), dtype)

    def branch():
        return Branch(array(size, 32, 32, 3), array(size, 8, 8, 1), jnp.ones(size, dtype))

    return SiamesePair(
        occluded=branch(),
        clean=branch(),
        heatmaps=array(size, 8, 8, 16),
        joint_weight=jnp.asarray(random.integers(0, 2, (size, 16)), dtype),
    )


def variables_of(task, dtype=jnp.float32):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), task.init(0))


def test_the_gradient_of_the_whole_loss_agrees_with_finite_differences(tiny_config):
    """Float64, along random directions of all parameters; lambda_mimic = 1 so that L_mimic shows."""
    config = tiny_config(
        "--config.loss.mimic.weight=1.0",
        "--config.model.hourglass.num_stacks=2",
    )
    with jax.enable_x64(True):
        task = make_task(config)
        variables = variables_of(task, jnp.float64)
        pair = siamese_pair(dtype=jnp.float64)
        step_size = 1e-7  # ReLU and pooling switch within larger steps

        @jax.jit
        def along(params, direction, distance):
            moved = jax.tree.map(lambda p, d: p + distance * d, params, direction)
            return task.loss_on_pair(moved, variables["model_state"], pair, 0)[0]

        gradient = jax.jit(jax.grad(lambda p: task.loss_on_pair(p, variables["model_state"], pair, 0)[0]))(
            variables["params"]
        )
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(gradient))
        random = np.random.default_rng(1)
        for _ in range(4):
            direction = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape)), variables["params"])
            ahead = along(variables["params"], direction, step_size)
            behind = along(variables["params"], direction, -step_size)
            expected = sum(
                jnp.vdot(g, d)
                for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
            )
            np.testing.assert_allclose((ahead - behind) / (2 * step_size), expected, rtol=1e-6)


def test_the_total_is_the_weighted_sum_of_the_parts(tiny_config):
    task = make_task(tiny_config("--config.loss.occlusion_weight=0.3", "--config.loss.mimic.weight=0.7"))
    variables = variables_of(task)
    total, (parts, _) = task.loss_on_pair(variables["params"], variables["model_state"], siamese_pair(), 0)
    np.testing.assert_allclose(
        total, parts["joints"] + 0.3 * parts["occlusion"] + 0.7 * parts["mimic"], rtol=1e-6
    )
    assert all(parts[name] > 0 for name in ("joints", "occlusion", "mimic"))


def test_the_two_branches_share_one_pass_of_batch_norm(tiny_config):
    """Swapping the branches of an example leaves the statistics as they were: they are those of both."""
    task = make_task(tiny_config())
    variables, pair = variables_of(task), siamese_pair()
    swapped = pair._replace(occluded=pair.clean, clean=pair.occluded)
    statistics = [
        task.loss_on_pair(variables["params"], variables["model_state"], p, 0)[1][1] for p in (pair, swapped)
    ]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *statistics)
    moved = jax.tree.map(lambda a, b: (a != b).any(), statistics[0]["net"], variables["model_state"]["net"])
    assert all(jax.tree.leaves(moved))


def test_the_flip_test_makes_predictions_of_mirrored_pictures_mirror_images(tiny_config):
    task = make_task(tiny_config())
    variables = variables_of(task)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)), jnp.uint8)
    plain = task.predict(variables, images)
    mirrored = task.predict(variables, images[:, :, ::-1])
    np.testing.assert_allclose(mirrored["occlusion_map"][:, :, ::-1], plain["occlusion_map"], atol=1e-5)
    np.testing.assert_allclose(mirrored["scores"][:, task.permutation], plain["scores"], atol=1e-5)
