r"""Distillation: a trained, frozen network teaches on clean crops, on the 2-stack hourglass, MPII.

The paper says neither which loss it took nor which teacher: here L2, as is usual, and hg2_er.

Group: ablation
Paper: section 4.4, distillation | PCKh@0.5, MPII validation, one scale, no flip | no improvement at all
Command: oasjax train --config hg2_er --workdir runs/hg2_er --config.data.data_dir=FOLDER
   oasjax train --config hg2_distill --workdir runs/hg2_distill --config.data.data_dir=FOLDER \
       --config.train.teacher=runs/hg2_er
Cost: 5.4e+17 FLOP, 3.0 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 4 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    config.train.branches = "single"
    published_rows.mimic(config, "l2")
    return config
