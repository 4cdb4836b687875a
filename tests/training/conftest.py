"""One tiny training set-up for the tests of this folder."""

import pytest
from ml_collections import ConfigDict

from oasjax.cli.config_files import load_config

SHORT = (
    "--config.train.num_steps=6",
    "--config.log.every=2",
    "--config.log.checkpoint_every=4",
)


@pytest.fixture(scope="session")
def tiny_config():
    """Function `(*overrides) -> locked config`: the smoke test with six steps."""

    def make(*overrides: str) -> ConfigDict:
        return load_config("smoke", [*SHORT, *overrides])

    return make
