"""The joints that a config is about: `config.skeleton`.

It is the name of a known skeleton; FROM_DATA until the data are open, for people's own joints; and from
then on, in workdirs and model folders, the whole skeleton as JSON: prediction must not need the data.
"""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from oasjax.datasets.skeletons import SKELETONS, Skeleton, from_json, plain_name, to_json

FROM_DATA = "from_data"
# What HRNet weights the joints of COCO by (`joints_weight` of lib/dataset/coco.py); the others by 1.
JOINT_WEIGHTS = {"elbow": 1.2, "knee": 1.2, "wrist": 1.5, "ankle": 1.5}


def read_skeleton(value: Any) -> Skeleton:
    """The skeleton of `config.skeleton`, a name or a whole one. Raises ValueError for anything else."""
    if isinstance(value, dict | ConfigDict):
        return from_json(dict(value.items()))
    if not isinstance(value, str) or value not in SKELETONS:
        raise ValueError(f"unknown skeleton {value!r}; there are: {', '.join(SKELETONS)}")
    return SKELETONS[value]


def joint_weights(skeleton: Skeleton) -> np.ndarray:
    """HRNet's weight of each joint, by its name."""
    names = [plain_name(joint).removeprefix("left_").removeprefix("right_") for joint in skeleton.joints]
    return np.array([JOINT_WEIGHTS.get(name, 1.0) for name in names])


def with_skeleton(config: ConfigDict, skeleton: Skeleton) -> ConfigDict:
    """A locked copy of the config with this skeleton: its name if that is known, else the whole of it."""
    known = SKELETONS.get(skeleton.name) == skeleton
    value = skeleton.name if known else to_json(skeleton)
    return ConfigDict(config.to_dict() | {"skeleton": value}).lock()
