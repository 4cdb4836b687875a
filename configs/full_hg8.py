"""OASNet on the 8-stack hourglass (256x256), trained as the paper trains it, but on drawn people.

For trying the full-size network, its speed and its memory without a download.

Group: to try
Paper: not in the paper
Command: oasjax train --config full_hg8 --workdir runs/full_hg8
Cost: made for accelerators. Three steps of 2 pairs on 2 CPU cores: docs/benchmarks.md.
Score: not measured
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from oasjax import config_sections


def get_config() -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.data.input_size_wh = (256, 256)
    config.data.render_size = 256
    config.model = config_sections.model("hourglass")
    config.model.hourglass.num_stacks = 8
    config.target.sigma_cells = 1.0
    config.loss.occlusion_weight = 1.0
    config.optimizer.name = "rmsprop"
    config.optimizer.learning_rate = 5e-4
    config.optimizer.schedule.name = "step"
    config.optimizer.schedule.warmup_steps = 0
    config.optimizer.schedule.boundaries = (150 / 220, 170 / 220, 200 / 220)
    config.optimizer.schedule.factor = 0.1
    config.train.batch_size = 16
    config.train.num_steps = 20000
    return config
