"""The command line from training to prediction, as a user types it, with TensorFlow made unimportable."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("without_tensorflow")
    for name in ("tensorflow", "tensorflow_datasets", "tensorboard"):
        (folder / f"{name}.py").write_text(f"raise ImportError('{name} is made unimportable')\n")
    return os.environ | {"PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1"}


def oasjax(*words: str | Path, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "oasjax", *map(str, words)],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def trained(environment, tmp_path_factory) -> tuple[Path, str]:
    """A finished workdir and what the command printed."""
    folder = tmp_path_factory.mktemp("user")
    run = oasjax("train", "--config", "smoke", "--workdir", "run", environment=environment, cwd=folder)
    assert run.returncode == 0, run.stderr
    return folder / "run", run.stdout


def test_training_writes_what_the_documentation_promises(trained):
    workdir, printed = trained
    for name in ("config.json", "metrics.json", "report.html", "history.jsonl", "model/model.safetensors"):
        assert (workdir / name).is_file(), name
    assert (workdir / "checkpoints" / "20.sha256").is_file()
    assert len(list((workdir / "overlays").glob("*.png"))) == 10
    assert list((workdir / "tensorboard").iterdir())
    assert printed.rstrip().endswith(f"report: {Path('run') / 'report.html'}")
    assert "compiling train_step ..." in printed and "pckh@0.5" in printed
    assert "step 20/20" in printed and "images/s" in printed and "\r" not in printed
    page = (workdir / "report.html").read_text()
    assert "<html" in page and 'src="http' not in page


@pytest.mark.parametrize("model", ["", "model"])
def test_prediction_from_the_workdir_and_from_the_model_folder(trained, environment, tmp_path, model):
    workdir, _ = trained
    picture = np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    (tmp_path / "boxes.json").write_text(json.dumps({"photo.png": [[5, 5, 40, 60], [10, 0, 30, 80]]}))
    run = oasjax(
        "predict", "--model", workdir / model, "photo.png", "--boxes", "boxes.json", "--out", "out",
        environment=environment, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    people = written["images"][0]["people"]
    assert len(people) == 2 and len(people[0]["keypoints"]) == 16
    for keypoint in people[0]["keypoints"]:
        assert set(keypoint) == {"name", "x", "y", "score", "occlusion"}
        assert 0 <= keypoint["occlusion"] <= 1
    assert (tmp_path / "out" / "photo_pose.png").is_file()


def test_evaluate_prints_the_same_scores_again(trained, environment):
    workdir, printed = trained
    before = (workdir / "metrics.json").read_text()
    run = oasjax(
        "evaluate", "--config", "smoke", "--workdir", workdir, "--out", "written",
        environment=environment, cwd=workdir,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (workdir / "metrics.json").read_text() == before
    with np.load(workdir / "written" / "predictions.npz") as file:
        assert file["preds"].shape == (10, 16, 2)
    table = printed[printed.index("pckh@0.5") : printed.index("report:")].strip()
    assert table in run.stdout


def test_sigterm_saves_and_exits_with_143_and_the_same_command_resumes(environment, tmp_path):
    words = ["train", "--config", "smoke", "--workdir", "run"]
    words += ["--config.train.num_steps=4000", "--config.log.checkpoint_every=1000000"]
    with subprocess.Popen(
        [sys.executable, "-m", "oasjax", *words],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stdout:
            if line.startswith("step "):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
        assert process.wait(60) == 143, process.stderr.read()
    assert "stopped by SIGTERM" in rest
    saved = [int(path.stem) for path in (tmp_path / "run" / "checkpoints").glob("*.sha256")]
    assert len(saved) == 1 and saved[0] >= 5
    with subprocess.Popen(
        [sys.executable, "-m", "oasjax", *words],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("step "):
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
    assert f"resuming from step {saved[0]}\n" in lines
    assert int(lines[-1].split()[1].split("/")[0]) > saved[0]


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize(
    "values",
    [
        ("skeleton=coco", "data.name=coco_person", "eval.metrics=('keypoint_ap','occlusion')"),
        ("skeleton=mpii", "data.name=mpii", "data.train_on=('mpii:eval',)"),
        ("skeleton=lsp", "data.name=lsp_extended", "data.train_size=40", "eval.metrics=('pck',)"),
    ],
    ids=["coco", "mpii", "lsp_extended"],
)
def test_training_on_real_pictures_takes_other_values_and_nothing_else(
    values, data_dir, environment, tmp_path
):
    sizes = (
        "data.train_size=0",
        "data.eval_size=0",
        "train.num_steps=5",
        "log.every=1",
        "train.batch_size=4",
    )
    overrides = [f"--config.{value}" for value in (*sizes, *values)]
    run = oasjax(
        "train", "--config", "smoke", "--workdir", "run", *overrides,
        environment=environment | {"OASJAX_DATA_DIR": str(data_dir)}, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in history]
    assert len(losses) == 5 and np.isfinite(losses).all()
    people = json.loads((tmp_path / "run" / "metrics.json").read_text())["data"]
    assert people["train"]["people"] >= 4 and people["eval"]["people"] >= 4
    assert (tmp_path / "run" / "report.html").is_file()
