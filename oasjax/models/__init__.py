"""Architectures. `config.model.name` indexes BACKBONES."""

from typing import Any

import jax.numpy as jnp

from oasjax.models.erase_reconstruct import EraseReconstruct
from oasjax.models.hourglass import StackedHourglass
from oasjax.models.hrnet import HRNet
from oasjax.models.oasnet import OASNet
from oasjax.ops.choices import check_choice

BACKBONES = {"hourglass": StackedHourglass, "hrnet": HRNet}


def build_oasnet(model: Any, num_joints: int) -> OASNet:
    """OASNet from `config.model` (see `oasjax.config_sections.model`).

    Raises:
        ValueError: an unknown backbone or occlusion head (the message lists the choices), no section of that
            backbone's fields, or erasing without an occlusion map.
    """
    name = model["name"]
    check_choice("name", name, BACKBONES)
    if name not in model:
        raise ValueError(f"the section '{name}' is missing; write config_sections.model('{name}')")
    dtype = jnp.dtype(model["dtype"])
    # From JSON, tuples come as lists, which a module cannot hash.
    fields = {field: _tuples(value) for field, value in model[name].items()}
    backbone = BACKBONES[name](remat=model["remat"], dtype=dtype, **fields)
    return OASNet(
        backbone,
        num_joints,
        model["occlusion_head"],
        EraseReconstruct(**model["erase_reconstruct"]),
        dtype,
    )


def _tuples(value: Any) -> Any:
    """Lists, also nested, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
