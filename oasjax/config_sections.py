"""Sections of a config: our own conventions, the paper's values. No JAX: configs load in no time.

A config file takes `pose()` and changes what is its own:

    config = config_sections.pose()
    config.train.batch_size = 16
"""

from ml_collections import ConfigDict

from oasjax.ops.choices import check_choice


def pose() -> ConfigDict:
    """A whole config of the task `oasnet`: siamese training on drawn people, by our own conventions."""
    config = ConfigDict()
    config.task = "oasnet"
    config.seed = 0
    config.skeleton = "mpii"  # one of oasjax.datasets.skeletons, or from_data
    config.data = data()
    config.augment = augment()
    config.model = model("hourglass")
    config.target = target()
    config.loss = loss()
    config.optimizer = optimizer()
    config.train = train()
    config.eval = evaluation()
    config.log = log()
    return config


def data() -> ConfigDict:
    """`config.data`: which people, and how they are cut out (`oasjax.input_pipeline`)."""
    data = ConfigDict()
    data.name = "synthetic_people"
    data.source = "tfds"  # or arrays: without TensorFlow
    data.data_dir = ""  # "": the environment variable OASJAX_DATA_DIR
    data.arrays_path = ""  # with source arrays: .npz files in place of the data set
    data.boxes_path = ""  # to test on a detector's boxes (COCO family): its JSON file
    data.prepared_dir = ""  # where TFDS keeps what it prepared; "": the user's cache folder
    data.train_on = ()  # NAME or NAME:SPLIT; (): the split train of `name`
    data.eval_split = "eval"  # or train: to see what was learnt by heart
    data.pseudo_labels = ""  # a model whose occlusion maps stand in where the data tell of no occlusion
    data.train_size = 0  # 0: all there are
    data.eval_size = 0

    data.input_size_wh = (256, 256)
    data.geometry = "centre"  # hrnet, hourglass or udp: as published
    data.padding = 1.25  # of the person's box
    data.clip_boxes = False  # True: to the picture first, as HRNet does on COCO
    data.rotation_deg = 0.0  # standard deviation
    data.rotation_probability = 0.6
    data.scale_factor = 0.0  # standard deviation
    data.half_body_probability = 0.0
    data.normalization = "imagenet"  # of colours; hourglass, or none: [0, 1]

    data.look = "studio"  # of drawn people; or street
    data.render_size = 128
    data.seed = 0  # of the drawing; the held-out people use the next one
    return data


def augment() -> ConfigDict:
    """`config.augment`: what happens to crops on the device (`oasjax.augmentation`)."""
    augment = ConfigDict()
    augment.flip_probability = 0.5
    augment.colour_jitter = 0.2

    augment.patches = patches()  # artificial occluders of the occluded branch
    augment.patches.kinds.cutout = 0.0  # a person or an object, cut out along its mask
    augment.patches.cutouts = ""  # where cut-outs come from; "": the masks of the training people
    return augment


def patches() -> ConfigDict:
    """What `config.augment.patches` and `config.eval.patches` share (`oasjax.augmentation.occluders`)."""
    patches = ConfigDict()
    patches.min_patches = 0
    patches.max_patches = 3
    patches.min_side = 0.1  # of the crop's shorter side
    patches.max_side = 0.3
    patches.jitter = 0.05
    patches.round_probability = 0.5  # ellipse instead of rectangle
    patches.kinds = ConfigDict()  # what patches show, by relative frequency
    patches.kinds.flat = 0.3  # one colour
    patches.kinds.other = 0.7  # a piece of another crop of the batch
    patches.kinds.background = 0.0  # a piece of the same crop without joints
    patches.kinds.joint = 0.0  # another joint of the same crop, put on the background
    return patches


def target() -> ConfigDict:
    """`config.target`: joints <-> heatmaps (`oasjax.codecs`)."""
    target = ConfigDict()
    target.codec = "subpixel"  # hrnet, hourglass, dark or udp: as published
    target.sigma_cells = 1.0
    target.blur_kernel = 11  # of the decoders dark and udp
    target.joint_weights = (
        False  # True: as HRNet on COCO, 1.2 for elbows and knees, 1.5 for wrists and ankles
    )
    return target


def loss() -> ConfigDict:
    """`config.loss`: L of eq. 11."""
    loss = ConfigDict()
    loss.reduction = "mean"  # of L_J and L_o; sum: as printed in eqs. 2 and 3
    loss.factor = 1.0  # of L_J and L_o; 0.5 in HRNet's code
    loss.hard_joints = 0  # L_J of each person's so many worst joints alone; 0: of all
    loss.occlusion_weight = 1.0  # lambda_o
    loss.branches = "both"  # which carry L_J and L_o; or occluded
    loss.mimic = mimic()
    return loss


def optimizer() -> ConfigDict:
    """`config.optimizer` (`oasjax.training.optimizers`)."""
    optimizer = ConfigDict()
    optimizer.name = "adam"  # or rmsprop
    optimizer.learning_rate = 1e-3
    optimizer.weight_decay = 0.0
    optimizer.schedule = ConfigDict()
    optimizer.schedule.name = "cosine"  # or step
    optimizer.schedule.warmup_steps = 0
    optimizer.schedule.boundaries = ()  # of the steps, as parts of the run
    optimizer.schedule.factor = 0.01  # at each step; of the cosine, at its end
    return optimizer


def train() -> ConfigDict:
    """`config.train`."""
    train = ConfigDict()
    train.branches = "siamese"  # occluded and clean; single: the occluded one alone
    train.batch_norm = "joint"  # one pass of both branches; separate: one of each, with its own statistics
    train.teacher = ""  # single: a model that shows its features of the clean crops (distillation)
    train.batch_size = 16  # people
    train.num_steps = 10000
    return train


def evaluation() -> ConfigDict:
    """`config.eval` (`oasjax.training.scoring`)."""
    evaluation = ConfigDict()
    evaluation.batch_size = 64
    evaluation.flip_test = True
    evaluation.scales = (1.0,)  # of the crop; the mean of all is taken
    evaluation.metrics = ("pckh", "pck", "occlusion")
    evaluation.oks_nms = 0.9  # keypoint_ap: of two people more alike (OKS) the better counts; 0: both
    evaluation.test_sets = ("clean",)  # and pasted: with fixed occluders
    evaluation.patches = patches()  # these, whatever a model was trained with; other: of the same crop
    evaluation.patches.min_patches = 1
    evaluation.seed = 0  # of the occluders of `pasted`: runs with other seeds are tested with the same
    return evaluation


def log() -> ConfigDict:
    """`config.log`: in steps."""
    log = ConfigDict()
    log.every = 100
    log.checkpoint_every = 1000
    log.keep_checkpoints = 2
    return log


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


def hourglass_protocol(config: ConfigDict, people: int) -> None:
    """Crops, targets and training of the paper's hourglass rows on MPII and LSP (section 4.2).

    "The same data augmentations scheme as previous works [39, 8]": 39 is PyraNet (bearpaw/PyraNet: opts.lua,
    datasets/mpii.lua), which turns a crop with probability 0.4. The batch size is not given; 16 is the larger
    one of PyraNet's.

    Args:
        config: a config of `pose`; changed.
        people: to train on, in one epoch.
    """
    config.data.input_size_wh = (256, 256)
    config.data.geometry = "hourglass"
    config.data.padding = 1.25
    config.data.rotation_deg = 30.0
    config.data.rotation_probability = 0.4
    config.data.scale_factor = 0.25
    config.data.normalization = "hourglass"
    config.augment.flip_probability = 0.5
    config.augment.colour_jitter = 0.2
    config.target.codec = "hourglass"
    config.target.sigma_cells = 1.0
    config.loss.factor = 1.0
    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 5e-4
    step_schedule(config, drop_epochs=(150, 170, 200), epochs=220, people=people, batch_size=16)


# What HRNet's code does otherwise on its two data sets (experiments/{mpii,coco}/hrnet/*.yaml).
HRNET_AUGMENTATION = {
    "mpii": {"rotation_deg": 30.0, "scale_factor": 0.25, "half_body_probability": 0.0, "clip_boxes": False},
    "coco": {"rotation_deg": 45.0, "scale_factor": 0.35, "half_body_probability": 0.3, "clip_boxes": True},
}
# Standard deviation of its targets, in cells, by the height of the crop.
HRNET_SIGMAS = {256: 2.0, 384: 3.0}


def hrnet_protocol(
    config: ConfigDict,
    people: int,
    *,
    augmentation: str,
    input_size_wh: tuple[int, int],
    batch_size: int = 128,
) -> None:
    """Crops, targets and training of HRNet (leoxiaobin/deep-high-resolution-net.pytorch).

    The weight decay of its configs is left out: its code hands it to SGD alone, and trains with Adam. Its
    loss has a factor 0.5. Its batch norm sees a quarter of the batch, the crops of one of four devices; here
    it sees the whole.

    Args:
        config: a config of `pose`; changed.
        people: to train on, in one epoch.
        augmentation: "mpii" or "coco".
        input_size_wh: width and height of the crop, in pixels; the height decides the width of the targets.
        batch_size: people of a step.

    Raises:
        ValueError: another augmentation, or a height without a published sigma.
    """
    height = input_size_wh[1]
    check_choice("augmentation", augmentation, HRNET_AUGMENTATION)
    if height not in HRNET_SIGMAS:
        raise ValueError(f"HRNet was published for crops of height {tuple(HRNET_SIGMAS)}, not {height}")
    config.data.input_size_wh = input_size_wh
    config.data.geometry = "hrnet"
    config.data.padding = 1.25
    config.data.rotation_probability = 0.6
    config.data.update(HRNET_AUGMENTATION[augmentation])
    config.data.normalization = "imagenet"
    config.augment.flip_probability = 0.5
    config.augment.colour_jitter = 0.0
    config.target.codec = "hrnet"
    config.target.sigma_cells = HRNET_SIGMAS[height]
    config.loss.factor = 0.5
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    step_schedule(config, drop_epochs=(170, 200), epochs=210, people=people, batch_size=batch_size)


def step_schedule(
    config: ConfigDict, *, drop_epochs: tuple[int, ...], epochs: int, people: int, batch_size: int
) -> None:
    """A run of so many epochs, at whose `drop_epochs` the learning rate is divided by 10."""
    config.optimizer.schedule.name = "step"
    config.optimizer.schedule.warmup_steps = 0
    config.optimizer.schedule.boundaries = tuple(epoch / epochs for epoch in drop_epochs)
    config.optimizer.schedule.factor = 0.1
    config.train.batch_size = batch_size
    config.train.num_steps = epochs * people // batch_size


def keypoint_masking(config: ConfigDict) -> None:
    """Patches of the two kinds of Ke et al. (2018): background over a joint, a joint over the background.

    How many and how large is not known; the numbers stay those of `augment`.
    """
    kinds = config.augment.patches.kinds
    kinds.flat, kinds.other, kinds.cutout = 0.0, 0.0, 0.0
    kinds.background, kinds.joint = 0.5, 0.5
