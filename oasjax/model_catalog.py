"""The models of the papers at their published sizes: what `oasjax models` lists.

The counts stand here as figures, so that listing them needs neither JAX nor time. The tests count every one
of them again on the model itself, with `measure`.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from oasjax import config_sections


class Published(NamedTuple):
    """What a paper or a repository prints of a model.

    Attributes:
        parameters_m: in millions.
        gflops: multiply-adds, mostly in units of 2^30 (see `published_gflops`).
        source: where it is printed.
    """

    parameters_m: float
    gflops: float
    source: str


class CatalogEntry(NamedTuple):
    """A model and what it costs.

    Attributes:
        name: how it is called on the command line.
        model: makes its `config.model`.
        num_joints: channels of its joint heads.
        input_size_wh: width and height of the crop, in pixels.
        parameters: weights that are trained, without the running statistics of batch norm.
        multiply_adds: of convolutions and matrix products, for one crop.
        published: None where its authors print no figures.
        note: what else there is to say; may be empty.
    """

    name: str
    model: Callable[[], ConfigDict]
    num_joints: int
    input_size_wh: tuple[int, int]
    parameters: int
    multiply_adds: int
    published: Published | None = None
    note: str = ""


class Measured(NamedTuple):
    """What `measure` finds.

    Attributes:
        variables: tree of shapes: `params` and `batch_stats`.
        multiply_adds: of the forward pass for one crop.
    """

    variables: Mapping[str, Any]
    multiply_adds: int


def measure(entry: CatalogEntry) -> Measured:
    """Count on the model itself: it is traced once, nothing is compiled or run. One to three seconds."""
    import jax
    import jax.numpy as jnp

    from oasjax.models import build_oasnet
    from oasjax.models.multiply_adds import multiply_adds_of

    network = build_oasnet(entry.model(), entry.num_joints)
    width, height = entry.input_size_wh

    def forward(images):
        # Gives the variables too; drawing them takes no products.
        return network.init_with_output(jax.random.key(0), images, False)

    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    jaxpr, (_, variables) = jax.make_jaxpr(forward, return_shape=True)(images)
    return Measured(variables, multiply_adds_of(jaxpr))


def parameters_by_part(params: Mapping[str, Any]) -> dict[str, int]:
    """Parameters of the backbone and, over all stacks, of `joints`, `occlusion` and `reconstruction`.

    Args:
        params: tree of shapes or arrays, as in `Measured.variables["params"]`.
    """
    counts = {"backbone": _size(params["backbone"])}
    for module, parts in params.items():
        if module != "backbone":
            for part, tree in parts.items():
                counts[part] = counts.get(part, 0) + _size(tree)
    return counts


def _size(tree: Any) -> int:
    if isinstance(tree, Mapping):
        return sum(map(_size, tree.values()))
    return math.prod(tree.shape)


def published_gflops(multiply_adds: int) -> float:
    """The 'GFLOPs' that HRNet's tables print for so many multiply-adds: they count in units of 2^30.

    Source: `get_model_summary` in `lib/utils/utils.py` of leoxiaobin/deep-high-resolution-net.pytorch.
    """
    return multiply_adds / 1024**3


def _hrnet(width: int, preset: str | None = None) -> ConfigDict:
    model = config_sections.model("hrnet")
    model.hrnet = config_sections.hrnet(width)
    return _with_preset(model, preset)


def _hourglass(layout: str, num_stacks: int, preset: str | None = None) -> ConfigDict:
    model = config_sections.model("hourglass")
    model.hourglass.layout = layout
    model.hourglass.num_stacks = num_stacks
    return _with_preset(model, preset)


def _with_preset(model: ConfigDict, preset: str | None) -> ConfigDict:
    """OASNet with these sizes of erasing and reconstruction; None: the backbone and its joint heads alone."""
    if preset is None:
        model.occlusion_head = "none"
        model.erase_reconstruct.erase = False
        model.erase_reconstruct.reconstruct = False
    else:
        model.erase_reconstruct = config_sections.erase_reconstruct(preset)
    return model


def _princeton_note(original: int, never_used: int) -> str:
    return f"the original has {original:,}, of which {never_used:,} (skip layers) are never used"


# Joints and input size.
COCO_SMALL, COCO_LARGE, MPII = (17, (192, 256)), (17, (288, 384)), (16, (256, 256))

HRNET_README = "README of leoxiaobin/deep-high-resolution-net.pytorch"
OASNET_W32 = Published(29.9, 9.0, "OASNet, Table 4")
OASNET_W48 = Published(66.0, 17.3, "OASNet, Table 4")
BEARPAW_NOTE = "as many as in bearpaw/pytorch-pose"

# fmt: off
_ENTRIES = (
    CatalogEntry("hrnet_w32_256x192", partial(_hrnet, 32), *COCO_SMALL,
                 28_536_113, 7_645_003_776, Published(28.5, 7.1, HRNET_README)),
    CatalogEntry("hrnet_w32_384x288", partial(_hrnet, 32), *COCO_LARGE,
                 28_536_113, 17_201_258_496, Published(28.5, 16.0, HRNET_README)),
    CatalogEntry("hrnet_w32_256x256", partial(_hrnet, 32), *MPII,
                 28_536_080, 10_193_207_296),
    CatalogEntry("hrnet_w48_256x192", partial(_hrnet, 48), *COCO_SMALL,
                 63_595_745, 15_691_825_152, Published(63.6, 14.6, HRNET_README)),
    CatalogEntry("hrnet_w48_384x288", partial(_hrnet, 48), *COCO_LARGE,
                 63_595_745, 35_306_606_592, Published(63.6, 32.9, HRNET_README)),
    CatalogEntry("hrnet_w48_256x256", partial(_hrnet, 48), *MPII,
                 63_595_696, 20_922_236_928),
    CatalogEntry("hourglass_bearpaw_1", partial(_hourglass, "bearpaw", 1), *MPII,
                 3_586_960, 5_804_654_592, note=BEARPAW_NOTE),
    CatalogEntry("hourglass_bearpaw_2", partial(_hourglass, "bearpaw", 2), *MPII,
                 6_730_912, 8_988_917_760, note=BEARPAW_NOTE),
    CatalogEntry("hourglass_bearpaw_4", partial(_hourglass, "bearpaw", 4), *MPII,
                 13_018_816, 15_357_444_096, note=BEARPAW_NOTE),
    CatalogEntry("hourglass_bearpaw_8", partial(_hourglass, "bearpaw", 8), *MPII,
                 25_594_624, 28_094_496_768, note=BEARPAW_NOTE),
    CatalogEntry("hourglass_princeton_1", partial(_hourglass, "princeton", 1), *MPII,
                 3_426_448, 5_150_343_168, note=_princeton_note(4_364_048, 937_600)),
    CatalogEntry("hourglass_princeton_2", partial(_hourglass, "princeton", 2), *MPII,
                 6_570_400, 8_334_606_336, note=_princeton_note(8_429_088, 1_858_688)),
    CatalogEntry("hourglass_princeton_8", partial(_hourglass, "princeton", 8), *MPII,
                 25_434_112, 27_440_185_344, note=_princeton_note(32_819_328, 7_385_216)),
    CatalogEntry("oasnet_hourglass_2", partial(_hourglass, "bearpaw", 2, "literal"), *MPII,
                 7_911_841, 13_821_804_544),
    CatalogEntry("oasnet_hourglass_8", partial(_hourglass, "bearpaw", 8, "literal"), *MPII,
                 26_775_553, 32_927_383_552),
    CatalogEntry("oasnet_hrnet_w32_literal", partial(_hrnet, 32, "literal"), *COCO_SMALL,
                 28_554_706, 7_701_725_184, OASNET_W32),
    CatalogEntry("oasnet_hrnet_w32_budget", partial(_hrnet, 32, "budget"), *COCO_SMALL,
                 29_864_850, 9_004_056_576, OASNET_W32),
    CatalogEntry("oasnet_hrnet_w48_literal", partial(_hrnet, 48, "literal"), *COCO_SMALL,
                 63_637_458, 15_819_374_592, OASNET_W48),
    CatalogEntry("oasnet_hrnet_w48_budget", partial(_hrnet, 48, "budget"), *COCO_SMALL,
                 64_998_258, 17_277_419_520, OASNET_W48),
)
# fmt: on

CATALOG = {entry.name: entry for entry in _ENTRIES}
