"""Every config: whole, documented, traced at full size; what the rows of the paper are and how they differ.

What shapes the graph of a train step decides which configs are traced: of several alike the first by name.
"""

import json
from collections.abc import Sequence
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from oasjax import config_sections, published_rows
from oasjax.cli.config_files import config_names, find_config, load_config
from oasjax.config_docstrings import read_docstring
from oasjax.datasets.published_counts import PUBLISHED_COUNTS
from oasjax.input_pipeline.batching import DEVICE_KEYS
from oasjax.models.oasnet import OASNet
from oasjax.training import state as training_state
from oasjax.training import workdir
from oasjax.training.optimizers import make_optimizer
from oasjax.training.state import create_train_state
from oasjax.training.step import make_train_step
from oasjax.training.tasks import make_task
from oasjax.training.tasks.oasnet import OASNetTask
from oasjax.training_cost import training_cost
from oasjax.weights.model_folder import save_model

NAMES = config_names()
NOT_IN_THE_GRAPH = ("data.", "eval.", "log.", "seed", "optimizer.", "train.num_steps", "train.batch_size")
# Constants, and switches of a loss that change neither variables nor what is logged.
NOT_IN_THE_GRAPH += (
    "loss.mimic.weight",
    "loss.mimic.detach",
    "loss.mimic.reduction",
    "loss.mimic.transport.",
)
NOT_IN_THE_GRAPH += ("loss.factor", "loss.occlusion_weight", "target.sigma_cells", "augment.colour_jitter")
NOT_IN_THE_GRAPH += ("augment.patches.kinds.", "model.pretrained")
IN_THE_GRAPH = ("data.input_size_wh", "data.normalization", "optimizer.name")
# Those that only make a graph longer or its arrays larger, or exchange a part that other rows have as well.
SIZES = ("data.input_size_wh", "skeleton", "model.hrnet.channels", "optimizer.name")
SIZES += tuple(f"model.hourglass.{name}" for name in ("num_stacks", "depth", "features", "stem_features"))


def leaves(config: ConfigDict) -> dict[str, object]:
    return workdir.flatten(workdir.plain(config))


def graph_of(name: str, without: tuple[str, ...] = ()) -> str:
    """Equal for configs whose train steps are the same but for constants, and for the keys `without`."""
    values = leaves(load_config(name)).items()
    shaping = {k: v for k, v in values if k in IN_THE_GRAPH or not k.startswith(NOT_IN_THE_GRAPH)}
    shaping = {k: v for k, v in shaping.items() if k not in without}
    return json.dumps(shaping | {"pseudo_labels": has_pseudo_labels(name)}, sort_keys=True)


def has_pseudo_labels(name: str) -> bool:
    """Whether its people come with occlusion maps, once the user has named who predicts them."""
    return "lsp_extended" in load_config(name).data.train_on


def first_of_each_graph(without: tuple[str, ...] = ()) -> list[str]:
    """The smallest network of each, by name where these are alike."""

    def size(name: str) -> float:
        cost = training_cost(load_config(name))
        return cost.multiply_adds if cost else 0.0

    # Later ones take the place of earlier ones.
    ordered = sorted(NAMES, key=lambda name: (size(name), name), reverse=True)
    return sorted({graph_of(name, without): name for name in ordered}.values())


def fast_and_slow(fast: Sequence[str], names: Sequence[str]) -> list:
    """All names as parameters of a test; those that are not among the fast ones are marked slow."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


# The files


@pytest.mark.parametrize("name", NAMES)
def test_a_config_has_all_keys_and_no_others(name):
    config = load_config(name)
    whole = config_sections.pose()
    whole.model = config_sections.model(config.model.name)
    assert leaves(config).keys() == leaves(whole).keys()
    assert {k: type(v) for k, v in leaves(config).items()} == {k: type(v) for k, v in leaves(whole).items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_is_in_its_form_and_its_command_trains_this_config(name):
    docstring = read_docstring(find_config(name))
    assert f"oasjax train --config {name} --workdir runs/{name}" in " ".join(docstring.command.split())
    assert bool(docstring.paper) == (docstring.group in ("published row", "ablation"))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if read_docstring(find_config(name)).group != "to try"]
)
def test_a_docstring_states_the_estimated_cost_of_its_values(name):
    assert " ".join(read_docstring(find_config(name)).cost.split()) == str(training_cost(load_config(name)))


# Protocols


def test_the_people_of_an_epoch_are_those_that_the_data_sets_are_known_to_have():
    splits = {"mpii:eval": ("mpii", "validation"), "lsp_extended:eval": ("lsp_extended", "test")}
    for part, number in published_rows.PEOPLE.items():
        name, split = splits.get(part, (part, "train"))
        assert PUBLISHED_COUNTS[name][split]["people"].number == number


@pytest.mark.parametrize(
    ("name", "people", "batch_size", "epochs", "drops"),
    [
        ("hg2_ot", 22_246, 16, 220, (150, 170, 200)),
        ("hg2_base_2b", 22_246, 32, 440, (300, 340, 400)),  # each person twice as often
        ("mpii_test_hg8_oasnet", 25_204, 16, 220, (150, 170, 200)),
        ("lsp_hg8_oasnet", 33_246, 16, 220, (150, 170, 200)),
        ("mpii_w32_oasnet", 22_246, 128, 210, (170, 200)),
        ("coco_w48_oasnet", 149_813, 128, 210, (170, 200)),
        ("coco_w48_384x288_base", 149_813, 96, 210, (170, 200)),
    ],
)
def test_a_run_has_the_published_number_of_epochs(name, people, batch_size, epochs, drops):
    config = load_config(name)
    assert config.train.batch_size == batch_size
    assert config.train.num_steps * batch_size / people == pytest.approx(epochs, abs=0.01)
    schedule = config.optimizer.schedule
    assert schedule.name == "step" and schedule.factor == 0.1 and schedule.warmup_steps == 0
    np.testing.assert_allclose(np.array(schedule.boundaries) * epochs, drops)


PROTOCOLS = {
    "hg2_ot": {
        "data.geometry": "hourglass", "data.input_size_wh": [256, 256], "data.rotation_deg": 30.0,
        "data.rotation_probability": 0.4, "data.scale_factor": 0.25, "data.half_body_probability": 0.0,
        "data.normalization": "hourglass", "augment.colour_jitter": 0.2, "target.codec": "hourglass",
        "target.sigma_cells": 1.0, "loss.factor": 1.0, "optimizer.name": "rmsprop",
        "optimizer.learning_rate": 5e-4, "eval.flip_test": False, "eval.scales": [1.0],
    },
    "mpii_w32_oasnet": {
        "data.geometry": "hrnet", "data.input_size_wh": [256, 256], "data.rotation_deg": 30.0,
        "data.rotation_probability": 0.6, "data.scale_factor": 0.25, "data.half_body_probability": 0.0,
        "data.clip_boxes": False, "data.normalization": "imagenet", "augment.colour_jitter": 0.2,
        "target.codec": "hrnet", "target.sigma_cells": 2.0, "loss.factor": 0.5, "optimizer.name": "adam",
        "optimizer.learning_rate": 1e-3, "optimizer.weight_decay": 0.0, "eval.flip_test": True,
    },
    "coco_w32_oasnet": {
        "data.input_size_wh": [192, 256], "data.rotation_deg": 45.0, "data.scale_factor": 0.35,
        "data.half_body_probability": 0.3, "data.clip_boxes": True, "augment.colour_jitter": 0.0,
        "target.sigma_cells": 2.0, "eval.metrics": ["keypoint_ap", "occlusion"], "eval.oks_nms": 0.9,
    },
    "coco_w32_384x288_base": {"data.input_size_wh": [288, 384], "target.sigma_cells": 3.0},
    "lsp_hg8_oasnet": {
        "skeleton": "lsp", "data.name": "lsp", "eval.scales": [0.8, 0.9, 1.0, 1.1, 1.2, 1.3],
        "data.train_on": ["mpii", "lsp_extended", "lsp_extended:eval", "lsp"],
        "model.hourglass.num_stacks": 8,
    },
    "mpii_test_w32_oasnet": {
        "data.train_on": ["mpii", "mpii:eval"], "eval.scales": [0.8, 0.9, 1.0, 1.1, 1.2, 1.3],
        "eval.flip_test": True,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_the_published_one(name):
    values = leaves(load_config(name))
    assert {key: values[key] for key in PROTOCOLS[name]} == PROTOCOLS[name]


@pytest.mark.parametrize(("augmentation", "size"), [("mpi", (256, 256)), ("mpii", (192, 192))])
def test_hrnet_has_no_other_protocol(augmentation, size):
    with pytest.raises(ValueError, match=r"augmentation is|published for crops of height \(256, 384\)"):
        config_sections.hrnet_protocol(
            config_sections.pose(), 100, augmentation=augmentation, input_size_wh=size
        )


# Ablations

NO_PASTE = {"augment.patches.max_patches"}
SINGLE = {"train.branches", "loss.mimic.kind"}
NOT_ERASED = {"model.erase_reconstruct.erase"}
NOT_REBUILT = NOT_ERASED | {"model.erase_reconstruct.reconstruct"}
HEAD = {"model.occlusion_head"}
KIND = {"loss.mimic.kind"}
DETACH = {"loss.mimic.detach"}
WEIGHT = {"loss.mimic.weight"}
# The keys in which hg2_... differs from hg2_ot.
SWITCHES = {
    "base": SINGLE | NO_PASTE | NOT_REBUILT | HEAD,
    "base_2b": SINGLE | NO_PASTE | NOT_REBUILT | HEAD | {"train.batch_size"},
    "base_paste": SINGLE | NOT_REBUILT | HEAD,
    "occ_class": SINGLE | NO_PASTE | NOT_REBUILT | HEAD,
    "occ_regress": SINGLE | NO_PASTE | NOT_REBUILT,
    "recon": SINGLE | NO_PASTE | NOT_ERASED,
    "er": SINGLE | NO_PASTE,
    "er_paste": SINGLE,
    "siam_none": KIND,
    "l2": KIND,
    "l2_detach": KIND | DETACH,
    "cos": KIND,
    "cos_detach": KIND | DETACH,
    "kl": KIND | WEIGHT,
    "kl_detach": KIND | WEIGHT | DETACH,
    "js": KIND | WEIGHT,
    "ot": set(),
    "ot_detach": DETACH,
    "distill": SINGLE,
    "ot_stop": {"loss.mimic.transport.plan_grad"},
    "ot_debias": {"loss.mimic.transport.debias"},
    "ot_stop_debias": {"loss.mimic.transport.plan_grad", "loss.mimic.transport.debias"},
    "ot_critic_frozen": {"loss.mimic.critic.training"},
    "ot_critic_adversarial": {"loss.mimic.critic.training"},
    "ot_critic_ema": {"loss.mimic.critic.training"},
    "ot_critic_none": {"loss.mimic.critic.kind"},
    "ot_eps_0p05": {"loss.mimic.transport.epsilon", "loss.mimic.transport.epsilon_end"},
    "ot_eps_0p5": {"loss.mimic.transport.epsilon", "loss.mimic.transport.epsilon_end"},
    "ot_r1": {"loss.mimic.transport.num_iters"},
    "ot_r20": {"loss.mimic.transport.num_iters"},
    "ot_ones": {"loss.mimic.reduction"},
}


def test_the_ablations_differ_in_their_switches_alone():
    ours = leaves(load_config("hg2_ot"))
    found = {}
    for name in NAMES:
        if name.startswith("hg2_"):
            theirs = leaves(load_config(name))
            found[name.removeprefix("hg2_")] = {key for key in ours if theirs[key] != ours[key]}
    assert found == SWITCHES


def test_the_weights_of_the_mimicking_losses_are_those_of_section_3_4():
    weights = {kind: load_config(f"hg2_{kind}").loss.mimic.weight for kind in ("l2", "cos", "kl", "js", "ot")}
    assert weights == {"l2": 0.001, "cos": 0.001, "kl": 100.0, "js": 100.0, "ot": 0.001}


# The train step at full size


@pytest.fixture(scope="module")
def full_size_teacher(tmp_path_factory):
    """A model folder for hg2_distill: hg2_er with zeros for weights."""
    folder = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_state, "initial_leaf", lambda path, shape, seed: np.zeros(shape, np.float32))
        write_teacher(folder, load_config("hg2_er"))
    return folder


def write_teacher(folder, config):
    save_model(folder, make_task(config).init(0), workdir.plain(config), "")


def with_teacher(config: ConfigDict, folder) -> ConfigDict:
    """The config, its teacher named where it wants one."""
    if config.train.branches == "single" and config.loss.mimic.kind != "none":
        config = config.copy_and_resolve_references()
        config.train.teacher = str(folder)
    return config


def abstract_batch(
    config: ConfigDict, task: OASNetTask, pseudo_labels: bool
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of the device part of a training batch."""
    people, joints = config.train.batch_size, task.skeleton.num_joints
    width, height = config.data.input_size_wh
    shapes = {
        "image": ((height, width, 3), jnp.uint8),
        "keypoints": ((joints, 2), jnp.float32),
        "visibility": ((joints,), jnp.int8),
        "occlusion_known": ((joints,), jnp.bool_),
        "crop_to_image": ((2, 3), jnp.float32),
        "example_id": ((), jnp.int32),
        "valid": ((), jnp.bool_),
    }
    assert shapes.keys() == set(DEVICE_KEYS)
    if pseudo_labels:
        shapes["occlusion_map"] = (task.codec.map_size_wh[::-1], jnp.float32)
    return {key: jax.ShapeDtypeStruct((people, *shape), dtype) for key, (shape, dtype) in shapes.items()}


@partial(jax.jit, static_argnums=0, static_argnames=("train", "mutable"))
def apply_once(net: OASNet, variables, images, train, mutable=False):
    """`net.apply`, traced once for all rows that share a network and its sizes: it takes most of the time."""
    return nn.Module.apply(net, variables, images, train=train, mutable=mutable)


@pytest.fixture
def traced(full_size_teacher, monkeypatch):
    """Function `name -> (state before, state after, metrics)`, all of them shapes."""
    # No numbers are drawn, and nothing takes memory.
    monkeypatch.setattr(
        training_state, "initial_leaf", lambda path, shape, seed: np.broadcast_to(np.float32(0), shape)
    )

    def apply(net, variables, images, *, train, mutable=()):
        return apply_once(net, variables, images, train=train, mutable=tuple(mutable) or False)

    monkeypatch.setattr(OASNet, "apply", apply)

    def trace(name: str):
        config = with_teacher(load_config(name), full_size_teacher)
        task = make_task(config)
        optimizer = make_optimizer(config.optimizer, config.train.num_steps)
        variables = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), task.init(0))
        before = jax.eval_shape(lambda values: create_train_state(values, optimizer), variables)
        batch = abstract_batch(config, task, has_pseudo_labels(name))
        return before, *jax.eval_shape(make_train_step(task, optimizer, 0), before, batch)

    return trace


# What is logged beside the loss and the norm of its gradient.
LOGGED = {
    "base": {"joints"},
    "base_paste": {"joints"},
    "occ_class": {"joints", "occlusion"},
    "occ_regress": {"joints", "occlusion"},
    "recon": {"joints", "occlusion"},
    "er": {"joints", "occlusion"},
    "siam_none": {"joints", "occlusion"},
    "l2": {"joints", "occlusion", "mimic"},
    "cos": {"joints", "occlusion", "mimic"},
    "kl": {"joints", "occlusion", "mimic"},
    "js": {"joints", "occlusion", "mimic"},
    "distill": {"joints", "occlusion", "mimic"},
    "ot": {"joints", "occlusion", "mimic", "mimic_frozen_critic"},
    "ot_critic_none": {"joints", "occlusion", "mimic"},
    "ot_critic_frozen": {"joints", "occlusion", "mimic"},
    "ot_critic_ema": {"joints", "occlusion", "mimic", "mimic_frozen_critic"},
    "ot_critic_adversarial": {"joints", "occlusion", "mimic", "mimic_frozen_critic"},
}


# The small ones of those that are alike but for sizes are traced by default.
@pytest.mark.parametrize("name", fast_and_slow(first_of_each_graph(SIZES), first_of_each_graph()))
def test_the_train_step_of_full_size_fits_together_and_has_the_parts_of_its_row(name, traced):
    before, after, metrics = traced(name)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(
        lambda x: (x.shape, x.dtype), before
    )
    assert all(value.shape == () for value in metrics.values())
    config = load_config(name)
    heads = {part for head, parts in before.params["net"].items() if head != "backbone" for part in parts}
    assert heads == {"joints"} | ({"occlusion"} if config.model.occlusion_head != "none" else set()) | (
        {"reconstruction"} if config.model.erase_reconstruct.reconstruct else set()
    )
    learns = config.loss.mimic.kind == "ot" and config.loss.mimic.critic.kind != "none"
    assert ("critic" in before.params) == (learns and config.loss.mimic.critic.training != "frozen")
    assert ("teacher" in before.model_state) == (name == "hg2_distill")
    row = name.removeprefix("hg2_")
    if row in LOGGED:
        assert metrics.keys() == LOGGED[row] | {"loss", "accuracy", "gradient_norm"}


def test_the_graphs_that_are_traced_stand_for_all_configs():
    for without in ((), SIZES):
        found = [graph_of(name, without) for name in first_of_each_graph(without)]
        assert len(found) == len(set(found)) and set(found) == {graph_of(name, without) for name in NAMES}
    assert {f"hg2_{row}" for row in LOGGED} <= set(first_of_each_graph())


# Two steps of the same switches, small

TWO_STEPS = (
    "hg2_base",
    "hg2_occ_class",
    "hg2_er_paste",
    "hg2_kl_detach",
    "hg2_ot",
    "hg2_distill",
    "mpii_w32_oasnet",
    "lsp_hg8_oasnet",
)
ALSO = sorted(set(first_of_each_graph(SIZES)) - set(TWO_STEPS))


@cache
def shrunken(name: str) -> ConfigDict:
    """The row's own conventions on 64x64 crops, two people a step."""
    config = published_rows.shrink(load_config(name), input_side=64, features=8)
    config.train.batch_size = 2
    return config


def random_batch(config: ConfigDict, task: OASNetTask, pseudo_labels: bool) -> dict[str, jax.Array]:
    """People with joints all over the crop, a fifth of them occluded; of one of two an occlusion map."""
    random = np.random.default_rng(0)
    shapes = abstract_batch(config, task, pseudo_labels)
    side = config.data.input_size_wh[0]
    batch = {
        "image": random.integers(0, 256, shapes["image"].shape, np.uint8),
        "keypoints": random.uniform(0, side, shapes["keypoints"].shape).astype(np.float32),
        "visibility": random.choice(np.array([1, 2, 2, 2, 2], np.int8), shapes["visibility"].shape),
        "occlusion_known": np.ones(shapes["occlusion_known"].shape, bool),
        "crop_to_image": np.zeros(shapes["crop_to_image"].shape, np.float32),
        "example_id": np.arange(config.train.batch_size, dtype=np.int32),
        "valid": np.ones(config.train.batch_size, bool),
    }
    if pseudo_labels:
        maps = random.uniform(size=shapes["occlusion_map"].shape).astype(np.float32)
        maps[0] = np.nan
        batch["occlusion_map"] = maps
    return jax.tree.map(jnp.asarray, batch)


def test_a_shrunken_config_keeps_switches_and_conventions_and_names_no_files():
    config = load_config("lsp_hg8_oasnet", ["--config.data.pseudo_labels=A", "--config.model.pretrained=B"])
    before = leaves(config)
    small = published_rows.shrink(config, input_side=48, features=12, depth=2, num_stacks=3)
    assert leaves(config) == before
    after = leaves(small)
    changed = {key for key in before if before[key] != after[key]}
    assert not {
        key for key in changed if key.startswith(("loss.", "augment.", "train.", "target.", "optimizer."))
    }
    assert "data.geometry" not in changed and "model.erase_reconstruct.stride" not in changed
    assert (small.data.name, small.data.train_on, small.data.pseudo_labels) == ("synthetic_people", (), "")
    assert small.model.pretrained == "" and small.skeleton == "mpii"
    hourglass = small.model.hourglass
    assert (hourglass.num_stacks, hourglass.depth, hourglass.features) == (3, 2, 12)
    two_stacks = published_rows.shrink(load_config("hg2_er"), input_side=64, features=8, num_stacks=3)
    assert two_stacks.model.hourglass.num_stacks == 2
    hrnet = published_rows.shrink(load_config("coco_w48_oasnet"), input_side=64, features=8).model
    assert hrnet.hrnet.channels[-1] == (8, 16, 32, 64) and hrnet.erase_reconstruct.width == 16


@pytest.mark.parametrize("name", fast_and_slow(TWO_STEPS, [*TWO_STEPS, *ALSO]))
def test_two_small_steps_move_all_weights_that_learn(name, tmp_path):
    config = shrunken(name)
    if name == "hg2_distill":
        write_teacher(tmp_path, shrunken("hg2_er"))
    config = with_teacher(config, tmp_path)
    task = make_task(config)
    optimizer = make_optimizer(config.optimizer, config.train.num_steps)
    first = create_train_state(task.init(0), optimizer)
    # Compiled at once rather than well: it runs twice.
    quick = {"xla_backend_optimization_level": 0}
    step = jax.jit(make_train_step(task, optimizer, 0), compiler_options=quick)
    batch = random_batch(config, task, has_pseudo_labels(name))
    state, _ = step(first, batch)
    state, metrics = step(state, batch)
    assert int(state.step) == 2
    assert all(np.isfinite(value) for value in metrics.values())
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), first.params, state.params)
    unmoved = [path for path, done in jax.tree_util.tree_leaves_with_path(moved) if not done]
    assert not unmoved
    frozen = {"teacher", "critic"} if config.loss.mimic.critic.training != "ema" else {"teacher"}
    for part in frozen & first.model_state.keys():
        same = jax.tree.map(
            lambda a, b: bool((a == b).all()), first.model_state[part], state.model_state[part]
        )
        assert all(jax.tree.leaves(same))
