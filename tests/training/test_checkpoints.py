"""Checkpoints: what is restored, and what happens to broken ones."""

import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from oasjax.errors import UserError
from oasjax.training.checkpoints import Checkpoints, damage, restore_params
from oasjax.training.state import TrainState, create_train_state

OPTIMIZER = optax.adam(1e-3)


def state_at(step: int) -> TrainState:
    random = np.random.default_rng(step)
    variables = {
        "params": {"net": {"kernel": random.normal(size=(8, 8)).astype(np.float32)}},
        "model_state": {"net": {"mean": random.normal(size=8).astype(np.float32)}},
    }
    return create_train_state(variables, OPTIMIZER).replace(step=jnp.asarray(step, jnp.int32))


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A workdir with the steps 1, 2 and 3."""
    workdir = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(workdir, keep=3, say=print)
    for step in (1, 2, 3):
        checkpoints.save(state_at(step), {"config": {"a": 1}})
    return workdir


@pytest.fixture
def workdir(saved, tmp_path) -> Path:
    return shutil.copytree(saved, tmp_path / "workdir")


def reopened(workdir: Path) -> tuple[Checkpoints, list[str]]:
    said: list[str] = []
    return Checkpoints(workdir, keep=3, say=said.append), said


def largest_file(folder: Path) -> Path:
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_a_restored_state_is_the_saved_one_bit_for_bit(workdir):
    checkpoints, said = reopened(workdir)
    assert checkpoints.latest_good() == 3 and not said
    restored = checkpoints.restore(3, state_at(0))
    jax.tree.map(np.testing.assert_array_equal, restored, state_at(3))
    variables = restore_params(workdir)
    np.testing.assert_array_equal(variables["params"]["net"]["kernel"], state_at(3).params["net"]["kernel"])
    assert set(variables) == {"params", "model_state"}


def test_the_layout_is_the_documented_one_and_sha256sum_agrees(workdir):
    folder = workdir / "checkpoints"
    assert {path.name for path in (folder / "3").iterdir()} >= {"state", "params", "meta"}
    subprocess.run(["sha256sum", "--check", "--quiet", "3.sha256"], cwd=folder, check=True)


def test_a_truncated_file_falls_back_to_the_step_before(workdir):
    victim = largest_file(workdir / "checkpoints" / "3" / "params")
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    checkpoints, said = reopened(workdir)
    assert checkpoints.latest_good() == 2
    assert len(said) == 1 and "checkpoint 3 is passed over" in said[0] and "has changed" in said[0]


def test_a_flipped_bit_falls_back_to_the_step_before(workdir):
    victim = largest_file(workdir / "checkpoints" / "3" / "params")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    assert reopened(workdir)[0].latest_good() == 2


def test_a_missing_file_and_a_stray_file_are_both_noticed(workdir):
    folder = workdir / "checkpoints"
    largest_file(folder / "3" / "params").unlink()
    assert "is missing" in damage(folder, 3)
    (folder / "2" / "stray").write_text("x")
    assert "stray has changed" in damage(folder, 2)


@pytest.mark.parametrize("content", ["", "no digest at all\n"])
def test_a_broken_digest_file_makes_its_step_unusable(workdir, content):
    (workdir / "checkpoints" / "3.sha256").write_text(content)
    assert reopened(workdir)[0].latest_good() == 2


def test_a_save_that_was_cut_short_is_passed_over_and_can_be_made_again(workdir):
    (workdir / "checkpoints" / "3.sha256").unlink()
    (workdir / "checkpoints" / "9").mkdir()
    checkpoints, said = reopened(workdir)
    assert checkpoints.latest_good() == 2
    assert all("interrupted" in line for line in said) and len(said) == 2
    checkpoints.save(state_at(9), {})
    assert reopened(workdir)[0].latest_good() == 9


def test_when_all_complete_steps_are_damaged_nothing_is_overwritten(workdir):
    for step in (1, 2, 3):
        largest_file(workdir / "checkpoints" / str(step)).write_bytes(b"")
    with pytest.raises(UserError, match="every checkpoint"):
        reopened(workdir)[0].latest_good()


def test_only_the_newest_are_kept(workdir):
    checkpoints = Checkpoints(workdir, keep=2, say=print)
    checkpoints.save(state_at(4), {})
    assert checkpoints.steps() == [4, 3]
    assert sorted(p.name for p in (workdir / "checkpoints").glob("*.sha256")) == ["3.sha256", "4.sha256"]


def test_a_workdir_without_checkpoints_says_so(tmp_path):
    assert Checkpoints(tmp_path, keep=1, say=print).latest_good() is None
    with pytest.raises(UserError, match="holds no complete checkpoint"):
        restore_params(tmp_path)
