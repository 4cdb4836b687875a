"""Sections that every config of a system shares, with the paper's values. No JAX: configs load in no time."""

from ml_collections import ConfigDict

from oasjax.ops.choices import check_choice

# The dilated pair of the reconstruction and the convolutions around it; reasons in docs/choices.md.
ERASE_RECONSTRUCT_PRESETS = {
    # The paper's text: as wide as the features. For the hourglass (256) also what its cost suggests.
    "literal": {"width": 0, "stride": 1, "reduce_kernel": 0, "restore_kernel": 0},
    # Nearest to the cost that the paper prints for HRNet, whose features have 32 or 48 channels.
    "budget": {"width": 256, "stride": 2, "reduce_kernel": 3, "restore_kernel": 3},
}


def model(name: str) -> ConfigDict:
    """`config.model` of OASNet on the backbone `hourglass` or `hrnet`, at its published size.

    Erasing and reconstruction are the preset `literal` for the hourglass and `budget` for HRNet. Raises
    ValueError for another name.
    """
    check_choice("name", name, BACKBONE_SECTIONS)
    model = ConfigDict()
    model.name = name
    model.dtype = "float32"  # of the features; bfloat16 halves their memory. Weights stay float32
    model.remat = False  # True: compute residual blocks again in the backward pass; less memory, more time
    model.pretrained = ""  # a model folder whose backbone to start from; "": random weights
    model.occlusion_head = "heatmap"  # eq. 2; classification: eq. 1; or none
    model.erase_reconstruct = erase_reconstruct("budget" if name == "hrnet" else "literal")
    model[name] = BACKBONE_SECTIONS[name]()
    return model


def erase_reconstruct(preset: str) -> ConfigDict:
    """`config.model.erase_reconstruct`: fields of `oasjax.models.erase_reconstruct.EraseReconstruct`.

    Raises ValueError for an unknown preset.
    """
    check_choice("preset", preset, ERASE_RECONSTRUCT_PRESETS)
    values = ERASE_RECONSTRUCT_PRESETS[preset]
    er = ConfigDict()
    er.erase = True  # needs occlusion_head "heatmap"; False: "Recon." of the paper's Fig. 6a
    er.reconstruct = True
    er.every_stack = False  # True: occlusion head, erasing and reconstruction after every stack, not the last
    er.clip_attention = False  # True: 1 - H_o clipped to [0, 1]
    er.width = values["width"]  # channels of the dilated pair; 0: those of the features
    er.stride = values["stride"]  # 2: the dilated pair at half resolution
    er.reduce_kernel = values["reduce_kernel"]  # of the convolution to `width` before the pair; 0: none
    er.restore_kernel = values["restore_kernel"]  # of that back to the features' channels; 0: none
    return er


def hourglass() -> ConfigDict:
    """`config.model.hourglass`: fields of `oasjax.models.hourglass.StackedHourglass`."""
    hourglass = ConfigDict()
    hourglass.layout = "bearpaw"  # or princeton: a narrower stem
    hourglass.num_stacks = 2
    hourglass.depth = 4
    hourglass.features = 256
    hourglass.stem_features = 64
    hourglass.num_blocks = 1
    hourglass.stem_pool = True  # False: stride 2 in place of 4, for small crops
    return hourglass


def hrnet(width: int = 32) -> ConfigDict:
    """`config.model.hrnet`: fields of `oasjax.models.hrnet.HRNet`; 32 and 48 are the published widths."""
    hrnet = ConfigDict()
    branches = tuple(width * 2**n for n in range(4))
    hrnet.channels = tuple(branches[:n] for n in (2, 3, 4))  # of the branches, by stage
    hrnet.modules = (1, 4, 3)
    hrnet.blocks = (4, 4, 4)
    return hrnet


BACKBONE_SECTIONS = {"hourglass": hourglass, "hrnet": hrnet}


def mimic() -> ConfigDict:
    """`config.loss.mimic`: L_mimic of OASNet (eqs. 7 to 11). What the paper leaves open: docs/choices.md."""
    mimic = ConfigDict()
    mimic.kind = "ot"  # l2, cosine, kl, js, ot, or none
    mimic.weight = 0.001  # lambda_mimic of eq. 11; 100 for kl in the paper
    mimic.reduction = "mean"  # or sum; for ot, sum means weights of 1 in place of 1/C
    mimic.detach = False  # the clean branch teaches without being taught
    mimic.axis = "channel"  # of the softmax of kl and js; or space

    mimic.mask = ConfigDict()  # of natural occlusions, eq. 7
    mimic.mask.source = "ground_truth"  # predicted: the clean branch's H_o without its gradient; or none
    mimic.mask.threshold = 0.0  # 0: soft, 1 - H_o; otherwise binary, H_o < threshold

    mimic.transport = ConfigDict()  # Algorithm 1
    mimic.transport.epsilon = 0.1
    mimic.transport.epsilon_end = 0.1  # reached at the last step, geometrically
    mimic.transport.num_iters = 5
    mimic.transport.domain = "log"  # or plain
    mimic.transport.plan_grad = "unrolled"  # stop or implicit
    mimic.transport.debias = False
    mimic.transport.dead_rows = "keep"  # drop: weight zero for channels without a direction

    mimic.critic = ConfigDict()  # D of Algorithm 1
    mimic.critic.kind = "convolution"  # average_pool, or none: the features themselves
    mimic.critic.kernel_size = 3
    mimic.critic.stride = 2
    mimic.critic.groups = 1  # 0: one for each channel
    mimic.critic.bias = False
    mimic.critic.relu = False
    mimic.critic.training = "joint"  # frozen, adversarial or ema
    mimic.critic.ema_decay = 0.999
    return mimic
