"""Reconstruction without erasing, on the 2-stack hourglass, MPII.

Group: ablation
Paper: Fig. 6a, "Recon." | PCKh@0.5, MPII validation, one scale, no flip | +0.34 over hg2_base
Command: oasjax train --config hg2_recon --workdir runs/hg2_recon --config.data.data_dir=FOLDER
Cost: 4.1e+17 FLOP, 2.3 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 3 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    config.model.erase_reconstruct.erase = False
    published_rows.single_branch(config, paste=False)
    return config
