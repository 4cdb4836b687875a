"""`oasjax evaluate`: what its arguments ask of the evaluation."""

from pathlib import Path

import pytest

from oasjax.cli.main import main
from oasjax.training import loop


@pytest.mark.parametrize(
    ("words", "split", "out"),
    [
        ([], "eval", None),
        (["--out", "o"], "eval", Path("o")),
        (["--split", "test"], "test", Path("runs/a/submission")),
        (["--split", "test", "--out", "o"], "test", Path("o")),
    ],
)
def test_predictions_are_written_where_they_are_wanted_and_always_for_the_test(
    monkeypatch, capsys, words, split, out
):
    asked = []

    def evaluate_latest(config, workdir, **options):
        asked.append((workdir, options))
        return {"test": {"after": {"all": {"keypoints": {"AP": 0.25}}}}}

    monkeypatch.setattr(loop, "evaluate_latest", evaluate_latest)
    assert main(["evaluate", "--config", "smoke", "--workdir", "runs/a", *words]) == 0
    assert asked == [(Path("runs/a"), {"split": split, "out": out})]
    printed = capsys.readouterr().out
    assert printed.startswith("the test split") and "0.250" in printed


def test_another_split_is_refused(capsys):
    with pytest.raises(SystemExit) as exit_code:
        main(["evaluate", "--config", "smoke", "--workdir", "runs/a", "--split", "train"])
    assert exit_code.value.code == 2 and "invalid choice" in capsys.readouterr().err
