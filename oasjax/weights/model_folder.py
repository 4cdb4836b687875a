"""A model folder: `model.safetensors` (weights), `config.json` (how to build it), `card.md`.

No pickle anywhere: a folder from a stranger cannot run code.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from oasjax.errors import UserError

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "card.md"
SEPARATOR = "/"


def flatten_variables(variables: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dict of arrays to {"params/conv/kernel": array}; empty sub-trees vanish."""
    flat: dict[str, np.ndarray] = {}
    for name, value in variables.items():
        if SEPARATOR in name:
            raise ValueError(f"the variable name {name!r} contains {SEPARATOR!r}")
        if isinstance(value, Mapping):
            flat.update(flatten_variables(value, f"{prefix}{name}{SEPARATOR}"))
        else:
            # safetensors writes the raw buffer, so anything but C order would come back scrambled.
            flat[prefix + name] = np.asarray(value, order="C")
    return flat


def unflatten_variables(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Inverse of `flatten_variables`."""
    variables: dict[str, Any] = {}
    for path, array in flat.items():
        *parents, leaf = path.split(SEPARATOR)
        branch = variables
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = array
    return variables


def save_model(
    folder: str | Path, variables: Mapping[str, Any], config: Mapping[str, Any], card: str
) -> None:
    """Write a model folder; each file appears whole or not at all.

    Args:
        folder: made where it is missing; files of an older model in it are replaced.
        variables: nested dict of arrays (params, batch_stats, ...), numpy or JAX.
        config: JSON-serialisable description from which the model is built again.
        card: Markdown text: what the model is, its data, its scores.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    flat = flatten_variables(variables)
    config_text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    temporary = {name: folder / f".{name}.tmp" for name in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)}
    temporary[CONFIG_FILE].write_text(config_text, encoding="utf-8")
    temporary[CARD_FILE].write_text(card, encoding="utf-8")
    save_file(flat, temporary[WEIGHTS_FILE])
    for name, path in temporary.items():
        os.replace(path, folder / name)


def load_model(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read (variables, config) of a model folder.

    Raises:
        UserError: for a missing folder, and for a missing or broken file, which it names.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no such model folder: {folder}")
    config = read_config(folder / CONFIG_FILE)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise UserError(f"{folder} is no model folder: {weights} is missing")
    try:
        flat = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{weights} is broken or no safetensors file ({error}); copy or export the model again"
        ) from error
    return unflatten_variables(flat), config


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in `config.json`. Raises UserError where it is missing or is none."""
    if not path.is_file():
        raise UserError(f"the model's configuration is missing: {path}")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no JSON object but a {type(config).__name__}")
    return config
