"""Siamese training with the transport loss, on the 2-stack hourglass, MPII.

OASNet as the paper ends up with it.

Group: ablation
Paper: Fig. 6b, "OT", non-detach | PCKh@0.5, MPII validation, one scale, no flip | 88.69
Paper: Table 5, hourglass | PCKh@0.5 of occluded and of un-occluded joints, MPII validation | +1.72 and
   +1.12 over hg2_base
Command: oasjax train --config hg2_ot --workdir runs/hg2_ot --config.data.data_dir=FOLDER
Cost: 8.1e+17 FLOP, 4.5 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 6 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    return published_rows.ablation()
