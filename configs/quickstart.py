"""Quickstart: siamese OASNet on drawn people (`synthetic_people`), small enough for two CPU cores.

Command: make quickstart   (oasjax train --config quickstart --workdir runs/quickstart)
Cost: 6000 steps of 8 pairs; 3.5 minutes of training, 4.5 with installation and evaluation, on 2 cores of an
   AMD EPYC (230 images/s).
Score: PCKh@0.5 in percent on 500 held-out people, mean of the joints; three seeds (0, 1, 2).
              mean pose   trained
   all        40.8        61.4  61.0  60.0
   visible    42.9        65.0  64.5  63.2
   occluded   34.8        51.1  50.9  50.6
"""

from ml_collections import ConfigDict

from oasjax import config_sections


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "oasnet"
    config.seed = 0
    config.skeleton = "mpii"

    config.data = ConfigDict()
    config.data.name = "synthetic_people"
    config.data.source = "arrays"  # "tfds": the same people through TFDS and tf.data
    config.data.data_dir = ""
    config.data.arrays_path = ""  # "": render them now
    config.data.boxes_path = ""  # to test on a detector's boxes (COCO family): its JSON file
    config.data.prepared_dir = ""
    config.data.input_size_wh = (48, 48)
    config.data.padding = 1.25
    config.data.normalization = "imagenet"  # of colours; hourglass, or none: [0, 1]
    config.data.rotation_deg = (
        0.0  # the people are drawn in many poses: turning them on top only slows the start
    )
    config.data.scale_factor = 0.0
    config.data.train_size = 8000
    config.data.eval_size = 500
    config.data.look = "studio"
    config.data.render_size = 128
    config.data.seed = 0  # of the drawing; the held-out people use the next one

    config.augment = ConfigDict()
    config.augment.flip_probability = 0.5
    config.augment.colour_jitter = 0.2
    config.augment.patches = ConfigDict()  # artificial occluders of the occluded branch
    config.augment.patches.min_patches = 0
    config.augment.patches.max_patches = 3
    config.augment.patches.min_side = 0.1  # of the crop's shorter side
    config.augment.patches.max_side = 0.3
    config.augment.patches.jitter = 0.05
    config.augment.patches.flat_probability = 0.3

    config.model = config_sections.model("hourglass")
    config.model.hourglass.num_stacks = 1
    config.model.hourglass.depth = 2
    config.model.hourglass.features = 48
    config.model.hourglass.stem_features = 12

    config.target = ConfigDict()
    config.target.sigma_cells = 1.0
    config.target.frame = "centre"  # of heatmap cells; corner: that of the published networks

    config.loss = ConfigDict()
    config.loss.occlusion_weight = 0.1  # lambda_o of eq. 4; 1 in the paper, see docs/choices.md
    config.loss.mimic = config_sections.mimic()

    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 0.0
    config.optimizer.schedule = ConfigDict()
    config.optimizer.schedule.name = "cosine"
    config.optimizer.schedule.warmup_steps = 50
    config.optimizer.schedule.boundaries = ()
    config.optimizer.schedule.factor = 0.01

    config.train = ConfigDict()
    config.train.batch_size = 8
    config.train.num_steps = 6000

    config.eval = ConfigDict()
    config.eval.batch_size = 64
    config.eval.flip_test = True
    config.eval.metrics = ("pckh", "pck", "occlusion")
    config.eval.oks_nms = 0.9  # keypoint_ap: of two people more alike (OKS) the better counts; 0: both
    config.eval.test_sets = ("clean",)

    config.log = ConfigDict()
    config.log.every = 100
    config.log.checkpoint_every = 1000
    config.log.keep_checkpoints = 2
    return config
