"""What suites share to make their contenders ready."""

import importlib
import time
import tracemalloc
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import jax

from experiments.benchmarks.harness import Skip

MOST_TEMP_BYTES = 4 * 10**9


class Program(NamedTuple):
    """A compiled function, with what compiling it took and what running it takes."""

    call: jax.stages.Compiled
    compile_seconds: float
    temp_bytes: int


def compiled(jitted: Any, *arguments: Any) -> Program:
    """Traces and compiles a jitted function for these arguments.

    Raises:
        Skip: see `check_memory`.
    """
    start = time.perf_counter()
    call = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    temp_bytes = call.memory_analysis().temp_size_in_bytes
    check_memory(temp_bytes)
    return Program(call, seconds, temp_bytes)


def check_memory(temp_bytes: float) -> None:
    """Leaves out a contender that would fill the memory.

    Raises:
        Skip: it needs more than `MOST_TEMP_BYTES`.
    """
    if temp_bytes > MOST_TEMP_BYTES:
        raise Skip(f"needs {temp_bytes / 1e9:.1f} GB of temporary memory, above {MOST_TEMP_BYTES / 1e9:g}")


def peak_bytes(call: Callable[[], Any]) -> int:
    """Most memory that a call holds at one time besides what was there before: numpy's and Python's.

    For what runs on the host without a compiler; the call is slowed down, so it is not one that is timed.
    """
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def peer(module: str) -> ModuleType:
    """Imports a module of another library.

    Raises:
        Skip: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Skip(f"{error.name} is not installed") from error


def cpu_torch() -> ModuleType:
    """PyTorch, which runs on the CPU here.

    Raises:
        Skip: it is not installed, or JAX runs on something else.
    """
    torch = peer("torch")
    if jax.default_backend() != "cpu":
        raise Skip("measured beside JAX on the CPU only")
    return torch
