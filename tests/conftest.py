"""What every test shares: one compilation cache for all processes, and the folders of real data."""

import os
from pathlib import Path

import pytest

# Before anything imports TensorFlow, which would greet each worker with a screenful.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Before the first program: hundreds are compiled and run a few times each. A third less to wait for where
# nothing is cached yet; the same XLA, without the passes of LLVM that take longest.
os.environ["XLA_FLAGS"] = " ".join(
    [
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        os.environ.get("XLA_FLAGS", ""),
    ]
)


def pytest_configure():
    from oasjax import compilation_cache

    folder = compilation_cache.enable()
    if folder is not None:
        # Also for the processes that tests start: they read what this one compiled.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"


def folder_of(variable: str) -> Path:
    if not os.environ.get(variable):
        pytest.skip(f"{variable} is not set")
    return Path(os.environ[variable])


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    """The folder of reference numbers; the test skips where there is none."""
    return folder_of("OASJAX_GOLDEN_DIR")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data; the test skips where there is none."""
    return folder_of("OASJAX_DATA_DIR")
