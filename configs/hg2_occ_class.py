"""Occlusion of each joint as a class (eq. 1), on the 2-stack hourglass, MPII.

Group: ablation
Paper: Fig. 6a, "Class." | PCKh@0.5, MPII validation, one scale, no flip | drops obviously
Command: oasjax train --config hg2_occ_class --workdir runs/hg2_occ_class --config.data.data_dir=FOLDER
Cost: 2.6e+17 FLOP, 1.5 hours at 50 TFLOP/s: an estimate, 2 x 9.0 G multiply-adds x 3 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.without_reconstruction(config, "classification")
    published_rows.single_branch(config, paste=False)
    return config
