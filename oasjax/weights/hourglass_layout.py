"""State dicts of the stacked hourglass: bearpaw/pytorch-pose and princeton-vl/pytorch_stacked_hourglass."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from oasjax.weights.state_dict import Layout, Rule, num_children, out_features

# A residual of an hourglass: its stack, what it is, and its level, 0 the finest (the bottom one has none).
RESIDUAL = r"^hourglass(\d+)/(skip|down|up|bottom)(\d*)"
BEARPAW_PARTS = {"skip": 0, "down": 1, "up": 2, "bottom": 3}
PRINCETON_PARTS = {"skip": "up1", "down": "low1", "up": "low3", "bottom": "low2"}


def bearpaw_fields(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of `oasjax.models.hourglass.StackedHourglass`; ValueError where a size cannot be read."""
    return {
        "layout": "bearpaw",
        "num_stacks": num_children(state, "hg."),
        "depth": num_children(state, "hg.0.hg."),
        "features": out_features(state, "fc.0.0"),
        "stem_features": out_features(state, "conv1"),
        "num_blocks": num_children(state, "hg.0.hg.0.0."),
        "stem_pool": True,
    }


def bearpaw_rules(fields: Mapping[str, Any]) -> tuple[Rule, ...]:
    """From our paths to the names of bearpaw/pytorch-pose."""

    def residual(match: re.Match) -> str:
        stack, part, level = match.groups()
        # The published levels count from the coarsest; the bottom belongs to it.
        number = fields["depth"] - 1 - int(level) if level else 0
        return f"hg/{stack}/hg/{number}/{BEARPAW_PARTS[part]}"

    return (
        (r"^head(\d+)/joints$", r"score/\1"),
        (r"^backbone/", ""),
        (r"^stem/(conv|bn)$", r"\g<1>1"),
        (RESIDUAL, residual),
        (r"^res(\d+)", r"res/\1"),
        (r"^fc(\d+)/conv$", r"fc/\1/0"),
        (r"^fc(\d+)/bn$", r"fc/\1/1"),
        (r"^(fc|score)_back", r"\1_/"),
        (r"/downsample$", "/downsample/0"),
        (r"/block", "/"),
    )


def princeton_fields(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of `oasjax.models.hourglass.StackedHourglass`; ValueError where a size cannot be read."""
    depth = 1
    while any(name.startswith(f"hgs.0.0.{'low2.' * depth}up1.") for name in state):
        depth += 1
    return {
        "layout": "princeton",
        "num_stacks": num_children(state, "hgs."),
        "depth": depth,
        "features": out_features(state, "features.0.1.conv"),
        "stem_features": out_features(state, "pre.0.conv"),
        "num_blocks": 1,
        "stem_pool": True,
    }


def princeton_rules(fields: Mapping[str, Any]) -> tuple[Rule, ...]:
    """From our paths to the names of princeton-vl/pytorch_stacked_hourglass."""

    def residual(match: re.Match) -> str:
        stack, part, level = match.groups()
        # Each finer level holds the next one as its `low2`; that of the coarsest is the bottom.
        inner = "low2/" * (int(level) if level else fields["depth"] - 1)
        return f"hgs/{stack}/0/{inner}{PRINCETON_PARTS[part]}"

    return (
        (r"^head(\d+)/joints$", r"outs/\1/conv"),
        (r"^backbone/", ""),
        # Number 2 of the stem's Sequential is the pooling.
        (r"^stem/", "pre/0/"),
        (r"^layer1/", "pre/1/"),
        (r"^layer2/", "pre/3/"),
        (r"^layer3/", "pre/4/"),
        (RESIDUAL, residual),
        (r"^res(\d+)", r"features/\1/0"),
        (r"^fc(\d+)/", r"features/\1/1/"),
        (r"/block0/(conv\d)$", r"/\1/conv"),
        (r"/block0/downsample$", "/skip_layer/conv"),
        (r"/block0/", "/"),
        (r"^fc_back(\d+)$", r"merge_features/\1/conv/conv"),
        (r"^score_back(\d+)$", r"merge_preds/\1/conv/conv"),
    )


BEARPAW = Layout(
    name="stacked hourglass (bearpaw/pytorch-pose)",
    backbone="hourglass",
    mark="hg.0.hg.",
    fields=bearpaw_fields,
    rules=bearpaw_rules,
    never_used=lambda _: {},
    normalization="hourglass",
)

PRINCETON = Layout(
    name="stacked hourglass (princeton-vl/pytorch_stacked_hourglass)",
    backbone="hourglass",
    mark="hgs.0.",
    fields=princeton_fields,
    rules=princeton_rules,
    never_used=lambda _: {"skip layers of residuals that keep their width": r"\.skip_layer\."},
    normalization="none",
)
