"""hg2_ot with the plan held constant in the backward pass.

Group: extension
Paper: not in the paper
Command: oasjax train --config hg2_ot_stop --workdir runs/hg2_ot_stop --config.data.data_dir=FOLDER
Cost: 8.1e+17 FLOP, 4.5 hours at 50 TFLOP/s: an estimate, 2 x 13.8 G multiply-adds x 6 passes x 4.89
   million people
Score: not measured
"""

from ml_collections import ConfigDict

from oasjax import published_rows


def get_config() -> ConfigDict:
    config = published_rows.ablation()
    config.loss.mimic.transport.plan_grad = "stop"
    return config
