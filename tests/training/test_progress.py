"""The progress line on a terminal and elsewhere, and the history."""

import io
import json

from oasjax.training.history import History, read_history
from oasjax.training.progress import Progress, format_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_overwritten():
    stream = Terminal()
    with Progress(0, 10, 4, stream) as progress:
        progress.update(1, {"loss": 123.456})
        progress.update(2, {"loss": 1.0})
    text = stream.getvalue()
    assert text.count("\r") == 2 and text.count("\n") == 1
    first, second = text.strip("\n").split("\r")[1:]
    assert len(second) >= len(first)  # nothing of the longer line stays behind
    assert "step 2/10" in second and "loss 1 " in second and "images/s" in second


def test_elsewhere_each_update_is_a_plain_line():
    stream = io.StringIO()
    with Progress(0, 10, 4, stream) as progress:
        progress.update(1, {"loss": 1.0})
    assert stream.getvalue().startswith("step 1/10") and "\r" not in stream.getvalue()


def test_durations():
    assert [format_duration(s) for s in (0, 90, 3725)] == ["0:00", "1:30", "1:02:05"]


def test_a_resumed_history_drops_what_the_lost_stretch_had_written(tmp_path):
    history = History(tmp_path, start_step=0)
    for step in (2, 4, 6):
        history.scalars(step, {"loss": float(step)})
    history.close()
    with open(tmp_path / "history.jsonl", "a") as file:
        file.write('{"step": 8, "lo')  # killed while writing
    resumed = History(tmp_path, start_step=4)
    resumed.scalars(6, {"loss": 0.5})
    resumed.close()
    assert read_history(tmp_path) == [
        {"step": 2, "loss": 2.0},
        {"step": 4, "loss": 4.0},
        {"step": 6, "loss": 0.5},
    ]
    assert json.loads((tmp_path / "history.jsonl").read_text().splitlines()[-1])["step"] == 6
    assert list((tmp_path / "tensorboard").glob("events*"))
