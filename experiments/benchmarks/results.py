"""The files of a run: one CSV row for each contender and case, and what they were measured on."""

import csv
import json
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from experiments.benchmarks.harness import Row
from experiments.benchmarks.suite import Suite

_TEXT = ("contender", "what", "status")
_COUNTS = ("rounds", "calls", "temp_bytes")
_SECONDS = ("median", "minimum", "lower_quartile", "upper_quartile", "compile_seconds")


def columns(suite: Suite) -> list[str]:
    checks = [column for name in suite.outputs for column in (name, f"{name}_difference")]
    return [*suite.axes, *_TEXT, *_SECONDS, "ratio", *_COUNTS, *checks]


def append(path: Path, suite: Suite, rows: Iterable[Row]) -> None:
    """Adds rows to the file and closes it: a run that is killed later loses none of them."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns(suite))
        if fresh:
            writer.writeheader()
        writer.writerows(_record(row) for row in rows)


def _record(row: Row) -> dict[str, Any]:
    scalars = {name: getattr(row, name) for name in (*_TEXT, *_SECONDS, "ratio", *_COUNTS)}
    differences = {f"{name}_difference": value for name, value in row.differences.items()}
    return {**row.case, **scalars, **row.sizes, **differences}


def read(path: Path, suite: Suite) -> list[Row]:
    """The rows of a file that `append` has written."""
    with path.open(newline="") as file:
        return [_row(record, suite) for record in csv.DictReader(file)]


def _row(record: dict[str, str], suite: Suite) -> Row:
    return Row(
        case={name: axis.kind(record[name]) for name, axis in suite.axes.items()},
        **{name: record[name] for name in _TEXT},
        **{name: float(record[name]) if record[name] else None for name in (*_SECONDS, "ratio")},
        **{name: int(record[name]) if record[name] else None for name in _COUNTS},
        sizes={name: float(record[name]) for name in suite.outputs if record[name]},
        differences={
            name: float(record[f"{name}_difference"])
            for name in suite.outputs
            if record[f"{name}_difference"]
        },
    )


def environment(suite: Suite) -> dict[str, Any]:
    """Versions and hardware."""
    return {
        "suite": suite.name,
        "seed": suite.seed,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "jax_devices": [device.device_kind for device in jax.devices()],
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in suite.packages},
        "variables": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(("XLA_", "OMP_", "MKL_", "OPENBLAS_"))
        },
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """The processor's name and its widest vector instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict((part.strip() for part in line.split(":", 1)) for line in text.splitlines() if ":" in line)
    flags = fields.get("flags", "").split()
    vectors = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return f"{fields.get('model name', platform.machine())} {vectors}".strip()


def write_environment(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=2) + "\n")
