"""The compilation cache: keyed by machine, bounded, and able to mend a broken entry.

What JAX does with the folder is tried in new processes: its cache is set up once a process.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import jaxlib
import pytest

from oasjax import compilation_cache

PROGRAM = """
import sys
from pathlib import Path
from oasjax import compilation_cache
folder = compilation_cache.enable(Path(sys.argv[1]), max_bytes=int(sys.argv[2]))
import jax, jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda event, **kw: hits.append(event))
print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((4, 4)))[0, 0])
print("hits", sum(event.endswith("cache_hits") for event in hits))
print("misses", sum(event.endswith("cache_misses") for event in hits))
print("folder", folder)
"""


def compile_once(root, max_bytes=1 << 30, environment=()):
    """Compiles a function in a new process with warnings as errors; returns what it printed."""
    inherited = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(root), str(max_bytes)],
        capture_output=True,
        text=True,
        env={**inherited, "JAX_PLATFORMS": "cpu", **dict(environment)},
    )
    assert done.returncode == 0, done.stderr
    assert "ompilation cache" not in done.stderr
    return {key: int(n) for key, n in re.findall(r"(hits|misses) (\d+)", done.stdout)}, Path(
        done.stdout.rpartition("folder ")[2].strip()
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache root and what the first, filling process reported."""
    root = tmp_path_factory.mktemp("cache")
    counts, folder = compile_once(root)
    return root, counts, folder


def entries(folder):
    return sorted(folder.glob("*-cache"))


def test_a_second_process_reads_what_the_first_compiled(filled):
    root, first, folder = filled
    assert folder == root / compilation_cache.machine_key()
    assert first["misses"] > 0
    assert first["misses"] == len(entries(folder))
    assert compile_once(root)[0] == {"hits": first["misses"], "misses": 0}


def truncate(entry):
    entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])


def empty(entry):
    entry.write_bytes(b"")


def overwrite_with_zeros(entry):
    entry.write_bytes(bytes(entry.stat().st_size))


def test_broken_entries_are_replaced_without_a_warning(filled):
    root, first, folder = filled
    damages = [truncate, empty, overwrite_with_zeros]
    broken = entries(folder)[: len(damages)]
    for damage, entry in zip(damages, broken, strict=True):
        damage(entry)
    whole = first["misses"] - len(damages)
    assert compile_once(root)[0] == {"hits": whole, "misses": len(damages)}
    assert compile_once(root)[0] == {"hits": first["misses"], "misses": 0}


def test_the_least_recently_used_entries_go_when_the_folder_is_full(tmp_path):
    """In the order of their last use, not of their writing: the oldest of all are read once more."""
    counts, folder = compile_once(tmp_path)
    used = {entry.name for entry in entries(folder)}
    for age, entry in enumerate(entries(folder)):
        os.utime(entry, (1e9 - age, 1e9 - age))
    assert compile_once(tmp_path)[0] == {"hits": counts["misses"], "misses": 0}
    for name, time in (("old-cache", 1.1e9), ("newer-cache", 1.2e9)):
        (folder / name).write_bytes(bytes(1000))
        os.utime(folder / name, (time, time))

    def size():
        return sum(entry.stat().st_size for entry in entries(folder))

    compilation_cache.delete_least_recently_used(folder, size() - 1)
    assert {entry.name for entry in entries(folder)} == used | {"newer-cache"}
    compilation_cache.delete_least_recently_used(folder, size() // 2)
    assert 0 < len(entries(folder)) < len(used)
    assert compile_once(tmp_path, max_bytes=0)[0] == {"hits": 0, "misses": counts["misses"]}


def test_a_folder_named_in_the_environment_is_taken_as_it_is(tmp_path):
    chosen = tmp_path / "chosen"
    _, folder = compile_once(tmp_path / "root", environment={"JAX_COMPILATION_CACHE_DIR": str(chosen)})
    assert folder == chosen
    assert entries(chosen)
    assert not (tmp_path / "root").exists()


def test_a_folder_that_cannot_be_made_is_a_warning_and_no_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="compiled programs are not kept"):
        assert compilation_cache.enable(tmp_path / "file") is None


def test_the_users_cache_folder_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compilation_cache.user_cache_folder() == tmp_path / "oasjax" / "xla"


def test_the_key_names_jaxlib_and_changes_with_the_processor(monkeypatch):
    here = compilation_cache.machine_key()
    assert here.startswith(jaxlib.__version__)
    monkeypatch.setattr(compilation_cache, "processor_features", lambda: "avx fma")
    elsewhere = compilation_cache.machine_key()
    assert here != elsewhere
    assert elsewhere == compilation_cache.machine_key()


def test_processor_features_do_not_depend_on_the_order_of_the_flags(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some\nflags\t\t: fma avx2\n\nflags\t\t: fma avx2\n")
    assert compilation_cache.processor_features(cpuinfo) == "avx2 fma"
    cpuinfo.write_text("Features\t: fp asimd\n")
    assert compilation_cache.processor_features(cpuinfo) == "asimd fp"
