"""L_mimic in training: which parameters each way of training the critic reaches, masks, epsilon by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.errors import UserError
from oasjax.losses.mimic import mimic_loss
from oasjax.training.tasks.mimic import Mimic

CELLS = (3, 4, 6, 8)


@pytest.fixture
def make_mimic(tiny_config):
    """Function `(*overrides of config.loss.mimic) -> (Mimic, params, state)`."""

    def make(*overrides: str) -> tuple[Mimic, dict, dict]:
        config = tiny_config(*(f"--config.loss.mimic.{override}" for override in overrides))
        mimic = Mimic(config.loss.mimic, 100, jnp.float32)
        return mimic, *jax.tree.map(jnp.asarray, mimic.init(0, CELLS))

    return make


def inputs(seed: int = 0) -> tuple[jax.Array, ...]:
    """Features of the clean and of the occluded branch; true and predicted occlusion map."""
    random = np.random.default_rng(seed)
    clean = random.normal(size=CELLS)
    occluded = clean + 0.3 * random.normal(size=CELLS)
    maps = random.uniform(0.1, 0.9, size=(2, *CELLS[:3], 1))
    return tuple(jnp.asarray(a, jnp.float32) for a in (clean, occluded, *maps))


def gradients(mimic: Mimic, params, state, step: int = 0):
    """Value and gradients by params, clean and occluded features; what is logged; the new state."""

    def loss(params, clean, occluded):
        return mimic.loss(params, state, clean, occluded, *inputs()[2:], step)

    clean, occluded = inputs()[:2]
    return jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)(params, clean, occluded)


def kernel(tree) -> jax.Array:
    return tree["critic"]["conv"]["kernel"]


def test_a_joint_critic_learns_with_the_features(make_mimic):
    mimic, params, state = make_mimic()
    _, (to_params, to_clean, to_occluded) = gradients(mimic, params, state)
    assert kernel(to_params).any() and to_clean.any() and to_occluded.any()


def test_detach_takes_the_clean_features_out_and_leaves_the_critic_its_lesson(make_mimic):
    mimic, params, state = make_mimic("detach=True")
    _, (to_params, to_clean, to_occluded) = gradients(mimic, params, state)
    assert kernel(to_params).any() and to_occluded.any() and not to_clean.any()


def test_a_frozen_critic_has_no_parameters_and_the_features_learn_all_the_same(make_mimic):
    mimic, params, state = make_mimic("critic.training=frozen")
    (value, (logged, changed)), (_, to_clean, _) = gradients(mimic, params, state)
    assert not params and not logged and not changed
    joint = make_mimic()
    (joint_value, (joint_logged, _)), (_, joint_clean, _) = gradients(*joint)
    # At step 0 the joint critic is the initial one.
    np.testing.assert_allclose(value, joint_value, rtol=1e-6)
    np.testing.assert_allclose(joint_logged["mimic_frozen_critic"], value, rtol=1e-6)
    np.testing.assert_allclose(to_clean, joint_clean, rtol=1e-6)


def test_an_adversarial_critic_has_the_opposite_gradient_and_the_features_the_same(make_mimic):
    (value, _), (to_params, *to_features) = gradients(*make_mimic("critic.training=adversarial"))
    (joint_value, _), (joint_params, *joint_features) = gradients(*make_mimic())
    np.testing.assert_array_equal(value, joint_value)
    np.testing.assert_array_equal(kernel(to_params), -kernel(joint_params))
    jax.tree.map(np.testing.assert_array_equal, to_features, joint_features)


def test_an_averaged_critic_follows_its_learned_copy(make_mimic):
    mimic, params, state = make_mimic("critic.training=ema", "critic.ema_decay=0.75")
    moved = jax.tree.map(lambda w: w + 1.0, params)
    (value, (_, changed)), (to_params, to_clean, _) = gradients(mimic, moved, state)
    # The features feel the average, here still the initial critic; the copy learns as a joint critic would.
    (frozen_value, _), (_, frozen_clean, _) = gradients(*make_mimic("critic.training=frozen"))
    joint, _, joint_state = make_mimic()
    _, (joint_params, joint_clean, _) = gradients(joint, moved, joint_state)
    np.testing.assert_allclose(value, frozen_value, rtol=1e-6)
    np.testing.assert_allclose(to_clean, frozen_clean, rtol=1e-6)
    assert jnp.abs(to_clean - joint_clean).max() > 1e-4
    np.testing.assert_allclose(kernel(to_params), kernel(joint_params), rtol=1e-4, atol=1e-8)
    average = changed["critic"]["average"]["conv"]["kernel"]
    np.testing.assert_allclose(average, state["critic"]["average"]["conv"]["kernel"] + 0.25, rtol=1e-6)
    np.testing.assert_array_equal(
        changed["critic"]["initial"]["conv"]["kernel"], state["critic"]["initial"]["conv"]["kernel"]
    )


def test_the_loss_under_the_initial_critic_is_logged_and_not_learned_from(make_mimic):
    mimic, params, state = make_mimic()
    moved = jax.tree.map(lambda w: w + 0.1 * jnp.linspace(-1.0, 1.0, w.size).reshape(w.shape), params)
    (value, (logged, _)), _ = gradients(mimic, moved, state)
    (initial_value, _), _ = gradients(mimic, params, state)
    assert abs(value - initial_value) > 1e-4
    np.testing.assert_allclose(logged["mimic_frozen_critic"], initial_value, rtol=1e-6)

    def logged_loss(params, clean):
        _, (logged, _) = mimic.loss(params, state, clean, *inputs()[1:], 0)
        return logged["mimic_frozen_critic"]

    for gradient in jax.tree.leaves(jax.grad(logged_loss, argnums=(0, 1))(moved, inputs()[0])):
        assert not gradient.any()


@pytest.mark.parametrize("overrides", [("critic.kind=none",), ("critic.kind=average_pool",), ("kind=l2",)])
def test_what_has_no_critic_to_train_has_no_parameters(make_mimic, overrides):
    mimic, params, state = make_mimic(*overrides)
    (value, (logged, changed)), _ = gradients(mimic, params, state)
    assert not params and not state and not logged and not changed and value > 0


@pytest.mark.parametrize("kind", ["l2", "cosine", "kl", "js", "ot"])
def test_the_config_chooses_the_loss(make_mimic, kind):
    mimic, params, state = make_mimic(f"kind={kind}", "critic.kind=none", "mask.source=none", "reduction=sum")
    clean, occluded, *maps = inputs()
    value, _ = mimic.loss(params, state, clean, occluded, *maps, 0)
    expected = mimic_loss(clean, occluded, jnp.ones_like(maps[0]), kind=kind, reduction="sum")
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_the_config_chooses_the_mask(make_mimic):
    _, _, true, predicted = inputs()
    np.testing.assert_allclose(make_mimic()[0].mask(true, predicted), 1 - true)
    binary = make_mimic("mask.threshold=0.5")[0].mask(true, predicted)
    np.testing.assert_array_equal(binary, true < 0.5)
    np.testing.assert_array_equal(make_mimic("mask.source=none")[0].mask(true, predicted), 1.0)
    guessing = make_mimic("mask.source=predicted")[0]
    np.testing.assert_allclose(guessing.mask(true, predicted), 1 - predicted)
    assert not jax.grad(lambda p: guessing.mask(true, p).sum())(predicted).any()


def test_epsilon_falls_geometrically_and_reaches_the_loss(make_mimic):
    mimic, params, state = make_mimic("transport.epsilon=0.4", "transport.epsilon_end=0.1")
    np.testing.assert_allclose([mimic.epsilon(s) for s in (0, 50, 100, 200)], [0.4, 0.2, 0.1, 0.1], rtol=1e-6)
    fixed = make_mimic("transport.epsilon=0.2", "transport.epsilon_end=0.2")
    (halfway, _), _ = gradients(mimic, params, state, step=50)
    (expected, _), _ = gradients(*fixed)
    np.testing.assert_allclose(halfway, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("kind=l1", "kind is 'l1'"),
        ("reduction=average", "reduction is 'average'"),
        ("mask.source=truth", "mask.source is 'truth'"),
        ("transport.epsilon=0.0", "transport.epsilon is 0.0"),
        ("transport.epsilon_end=-1.0", "transport.epsilon_end is -1.0"),
        ("transport.num_iters=0", "num_iters is 0"),
        ("transport.domain=linear", "domain is 'linear'"),
        ("transport.plan_grad=all", "plan_grad is 'all'"),
        ("transport.dead_rows=bury", "dead_rows is 'bury'"),
        ("critic.kind=dense", "kind is 'dense'"),
        ("critic.training=slow", "critic.training is 'slow'"),
        ("critic.groups=3", "3 groups do not divide 8"),
        ("critic.stride=0", "stride is 0"),
        ("critic.stride=4", "stride is 4"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_before_training_starts(make_mimic, override, named):
    with pytest.raises(UserError, match=f"config.loss.mimic.*{named}"):
        make_mimic(override)
