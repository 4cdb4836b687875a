"""What each switch of siamese training changes: which inputs, parameters and loss terms count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from oasjax.datasets.skeletons import COCO, MPII
from oasjax.errors import UserError
from oasjax.training.skeleton import joint_weights
from oasjax.training.tasks import make_task
from oasjax.training.tasks.branches import branch_output, interleave, interleave_outputs
from oasjax.weights.model_folder import save_model
from tests.training.quick_network import TwoStacks, siamese_pair, variables_of

SINGLE = "--config.train.branches=single"
NO_MIMIC = "--config.loss.mimic.kind=none"


def quick_task(make_config, *overrides: str):
    task = make_task(make_config("--config.loss.mimic.weight=1.0", *overrides))
    task.net = task.net.clone(backbone=TwoStacks())
    return task


def parts_and_input_gradients(task, variables=None):
    """The logged parts, and the gradient of the total for the images of both branches."""
    variables, pair = variables or variables_of(task), siamese_pair()

    @jax.jit
    def run(occluded, clean):
        def loss(occluded, clean):
            both = pair._replace(
                occluded=pair.occluded._replace(images=occluded), clean=pair.clean._replace(images=clean)
            )
            return task.loss_on_pair(variables["params"], variables["model_state"], both, 0)

        (_, (parts, state)), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(occluded, clean)
        return parts, gradients, state

    return run(pair.occluded.images, pair.clean.images)


def test_a_single_branch_sees_the_occluded_crops_alone(tiny_config):
    parts, (occluded, clean), _ = parts_and_input_gradients(quick_task(tiny_config, SINGLE, NO_MIMIC))
    assert set(parts) == {"loss", "joints", "accuracy", "occlusion"}
    assert occluded.any() and not clean.any()


def test_without_mimicking_both_branches_are_taught_all_the_same(tiny_config):
    parts, (occluded, clean), _ = parts_and_input_gradients(quick_task(tiny_config, NO_MIMIC))
    assert set(parts) == {"loss", "joints", "accuracy", "occlusion"}
    assert occluded.any() and clean.any()


def test_separate_passes_of_batch_norm_keep_the_branches_apart(tiny_config):
    """In one pass each branch is normalised with the other; in two they meet in L_mimic alone."""
    one_sided = (NO_MIMIC, "--config.loss.branches=occluded")
    separate = "--config.train.batch_norm=separate"
    _, (_, clean), joint_state = parts_and_input_gradients(quick_task(tiny_config, *one_sided))
    assert clean.any()
    parts, (occluded, clean), state = parts_and_input_gradients(quick_task(tiny_config, *one_sided, separate))
    assert occluded.any() and not clean.any()
    # The losses are those of the occluded branch; the running statistics are of both.
    single = quick_task(tiny_config, SINGLE, NO_MIMIC)
    alone, _, single_state = parts_and_input_gradients(single)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), parts, alone)
    for other in (joint_state, single_state):
        differ = jax.tree.map(lambda a, b: not np.allclose(a, b, atol=1e-7), state["net"], other["net"])
        assert any(jax.tree.leaves(differ))
    _, (_, clean), _ = parts_and_input_gradients(quick_task(tiny_config, "--config.loss.branches=occluded"))
    assert clean.any()


def test_two_passes_give_what_one_gives_where_nothing_depends_on_the_batch(tiny_config):
    task, pair = quick_task(tiny_config), siamese_pair()
    variables = variables_of(task)
    weights = {"params": variables["params"]["net"], "batch_stats": variables["model_state"]["net"]}
    apply = jax.jit(lambda images: task.net.apply(weights, images, train=False))
    first, second = apply(pair.occluded.images), apply(pair.clean.images)
    together = apply(interleave(pair.occluded.images, pair.clean.images))
    merged = interleave_outputs(first, second)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), merged, together)
    for number, branch in enumerate((first, second)):
        picked = branch_output(together, number)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), picked, branch)


def scaled(make_config, *overrides: str) -> dict[str, float]:
    """Parts of a single branch's loss."""
    task = quick_task(make_config, SINGLE, NO_MIMIC, *overrides)
    return {name: float(value) for name, value in parts_and_input_gradients(task)[0].items()}


def test_reduction_and_factor_scale_both_supervised_losses(tiny_config):
    mean, total = scaled(tiny_config), scaled(tiny_config, "--config.loss.reduction=sum")
    np.testing.assert_allclose(total["joints"], mean["joints"] * 8 * 8 * 16, rtol=1e-5)
    np.testing.assert_allclose(total["occlusion"], mean["occlusion"] * 8 * 8, rtol=1e-5)
    half = scaled(tiny_config, "--config.loss.factor=0.5")
    for name, value in mean.items():
        np.testing.assert_allclose(half[name], 0.5 * value, rtol=1e-5)


def test_hard_joints_take_the_largest_errors_alone(tiny_config):
    mean, hard = scaled(tiny_config), scaled(tiny_config, "--config.loss.hard_joints=4")
    assert hard["joints"] > mean["joints"]
    np.testing.assert_allclose(hard["occlusion"], mean["occlusion"], rtol=1e-6)


def test_joint_weights_are_hrnets_and_enter_squared(tiny_config):
    expected = [1.0] * 7 + [1.2, 1.2, 1.5, 1.5, 1.0, 1.0, 1.2, 1.2, 1.5, 1.5]
    np.testing.assert_allclose(joint_weights(COCO), expected)
    task, pair = (
        quick_task(tiny_config, SINGLE, NO_MIMIC, "--config.target.joint_weights=True"),
        siamese_pair(),
    )
    variables = variables_of(task)
    loss = jax.jit(task.loss_on_pair)

    def only(joint):
        weight = jnp.zeros_like(pair.joint_weight).at[:, joint].set(1.0)
        picked = pair._replace(joint_weight=weight)
        return float(loss(variables["params"], variables["model_state"], picked, 0)[1][0]["joints"])

    weighted = [only(joint) for joint in (0, 9)]
    task.config = tiny_config(SINGLE, NO_MIMIC)
    loss = jax.jit(lambda *arguments: task.loss_on_pair(*arguments))
    plain = [only(joint) for joint in (0, 9)]
    ankle, head_top = joint_weights(MPII)[[0, 9]]
    np.testing.assert_allclose(weighted, [ankle**2 * plain[0], head_top**2 * plain[1]], rtol=1e-5)


@pytest.fixture(scope="module")
def teacher_folder(tiny_config, tmp_path_factory):
    """A model folder of the smoke test's network with other weights than the student's."""
    folder = tmp_path_factory.mktemp("teacher") / "model"
    config = tiny_config()
    variables = jax.device_get(make_task(config).init(7))
    kept = {group: {"net": variables[group]["net"]} for group in ("params", "model_state")}
    save_model(folder, kept, config.to_dict(), "# teacher\n")
    return folder


def test_a_frozen_teacher_shows_the_clean_crops_and_the_student_the_occluded_ones(
    tiny_config, teacher_folder
):
    task = make_task(
        tiny_config(SINGLE, f"--config.train.teacher={teacher_folder}", "--config.loss.mimic.kind=l2")
    )
    variables = variables_of(task)
    assert set(variables["params"]) == {"net"} and "teacher" in variables["model_state"]
    parts, (occluded, clean), state = parts_and_input_gradients(task, variables)
    assert set(parts) == {"loss", "joints", "accuracy", "occlusion", "mimic"}
    # The clean crops reach the loss, but nothing is learnt through them: the teacher stands still.
    assert occluded.any() and not clean.any()
    jax.tree.map(np.testing.assert_array_equal, state["teacher"], variables["model_state"]["teacher"])

    pair = siamese_pair()
    loss = jax.jit(task.loss_on_pair)

    def mimic(model_state, pair):
        return float(loss(variables["params"], model_state, pair, 0)[1][0]["mimic"])

    other = pair._replace(clean=pair.clean._replace(images=1 - pair.clean.images))
    moved = jax.tree.map(lambda x: 1.5 * x, variables["model_state"]["teacher"])
    before = mimic(variables["model_state"], pair)
    assert mimic(variables["model_state"], other) != before
    assert mimic(variables["model_state"] | {"teacher": moved}, pair) != before


def test_a_student_with_the_teachers_weights_has_nothing_to_mimic_in_equal_crops(tiny_config, teacher_folder):
    """Both networks in evaluation mode see the same crop: their features are the same."""
    task = make_task(
        tiny_config(SINGLE, f"--config.train.teacher={teacher_folder}", "--config.loss.mimic.kind=l2")
    )
    teacher, images = task.teacher, siamese_pair().clean.images
    ours = jax.jit(lambda v, x: task.net.apply(v, x, train=False).reconstructed)(teacher.variables, images)
    theirs = jax.jit(lambda v, x: teacher(v, x).reconstructed)(teacher.variables, images)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--config.train.branches=twin",), "config.train.branches is 'twin'.*siamese.*single"),
        (("--config.train.batch_norm=none",), "config.train.batch_norm is 'none'.*joint.*separate"),
        (("--config.loss.branches=clean",), "config.loss.branches is 'clean'.*both.*occluded"),
        (("--config.loss.reduction=max",), "config.loss.reduction is 'max'.*mean.*sum"),
        (("--config.target.codec=round",), "config.target.*codec is 'round'.*hrnet.*subpixel"),
        (("--config.augment.patches.max_patches=-1",), "config.augment.patches.*max_patches"),
        ((SINGLE,), "single has nobody to mimic.*kind=none"),
        (("--config.train.teacher=x",), "teacher stands in for the clean branch.*branches=single"),
        ((SINGLE, NO_MIMIC, "--config.train.teacher=x"), "teacher is named, but.*kind is none"),
    ],
)
def test_switches_that_do_not_go_together_are_explained_at_once(tiny_config, overrides, message):
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(*overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--config.data.normalization=none", "data.normalization of .* is imagenet, here it is none"),
        ("--config.model.hourglass.features=16", "features of .* channels.* cannot be compared"),
    ],
)
def test_a_teacher_that_does_not_fit_is_explained_before_training(
    tiny_config, teacher_folder, override, message
):
    mimic = (SINGLE, "--config.loss.mimic.kind=l2", f"--config.train.teacher={teacher_folder}")
    with pytest.raises(UserError, match=message):
        make_task(tiny_config(*mimic, override)).init(0)


def test_a_teacher_that_is_not_there_is_missed_at_the_start_and_not_in_prediction(tiny_config, tmp_path):
    config = tiny_config(SINGLE, "--config.loss.mimic.kind=l2", f"--config.train.teacher={tmp_path}/gone")
    task = make_task(config)
    jax.eval_shape(task.predict, make_task(tiny_config()).init(0), jnp.zeros((1, 32, 32, 3), jnp.uint8))
    with pytest.raises(UserError, match="no such model"):
        task.init(0)
