"""JAX's persistent compilation cache, in a folder of our own that stays small and mends itself.

A model that was compiled once on this machine starts in a second or two the next time. JAX's cache
leaves three things to its user, which `enable` adds:

- XLA:CPU code is made for one processor. On another one (a home folder on a cluster, a moved disk)
  it gives warnings or dies of an illegal instruction, so the folder is keyed by jaxlib version,
  platform and the processor's features.
- The folder grows without bound; here the least recently used entries go first (JAX's own limit).
- A broken entry (a run that was killed while writing, a full disk) is never replaced: JAX warns,
  compiles, declines to overwrite the entry, and warns again in every later run. Here it is deleted
  on the first failed read, so that the compilation that follows can store a good one.
"""

import functools
import hashlib
import os
import platform
import sys
import warnings
from pathlib import Path

import filelock
import jax
import jaxlib
from jax._src import compilation_cache as jax_compilation_cache
from jax.experimental.compilation_cache import compilation_cache as public_compilation_cache

GIB = 1 << 30


def enable(root: Path | None = None, max_bytes: int = 2 * GIB) -> Path | None:
    """Stores every compiled program under `root` and reads it from there; returns the folder.

    Where no such folder can be written there is a warning, None, and no cache: slower, not wrong.

    Args:
      root: where the folders of all jaxlib versions and processors lie; by default `oasjax/xla` in
        the user's cache folder. A `JAX_COMPILATION_CACHE_DIR` in the environment goes before both
        and is taken as it is, without a folder per processor.
      max_bytes: size from which the least recently used programs are deleted.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(chosen) if chosen else (root or user_cache_folder()) / machine_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_half_written(folder)
    except OSError as error:
        warnings.warn(f"compiled programs are not kept: {error}", stacklevel=2)
        return None
    _delete_entries_that_cannot_be_read()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", max_bytes)
    # Also what compiles fast: a training run has dozens of such programs, and reading is faster.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # JAX decides once, at the first compilation, whether and where it caches; forget that decision.
    public_compilation_cache.reset_cache()
    return folder


def user_cache_folder() -> Path:
    """`oasjax/xla` in the folder that the operating system reserves for caches."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path.home() / ".cache"
    return base / "oasjax" / "xla"


def machine_key() -> str:
    """Names what a compiled program depends on: jaxlib, operating system, processor features."""
    features = hashlib.sha256(processor_features().encode()).hexdigest()[:12]
    return f"{jaxlib.__version__}-{sys.platform}-{platform.machine()}-{features}"


def processor_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The feature flags of the first core (Linux), elsewhere the processor's name."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            # x86 says "flags", ARM "Features".
            if name.strip().lower() in ("flags", "features"):
                return " ".join(sorted(value.split()))
    return platform.processor()


def remove_half_written(folder: Path) -> None:
    """Deletes entries without their `-atime` file, left by a process that was killed while writing.

    JAX's eviction reads that file of every entry; one that is missing makes each later write fail.
    """
    with _lock(folder):
        for entry in folder.glob("*-cache"):
            if not entry.with_name(entry.name.removesuffix("-cache") + "-atime").exists():
                entry.unlink()


def _lock(folder: Path) -> filelock.BaseFileLock:
    """JAX's own lock of the folder: no other process reads, writes or evicts while we hold it."""
    return filelock.FileLock(folder / ".lockfile")


@functools.cache  # once per process: `enable` may be called again
def _delete_entries_that_cannot_be_read() -> None:
    """Wraps JAX's read of an entry; there is no public place where a failed read can be caught.

    (Its warning names the function that was compiled, not the entry, and a program that turns
    warnings into errors would end there.)
    """
    read = jax_compilation_cache.get_executable_and_time

    @functools.wraps(read)
    def read_or_delete(cache_key: str, *args, **kwargs):
        try:
            return read(cache_key, *args, **kwargs)
        except TimeoutError:  # the folder's lock is taken: nothing is wrong with the entry
            raise
        except Exception:
            folder = Path(jax.config.values["jax_compilation_cache_dir"])
            with _lock(folder):
                (folder / f"{cache_key}-cache").unlink(missing_ok=True)
            return None, None  # JAX's answer for "not there": it compiles and stores

    jax_compilation_cache.get_executable_and_time = read_or_delete
