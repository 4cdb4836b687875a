"""Smoke test: the quickstart with tiny pictures, a tiny network and 20 steps. It learns nothing.

Group: to try
Paper: not in the paper
Command: oasjax train --config smoke --workdir runs/smoke
Cost: under a minute on two CPU cores, nearly all of it compilation.
Score: none to speak of
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.data.input_size_wh = (32, 32)
    config.data.render_size = 48
    config.data.train_size = 24
    config.data.eval_size = 10
    config.model.hourglass.depth = 1
    config.model.hourglass.features = 8
    config.model.hourglass.stem_features = 2
    config.optimizer.schedule.warmup_steps = 2
    config.train.batch_size = 8
    config.train.num_steps = 20
    config.eval.batch_size = 8
    config.log.every = 5
    config.log.checkpoint_every = 10
    return config
