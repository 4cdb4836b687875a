"""What a user can get wrong ends in one clear sentence and exit code 2."""

import json

import pytest

from oasjax.cli.main import main


def complaint(capsys, *words) -> str:
    """The one line on stderr; checks the exit code."""
    assert main([str(word) for word in words]) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("oasjax: "), captured.err
    return lines[0]


@pytest.mark.parametrize("verb", ["train", "evaluate"])
@pytest.mark.parametrize(
    "words, expected",
    [
        (["--config", "quickstrat"], "quickstart"),
        (["--config", "no/such/file.py"], "no/such/file.py"),
        (["--config", "quickstart", "--config.train.num_stepz=5"], "num_steps"),
        (["--config", "quickstart", "--config.train.num_steps=many"], "whole number"),
        (["--config", "quickstart", "--config.train.num_steps"], "no value"),
    ],
)
def test_a_wrong_config(verb, words, expected, tmp_path, capsys):
    assert expected in complaint(capsys, verb, *words, "--workdir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_data_folder_is_named_with_what_it_should_hold(tmp_path, capsys):
    line = complaint(
        capsys, "train", "--config", "lspet_small", "--workdir", tmp_path / "run",
        "--config.data.data_dir=/no/such/folder",
    )  # fmt: skip
    assert "/no/such/folder" in line and "joints.mat" in line


def test_no_data_folder_at_all_says_how_to_name_one(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("OASJAX_DATA_DIR", raising=False)
    line = complaint(capsys, "train", "--config", "lspet_small", "--workdir", tmp_path / "run")
    assert "--config.data.data_dir" in line


def test_evaluating_a_workdir_without_a_checkpoint(tmp_path, capsys):
    assert "train first" in complaint(capsys, "evaluate", "--config", "quickstart", "--workdir", tmp_path)


def test_a_workdir_whose_config_is_broken_or_another(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{")
    words = ("train", "--config", "quickstart", "--workdir", tmp_path)
    assert "config.json" in complaint(capsys, *words)
    (tmp_path / "config.json").write_text(json.dumps({"seed": 5}))
    assert "another config" in complaint(capsys, *words)


def test_a_workdir_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    line = complaint(
        capsys, "train", "--config", "quickstart", "--workdir", tmp_path / "file" / "run",
        "--config.data.train_size=8", "--config.data.eval_size=8", "--config.data.render_size=48",
    )  # fmt: skip
    assert "cannot write" in line and "run" in line


def test_a_model_that_is_no_model(tmp_path, capsys):
    (tmp_path / "photo.jpg").write_bytes(b"not looked at")
    for model in ("nowhere", "."):
        line = complaint(capsys, "predict", "--model", tmp_path / model, tmp_path / "photo.jpg")
        assert str(tmp_path) in line
