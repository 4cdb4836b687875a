"""What a workdir holds besides checkpoints: `config.json` and `metrics.json`."""

import json
from pathlib import Path
from typing import Any

from oasjax.errors import UserError
from oasjax.training.skeleton import FROM_DATA, read_skeleton, with_skeleton

# What may change between two calls, because it does not touch what is learnt; data may move.
FREE = ("log.", "eval.", "data.data_dir", "data.prepared_dir", "data.arrays_path", "data.boxes_path")


def plain(config: Any) -> dict[str, Any]:
    """A config as JSON would give it back (tuples become lists)."""
    return json.loads(config.to_json())


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} -> {'a.b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def read_json(path: Path) -> Any:
    """Raises UserError, naming the file, when it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable as JSON: {error}") from None


def write_json(path: Path, value: Any) -> None:
    """Written beside and renamed, so that a reader never meets half a file."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    temporary.rename(path)


def recall_skeleton(workdir: Path, config: Any) -> Any:
    """The config with the joints of the run in `workdir`, where it leaves them to the data.

    Unchanged where no run was begun there yet. Raises UserError for a broken `config.json`.
    """
    path = workdir / "config.json"
    if config.skeleton != FROM_DATA or not path.exists():
        return config
    try:
        return with_skeleton(config, read_skeleton(read_json(path).get("skeleton")))
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def check_config(workdir: Path, config: Any) -> None:
    """Raises UserError when the workdir was begun with another config (FREE aside)."""
    path = workdir / "config.json"
    if not path.exists():
        return
    before, now = flatten(read_json(path)), flatten(plain(config))
    for key in sorted(before.keys() | now.keys()):
        if not key.startswith(FREE) and before.get(key) != now.get(key):
            raise UserError(
                f"{workdir} was begun with another config: {key} is {before.get(key)!r} there and"
                f" {now.get(key)!r} now; use another --workdir, or the first config"
            )


def open_workdir(workdir: Path, config: Any) -> None:
    """Make the folder if need be and keep the config in it. Raises UserError as `check_config`."""
    check_config(workdir, config)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_json(workdir / "config.json", plain(config))
    except OSError as error:
        raise UserError(f"cannot write to --workdir {workdir}: {error.strerror}") from None


def read_metrics(workdir: Path) -> dict[str, Any]:
    """`metrics.json`, or an empty dict before the first evaluation."""
    path = workdir / "metrics.json"
    return read_json(path) if path.exists() else {}
