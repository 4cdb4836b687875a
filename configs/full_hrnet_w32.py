"""OASNet on HRNet-W32 at its published size (256x192), trained as the paper trains it, but on drawn people.

For trying the full-size network, its speed and its memory without a download.

Group: to try
Paper: not in the paper
Command: oasjax train --config full_hrnet_w32 --workdir runs/full_hrnet_w32
Cost: made for accelerators. Three steps of 2 pairs on 2 CPU cores: docs/benchmarks.md.
Score: not measured
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

from oasjax import config_sections


def get_config() -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("quickstart.py")))["get_config"]()
    config.data.input_size_wh = (192, 256)
    config.data.render_size = 256
    config.model = config_sections.model("hrnet")
    config.target.sigma_cells = 2.0
    config.loss.occlusion_weight = 1.0
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule.name = "step"
    config.optimizer.schedule.warmup_steps = 0
    config.optimizer.schedule.boundaries = (170 / 210, 200 / 210)
    config.optimizer.schedule.factor = 0.1
    config.train.batch_size = 128
    config.train.num_steps = 20000
    return config
