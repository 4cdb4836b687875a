"""As hg2_kl, but the clean branch teaches without being taught.

Group: ablation
Paper: Fig. 6b, "KL", detach | PCKh@0.5, MPII validation, one scale, no flip | 88.41
Command: oasjax train --config hg2_kl_detach --workdir runs/hg2_kl_detach --config.data.data_dir=FOLDER
Cost: 8.1e+17 FLOP, 4.5 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 6 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    published_rows.mimic(config, "kl", detach=True)
    return config
