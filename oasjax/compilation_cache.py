"""JAX's persistent compilation cache, in a folder of our own that stays small and mends itself.

A model that was compiled once on this machine starts in a second or two the next time. JAX's cache
leaves three things to its user, which `enable` adds:

- XLA:CPU code is made for one processor. On another one (a home folder on a cluster, a moved disk)
  it gives warnings or dies of an illegal instruction, so the folder is keyed by jaxlib version,
  platform and the processor's features.
- The folder grows without bound. JAX's own limit reads the age of every entry before it writes one, 0.3 s
  for each little program once there are thousands; here the least recently used entries go at the start.
- A broken entry (a run that was killed while writing, a full disk) is never replaced: JAX warns,
  compiles, declines to overwrite the entry, and warns again in every later run. Here it is deleted
  on the first failed read, so that the compilation that follows can store a good one. Two processes never
  write at once: their entries could mix.
"""

import contextlib
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
SUFFIX = "-cache"  # of JAX's entries


def enable(root: Path | None = None, max_bytes: int = 2 * GIB) -> Path | None:
    """Stores every compiled program under `root` and reads it from there; returns the folder.

    Where no such folder can be written there is a warning, None, and no cache: slower, not wrong.

    Args:
      root: where the folders of all jaxlib versions and processors lie; by default `oasjax/xla` in
        the user's cache folder. A `JAX_COMPILATION_CACHE_DIR` in the environment goes before both
        and is taken as it is, without a folder per processor.
      max_bytes: above this size the least recently used programs are deleted, now; what this run adds is not
        counted.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(chosen) if chosen else (root or user_cache_folder()) / machine_key()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        delete_least_recently_used(folder, max_bytes)
    except OSError as error:
        warnings.warn(f"compiled programs are not kept: {error}", stacklevel=2)
        return None
    _watch_reads_and_writes()
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", -1)
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


def delete_least_recently_used(folder: Path, max_bytes: int) -> None:
    """Makes the entries of a folder take up at most `max_bytes`."""
    with _lock(folder):
        entries = [(entry.stat(), entry.path) for entry in os.scandir(folder) if entry.name.endswith(SUFFIX)]
        total = sum(status.st_size for status, _ in entries)
        for status, path in sorted(entries, key=lambda entry: entry[0].st_mtime_ns):
            if total <= max_bytes:
                break
            os.unlink(path)
            total -= status.st_size


def _lock(folder: Path) -> filelock.BaseFileLock:
    """No other process writes or deletes while we hold it; reading is free."""
    return filelock.FileLock(folder / ".lockfile")


@functools.cache  # once per process: `enable` may be called again
def _watch_reads_and_writes() -> None:
    """Wraps JAX's read and write of an entry; there is no public place for either.

    (Where a read fails, JAX's warning names the function that was compiled, not the entry, and a program that
    turns warnings into errors would end there.)
    """
    read = jax_compilation_cache.get_executable_and_time
    write = jax_compilation_cache.put_executable_and_time

    @functools.wraps(read)
    def read_or_delete(cache_key: str, *args, **kwargs):
        entry = _folder() / f"{cache_key}{SUFFIX}"
        try:
            found = read(cache_key, *args, **kwargs)
        except Exception:
            with _lock(_folder()):
                entry.unlink(missing_ok=True)
            return None, None  # JAX's answer for "not there": it compiles and stores
        # Its time of change tells when it was last used. There may be no entry, or it may be another user's.
        with contextlib.suppress(OSError):
            os.utime(entry)
        return found

    @functools.wraps(write)
    def write_alone(*args, **kwargs):
        with _lock(_folder()):
            write(*args, **kwargs)

    jax_compilation_cache.get_executable_and_time = read_or_delete
    jax_compilation_cache.put_executable_and_time = write_alone


def _folder() -> Path:
    return Path(jax.config.values["jax_compilation_cache_dir"])
