"""Baseline: the 2-stack hourglass alone, MPII.

The paper gives all gains relative to this one. Its own hints put it near 87.5.

Group: ablation
Paper: Fig. 6a, baseline | PCKh@0.5, MPII validation, one scale, no flip | a bar without a number
Command: oasjax train --config hg2_base --workdir runs/hg2_base --config.data.data_dir=FOLDER
Cost: 2.6e+17 FLOP, 1.5 hours at 50 TFLOP/s: an estimate, 2 x 9.0 G multiply-adds x 3 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.backbone_alone(config)
    return config
