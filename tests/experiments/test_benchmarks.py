"""The harness of the benchmarks, with contenders that advance a clock of their own."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import report, results, sinkhorn
from experiments.benchmarks.harness import OK, Built, Contender, Effort, Skip, run
from experiments.benchmarks.suite import Axis, Suite, Target

THREE_ROUNDS = Effort(seconds=100, fewest=3, most=3, patience=1e3, sample_seconds=1e-9, settling_seconds=0)
ENVIRONMENT = {"cores": 1, "processor": "p", "jax_devices": ["cpu"], "seed": 0, "python": "3", "packages": {}}


class Stage:
    """A clock, and contenders that take the seconds that they are told, the last of them for ever."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def clock(self) -> float:
        return self.now

    def contender(self, name: str, *seconds: float, value: float = 1.0, **options) -> Contender:
        left = list(seconds)

        def call():
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]
            return value

        def build(case):
            return Built(call, lambda result: {"answer": np.asarray(result)}, 1.5, 2000)

        return Contender(name, build, "a sum", **options)


def unable(name: str, error: Exception) -> Contender:
    def build(case):
        raise error

    return Contender(name, build)


def rows_of(
    stage: Stage, *contenders: Contender, effort: Effort = THREE_ROUNDS, reference: str = "a", case=None
):
    rows = run(contenders, case or {"n": 1}, reference=reference, effort=effort, clock=stage.clock)
    return {row.contender: row for row in rows}


def suite_of(*contenders: Contender, **options) -> Suite:
    declared = {
        "name": "sums",
        "summary": "sums",
        "contenders": contenders,
        "reference": "a",
        "axes": {"n": Axis("N", (1, 2)), "m": Axis("M", (3, 4))},
        "panels": ("n",),
        "over": "m",
        "outputs": ("answer",),
        "headline": {"n": 2, "m": 3},
        "packages": (),
        "seed": 0,
    }
    return Suite(**declared | options)


def test_contenders_take_turns_after_their_warm_up():
    stage = Stage()
    rows_of(stage, *(stage.contender(name, 0.1) for name in "abc"))
    assert "".join(stage.calls) == "aabbcc" + "abc" * 3


def test_a_slow_contender_drops_out_and_the_others_go_on():
    stage = Stage()
    effort = Effort(seconds=1, fewest=2, most=4, patience=10, sample_seconds=1e-9, settling_seconds=0)
    rows = rows_of(stage, stage.contender("a", 0.01), stage.contender("b", 7.0), effort=effort)
    assert "".join(stage.calls) == "aab" + "ab" + "aaa"
    assert (rows["a"].rounds, rows["b"].rounds) == (4, 1)


def test_a_fast_contender_is_called_several_times_a_round_after_one_that_does_not_count():
    stage = Stage()
    effort = THREE_ROUNDS._replace(sample_seconds=0.01, settling_seconds=0.005)
    rows = rows_of(stage, stage.contender("a", 0.004), stage.contender("b", 0.02), effort=effort)
    assert "".join(stage.calls) == "aabb" + "aaaab" * 3
    assert rows["a"].calls == 3
    assert rows["a"].median == pytest.approx(0.004)


def test_times_are_quantiles_of_the_rounds():
    stage = Stage()
    row = rows_of(stage, stage.contender("a", 9, 9, 5, 1, 3))["a"]
    assert (row.rounds, row.minimum, row.lower_quartile, row.median, row.upper_quartile) == (3, 1, 2, 3, 4)


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    stage = Stage()
    rows = rows_of(stage, stage.contender("a", 1, 1, 1, 10, 3), stage.contender("b", 1, 1, 2, 10, 30))
    assert rows["b"].ratio == 2  # of 2, 1 and 10; the medians' ratio is 10/3
    assert rows["a"].ratio == 1


def test_outputs_are_compared_with_the_reference():
    stage = Stage()
    rows = rows_of(stage, stage.contender("a", 1, value=4.0), stage.contender("b", 1, value=5.0))
    assert rows["b"].sizes == {"answer": 5.0}
    assert rows["b"].differences == {"answer": 0.25}


def test_whoever_cannot_take_part_leaves_a_row_with_the_reason():
    stage = Stage()

    def call():
        raise RuntimeError("out of\n  memory")

    rows = rows_of(
        stage,
        stage.contender("a", 1),
        unable("b", Skip("b is not installed")),
        unable("c", ValueError("no such shape")),
        Contender("d", lambda case: Built(call)),
        stage.contender("e", 1, only={"n": 2}),
    )
    assert {name: row.status for name, row in rows.items()} == {
        "a": OK,
        "b": "b is not installed",
        "c": "failed: ValueError: no such shape",
        "d": "failed: RuntimeError: out of memory",
        "e": "left out: only at n 2",
    }
    assert all(row.median is None for name, row in rows.items() if name != "a")


def test_a_contender_that_fails_while_it_is_timed_leaves_no_time():
    stage = Stage()
    fails_at = iter([False, False, False, True])

    def call():
        if next(fails_at):
            raise RuntimeError("killed")

    rows = rows_of(stage, stage.contender("a", 1), Contender("b", lambda case: Built(call)))
    assert rows["b"].status == "failed: RuntimeError: killed"
    assert rows["b"].median is None
    assert rows["a"].rounds == 3


def test_without_a_reference_there_are_times_but_no_ratios():
    stage = Stage()
    row = rows_of(stage, stage.contender("b", 1), unable("a", Skip("not here")))["b"]
    assert (row.median, row.ratio, row.differences) == (1, None, {})


def test_rows_are_appended_and_read_back(tmp_path):
    stage = Stage()
    suite = suite_of()
    contenders = (stage.contender("a", 0.1, value=2.0), unable("b, too", Skip('said "no"')))
    path = tmp_path / "results.csv"
    written = []
    for case in ({"n": 1, "m": 3}, {"n": 2, "m": 3}):
        written += rows_of(stage, *contenders, case=case).values()
        results.append(path, suite, written[-2:])
        assert results.read(path, suite) == written
    with path.open() as file:
        assert sum(line[0] == "n" for line in csv.reader(file)) == 1


def test_the_tables_name_every_contender_every_reason_and_every_target(tmp_path):
    stage = Stage()
    contenders = (
        stage.contender("a", 0.001),
        stage.contender("b", 0.002),
        unable("c|d", Skip("needs more memory")),
        stage.contender("e", 0.004, only={"m": 4}),
    )
    targets = (Target("b is fast", "b", at_most=1.5), Target("b is slow", "b", at_least=1.5))
    suite = suite_of(*contenders, targets=targets)
    rows = []
    for case in suite.cases({"n": (1, 2), "m": (3, 4)}):
        rows += rows_of(stage, *contenders, case=case).values()
    text = report.markdown(suite, rows, ENVIRONMENT, "the command")
    assert "Command: `the command`" in text
    assert "**N2 M3**" in text
    assert "| b | a sum | 2.00 | 2.00 to 2.00 | 2.00 | 3 | 2.00 | 1.50 | 0.00200 | 0e+00 |" in text
    assert "| c\\|d |  | needs more memory |" in text
    assert "| b is fast | ratio of *b* at most 1.5 | 2.00 | missed |" in text
    assert "| b is slow | ratio of *b* at least 1.5 | 2.00 | met |" in text
    assert "| N1 | M3 | M4 |\n| --- | --- | --- |\n| a | 1.00 | 1.00 |\n| b | 2.00 | 2.00 |" in text
    assert "| e | - | 4.00 |" in text
    assert "- *c|d*: needs more memory (4 cases)" in text
    assert "- *e*: left out: only at m 4 (N2 M3, N1 M3)" in text
    assert len(report.plot(suite, rows, tmp_path)) == 1
    assert (tmp_path / "times.png").stat().st_size > 1000


def test_the_headline_comes_first_and_no_case_is_lost():
    cases = suite_of().cases({"n": (1, 2), "m": (3, 4)})
    assert cases[0] == {"n": 2, "m": 3}
    assert sorted(tuple(case.values()) for case in cases) == [(1, 3), (1, 4), (2, 3), (2, 4)]


TINY = ["--channels", "8", "--positions", "8", "--iterations", "2", "--batch", "1", "--repeats", "2"]


def test_the_sinkhorn_suite_from_the_command_line(tmp_path, capsys):
    arguments = ["sinkhorn", *TINY, "--only", "^ours", "--uncut", "--plot", "--out", str(tmp_path)]
    command.main(arguments)
    rows = {row.contender: row for row in results.read(tmp_path / "results.csv", sinkhorn.SUITE)}
    assert len(rows) == 7
    for name, row in rows.items():
        assert (row.status, row.rounds) == (OK, 2), name
        assert row.temp_bytes > 0
        assert row.compile_seconds > 0
        if name != "ours log, debiased":
            assert row.differences["loss"] < 1e-5, name
    assert rows["ours log"].differences["gradient"] < 1e-4
    assert rows["ours log, stop"].differences["gradient"] > 0.1
    assert "ours log, debiased" in (tmp_path / "table.md").read_text()
    assert json.loads((tmp_path / "environment.json").read_text())["packages"]["jax"]
    assert (tmp_path / "times_B1.png").exists()

    with pytest.raises(SystemExit, match="2"):  # never over, nor into, other results
        command.main(arguments)
    assert "--resume" in capsys.readouterr().err
    before = (tmp_path / "results.csv").read_bytes()
    command.main([*arguments, "--resume"])
    assert (tmp_path / "results.csv").read_bytes() == before


def test_results_of_another_machine_are_not_continued(tmp_path, capsys):
    command.main(["sinkhorn", *TINY, "--only", "nothing|^ours plain, stop$", "--out", str(tmp_path)])
    about = json.loads((tmp_path / "environment.json").read_text())
    (tmp_path / "environment.json").write_text(json.dumps(about | {"cores": -1}))
    with pytest.raises(SystemExit, match="2"):
        command.main(["sinkhorn", *TINY, "--resume", "--out", str(tmp_path)])
    assert "measured elsewhere" in capsys.readouterr().err


def test_a_peer_that_is_missing_is_a_row(monkeypatch):
    def missing(module):
        raise ModuleNotFoundError(name=module.partition(".")[0])

    monkeypatch.setattr(sinkhorn.importlib, "import_module", missing)
    case = {"channels": 4, "positions": 4, "batch": 8, "iterations": 5}
    peers = [
        contender for contender in sinkhorn.CONTENDERS if not contender.name.startswith(("ours", "naive"))
    ]
    found = {row.contender: row.status for row in run(peers, case, reference="ours plain")}
    assert len(found) == 8
    assert set(found.values()) == {"ott is not installed", "ot is not installed", "torch is not installed"}


def test_naive_loops_equal_ours(monkeypatch):
    monkeypatch.setattr(sinkhorn, "LONGEST_PYTHON_LOOP", 2)
    case = {"batch": 2, "channels": 6, "positions": 9}
    with jax.enable_x64(True):
        x, y = (jnp.asarray(each.astype(np.float64)) for each in sinkhorn.features(case))
        for num_iters in (1, 2, 3, 7):
            ours = sinkhorn._ours(x, y, num_iters)
            np.testing.assert_allclose(sinkhorn.naive_plain(x, y, num_iters), ours, rtol=1e-12)
            np.testing.assert_allclose(sinkhorn.naive_log(x, y, num_iters), ours, rtol=1e-12)
