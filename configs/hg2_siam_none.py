"""Siamese training without a mimicking loss, on the 2-stack hourglass, MPII.

Group: ablation
Paper: Fig. 6b, "Non" | PCKh@0.5, MPII validation, one scale, no flip | 88.09
Command: oasjax train --config hg2_siam_none --workdir runs/hg2_siam_none --config.data.data_dir=FOLDER
Cost: 8.1e+17 FLOP, 4.5 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 6 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    config.loss.mimic.kind = "none"
    return config
