"""Architectures. `config.model.name` indexes BACKBONES."""

from typing import Any

import jax.numpy as jnp

from oasjax.models.hourglass import StackedHourglass
from oasjax.models.oasnet import OASNet

BACKBONES = {"hourglass": StackedHourglass}


def build_oasnet(model: Any, num_joints: int) -> OASNet:
    """OASNet from `config.model`: name, dtype, and the fields of that backbone under its own name.

    Raises:
        ValueError: unknown backbone; the message lists the choices.
    """
    if model["name"] not in BACKBONES:
        raise ValueError(f"unknown model '{model['name']}'; choose one of {sorted(BACKBONES)}")
    dtype = jnp.dtype(model["dtype"])
    fields = dict(model[model["name"]])
    backbone = BACKBONES[model["name"]](num_joints=num_joints, dtype=dtype, **fields)
    return OASNet(backbone, num_joints, dtype)
