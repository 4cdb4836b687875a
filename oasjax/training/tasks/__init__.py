"""What differs between the systems. `config.task` indexes TASKS."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from oasjax.errors import UserError
from oasjax.training.tasks.oasnet import OASNetTask

TASKS = {"oasnet": OASNetTask}


def make_task(config: Any) -> OASNetTask:
    """Task of a config. Raises UserError for an unknown name."""
    if config["task"] not in TASKS:
        raise UserError(f"config.task is '{config['task']}'; choose one of {', '.join(sorted(TASKS))}")
    return TASKS[config["task"]](config)


def make_predict_fn(config: Any) -> Callable[[Any, np.ndarray], dict[str, np.ndarray]]:
    """Compiled `(variables, images uint8 (B, H, W, 3)) -> predictions`, for inference."""
    return jax.jit(make_task(config).predict)
