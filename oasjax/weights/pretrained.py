"""Starting from the weights of another model: the backbone as a whole, and the head layers that fit."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from oasjax.errors import UserError
from oasjax.weights.model_folder import SEPARATOR, flatten_variables, load_model, unflatten_variables

# In the variables of a task: collection, network, module, ...
BACKBONE = "backbone"
MOST_NAMED = 6


def initialise_from(variables: Mapping[str, Any], folder: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Put the weights of a model folder in place of a network's first ones.

    Args:
        variables: of a task at step 0, {'params': {'net', ...}, 'model_state': {'net', ...}}; not changed.
        folder: a model folder whose backbone is the same.

    Returns:
        Variables of the same names and shapes, and the layers of the network that kept their first weights:
        heads that the folder lacks, or has in another shape.

    Raises:
        UserError: no such folder, a broken one, or a backbone that differs; the message names what.
    """
    try:
        return with_weights_of(variables, load_model(folder)[0])
    except ValueError as error:
        raise UserError(f"the weights in {folder} do not fit this model: {error}") from None


def with_weights_of(
    variables: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """`initialise_from`, the other model's variables at hand. Raises ValueError where backbones differ."""
    flat, other = flatten_variables(variables), flatten_variables(given)
    _check_backbone(flat, other)
    kept: list[str] = []
    for layer, paths in _layers(flat).items():
        if all(path in other and other[path].shape == flat[path].shape for path in paths):
            flat |= {path: other[path].astype(flat[path].dtype) for path in paths}
        else:
            kept.append(layer)
    return unflatten_variables(flat), sorted(kept)


def _layers(paths: Iterable[str]) -> dict[str, list[str]]:
    """Variables of the network by the layer that they belong to ('head0/joints'), in every collection."""
    layers: dict[str, list[str]] = {}
    for path in paths:
        _, network, *layer, _ = path.split(SEPARATOR)
        if network == "net":
            layers.setdefault(SEPARATOR.join(layer), []).append(path)
    return layers


def _check_backbone(flat: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError that names the differences, unless names and shapes are the same."""
    ours, theirs = (
        {
            path: array.shape
            for path, array in arrays.items()
            if path.split(SEPARATOR)[1:3] == ["net", BACKBONE]
        }
        for arrays in (flat, other)
    )
    differences = [
        f"{path} is {theirs.get(path, 'missing')} there and {ours.get(path, 'missing')} here"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path)
    ]
    if differences:
        named = "; ".join(differences[:MOST_NAMED])
        more = len(differences) - MOST_NAMED
        raise ValueError(f"the backbones differ: {named}" + (f"; and {more} more" if more > 0 else ""))
