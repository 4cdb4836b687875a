"""Configs of the paper's models as their tables train them, and the switches of its ablations.

A config file of a row takes one of the bases and adds what is the row's own:

    config = published_rows.mpii_hourglass(num_stacks=2)
    published_rows.single_branch(config, paste=False)

No JAX, as in `config_sections`.
"""

from typing import Any

from ml_collections import ConfigDict

from oasjax import config_sections

# People to train on, by data set and split. MPII: 22,246 of pictures without a validation person. (The 29,116
# of HRNet's "trainval" have 3,912 more, who stand in validation pictures and were never scored.)
PEOPLE = {
    "mpii": 22_246,
    "mpii:eval": 2_958,
    "lsp": 1_000,
    "lsp_extended": 9_600,
    "lsp_extended:eval": 400,
    "coco_person": 149_813,
}
MPII_TRAIN_AND_VALIDATION = ("mpii", "mpii:eval")
# As PyraNet (datasets/mpii-lsp-gen.lua): MPII without its validation people, LSP-extended, half of LSP.
LSP_MIXTURE = ("mpii", "lsp_extended", "lsp_extended:eval", "lsp")
# Of the crops of the multi-scale test on MPII and LSP (PyraNet, evalPyra.lua).
SIX_SCALES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)


def num_people(data: ConfigDict) -> int:
    """How many people `config.data` has to train on."""
    return sum(PEOPLE[part] for part in data.train_on or (data.name,))


def mpii_hourglass(num_stacks: int, train_on: tuple[str, ...] = ()) -> ConfigDict:
    """OASNet whole (eq. 11, transport loss) on an hourglass, for MPII's joints.

    Args:
        train_on: a mixture of PEOPLE; empty: MPII's train people.
    """
    config = _mpii(train_on)
    _hourglass(config, num_stacks)
    return config


def lsp_hourglass(num_stacks: int) -> ConfigDict:
    """OASNet whole on an hourglass, for LSP's 14 joints: on these the published scores are."""
    config = config_sections.pose()
    config.skeleton = config.data.name = "lsp"
    config.data.train_on = LSP_MIXTURE
    config.eval.metrics = ("pck", "occlusion")
    config.eval.scales = SIX_SCALES
    _hourglass(config, num_stacks)
    return config


def mpii_hrnet(width: int, train_on: tuple[str, ...] = ()) -> ConfigDict:
    """OASNet whole on an HRNet, for MPII's joints.

    With jittered colours, which section 4.2 gives to all rows of MPII; HRNet's own code has none.

    Args:
        train_on: as of `mpii_hourglass`.
    """
    config = _mpii(train_on)
    _hrnet(config, width, augmentation="mpii", input_size_wh=(256, 256))
    config.augment.colour_jitter = 0.2
    return config


def coco_hrnet(width: int, input_size_wh: tuple[int, int] = (192, 256), batch_size: int = 128) -> ConfigDict:
    """OASNet whole on an HRNet, for COCO; "completely the same" training and testing as HRNet."""
    config = config_sections.pose()
    config.skeleton, config.data.name = "coco", "coco_person"
    config.eval.metrics = ("keypoint_ap", "occlusion")
    _hrnet(config, width, augmentation="coco", input_size_wh=input_size_wh, batch_size=batch_size)
    return config


def _mpii(train_on: tuple[str, ...]) -> ConfigDict:
    config = config_sections.pose()
    config.skeleton = config.data.name = "mpii"
    config.data.train_on = train_on
    config.eval.metrics = ("pckh", "occlusion")
    return config


def _hourglass(config: ConfigDict, num_stacks: int) -> None:
    config.model = config_sections.model("hourglass")
    config.model.hourglass.num_stacks = num_stacks
    config_sections.hourglass_protocol(config, num_people(config.data))
    config_sections.keypoint_masking(config)


def _hrnet(config: ConfigDict, width: int, **protocol: Any) -> None:
    config.model = config_sections.model("hrnet")
    config.model.hrnet = config_sections.hrnet(width)
    config_sections.hrnet_protocol(config, num_people(config.data), **protocol)
    config_sections.keypoint_masking(config)


def ablation() -> ConfigDict:
    """OASNet whole as section 4.4 tests it: 2-stack hourglass, MPII validation, one scale, no flip."""
    config = mpii_hourglass(num_stacks=2)
    config.eval.flip_test = False
    return config


def mimic(config: ConfigDict, kind: str, *, detach: bool = False) -> None:
    """Another mimicking loss, with the weight that the paper gives it (section 3.4); js has that of kl."""
    config.loss.mimic.kind = kind
    config.loss.mimic.weight = 100.0 if kind in ("kl", "js") else 0.001
    config.loss.mimic.detach = detach


def single_branch(config: ConfigDict, *, paste: bool) -> None:
    """No siamese training: one branch, which sees occluders only where `paste` is set."""
    config.train.branches = "single"
    config.loss.mimic.kind = "none"
    if not paste:
        config.augment.patches.max_patches = 0


def without_reconstruction(config: ConfigDict, occlusion_head: str) -> None:
    """The backbone with an occlusion head ("heatmap", "classification" or "none") and nothing after it."""
    config.model.occlusion_head = occlusion_head
    config.model.erase_reconstruct.erase = False
    config.model.erase_reconstruct.reconstruct = False


def backbone_alone(config: ConfigDict, *, paste: bool = False) -> None:
    """The baseline: the backbone and its joint heads, one branch."""
    without_reconstruction(config, "none")
    single_branch(config, paste=paste)


def shrink(
    config: ConfigDict, *, input_side: int, features: int, depth: int = 1, num_stacks: int = 1
) -> ConfigDict:
    """A copy with the same switches and conventions: a tiny network, tiny crops, drawn people in memory.

    How many people there are, the size of a batch and the length of the run are left to the caller.

    Args:
        config: unchanged.
        input_side: of the square crop, in pixels; a multiple of 4 * 2^depth (hourglass) or of 32 (HRNet).
        features: of the hourglass; channels of HRNet's first branch.
        depth, num_stacks: of the hourglass; no more stacks than there were.
    """
    small = config.copy_and_resolve_references()
    small.unlock()
    small.skeleton = "mpii"
    small.data.update(
        name="synthetic_people",
        source="arrays",
        train_on=(),
        pseudo_labels="",
        render_size=64,
        input_size_wh=(input_side, input_side),
    )
    small.eval.metrics = ("pckh", "occlusion")
    small.model.pretrained = ""
    if small.model.name == "hourglass":
        hourglass = small.model.hourglass
        hourglass.num_stacks = min(hourglass.num_stacks, num_stacks)
        hourglass.depth, hourglass.features, hourglass.stem_features = depth, features, max(features // 4, 2)
    else:
        small.model.hrnet = config_sections.hrnet(features)
        small.model.hrnet.modules = small.model.hrnet.blocks = (1, 1, 1)
    if small.model.erase_reconstruct.width:
        small.model.erase_reconstruct.width = 2 * features
    return small
