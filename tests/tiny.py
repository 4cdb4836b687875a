"""The quickstart at the size of a test: same code, seconds instead of minutes."""

from ml_collections import ConfigDict

from oasjax.cli.config_files import load_config

TINY = (
    "--config.data.input_size_wh=(32,32)",
    "--config.data.render_size=48",
    "--config.data.train_size=24",
    "--config.data.eval_size=10",
    "--config.model.hourglass.num_stacks=1",
    "--config.model.hourglass.depth=1",
    "--config.model.hourglass.features=8",
    "--config.train.batch_size=8",
    "--config.train.num_steps=6",
    "--config.eval.batch_size=8",
    "--config.eval.test_sets=('clean',)",
    "--config.log.every=2",
    "--config.log.checkpoint_every=3",
    "--config.optimizer.schedule.warmup_steps=2",
)


def tiny_config(*overrides: str) -> ConfigDict:
    """A locked config of two stages of layers, 32x32 crops and six steps."""
    return load_config("quickstart", [*TINY, *overrides])
