"""What the first steps of a full-size model cost: compilation, time per step, memory; cold and warm.

Trains for three steps, as `oasjax train` does, in a process of its own: once with an empty compilation cache,
once with the cache that the first left behind. Prints a row for each.

Command: python experiments/full_size.py full_hrnet_w32 full_hg8 [--batch-size 2]
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

STEPS = 3
COMPILED = re.compile(r"compiled train_step in ([\d.]+) s")
STEP = re.compile(r"step (\d+)/")


class Run(NamedTuple):
    """Seconds of one run, and the peak memory of all runs so far in gigabytes."""

    compilation: float
    first_step: float
    later_step: float
    peak_memory_gb: float


def overrides(batch_size: int) -> list[str]:
    """Few people, few steps, everything else as in the config."""
    values = {
        "data.train_size": 8,
        "data.eval_size": 2,
        "eval.batch_size": 2,
        "train.batch_size": batch_size,
        "train.num_steps": STEPS,
        "log.every": 1,
        "log.checkpoint_every": STEPS,
    }
    return [f"--config.{key}={value}" for key, value in values.items()]


def run(config: str, batch_size: int, cache: Path) -> Run:
    """Train in a new process. Raises RuntimeError, with its output, where it fails."""
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "oasjax", "train", "--config", config, "--workdir", workdir]
        start = time.perf_counter()
        with subprocess.Popen(
            [*command, *overrides(batch_size)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache), "PYTHONUNBUFFERED": "1"},
        ) as process:
            lines = list(timed_lines(process, start))
        if process.returncode:
            raise RuntimeError("\n".join(line for _, line in lines))
    compilation = next(float(found[1]) for _, line in lines if (found := COMPILED.search(line)))
    steps = [seconds for seconds, line in lines if STEP.match(line)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    return Run(compilation, steps[0], (steps[-1] - steps[0]) / (len(steps) - 1), peak)


def timed_lines(process: subprocess.Popen, start: float) -> Iterator[tuple[float, str]]:
    """The lines that a process prints, each with the seconds since `start`."""
    assert process.stdout is not None
    for line in process.stdout:
        yield time.perf_counter() - start, line.rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of the first steps of full-size models.")
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--batch-size", type=int, default=2)
    options = parser.parse_args()
    print(
        "| config | cache | train step compiled, s | first step done after, s | a later step, s | peak GB |"
    )
    print("|---|---|---|---|---|---|")
    for config in options.configs:
        with tempfile.TemporaryDirectory() as cache:
            for name in ("cold", "warm"):
                cost = run(config, options.batch_size, Path(cache))
                print(
                    f"| {config} | {name} | " + " | ".join(f"{value:.1f}" for value in cost) + " |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
