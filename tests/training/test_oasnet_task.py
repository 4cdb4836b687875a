"""The whole loss of eq. 11, what each of its switches reaches, and predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.augmentation import colour
from oasjax.augmentation.siamese import Branch, SiamesePair
from oasjax.codecs import hrnet, occlusion_map
from oasjax.errors import UserError
from oasjax.training.tasks import make_task, oasnet
from tests.training.quick_network import TwoStacks, siamese_pair, variables_of

EVERY_STACK = "--config.model.erase_reconstruct.every_stack=True"
NOT_ERASED = "--config.model.erase_reconstruct.erase=False"
NOT_REBUILT = "--config.model.erase_reconstruct.reconstruct=False"
CLASSES = ("--config.model.occlusion_head=classification", NOT_ERASED)
NO_HEAD = ("--config.model.occlusion_head=none", NOT_ERASED)


@pytest.fixture
def make_quick_task(tiny_config):
    """Function `(*overrides) -> task` on TwoStacks."""

    def make(*overrides: str):
        task = make_task(tiny_config(*overrides))
        task.net = task.net.clone(backbone=TwoStacks())
        return task

    return make


def check_gradient(task, pair) -> None:
    """The gradient of the whole loss against finite differences along random directions of all parameters."""
    variables = variables_of(task, jnp.float64)
    step_size = 1e-9  # ReLU and pooling switch within larger steps

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
            jnp.vdot(g, d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        )
        np.testing.assert_allclose((ahead - behind) / (2 * step_size), expected, rtol=1e-6)


def test_the_gradient_of_the_whole_loss_agrees_with_finite_differences(tiny_config):
    """Two hourglasses, both with all heads; lambda_mimic = 1 so that L_mimic shows."""
    config = tiny_config(
        "--config.loss.mimic.weight=1.0", "--config.model.hourglass.num_stacks=2", EVERY_STACK
    )
    with jax.enable_x64(True):
        check_gradient(make_task(config), siamese_pair(dtype=jnp.float64))


def test_the_gradient_of_the_loss_with_classes_agrees_with_finite_differences(make_quick_task):
    overrides = ("--config.loss.mimic.weight=1.0", "--config.loss.occlusion_weight=1.0")
    with jax.enable_x64(True):
        check_gradient(make_quick_task(*CLASSES, *overrides), siamese_pair(dtype=jnp.float64))


JOINTS = {"head0/joints", "head1/joints"}
FED_BACK = {"head0/joints"}  # its heatmaps go into the second stack
FIRST = {"head0/joints", "head0/occlusion", "head0/reconstruction"}
MASKED, REBUILT = {"head1/occlusion"}, {"head1/reconstruction"}


@pytest.mark.parametrize(
    ("overrides", "reached"),
    [
        ((), {
            "joints": JOINTS | MASKED | REBUILT,  # the occlusion head by way of erasing
            "occlusion": FED_BACK | MASKED,
            "mimic": FED_BACK | MASKED | REBUILT,
        }),
        ((EVERY_STACK,), {
            "joints": FIRST | JOINTS | MASKED | REBUILT,
            "occlusion": FIRST | MASKED,
            "mimic": FIRST | MASKED | REBUILT,
        }),
        ((NOT_ERASED,), {
            "joints": JOINTS | REBUILT,
            "occlusion": FED_BACK | MASKED,
            "mimic": FED_BACK | REBUILT,
        }),
        ((NOT_REBUILT,), {
            "joints": JOINTS | MASKED,
            "occlusion": FED_BACK | MASKED,
            "mimic": FED_BACK | MASKED,  # the erased features are what the branches mimic
        }),
        (CLASSES, {
            "joints": JOINTS | REBUILT,
            "occlusion": FED_BACK | MASKED,
            "mimic": FED_BACK | REBUILT,
        }),
        (NO_HEAD, {"joints": JOINTS | REBUILT, "mimic": FED_BACK | REBUILT}),
        ((*NO_HEAD, NOT_REBUILT, "--config.loss.mimic.kind=none"), {"joints": JOINTS}),
    ],
)  # fmt: skip
def test_each_switch_decides_which_losses_there_are_and_which_heads_they_teach(
    make_quick_task, overrides, reached
):
    task, pair = make_quick_task(*overrides), siamese_pair()
    variables = variables_of(task)

    def parts(params):
        parts = task.loss_on_pair(params, variables["model_state"], pair, 0)[1][0]
        return {name: value for name, value in parts.items() if name in ("joints", "occlusion", "mimic")}

    gradients = jax.device_get(jax.jit(jax.jacrev(parts))(variables["params"]))
    found = {
        part: {
            f"{head}/{layer}"
            for head in ("head0", "head1")
            for layer, leaves in gradient["net"][head].items()
            if any(leaf.any() for leaf in jax.tree.leaves(leaves))
        }
        for part, gradient in gradients.items()
    }
    assert found == reached
    for part, gradient in gradients.items():
        assert all(leaf.any() for leaf in jax.tree.leaves(gradient["net"]["backbone"])), part


@pytest.mark.parametrize("overrides", [(), CLASSES, NO_HEAD])
def test_the_total_is_the_weighted_sum_of_the_parts(make_quick_task, overrides):
    task = make_quick_task("--config.loss.occlusion_weight=0.3", "--config.loss.mimic.weight=0.7", *overrides)
    variables = variables_of(task)
    total, (parts, _) = jax.jit(task.loss_on_pair)(
        variables["params"], variables["model_state"], siamese_pair(), 0
    )
    occlusion = 0.0 if overrides is NO_HEAD else parts["occlusion"]
    np.testing.assert_allclose(total, parts["joints"] + 0.3 * occlusion + 0.7 * parts["mimic"], rtol=1e-6)
    np.testing.assert_array_equal(total, parts["loss"])
    expected = {"loss", "joints", "accuracy", "occlusion", "mimic", "mimic_frozen_critic"}
    assert set(parts) == expected - ({"occlusion"} if overrides is NO_HEAD else set())
    assert all(value > 0 for value in parts.values())


@pytest.mark.parametrize("overrides", [(), CLASSES])
def test_the_occlusion_loss_compares_each_branch_with_its_own_target(make_quick_task, overrides):
    """Where the second person of one branch counts alone, L_o is that of this person in this branch."""
    task, pair = make_quick_task(*overrides), siamese_pair()
    variables = variables_of(task)
    loss = jax.jit(task.loss_on_pair)
    images = oasnet.interleave(pair.occluded.images, pair.clean.images)
    output, _ = jax.jit(lambda v, x: task.net.apply(v, x, True, mutable="batch_stats"))(
        {"params": variables["params"]["net"], "batch_stats": variables["model_state"]["net"]}, images
    )

    def counting(branch: Branch, person: float) -> Branch:
        """Only joint 5 of the second person, or nobody."""
        counts = jnp.asarray([0.0, person])
        classes = jnp.zeros_like(branch.occlusion_classes).at[1, 5, 2].set(person)
        return branch._replace(occlusion_weight=counts, occlusion_classes=classes)

    for row, name in ((2, "occluded"), (3, "clean")):  # of the interleaved branches
        alone = SiamesePair(
            occluded=counting(pair.occluded, float(name == "occluded")),
            clean=counting(pair.clean, float(name == "clean")),
            heatmaps=pair.heatmaps,
            joint_weight=pair.joint_weight,
        )
        _, (parts, _) = loss(variables["params"], variables["model_state"], alone, 0)
        if overrides is CLASSES:
            expected = -jax.nn.log_softmax(output.occlusion_logits[-1])[row, 5, 2]
        else:
            target = getattr(pair, name).occlusion_map[1]
            expected = jnp.mean(jnp.square(output.occlusion_maps[-1][row] - target))
        np.testing.assert_allclose(parts["occlusion"], expected, rtol=1e-5)


def test_the_two_branches_share_one_pass_of_batch_norm(tiny_config):
    """Swapping the branches of an example leaves the statistics as they were: they are those of both."""
    task = make_task(tiny_config())
    variables, pair = variables_of(task), siamese_pair()
    swapped = pair._replace(occluded=pair.clean, clean=pair.occluded)
    loss = jax.jit(task.loss_on_pair)
    statistics = [loss(variables["params"], variables["model_state"], p, 0)[1][1] for p in (pair, swapped)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *statistics)
    moved = jax.tree.map(lambda a, b: (a != b).any(), statistics[0]["net"], variables["model_state"]["net"])
    assert all(jax.tree.leaves(moved))


def pictures(size: int = 2) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).integers(0, 256, (size, 32, 32, 3)), jnp.uint8)


@pytest.mark.parametrize("overrides", [(), CLASSES])
def test_the_flip_test_makes_predictions_of_mirrored_pictures_mirror_images(make_quick_task, overrides):
    task = make_quick_task(*overrides)
    variables, predict = variables_of(task), jax.jit(task.predict)
    plain = predict(variables, pictures())
    mirrored = predict(variables, pictures()[:, :, ::-1])
    np.testing.assert_allclose(mirrored["scores"][:, task.permutation], plain["scores"], atol=1e-5)
    np.testing.assert_allclose(mirrored["occlusion"][:, task.permutation], plain["occlusion"], atol=1e-5)
    assert plain["occlusion"].std() > 0
    if overrides is not CLASSES:
        np.testing.assert_allclose(mirrored["occlusion_map"][:, :, ::-1], plain["occlusion_map"], atol=1e-5)


def test_without_an_occlusion_head_no_occlusion_is_predicted(make_quick_task):
    task = make_quick_task(*NO_HEAD)
    predictions = jax.eval_shape(task.predict, task.init(0), pictures())
    assert set(predictions) == {"keypoints", "scores"}


def test_predictions_in_the_frame_of_the_published_networks(make_quick_task):
    """Cell 0 is pixel 0, and the maps of the mirrored picture move by one cell."""
    task = make_quick_task("--config.target.codec=hrnet")
    variables = variables_of(task)

    def maps(images):
        output = task.net.apply(
            {"params": variables["params"]["net"], "batch_stats": variables["model_state"]["net"]},
            colour.normalize(colour.to_float(images), "imagenet"),
            False,
        )
        return output.heatmaps[-1], output.occlusion_maps[-1]

    def moved(maps):
        return jnp.concatenate([maps[:, :, :1], maps[:, :, :-1]], axis=2)

    @jax.jit
    def expected(images):
        heatmaps, occlusion = maps(images)
        mirrored_heatmaps, mirrored_occlusion = maps(images[:, :, ::-1])
        heatmaps = (heatmaps + moved(mirrored_heatmaps[:, :, ::-1, task.permutation])) / 2
        occlusion = (occlusion + moved(mirrored_occlusion[:, :, ::-1])) / 2
        cells, _ = hrnet.decode(heatmaps)
        return 4 * cells, occlusion_map.decode(occlusion, cells)

    keypoints, occlusion = expected(pictures())
    predicted = jax.jit(task.predict)(variables, pictures())
    np.testing.assert_allclose(predicted["keypoints"], keypoints, atol=1e-3)
    np.testing.assert_allclose(predicted["occlusion"], occlusion, atol=1e-4)


def test_the_occlusion_of_a_classifier_leaves_the_unlabelled_class_out(make_quick_task):
    task = make_quick_task(*CLASSES, "--config.eval.flip_test=False")
    variables = variables_of(task)
    # Whatever the picture, 16 times P = (.5, .1, .4): .2 of what is labelled.
    head = variables["params"]["net"]["head1"]["occlusion"]
    head["kernel"], head["bias"] = 0 * head["kernel"], jnp.tile(jnp.log(jnp.asarray([0.5, 0.1, 0.4])), 16)
    predictions = jax.jit(task.predict)(variables, pictures())
    np.testing.assert_allclose(predictions["occlusion"], np.full((2, 16), 0.2), rtol=1e-5)
    assert set(predictions) == {"keypoints", "scores", "occlusion"}


def test_a_black_picture_is_zero_only_without_normalization(make_quick_task):
    """TwoStacks has no biases at step 0: zeros in, zeros out."""
    black = jnp.zeros((1, 32, 32, 3), jnp.uint8)
    for name, silent in (("none", True), ("hourglass", False), ("imagenet", False)):
        task = make_quick_task(f"--config.data.normalization={name}")
        scores = jax.jit(task.predict)(variables_of(task), black)["scores"]
        assert (scores == 0).all() == silent


def test_the_scores_of_predictions_are_the_peaks_as_they_are(make_quick_task):
    """Keypoint AP ranks people by them: clipped, all confident ones would be equal."""
    task = make_quick_task("--config.eval.flip_test=False")
    variables = variables_of(task)
    joints = variables["params"]["net"]["head1"]["joints"]
    joints["bias"] = joints["bias"] + 5
    low = jax.jit(task.predict)(variables_of(task), pictures())["scores"]
    high = jax.jit(task.predict)(variables, pictures())["scores"]
    np.testing.assert_allclose(high, low + 5, rtol=1e-5)


def test_the_config_reaches_the_preparation_of_pairs(make_quick_task, monkeypatch):
    asked = {}

    def prepare(key, batch, **settings):
        asked.update(settings)
        return siamese_pair()

    monkeypatch.setattr(oasnet, "prepare", prepare)
    task = make_quick_task("--config.data.normalization=none", "--config.target.codec=hrnet")
    variables = variables_of(task)
    jax.eval_shape(
        lambda params: task.loss(params, variables["model_state"], {}, jax.random.key(0), 0),
        variables["params"],
    )
    assert (asked["normalization"], asked["codec"]) == ("none", task.codec)
    assert (task.codec.pitch_px, task.codec.first_cell_px) == ((4.0, 4.0), (0.0, 0.0))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--config.data.normalization=vgg",), "config.data.normalization is 'vgg'.*hourglass.*imagenet"),
        (("--config.model.name=hrnet",), "config.model.*section 'hrnet' is missing"),
        (("--config.model.occlusion_head=none",), "config.model.*erasing needs an occlusion map"),
        (("--config.model.erase_reconstruct.width=16",), "config.model.*reduce_kernel is 0"),
        (("--config.model.hourglass.layout=lua",), "config.model.*layout is 'lua'"),
        (("--config.model.hourglass.num_stacks=0",), "config.model.*num_stacks is 0"),
        (
            (*CLASSES, "--config.loss.mimic.mask.source=predicted"),
            "config.loss.mimic.*mask.source is 'predicted', but the model predicts no occlusion map",
        ),
    ],
)
def test_values_that_do_not_go_together_are_explained_at_once(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(*overrides)).init(0)
