"""Which numbers of a config make sense, where nothing else would refuse the others."""

import math
from typing import Any

from oasjax.errors import UserError
from oasjax.training.workdir import flatten

# Lowest and highest value by dotted key.
BOUNDS = {
    **dict.fromkeys(
        (
            "augment.flip_probability",
            "data.half_body_probability",
            "data.rotation_probability",
            "eval.oks_nms",
            "loss.mimic.critic.ema_decay",
        ),
        (0, 1),
    ),
    **dict.fromkeys(
        (
            "augment.colour_jitter",
            "data.rotation_deg",
            "data.scale_factor",
            "data.seed",
            "eval.seed",
            "loss.factor",
            "loss.hard_joints",
            "loss.mimic.critic.groups",
            "loss.mimic.mask.threshold",
            "loss.mimic.weight",
            "loss.occlusion_weight",
            "optimizer.learning_rate",
            "optimizer.schedule.factor",
            "optimizer.weight_decay",
            "seed",
        ),
        (0, math.inf),
    ),
    **dict.fromkeys(
        (
            "log.checkpoint_every",
            "log.every",
            "log.keep_checkpoints",
            "model.hourglass.depth",
            "model.hourglass.features",
            "model.hourglass.num_blocks",
            "model.hourglass.stem_features",
            "train.num_steps",
        ),
        (1, math.inf),
    ),
    # Of a person's box: below 1 the crop cuts into it, which may be wanted.
    "data.padding": (0.1, math.inf),
}


def check_numbers(config: Any) -> None:
    """Raise UserError for a number beyond BOUNDS, and for one that is not finite."""
    for key, value in flatten(config.to_dict()).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        lowest, highest = BOUNDS.get(key, (-math.inf, math.inf))
        if not math.isfinite(value):
            raise UserError(f"config.{key} is {value}; it must be a finite number")
        if not lowest <= value <= highest:
            wanted = f"be at least {lowest}" if highest == math.inf else f"lie between {lowest} and {highest}"
            raise UserError(f"config.{key} is {value}; it must {wanted}")
