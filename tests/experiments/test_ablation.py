"""The ablation study: its runs, its table, how it goes on after an interruption."""

import csv
import math

import numpy as np
import pytest

from experiments import ablation
from experiments.ablation import FLOOR, Score, Study
from oasjax.errors import UserError

TINY = Study(
    num_steps=3,
    input_side=32,
    features=4,
    depth=1,
    num_stacks=1,
    render_size=48,
    train_size=16,
    eval_size=8,
    warmup_steps=1,
)


def score(row, seed, value, split="all", part="mean", crops=8, test_set="clean"):
    return Score(row, seed, 3, 8, crops, 60.0, test_set, split, "pckh@0.5", part, value)


@pytest.fixture
def fake_runs(monkeypatch):
    """The runs that were asked for; each scores 10 * seed."""
    asked = []

    def run(row, seed, study, out):
        asked.append((row, seed))
        return [score(row, seed, 10.0 * seed), score(FLOOR, seed, 1.0)]

    monkeypatch.setattr(ablation, "run", run)
    monkeypatch.setattr(ablation, "draw_people", lambda study, folder: None)
    return asked


# Configs


@pytest.mark.parametrize("row", ablation.row_names())
def test_rows_differ_from_each_other_in_their_switches_alone(row, tmp_path):
    config, ot = (ablation.study_config(name, 3, Study(), tmp_path) for name in (row, "ot"))
    for section in ("data", "target", "optimizer", "eval", "log", "seed", "skeleton"):
        assert config[section] == ot[section]
    assert config.model.hourglass == ot.model.hourglass
    assert config.train.num_steps == Study().num_steps and config.seed == 3
    assert config.train.batch_size == (16 if row == "base_2b" else 8)
    assert config.data.geometry == "centre" and config.target.codec == "subpixel"
    assert config.is_locked


def test_a_row_keeps_its_switches(tmp_path):
    base = ablation.study_config("base", 0, Study(), tmp_path)
    assert base.train.branches == "single" and base.augment.patches.max_patches == 0
    assert ablation.study_config("kl_detach", 0, Study(), tmp_path).loss.mimic.detach
    teacher = ablation.study_config("distill", 2, Study(), tmp_path).train.teacher
    assert teacher == str(ablation.run_folder(tmp_path, "er", 2))


def test_the_study_on_real_pictures_has_their_joints_and_their_score(tmp_path):
    config = ablation.study_config("ot", 0, ablation.STUDIES["lsp_extended"], tmp_path)
    assert config.data.name == "lsp_extended" and config.skeleton == "lsp"
    assert config.eval.test_sets == ("clean", "pasted") and config.eval.metrics == ("pck",)
    assert config.data.arrays_path == "" and config.data.input_size_wh == (64, 64)


def test_the_papers_figure_is_that_of_the_config():
    assert ablation.paper_score("ot") == "88.69"
    assert ablation.paper_score("base_paste") == "-"


# Runs


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two rows, two seeds, trained for three steps: the folder and the table."""
    out = tmp_path_factory.mktemp("study")
    return out, ablation.run_study(TINY, ["base", "base_2b"], [0, 1], out, resume=False)


def test_a_study_leaves_every_score_of_every_run(study):
    out, _ = study
    scores = ablation.read_results(out / "results.csv")
    runs = {(each.row, each.seed): each.crops_per_step for each in scores}
    assert runs == {
        **{("base", seed): 8 for seed in (0, 1)},
        **{("base_2b", seed): 16 for seed in (0, 1)},
        **{(FLOOR, seed): 8 for seed in (0, 1)},
    }
    for row, seed in runs:
        found = {each[6:10]: each.value for each in scores if (each.row, each.seed) == (row, seed)}
        for split in ablation.SPLITS:
            for part in ablation.MEANS:
                for test_set in ("clean", "pasted"):
                    assert 0 <= found[test_set, split, "pckh@0.5", part] <= 100
    assert (out / "runs" / "base_2b_seed1" / "metrics.json").exists()


def test_the_floor_is_the_same_for_every_seed_as_the_people_are(study):
    scores = ablation.read_results(study[0] / "results.csv")
    values = ablation.values_of(scores, FLOOR, [0, 1], "clean", "all", "pckh@0.5", "mean")
    assert values[0] == values[1] > 0


def test_the_table_and_the_plot_are_written(study):
    out, text = study
    assert (out / "table.md").read_text() == text + "\n"
    for part in text.split("Test set pasted:"):
        rows = [line.split(" | ") for line in part.splitlines() if line.startswith("|")]
        assert [row[0] for row in rows[2:]] == [f"| {FLOOR}", "| base", "| base_2b"]
        assert rows[-1][1:4] == ["16", "2 of 2", "-"]
        assert len(rows[0]) == 5 + 2 * len(ablation.SPLITS)
    assert (out / "scores.png").stat().st_size > 5000


def test_what_is_done_is_not_done_again_and_the_rest_goes_on(fake_runs, tmp_path):
    ablation.run_study(TINY, ["base"], [0], tmp_path, resume=False)
    text = ablation.run_study(TINY, ["base", "er"], [0, 1], tmp_path, resume=True)
    assert fake_runs == [("base", 0), ("er", 0), ("base", 1), ("er", 1)]
    assert "| base | 8 | 2 of 2 |" in text and "| 5.0 ± 7.1 |" in text


def test_results_that_are_there_are_not_overwritten(fake_runs, tmp_path):
    ablation.run_study(TINY, ["base"], [0], tmp_path, resume=False)
    with pytest.raises(UserError, match="go on with --resume"):
        ablation.run_study(TINY, ["base"], [0], tmp_path, resume=False)
    with pytest.raises(UserError, match="of another study"):
        ablation.run_study(Study(), ["base"], [0], tmp_path, resume=True)
    assert fake_runs == [("base", 0)]


def test_an_interrupted_study_keeps_what_it_has(fake_runs, tmp_path, monkeypatch, capsys):
    finished = ablation.run

    def run(row, seed, study, out):
        if row == "er":
            raise KeyboardInterrupt
        return finished(row, seed, study, out)

    monkeypatch.setattr(ablation, "run", run)
    command = ["--rows", "base", "er", "--seeds", "1", "--out", str(tmp_path), "--steps", "7"]
    assert ablation.main(command) == 130
    assert "--resume goes on" in capsys.readouterr().out
    monkeypatch.setattr(ablation, "run", finished)
    assert ablation.main([*command, "--resume"]) == 0
    assert fake_runs == [("base", 1), ("er", 1)]


@pytest.mark.parametrize("words", [["--rows", "no_such_row"], ["--rows", "base", "--data", "imagenet"]])
def test_an_unknown_row_or_data_set_lists_what_there_is(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        ablation.main(words)
    assert stopped.value.code == 2 and "choose from" in capsys.readouterr().err


@pytest.mark.parametrize("steps", ["0", "-5"])
def test_a_study_without_steps_is_refused(steps, capsys):
    with pytest.raises(SystemExit) as stop:
        ablation.main(["--rows", "ot", "--steps", steps])
    assert stop.value.code == 2 and f"--steps is {steps}; it must be at least 1" in capsys.readouterr().err


def test_distillation_needs_its_teacher_first(tmp_path, capsys):
    command = ["--rows", "distill", "er", "--data", "lsp_extended", "--seeds", "7", "--out", str(tmp_path)]
    with pytest.raises(SystemExit):
        ablation.main(command)
    assert "distill learns from the run er_seed7, which is not there: name er" in capsys.readouterr().err


def test_the_warm_up_of_a_short_study_is_a_tenth_of_it(tmp_path):
    schedules = [
        ablation.study_config("ot", 0, Study(num_steps=n), tmp_path).optimizer.schedule for n in (20, 5000)
    ]
    assert [schedule.warmup_steps for schedule in schedules] == [2, Study().warmup_steps]


def test_a_run_that_diverges_is_told_and_counted(monkeypatch, tmp_path):
    def diverge(*args, **kwargs):
        raise ablation.NonFiniteLossError("loss is nan at step 2")

    monkeypatch.setattr(ablation, "train_and_evaluate", diverge)
    found = ablation.run("ot", 0, TINY, tmp_path)
    assert len(found) == 1 and math.isnan(found[0].value) and found[0].row == "ot"
    text = ablation.table([*found, score("ot", 1, 50.0)], ["ot"], [0, 1], "pckh@0.5")
    assert "| ot | 16 | 1 of 2 |" in text and "| 50.0 |" in text


# Table


def test_results_survive_the_file(tmp_path):
    scores = [score("ot", 0, 50.25), score("ot", 1, math.nan)]
    ablation.write_results(tmp_path / "results.csv", scores)
    back = ablation.read_results(tmp_path / "results.csv")
    assert back[0] == scores[0] and back[1][:-1] == scores[1][:-1] and math.isnan(back[1].value)
    with (tmp_path / "results.csv").open(newline="") as file:
        assert next(csv.reader(file)) == list(Score._fields)


@pytest.mark.parametrize(
    ("values", "text"),
    [([], "-"), ([math.nan], "-"), ([50.0], "50.0"), ([50.0, math.nan, 52.0], "51.0 ± 1.4")],
)
def test_mean_and_spread_are_of_the_seeds_that_there_are(values, text):
    assert ablation.mean_and_spread(np.array(values)) == text


def test_a_test_set_has_a_table_of_its_own_and_a_floor_on_top():
    scores = [score("ot", 0, 50.0), score("ot", 0, 30.0, test_set="pasted"), score(FLOOR, 0, 9.0)]
    scores += [score("ot", 0, 40.0, split="occluded", part="mean_unweighted")]
    clean, pasted = ablation.table(scores, ["ot"], [0], "pckh@0.5").split("Test set pasted:")
    assert "| ot | 8 | 1 of 1 | 88.69 | 1.0 | 50.0 | - | - | - | - | 40.0 |" in clean
    assert clean.index(f"| {FLOOR} | - | - | - | - | 9.0 |") < clean.index("| ot |")
    assert "| 30.0 | - | - | - | - | - |" in pasted
