"""Numbers of a config that nothing good could come of."""

import math
import re

import pytest

from oasjax.cli.config_files import config_names, load_config
from oasjax.errors import UserError
from oasjax.training import loop
from oasjax.training.config_numbers import BOUNDS, check_numbers
from oasjax.training.workdir import flatten


def with_value(config, key: str, value):
    config = config.copy_and_resolve_references()
    *sections, name = key.split(".")
    section = config
    for each in sections:
        section = section[each]
    section[name] = value
    return config


def numbers_of(config) -> dict[str, int | float]:
    return {
        key: value
        for key, value in flatten(config.to_dict()).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def test_each_published_config_passes():
    for name in config_names():
        check_numbers(load_config(name))


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("data.rotation_probability", 2.0, "it must lie between 0 and 1"),
        ("loss.factor", -0.5, "it must be at least 0"),
        ("data.padding", 0.0, r"it must be at least 0\.1"),
        ("train.num_steps", 0, "it must be at least 1"),
        ("target.sigma_cells", math.nan, "it must be finite"),
        ("optimizer.learning_rate", math.inf, "it must be finite"),
        ("eval.scales", (1.0, math.nan), "its numbers must be finite"),
        ("optimizer.schedule.boundaries", (0.5, 1.5), "its numbers must lie between 0 and 1"),
        ("data.input_size_wh", (0, 64), "its numbers must be at least 1"),
        ("data.input_size_wh", (64,), "it must be a width and a height in whole pixels"),
        ("data.input_size_wh", (64.0, 64.5), "it must be a width and a height in whole pixels"),
    ],
)
def test_a_number_beyond_its_bounds_is_refused(tiny_config, key, value, message):
    config = with_value(tiny_config(), key, value)
    with pytest.raises(UserError, match=rf"^config\.{key} is {re.escape(str(value))}; {message}$"):
        check_numbers(config)


def test_every_bound_is_of_a_number_that_configs_have():
    have = flatten(load_config("smoke").to_dict()) | flatten(load_config("coco_w32_base").to_dict())
    assert BOUNDS.keys() <= have.keys()


def test_no_number_of_a_config_may_be_negative(tiny_config):
    """Whoever adds one decides what becomes of it: it is refused before anything is computed."""
    # Checked with the length of the run, when the optimizer is made.
    later = {"optimizer.schedule.warmup_steps"}
    passed = set()
    for key, value in numbers_of(tiny_config()).items():
        try:
            run = loop.set_up(with_value(tiny_config(), key, type(value)(-1)), lambda line: None)
            run.task.init(0)
        except UserError:
            continue
        passed.add(key)
    assert passed == later


def test_more_hard_joints_than_joints_are_refused(tiny_config):
    with pytest.raises(UserError, match=r"^config\.loss\.hard_joints is 17; there are 16 joints$"):
        loop.set_up(tiny_config("--config.loss.hard_joints=17"), lambda line: None)
