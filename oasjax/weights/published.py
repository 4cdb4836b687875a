"""The networks that others publish weights of: recognised in a state dict, and made ours."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from oasjax.models.layers import Conv
from oasjax.models.oasnet import OASNet
from oasjax.weights.hourglass_layout import BEARPAW, PRINCETON
from oasjax.weights.hrnet_layout import HRNET
from oasjax.weights.state_dict import Layout, Report, Rule, assign, glimpse, out_features, torch_name

LAYOUTS = (HRNET, BEARPAW, PRINCETON)
MOST_NAMED = 8


class Network(NamedTuple):
    """The network that a state dict is of, as far as its names and shapes tell.

    Attributes:
        layout: whose names they are.
        fields: of the backbone.
        rules: the layout's, for these fields.
        num_joints: None where there is no joint head.
    """

    layout: Layout
    fields: dict[str, Any]
    rules: Sequence[Rule]
    num_joints: int | None

    @property
    def last_head(self) -> str:
        return f"head{self.fields.get('num_stacks', 1) - 1}"


def describe(state: Mapping[str, np.ndarray]) -> Network:
    """The network that these weights are of.

    Raises ValueError where it is none of `LAYOUTS`, or several at once, or where a size cannot be read.
    """
    found = [layout for layout in LAYOUTS if any(name.startswith(layout.mark) for name in state)]
    if not found:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise ValueError(f"the weights are of no network known here ({known}); found {glimpse(list(state))}")
    if len(found) > 1:
        raise ValueError(
            f"the weights are of the {' and of the '.join(layout.name for layout in found)} at once"
        )
    (layout,) = found
    fields = layout.fields(state)
    network = Network(layout, fields, layout.rules(fields), None)
    if layout.may_lack_head and not head_names(network) & state.keys():
        return network
    weight = torch_name(f"params/{network.last_head}/joints/kernel", network.rules)
    return network._replace(num_joints=out_features(state, weight.removesuffix(".weight")))


def head_names(network: Network) -> set[str]:
    """Names of the last joint head in the state dict."""
    paths = (f"params/{network.last_head}/joints/{leaf}" for leaf in ("kernel", "bias"))
    return {torch_name(path, network.rules) for path in paths}


def convert(
    network: Network, state: Mapping[str, np.ndarray], net: OASNet, input_size_wh: tuple[int, int]
) -> tuple[dict[str, Any], Report]:
    """The variables of `net`, 'params' and 'batch_stats', and what of the state dict does not fit.

    A joint head that the state dict does not have gets random weights and is not called missing.

    Args:
        network: what `describe` said of the state dict.
        net: that network as one of ours, without an occlusion head and reconstruction.
        input_size_wh: of the crops.

    Raises ValueError where the crop does not suit the network.
    """
    width, height = input_size_wh
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    expected = jax.eval_shape(lambda x: net.init(jax.random.key(0), x, False), images)
    variables, report = assign(expected, network.rules, state)
    if network.num_joints is None:
        channels = expected["params"][network.last_head]["joints"]["kernel"].shape[2]
        head = Conv(net.num_joints, 1).init(jax.random.key(0), jnp.zeros((1, 1, 1, channels)))["params"]
        variables["params"][network.last_head] = {"joints": jax.tree.map(np.asarray, head)}
        missing = tuple(name for name in report.missing if name not in head_names(network))
        report = report._replace(missing=missing)
    return variables, report


def sort_unused(
    names: Collection[str], never_used: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Unused names that match one of the patterns, by what they are, and the others."""
    sorted_names = {
        what: tuple(name for name in names if re.search(pattern, name))
        for what, pattern in never_used.items()
    }
    known = {name for group in sorted_names.values() for name in group}
    return (
        {what: group for what, group in sorted_names.items() if group},
        tuple(name for name in names if name not in known),
    )


def refuse_misfits(report: Report, strange: Collection[str], used: Collection[str]) -> None:
    """Raise ValueError that names what does not fit.

    A strange name is a misfit inside of a module that the network has, where it would change what the
    network computes; it is none beside them.
    """
    modules = {name.partition(".")[0] for name in used}
    misfits = {
        "missing": report.missing,
        "of another shape": report.misshapen,
        "not finite": report.not_finite,
        "not a part of it": [name for name in strange if name.partition(".")[0] in modules],
    }
    found = [f"{what}: {glimpse(list(names), MOST_NAMED)}" for what, names in misfits.items() if names]
    if found:
        raise ValueError(f"the weights do not fit the network that they describe; {'; '.join(found)}")
