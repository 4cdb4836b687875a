"""What becomes of a step's metrics: checked, averaged over a window, shown and kept."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from oasjax.training.history import History
from oasjax.training.progress import Progress


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is no longer finite."""


class MetricsLog:
    """Takes in one step after another.

    Args:
        every: steps in a window; the mean of each window is one line and one row of the history.
        num_steps: the last step closes its window early.
        schedule: learning rate by step.
    """

    def __init__(
        self,
        every: int,
        num_steps: int,
        schedule: Callable[[int], Any],
        progress: Progress,
        history: History,
    ):
        self._every = every
        self._num_steps = num_steps
        self._schedule = schedule
        self._progress = progress
        self._history = history
        self._window: list[dict[str, float]] = []

    def receive(self, step: int, values: dict[str, jax.Array]) -> None:
        """Metrics of update number `step`, counted from 1; waits for the device to finish it.

        Raises NonFiniteLossError, naming step and parts, if one of them is not finite.
        """
        row = {name: float(value) for name, value in jax.device_get(values).items()}
        if not all(map(math.isfinite, row.values())):
            raise NonFiniteLossError(f"step {step} is not finite: {row}")
        self._window.append(row)
        if step % self._every and step != self._num_steps:
            return
        means = {name: float(np.mean([row[name] for row in self._window])) for name in row}
        self._window.clear()
        self._progress.update(step, {k: v for k, v in means.items() if k != "gradient_norm"})
        extra = {
            "learning_rate": float(self._schedule(step - 1)),
            "images_per_second": self._progress.images_per_second(step),
        }
        self._history.scalars(step, means | extra)
