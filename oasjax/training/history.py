"""Scalars and pictures over time: TensorBoard events, and a plain `history.jsonl` that reports read."""

import json
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter


def read_history(workdir: Path) -> list[dict[str, float | int]]:
    """One dict for each logged step, oldest first; empty before the first."""
    path = workdir / "history.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]


class History:
    """Writes both files; a resumed run first drops what a lost stretch had written after `start_step`."""

    def __init__(self, workdir: Path, start_step: int):
        kept = [row for row in read_history(workdir) if row["step"] <= start_step]
        self._path = workdir / "history.jsonl"
        self._path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._events = SummaryWriter(str(workdir / "tensorboard"), purge_step=start_step + 1)

    def scalars(self, step: int, values: dict[str, float | int]) -> None:
        with open(self._path, "a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Add one uint8 (H, W, 3) picture to TensorBoard."""
        self._events.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._events.close()
