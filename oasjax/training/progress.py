"""One live line on a terminal; plain lines elsewhere."""

import sys
import time
from typing import Any


def format_duration(seconds: float | int) -> str:
    """90 -> '1:30', 3725 -> '1:02:05'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Prints step, loss parts, images a second and the time left.

    Args:
        start_step, num_steps: of this run; the rate is measured from its start.
        images_per_step: global batch size.
        stream: text file to print to; a terminal gets one line that is overwritten.
    """

    def __init__(self, start_step: int, num_steps: int, images_per_step: int, stream: Any = sys.stdout):
        self.start_step = start_step
        self.num_steps = num_steps
        self.images_per_step = images_per_step
        self.stream = stream
        self.live = stream.isatty()
        self.start = time.perf_counter()
        self.written = 0

    def images_per_second(self, step: int) -> float:
        elapsed = max(time.perf_counter() - self.start, 1e-9)
        return (step - self.start_step) * self.images_per_step / elapsed

    def update(self, step: int, values: dict[str, float]) -> None:
        rate = self.images_per_second(step)
        left = (self.num_steps - step) * self.images_per_step / max(rate, 1e-9)
        losses = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        line = f"step {step}/{self.num_steps}  {losses}  {rate:.0f} images/s  {format_duration(left)} left"
        if self.live:
            self.stream.write("\r" + line.ljust(self.written))
            self.written = len(line)
        else:
            self.stream.write(line + "\n")
        self.stream.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        # Leave the live line standing.
        if self.live and self.written:
            self.stream.write("\n")
            self.stream.flush()
