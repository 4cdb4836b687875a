"""Config files: finding one, running its `get_config()`, applying `--config.a.b=value`.

An override must name a key that exists, and its value must have the type of the value that stands
there: a misspelt key or a word where a number belongs is a `UserError`, never ignored in silence.
"""

import ast
import difflib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from oasjax.errors import UserError

OVERRIDE_PREFIX = "--config."
PACKAGE = Path(__file__).parents[1]


def load_config(name_or_path: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """The locked config of a file, with overrides `--config.a.b=value` applied in order.

    Raises:
      UserError: no such file, no `get_config` in it, an unknown key, a value of another type.
    """
    config = _run_config_file(find_config(name_or_path))
    for override in overrides:
        apply_override(config, override)
    return config.lock()


def find_config(name_or_path: str) -> Path:
    """The config file meant by the path of a `.py` file, or by a bare name of `config_names()`."""
    path = Path(name_or_path)
    if path.suffix == ".py" and path.is_file():
        return path
    named = configs_folder() / f"{name_or_path}.py"
    if path.name == name_or_path and named.is_file():
        return named
    raise UserError(
        f"config not found: {name_or_path}. Pass the path of a .py file with get_config(), "
        f"or one of: {', '.join(config_names())}."
    )


def config_names() -> list[str]:
    """The bare names that `--config` takes, sorted."""
    return sorted(p.stem for p in configs_folder().glob("*.py") if not p.stem.startswith("_"))


def configs_folder() -> Path:
    """`configs/` of the checkout that this package runs from, else the wheel's copy of it."""
    if (PACKAGE.parent / "pyproject.toml").is_file():
        return PACKAGE.parent / "configs"
    return PACKAGE / "_configs"


def apply_override(config: ConfigDict, override: str) -> None:
    """Sets one existing value of `config` from `--config.a.b=value`; its type stays the same."""
    key, equals, text = override.removeprefix(OVERRIDE_PREFIX).partition("=")
    if not equals:
        raise UserError(f"{override} has no value: write {OVERRIDE_PREFIX}{key}=VALUE.")
    *sections, name = key.split(".")
    parent: Any = config
    for section in sections:
        parent = parent.get(section) if isinstance(parent, ConfigDict) else None
    if not isinstance(parent, ConfigDict) or name not in parent:
        raise UserError(f"unknown config key: {key}. {_suggestion(config, key)}")
    if isinstance(parent[name], ConfigDict):
        raise UserError(
            f"config key {key} is a section, set one of its values: "
            f"{', '.join(f'{key}.{k}' for k in sorted(parent[name]))}."
        )
    try:
        parent[name] = parse_like(text, parent[name], parent.get_type(name))
    except ValueError:
        raise UserError(
            f"config key {key} takes {_type_in_words(parent[name], parent.get_type(name))}, "
            f"as in {key}={parent[name]!r}; got {text!r}."
        ) from None


def parse_like(text: str, present: Any, kind: type) -> Any:
    """Reads `text` as a value of type `kind`, which is that of the `present` value.

    An int is read as a float where a float stands; `3,4` and `(3,4)` and `[3,4]` as a tuple where a
    tuple stands, its items like the present ones; where None stands, any Python literal, or else
    the plain text.

    Raises:
      ValueError: `text` is no value of that type.
    """
    if present is None and text == "None":
        return None
    if kind is str:
        return _unquoted(text)
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind is float:
        return float(text)
    if kind is type(None):
        return _literal_or_text(text)
    value = _literal(text)
    if kind is int and type(value) is int:
        return value
    if kind in (tuple, list) and isinstance(value, tuple | list):
        return kind(_item_like(item, present) for item in value)
    raise ValueError(text)


def _item_like(item: Any, present: Sequence[Any] | None) -> Any:
    """An item of an overriding sequence, checked against the types that the present items have."""
    kinds = {type(p) for p in present or ()}
    if not kinds or type(item) in kinds:
        return item
    if type(item) is int and float in kinds:
        return float(item)
    raise ValueError(item)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error


def _literal_or_text(text: str) -> Any:
    try:
        return _literal(text)
    except ValueError:
        return text


def _unquoted(text: str) -> str:
    """Without the quotes that a shell left in place: those of `--config.a='"b"'` are no value."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _type_in_words(present: Any, kind: type) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number"}
    if kind in (tuple, list):
        items = sorted({type(p).__name__ for p in present or ()})
        return f"a {kind.__name__}" + (f" of {' and '.join(items)}" if items else "")
    return words.get(kind, f"a value of type {kind.__name__}")


def _suggestion(config: ConfigDict, key: str) -> str:
    """The keys most like `key`: by the whole dotted path, and by its last word alone."""
    keys = list(_leaf_keys(config))
    by_path = difflib.get_close_matches(key, keys, n=3, cutoff=0.6)
    last_words = {k.rpartition(".")[2] for k in keys}
    near_words = difflib.get_close_matches(key.rpartition(".")[2], last_words, n=2, cutoff=0.75)
    by_word = [k for k in keys if k.rpartition(".")[2] in near_words]
    near = list(dict.fromkeys(by_path + by_word))[:3]
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"There are: {', '.join(keys)}."


def _leaf_keys(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    for name in sorted(config):
        if isinstance(config[name], ConfigDict):
            yield from _leaf_keys(config[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _run_config_file(path: Path) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(f"oasjax_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"config is no Python file: {path}.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"config {path} is no valid Python, line {error.lineno}: {error.msg}.") from None
    if not hasattr(module, "get_config"):
        raise UserError(f"config {path} has no function get_config().")
    config = module.get_config()
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config() of {path} returned a {type(config).__name__}; "
            "it must return an ml_collections.ConfigDict."
        )
    return config
