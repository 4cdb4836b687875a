"""The harness of the benchmarks, with contenders that advance a clock of their own."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import building, report, results, sinkhorn
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
    headline = {"n": 2, "m": 3}
    targets = (
        Target("b is fast", "b", headline, at_most=1.5),
        Target("b is slow", "b", headline, at_least=1.5),
        Target("e is fast", "e", headline, at_most=1.5),
        Target("f is fast", "f", headline, at_most=1.5),
    )
    suite = suite_of(*contenders, targets=targets)
    rows = []
    for case in suite.cases({"n": (1, 2), "m": (3, 4)}):
        rows += rows_of(stage, *contenders, case=case).values()
    text = report.markdown(suite, rows, ENVIRONMENT, "the command")
    assert "Command: `the command`" in text
    assert "**N2 M3**" in text
    assert "| b | a sum | 2.00 | 2.00 to 2.00 | 2.00 | 3 | 2.00 | 1.50 | 0.00200 | 0e+00 |" in text
    assert "| c\\|d |  | needs more memory |" in text
    assert text.count("a sum | 1.00") == 1  # the headline alone is shown in full
    assert "| b is fast | ratio of *b* at most 1.5 | N2 M3 | 2.00 | missed |" in text
    assert "| b is slow | ratio of *b* at least 1.5 | N2 M3 | 2.00 | met |" in text
    assert "| e is fast | ratio of *e* at most 1.5 | N2 M3 | - | not measured |" in text
    assert "| f is fast | ratio of *f* at most 1.5 | N2 M3 | - | not measured |" in text
    assert "| N1 | M3 | M4 |\n| --- | --- | --- |\n| a | 1.00 | 1.00 |\n| b | 2.00 | 2.00 |" in text
    assert "| e | - | 4.00 |" in text
    assert "- *c|d*: needs more memory (4 cases)" in text
    assert "- *e*: left out: only at m 4 (N2 M3, N1 M3)" in text
    assert len(report.plot(suite, rows, tmp_path)) == 1
    assert (tmp_path / "times.png").stat().st_size > 1000


def test_headline_and_targets_may_hold_several_cases():
    stage = Stage()
    target = Target("b is fast", "b", {"m": 3}, at_most=1.5)
    suite = suite_of(stage.contender("a", 1), stage.contender("b", 1), targets=(target,), headline={"m": 3})
    rows = []
    for case in suite.cases({"n": (1, 2), "m": (3, 4)}):
        b = stage.contender("b", case["n"])
        rows += rows_of(stage, stage.contender("a", 1), b, case=case).values()
    text = report.markdown(suite, rows, ENVIRONMENT, "the command")
    assert text.index("**N1 M3**") < text.index("**N2 M3**") < text.index("| target |")
    assert "**N1 M4**" not in text
    assert "| b is fast | ratio of *b* at most 1.5 | N1 M3 | 1.00 | met |" in text
    assert "| b is fast | ratio of *b* at most 1.5 | N2 M3 | 2.00 | missed |" in text
    assert text.count("b is fast") == 2


def test_a_full_table_has_the_outputs_that_its_case_compares():
    stage = Stage()

    def build(case):
        return Built(
            stage.contender("a", 1).build(case).run, lambda _: {f"output of {case['n']}": np.ones(2)}
        )

    suite = suite_of(outputs=("output of 1", "output of 2"), headline={})
    contenders = (Contender("a", build), unable("b", Skip("not here")))
    rows = [row for n in (1, 2) for row in rows_of(stage, *contenders, case={"n": n, "m": 3}).values()]
    text = report.markdown(suite, rows, ENVIRONMENT, "the command")
    first, second = text.split("**N1 M3**")[1].split("**N2 M3**")
    second = second.split("<details>")[0]
    assert ("output of 1" in first, "output of 2" in first) == (True, False)
    assert ("output of 1" in second, "output of 2" in second) == (False, True)
    assert {line.count("|") for line in first.strip().splitlines()} == {11}


def test_an_axis_may_have_names_for_values(tmp_path, monkeypatch, capsys):
    def build(case):
        return Built(lambda: case, lambda _: {"answer": np.asarray(len(case["kind"]))})

    suite = suite_of(
        Contender("a", build),
        Contender("b", build, only={"kind": "long"}),
        axes={"kind": Axis("", ("short", "long")), "m": Axis("M", (3, 4))},
        panels=("kind",),
        headline={"kind": "long"},
    )
    monkeypatch.setattr(command, "SUITES", {"sums": suite})
    arguments = ["sums", "--m", "5", "--repeats", "1", "--plot", "--out", str(tmp_path)]
    command.main(arguments)
    rows = results.read(tmp_path / "results.csv", suite)
    assert [row.case for row in rows[::2]] == [{"kind": "long", "m": 5}, {"kind": "short", "m": 5}]
    assert rows[0].sizes == {"answer": 4}
    assert rows[3].status == "left out: only at kind long"
    assert "**long M5**" in (tmp_path / "table.md").read_text()
    with pytest.raises(SystemExit, match="2"):
        command.main(["sums", "--kind", "longer", "--out", str(tmp_path / "other")])
    assert "'longer' (choose from" in capsys.readouterr().err


def test_a_suite_says_how_long_its_contenders_are_timed(tmp_path, monkeypatch):
    efforts = []

    def run(contenders, case, *, reference, effort):
        efforts.append(effort)
        return []

    suite = suite_of(Contender("a", None), effort=Effort(seconds=7, most=9), axes={"n": Axis("N", (1,))})
    monkeypatch.setattr(command, "SUITES", {"sums": suite})
    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "_report", lambda *_: None)
    for number, options in enumerate(([], ["--seconds", "2"], ["--repeats", "4"])):
        command.main(["sums", *options, "--out", str(tmp_path / str(number))])
    assert efforts[:2] == [Effort(seconds=7, most=9), Effort(seconds=2, most=9)]
    assert [effort.rounds(call_seconds=100) for effort in efforts] == [1, 1, 4]


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

    monkeypatch.setattr(building.importlib, "import_module", missing)
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
