"""The 2-stack hourglass alone with as many crops a step as a siamese one, MPII.

Group: control
Paper: not in the paper
Command: oasjax train --config hg2_base_2b --workdir runs/hg2_base_2b --config.data.data_dir=FOLDER
Cost: 5.3e+17 FLOP, 2.9 hours at 50 TFLOP/s: an estimate, 2 x 9.0 G multiply-adds x 3 passes x 9.79
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.backbone_alone(config)
    config.train.batch_size *= 2  # in as many steps: each person is seen twice as often
    return config
