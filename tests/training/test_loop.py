"""Training as a user meets it: one call, checkpoints, interruptions, the same result."""

import json
import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

from oasjax.errors import UserError
from oasjax.inference.predictor import load
from oasjax.inference.run_summary import tables, write_run_summary
from oasjax.training import loop
from oasjax.training.checkpoints import Checkpoints, restore_params
from oasjax.training.history import read_history
from oasjax.training.metrics_log import NonFiniteLossError
from oasjax.training.tasks import make_task
from oasjax.training.tasks.oasnet import OASNetTask
from oasjax.training.workdir import plain
from oasjax.weights.model_folder import save_model


@pytest.fixture(autouse=True, scope="module")
def drawn_once():
    """The people of all runs in this file are the same: draw them once."""
    from oasjax import input_pipeline

    sources = {}

    def open_once(data, split, skeleton=None, original=input_pipeline.open_source):
        if (split, data.to_json()) not in sources:
            sources[split, data.to_json()] = original(data, split, skeleton)
        return sources[split, data.to_json()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "open_source", open_once)
        yield


@pytest.fixture(scope="module")
def unbroken(tiny_config, tmp_path_factory):
    """A whole run: (workdir, result, how often loss and prediction were traced)."""
    traced = {"loss": 0, "predict": 0}

    def counting(name, original):
        def call(*args, **kwargs):
            traced[name] += 1
            return original(*args, **kwargs)

        return call

    workdir = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        for name in traced:
            patch.setattr(OASNetTask, name, counting(name, getattr(OASNetTask, name)))
        result = loop.train_and_evaluate(tiny_config(), workdir)
    return workdir, result, traced


def assert_equal_states(first, second) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_train_and_eval_steps_trace_once_each(unbroken):
    assert unbroken[2] == {"loss": 1, "predict": 1}


def test_metrics_hold_before_after_mean_pose_and_the_data(unbroken):
    workdir, result, _ = unbroken
    metrics = json.loads((workdir / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(result.metrics))
    assert set(metrics) == {"before", "after", "mean_pose", "data"}
    for name in ("before", "after"):
        assert metrics[name]["all"]["occlusion"]["joints"] > 0
    for name in ("before", "after", "mean_pose"):
        for split in ("all", "visible", "occluded"):
            assert {"mean", "mean_unweighted", "ankle"} <= set(metrics[name][split]["pckh@0.5"])
    assert metrics["data"]["eval"]["people"] == 10
    causes = [metrics["data"]["train"][f"occluded_by_{c}"] for c in ("self", "person", "object")]
    np.testing.assert_allclose(sum(causes), metrics["data"]["train"]["occluded"])


def test_every_test_person_is_predicted_once_and_in_order(unbroken):
    rows = unbroken[1].test_rows["clean"]
    np.testing.assert_array_equal(rows["example_id"], np.arange(10))
    assert np.isfinite(rows["keypoints"]).all()
    assert (rows["occlusion"] >= 0).all() and (rows["occlusion"] <= 1).all()


def test_the_loss_is_logged_in_parts_and_falls(unbroken, tiny_config):
    weights = tiny_config().loss
    rows = read_history(unbroken[0])
    assert [row["step"] for row in rows] == [2, 4, 6]
    for row in rows:
        total = row["joints"] + weights.occlusion_weight * row["occlusion"]
        total += weights.mimic.weight * row["mimic"]
        assert row["loss"] == pytest.approx(total, rel=1e-5)
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize("stop_before_batch", [3, 6])
def test_a_run_stopped_by_sigterm_and_resumed_equals_the_unbroken_one(
    unbroken, tiny_config, tmp_path, monkeypatch, stop_before_batch
):
    placed = []

    def terminate(mesh, batch, original=loop.shard_batch):
        if batch["image"].shape[0] == 8:
            placed.append(None)
        # Evaluation before training places two batches.
        if len(placed) == 2 + stop_before_batch:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(mesh, batch)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "shard_batch", terminate)
        patch.setattr(loop.evaluation, "shard_batch", terminate)
        stopped = loop.train_and_evaluate(tiny_config(), tmp_path)
    assert stopped.signal == signal.SIGTERM and not stopped.test_rows
    assert 0 < int(stopped.state.step) < 6
    resumed = loop.train_and_evaluate(tiny_config(), tmp_path)
    assert_equal_states(resumed.state, unbroken[1].state)
    assert resumed.metrics == unbroken[1].metrics
    losses, expected = ([r["loss"] for r in read_history(w)] for w in (tmp_path, unbroken[0]))
    assert losses[-1] == expected[-1]


def test_resuming_passes_over_a_damaged_checkpoint_and_ends_the_same(unbroken, tiny_config, tmp_path):
    workdir = shutil.copytree(unbroken[0], tmp_path / "copy")
    params = workdir / "checkpoints" / "6" / "params"
    victim = max((p for p in params.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-10])
    said: list[str] = []
    again = loop.train_and_evaluate(tiny_config(), workdir, say=said.append)
    assert any("checkpoint 6 is passed over" in line for line in said)
    assert any("resuming from step 4" in line for line in said)
    assert_equal_states(again.state, unbroken[1].state)


def test_a_finished_run_is_evaluated_again_without_training(unbroken, tiny_config, tmp_path):
    workdir = shutil.copytree(unbroken[0], tmp_path / "copy")
    said: list[str] = []
    metrics = loop.evaluate_latest(tiny_config(), workdir, say=said.append)
    assert metrics == unbroken[1].metrics
    assert not any("train_step" in line for line in said)


def test_a_test_set_that_is_asked_for_later_is_scored_and_shown(unbroken, tiny_config, tmp_path):
    workdir = shutil.copytree(unbroken[0], tmp_path / "copy")
    config = tiny_config("--config.eval.test_sets=('clean','pasted')")
    metrics = loop.evaluate_latest(config, workdir)
    assert set(metrics["pasted"]) == {"after"}
    assert "with pasted occluders" in tables(metrics)


def test_a_workdir_of_another_config_is_refused_and_left_alone(unbroken, tiny_config):
    workdir: Path = unbroken[0]
    before = (workdir / "config.json").read_text()
    with pytest.raises(UserError, match=r"optimizer\.learning_rate is 0\.\d+ there and 0\.5 now"):
        loop.train_and_evaluate(tiny_config("--config.optimizer.learning_rate=0.5"), workdir)
    assert (workdir / "config.json").read_text() == before


def test_a_loss_that_is_not_finite_stops_the_run_and_is_never_saved(tiny_config, tmp_path):
    config = tiny_config(
        "--config.optimizer.learning_rate=1e30",
        "--config.optimizer.schedule.warmup_steps=0",
        "--config.log.checkpoint_every=1",
    )
    with pytest.raises(NonFiniteLossError, match="is not finite"):
        loop.train_and_evaluate(config, tmp_path)
    saved = Checkpoints(tmp_path, keep=1, say=print).latest_good()
    assert saved is None or all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restore_params(tmp_path)))


def test_pasted_occluders_are_fixed_and_their_joints_known(tiny_config, tmp_path):
    config = tiny_config("--config.eval.test_sets=('clean','pasted')", "--config.train.num_steps=3")
    result = loop.train_and_evaluate(config, tmp_path)
    assert {"before", "after", "mean_pose"} == set(result.metrics["pasted"])
    clean, pasted = result.test_rows["clean"], result.test_rows["pasted"]
    assert not clean["pasted"].any() and pasted["pasted"].any()
    changed = (clean["image"] != pasted["image"]).any(-1).mean((1, 2))
    assert (changed > 0).all()
    again = loop.evaluate_latest(config, tmp_path)
    assert again["pasted"]["after"] == result.metrics["pasted"]["after"]


def test_occluders_of_the_test_are_those_of_eval_whatever_the_model_is_trained_with(tiny_config):
    def pasted(*overrides):
        task = make_task(tiny_config(*overrides))
        return jax.jit(task.paste_test_occluders)(
            np.full((2, 32, 32, 3), 128, np.uint8),
            {
                "keypoints": np.full((2, 16, 2), 15.0, np.float32),
                "visibility": np.full((2, 16), 2, np.int8),
                "example_id": np.arange(2),
            },
        )

    images, hidden = pasted()
    again, hidden_again = pasted("--config.augment.patches.max_patches=0", "--config.seed=7")
    np.testing.assert_array_equal(again, images)
    np.testing.assert_array_equal(hidden_again, hidden)
    others, _ = pasted("--config.eval.seed=7")
    assert (np.asarray(others) != np.asarray(images)).any()


def test_a_mixture_with_cutouts_trains_and_is_scored_over_scales(tiny_config, tmp_path):
    config = tiny_config(
        "--config.data.train_on=('synthetic_people','synthetic_people:eval')",
        "--config.augment.patches.kinds.cutout=1.0",
        "--config.eval.scales=(0.8,1.0,1.25)",
        "--config.train.num_steps=3",
    )
    result = loop.train_and_evaluate(config, tmp_path)
    assert np.asarray(result.state.model_state["cutouts"]).any()
    assert result.metrics["data"]["train"]["people"] == 24 + 10
    rows = result.test_rows["clean"]
    assert rows["keypoints"].shape == (10, 16, 2) and rows["image"].shape == (10, 32, 32, 3)
    assert np.isfinite(rows["keypoints"]).all()


@pytest.mark.parametrize("codec, expected", [("hourglass", [4.0, 7.0]), ("subpixel", [3.6, 6.2])])
def test_positions_are_scored_in_whole_pixels_where_the_codec_says_so(tiny_config, codec, expected):
    scorer = loop.set_up(tiny_config(f"--config.target.codec={codec}"), lambda line: None).scorer
    rows = {
        "keypoints": np.broadcast_to(np.float32([3.6, 6.2]), (1, 16, 2)),
        "crop_to_image": np.float32([[[1, 0, 0], [0, 1, 0]]]),
    }
    np.testing.assert_allclose(scorer.in_image(rows, rows)[0, 0], expected, rtol=1e-6)


# A published network: nothing but a backbone and a joint head.
PLAIN = (
    "--config.model.occlusion_head=none",
    "--config.model.erase_reconstruct.erase=False",
    "--config.model.erase_reconstruct.reconstruct=False",
    "--config.loss.mimic.kind=none",
)


@pytest.fixture
def donor(tiny_config, tmp_path) -> tuple[Path, dict]:
    """A model folder of the plain network with weights of another seed, and these weights."""
    config = tiny_config(*PLAIN)
    variables = OASNetTask(config).init(5)
    save_model(tmp_path / "donor", variables, plain(config), "")
    return tmp_path / "donor", variables


def test_pretrained_weights_are_in_the_first_state_where_they_are_wanted(donor, tiny_config):
    folder, given = donor
    config = tiny_config(f"--config.model.pretrained={folder}")
    said: list[str] = []
    setup = loop.set_up(config, said.append)
    said.clear()
    own = setup.task.init(config.seed)
    state = loop.first_state(setup, optax.sgd(1.0), pretrained=True)
    assert_equal_states(state.params["net"]["backbone"], given["params"]["net"]["backbone"])
    assert_equal_states(state.params["net"]["head0"]["joints"], given["params"]["net"]["head0"]["joints"])
    assert_equal_states(state.params["net"]["head0"]["occlusion"], own["params"]["net"]["head0"]["occlusion"])
    assert_equal_states(state.params["critic"], own["params"]["critic"])
    assert str(folder) in said[0] and "random" in said[1] and "head0/occlusion" in said[1]
    state = loop.first_state(setup, optax.sgd(1.0), pretrained=False)
    assert_equal_states(state.params, own["params"])


def test_a_plain_network_has_no_occlusion_anywhere_and_a_finished_run_forgets_where_it_began(
    donor, tiny_config, tmp_path
):
    folder, _ = donor
    workdir = tmp_path / "workdir"
    config = tiny_config(*PLAIN, f"--config.model.pretrained={folder}", "--config.train.num_steps=3")
    result = loop.train_and_evaluate(config, workdir)
    assert set(read_history(workdir)[-1]) >= {"joints", "loss"}
    assert not {"occlusion", "mimic"} & set(read_history(workdir)[-1])
    assert not {"occlusion", "occlusion_map"} & set(result.test_rows["clean"])
    write_run_summary(workdir, result, "oasjax train")
    assert "occlusion map near 1" not in (workdir / "report.html").read_text()
    (person,) = load(workdir / "model").predict([np.zeros((32, 32, 3), np.uint8)])[0].people
    assert person.occlusion is None and person.occlusion_map is None

    shutil.rmtree(folder)
    again = loop.train_and_evaluate(config, workdir)
    assert_equal_states(again.state, result.state)
    with pytest.raises(UserError, match="no such model folder"):
        loop.train_and_evaluate(config, tmp_path / "another")
    assert not (tmp_path / "another").exists()


@pytest.mark.parametrize(
    "override, message",
    [
        ("--config.task=segmentation", "oasnet"),
        ("--config.model.name=resnet", "hourglass"),
        ("--config.skeleton=coco", "mpii"),
        ("--config.skeleton=spider", "unknown skeleton 'spider'; there are: mpii"),
        ("--config.skeleton=lsp", "has the joints of 'mpii'"),
        ("--config.data.name=nothing", "synthetic_people"),
        ("--config.data.look=indoor", "studio, street"),
        ("--config.data.render_size=20", "at least 48"),
        ("--config.data.eval_size=0", "eval_size"),
        ("--config.data.input_size_wh=(30,32)", "multiples of"),
        ("--config.eval.metrics=('iou',)", "pckh"),
        ("--config.eval.metrics=('keypoint_ap',)", "can give: pckh, pck, occlusion"),
        ("--config.eval.test_sets=('hard',)", "clean"),
        ("--config.eval.test_sets=()", "clean"),
        ("--config.data.eval_split=test", "choose eval or train"),
        ("--config.log.every=0", "log.every"),
        ("--config.log.keep_checkpoints=0", "keep_checkpoints"),
        ("--config.model.dtype=float3", "float3"),
        ("--config.train.batch_size=0", "batch_size"),
        ("--config.train.num_steps=0", "num_steps"),
    ],
)
def test_a_config_that_cannot_work_is_explained_before_any_training(tiny_config, tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        loop.train_and_evaluate(tiny_config(override), tmp_path / "workdir")
    assert not (tmp_path / "workdir" / "checkpoints").exists()


@pytest.mark.parametrize(
    "override, message",
    [
        ("--config.eval.patches.max_patches=0", "eval.patches.max_patches above 0"),
        ("--config.eval.scales=(0.8,1.0)", "crops of one scale"),
    ],
)
def test_pasted_occluders_that_cannot_be_are_explained(tiny_config, tmp_path, override, message):
    overrides = ("--config.eval.test_sets=('clean','pasted')", "--config.eval.patches.min_patches=0")
    with pytest.raises(UserError, match=message):
        loop.train_and_evaluate(tiny_config(*overrides, override), tmp_path)
