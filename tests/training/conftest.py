"""One tiny training set-up for the tests of this folder."""

import pytest
from ml_collections import ConfigDict

from oasjax.cli.config_files import load_config

# The quickstart at the size of a test: same code, seconds instead of minutes.
TINY = (
    "--config.data.input_size_wh=(32,32)",
    "--config.data.render_size=48",
    "--config.data.train_size=24",
    "--config.data.eval_size=10",
    "--config.model.hourglass.depth=1",
    "--config.model.hourglass.features=8",
    "--config.train.batch_size=8",
    "--config.train.num_steps=6",
    "--config.eval.batch_size=8",
    "--config.log.every=2",
    "--config.log.checkpoint_every=4",
    "--config.optimizer.schedule.warmup_steps=2",
)


@pytest.fixture(scope="session")
def tiny_config():
    """Function `(*overrides) -> locked config` with 32x32 crops and six steps."""

    def make(*overrides: str) -> ConfigDict:
        return load_config("quickstart", [*TINY, *overrides])

    return make
