"""Siamese training with the Jensen-Shannon divergence, on the 2-stack hourglass, MPII.

Section 3.3 names it beside KL, but no result. The weight is that of KL.

Group: extension
Paper: not in the paper
Command: oasjax train --config hg2_js --workdir runs/hg2_js --config.data.data_dir=FOLDER
Cost: 8.1e+17 FLOP, 4.5 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 6 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.mimic(config, "js")
    return config
