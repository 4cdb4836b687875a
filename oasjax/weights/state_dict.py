"""PyTorch state dicts: finding one in what a file holds, and its arrays as our variables.

A state dict is a mapping from names with dots to arrays; convolution weights are OIHW. Ours are nested by
module, convolution kernels HWIO. What each public code calls its layers is a `Layout`
(`oasjax/weights/hrnet_layout.py`, `hourglass_layout.py`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from oasjax.weights.model_folder import SEPARATOR, unflatten_variables

# Where training scripts put the state dict in their checkpoints; "" is the top level.
PLACES = ("", "state_dict", "model", "best_state_dict")
# What DataParallel and training wrappers put before every name.
WRAPPERS = re.compile(r"^(?:module\.|model\.)+")
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
# A pattern with what stands in its place, as `re.sub` takes them.
Rule = tuple[str, str | Callable[[re.Match], str]]


@dataclass(frozen=True)
class Layout:
    """How one public code names the layers of its network.

    Attributes:
        name: of the network and the code, for messages.
        backbone: the one of `oasjax.models.BACKBONES` that is the same network.
        mark: names that start like this are in its state dicts and in no others.
        fields: state dict -> fields of the backbone, all sizes read from the arrays; raises ValueError where
            one cannot be read.
        rules: fields -> rules that turn the path of one of our layers ('backbone/stem1/conv') into its name.
        never_used: fields -> {what it is: pattern of the names} for arrays in its state dicts that its pose
            network never touches.
        normalization: of the images it was trained on, as in `config.data.normalization`.
        may_lack_head: whether there are state dicts without a joint head (pretrained on classification).
    """

    name: str
    backbone: str
    mark: str
    fields: Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
    rules: Callable[[Mapping[str, Any]], Sequence[Rule]]
    never_used: Callable[[Mapping[str, Any]], dict[str, str]]
    normalization: str
    may_lack_head: bool = False


class Report(NamedTuple):
    """What did not fit, by the names in the state dict.

    Attributes:
        missing: our network has it, the state dict does not.
        misshapen: one phrase for each, with both shapes.
        not_finite: arrays with NaN or infinity.
        unused: in the state dict, but not in our network.
    """

    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    not_finite: tuple[str, ...]
    unused: tuple[str, ...]


def state_dict_of(contents: Any) -> dict[str, np.ndarray]:
    """The state dict in what a file holds, without wrappers' prefixes and `num_batches_tracked`.

    Raises:
        ValueError: there is none; there are two that differ; two names differ by their prefixes alone.
    """
    found = {place: arrays for place in PLACES if (arrays := _named_arrays(contents, place))}
    if not found:
        raise ValueError(
            f"no state dict: weights are looked for at the top level and under {', '.join(PLACES[1:])}, and"
            f" found is {_glimpse(contents)}"
        )
    unwrapped = {place: _unwrapped(arrays) for place, arrays in found.items()}
    (first, state), *others = unwrapped.items()
    for place, other in others:
        if not _same(state, other):
            raise ValueError(
                f"two state dicts that differ, {_where(first)} and {_where(place)}; keep only one"
            )
    return state


def _where(place: str) -> str:
    return f"under '{place}'" if place else "at the top level"


def _named_arrays(contents: Any, place: str) -> dict[str, np.ndarray]:
    """The arrays at this place if one of them is called a weight: a checkpoint has other arrays, too."""
    at = contents.get(place) if place and isinstance(contents, Mapping) else contents
    if not isinstance(at, Mapping):
        return {}
    arrays = {key: value for key, value in at.items() if isinstance(key, str) and _is_array(value)}
    return arrays if any(key.endswith(".weight") for key in arrays) else {}


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _glimpse(contents: Any) -> str:
    if not isinstance(contents, Mapping):
        return f"a {type(contents).__name__}"
    return glimpse(list(contents)) if contents else "nothing"


def glimpse(names: Sequence[Any], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(map(str, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _unwrapped(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    state: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    for key, array in arrays.items():
        if key.endswith(".num_batches_tracked"):
            continue
        name = WRAPPERS.sub("", key)
        if name in state:
            raise ValueError(f"two arrays of one name, {origin[name]} and {key}; keep the one that is meant")
        state[name], origin[name] = array, key
    return state


def _same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def num_children(state: Mapping[str, np.ndarray], prefix: str, first: int = 0) -> int:
    """How many numbered layers `prefix0.`, `prefix1.`, ... there are, counted from `first`.

    Raises ValueError where one is left out.
    """
    number = re.compile(re.escape(prefix) + r"(\d+)\.")
    found = {int(match[1]) for name in state if (match := number.match(name))}
    for index in range(first, first + len(found)):
        if index not in found:
            raise ValueError(f"{prefix}{max(found)} is there, but {prefix}{index} is not")
    return len(found)


def out_features(state: Mapping[str, np.ndarray], layer: str) -> int:
    """Output channels of a convolution. Raises ValueError where it is missing or no convolution."""
    weight = state.get(f"{layer}.weight")
    if weight is None:
        raise ValueError(f"{layer}.weight is missing")
    if weight.ndim != 4:
        raise ValueError(f"{layer}.weight has shape {weight.shape}, which is none of a convolution")
    return weight.shape[0]


def torch_name(path: str, rules: Sequence[Rule]) -> str:
    """Name in a state dict of one of our variables ('params/backbone/stem1/conv/kernel')."""
    _, *layer, leaf = path.split(SEPARATOR)
    name = SEPARATOR.join(layer)
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return f"{name}.{LEAVES[leaf]}".replace(SEPARATOR, ".")


def assign(
    expected: Mapping[str, Any], rules: Sequence[Rule], state: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Report]:
    """Our variables from a state dict, as far as they are there.

    Args:
        expected: nested dict of the shapes and types of our variables, as `jax.eval_shape` gives it.
        rules: of the layout, with which `torch_name` finds each.
        state: the state dict.

    Returns:
        A nested dict like `expected`, without what the report calls missing or misshapen; and the report.
    """
    flat: dict[str, np.ndarray] = {}
    missing, misshapen, not_finite, used = [], [], [], set()
    for path, leaf in flatten_dict(expected, sep=SEPARATOR).items():
        name = torch_name(path, rules)
        if name not in state:
            missing.append(name)
            continue
        used.add(name)
        is_kernel = path.endswith(f"{SEPARATOR}kernel")
        shape = tuple(leaf.shape[axis] for axis in (3, 2, 0, 1)) if is_kernel else leaf.shape
        if state[name].shape != shape:
            misshapen.append(f"{name} is {state[name].shape}, not {shape}")
            continue
        array = state[name].transpose(2, 3, 1, 0) if is_kernel else state[name]
        flat[path] = np.ascontiguousarray(array, dtype=leaf.dtype)
        if not np.isfinite(flat[path]).all():
            not_finite.append(name)
    unused = tuple(name for name in state if name not in used)
    report = Report(tuple(missing), tuple(misshapen), tuple(not_finite), unused)
    return unflatten_variables(flat), report
