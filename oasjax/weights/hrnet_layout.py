"""State dicts of HRNet: leoxiaobin/deep-high-resolution-net.pytorch, and its kin for classification.

HRNet/HRNet-Image-Classification, whose ImageNet weights start most pose training, has other layers after
stage 4 and fuses to all branches there; the rest has the same names.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from oasjax.weights.state_dict import Layout, Rule, num_children, out_features

FIRST_STAGE = 2  # stage 1 is called layer1

RULES: tuple[Rule, ...] = (
    (r"^head0/joints$", "final_layer"),
    (r"^backbone/", ""),
    (r"^stem(\d)/(conv|bn)$", r"\2\1"),
    (r"/conv(\d)/(conv|bn)$", r"/\2\1"),
    # Outside of residual blocks convolution and batch norm stand in a Sequential.
    (r"/conv$", "/0"),
    (r"/bn$", "/1"),
    (r"^transition(\d+)/branch", r"transition\1/"),
    (r"/branch", "/branches/"),
    (r"/fuse(\d+)_", r"/fuse_layers/\1/"),
    (r"/(?:module|block|step)", "/"),
)


def fields(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Fields of `oasjax.models.hrnet.HRNet`. Raises ValueError where a size cannot be read."""
    stages = [f"stage{FIRST_STAGE + n}" for n in range(num_children(state, "stage", FIRST_STAGE))]
    return {
        "channels": tuple(
            tuple(
                out_features(state, f"{stage}.0.branches.{branch}.0.conv1")
                for branch in range(num_children(state, f"{stage}.0.branches."))
            )
            for stage in stages
        ),
        "modules": tuple(num_children(state, f"{stage}.") for stage in stages),
        "blocks": tuple(num_children(state, f"{stage}.0.branches.0.") for stage in stages),
    }


def never_used(fields: Mapping[str, Any]) -> dict[str, str]:
    """What an ImageNet state dict has beyond the pose network."""
    last_stage, last_module = FIRST_STAGE + len(fields["modules"]) - 1, fields["modules"][-1] - 1
    return {
        "fusion to the lower branches in the last module, which the pose network does without": (
            rf"^stage{last_stage}\.{last_module}\.fuse_layers\.[1-9]"
        ),
        "head of the classification": r"^(?:incre_modules|downsamp_modules|final_layer\.\d|classifier)\.",
    }


HRNET = Layout(
    name="HRNet (leoxiaobin/deep-high-resolution-net.pytorch)",
    backbone="hrnet",
    mark="stage2.0.branches.",
    fields=fields,
    rules=lambda _: RULES,
    never_used=never_used,
    normalization="imagenet",
    may_lack_head=True,
)
