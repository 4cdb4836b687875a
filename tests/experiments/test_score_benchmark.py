"""The benchmark of scoring, at a size of seconds."""

import numpy as np
import pytest

from experiments.benchmarks import __main__ as command
from experiments.benchmarks import building, results, score
from experiments.benchmarks.harness import OK


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(score, "MPII_PEOPLE", 40)
    monkeypatch.setattr(
        score, "VAL2017", score.CocoSize(images=30, with_people=20, people=60, predictions=300)
    )
    score.mpii_people.cache_clear()
    score.coco_people.cache_clear()
    yield
    score.mpii_people.cache_clear()
    score.coco_people.cache_clear()


def test_all_contenders_of_a_score_find_the_same(tmp_path):
    command.main(["score", "--times", "1", "2", "--repeats", "1", "--out", str(tmp_path)])
    rows = results.read(tmp_path / "results.csv", score.SUITE)
    measured = {
        (row.contender, row.case["score"], row.case["times"]): row for row in rows if row.status == OK
    }
    assert set(measured) == {
        (name, "pckh", times)
        for name in (
            "ours", "ours, 51 thresholds", "HRNet's formula", "HRNet's formula, 3 calls",
            "HRNet's formula, 51 thresholds",
        )
        for times in (1, 2)
    } | {(name, "ap", 1) for name in ("ours", "pycocotools", "pycocotools, 3 calls")}  # fmt: skip
    assert all((row.temp_bytes or 0) > 0 for row in measured.values() if row.case["score"] == "pckh")
    for (name, *_), row in measured.items():
        if name != "ours, 51 thresholds":
            assert row.differences["all"] < 1e-12
        if name.endswith("3 calls"):
            assert row.differences["splits"] < 1e-12
    assert "**pckh x1**" in (tmp_path / "table.md").read_text()


def test_scores_of_the_made_up_people_are_neither_0_nor_perfect():
    case = {"score": "pckh", "times": 1}
    built = score.SUITE.contenders[0].build(case)
    assert 20 < built.outputs(built.run())["all"][-1] < 95
    built = score.SUITE.contenders[0].build(case | {"score": "ap"})
    splits = built.outputs(built.run())["splits"]
    assert ((splits[:, 0] > 0.05) & (splits[:, 0] < 0.95)).all()


def test_peak_memory_is_that_of_the_call_at_its_highest():
    before = np.ones(10**6)

    def call():
        for _ in range(3):
            before + 1

    assert 8e6 <= building.peak_bytes(call) < 9e6
