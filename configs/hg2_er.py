"""Erasing and reconstruction, one branch, on the 2-stack hourglass, MPII.

Group: ablation
Paper: Fig. 6a, "E&R" | PCKh@0.5, MPII validation, one scale, no flip | above hg2_recon
Command: oasjax train --config hg2_er --workdir runs/hg2_er --config.data.data_dir=FOLDER
Cost: 4.1e+17 FLOP, 2.3 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 3 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.single_branch(config, paste=False)
    return config
