"""Quickstart: siamese OASNet on drawn people (`synthetic_people`), small enough for two CPU cores.

Group: to try
Paper: not in the paper
Command: make quickstart   (oasjax train --config quickstart --workdir runs/quickstart)
Cost: 6000 steps of 8 pairs; 3.5 minutes of training, 4.5 with installation and evaluation, on 2 cores of an
   AMD EPYC (230 images/s).
Score: PCKh@0.5 in percent on 500 held-out people, mean of the joints; three seeds (0, 1, 2).
              mean pose   trained
   all        40.8        69.4  69.5  70.7
   visible    42.9        73.1  73.1  74.5
   occluded   34.8        58.5  59.1  59.4
"""

from ml_collections import ConfigDict

from oasjax import config_sections


def get_config() -> ConfigDict:
    config = config_sections.pose()
    config.data.source = "arrays"  # "tfds": the same people through TFDS and tf.data
    config.data.input_size_wh = (48, 48)
    # No rotation: the people are drawn in many poses, and turning them on top only slows the start.
    config.data.train_size = 8000
    config.data.eval_size = 500

    config.model.hourglass.num_stacks = 1
    config.model.hourglass.depth = 2
    config.model.hourglass.features = 48
    config.model.hourglass.stem_features = 12
    config.loss.occlusion_weight = 0.1  # lambda_o of eq. 4; 1 in the paper, see docs/choices.md

    config.optimizer.learning_rate = 3e-3
    config.optimizer.schedule.warmup_steps = 50
    config.train.batch_size = 8
    config.train.num_steps = 6000
    return config
