"""The 2-stack hourglass alone with pasted occluders, MPII.

The paper credits part of the siamese network's gain to this augmentation, but does not measure it.

Group: control
Paper: not in the paper
Command: oasjax train --config hg2_base_paste --workdir runs/hg2_base_paste --config.data.data_dir=FOLDER
Cost: 2.6e+17 FLOP, 1.5 hours at 50 TFLOP/s: an estimate, 2 x 9.0 G multiply-adds x 3 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.backbone_alone(config, paste=True)
    return config
