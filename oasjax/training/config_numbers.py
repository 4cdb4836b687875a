"""Which numbers of a config make sense, where nothing else would refuse the others."""

import math
from typing import Any

import jax

from oasjax.errors import UserError
from oasjax.training.workdir import flatten

# Lowest and highest value by dotted key; of a tuple, each of its numbers.
BOUNDS = {
    **dict.fromkeys(
        (
            "augment.flip_probability",
            "data.half_body_probability",
            "data.rotation_probability",
            "eval.oks_nms",
            "loss.mimic.critic.ema_decay",
            "optimizer.schedule.boundaries",
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
            "data.input_size_wh",
            "log.checkpoint_every",
            "log.every",
            "log.keep_checkpoints",
            "model.hourglass.depth",
            "model.hourglass.features",
            "model.hourglass.num_blocks",
            "model.hourglass.stem_features",
            "model.hrnet.blocks",
            "model.hrnet.channels",
            "model.hrnet.modules",
            "train.num_steps",
        ),
        (1, math.inf),
    ),
    # Of a person's box: below 1 the crop cuts into it, which may be wanted.
    "data.padding": (0.1, math.inf),
}


def check_numbers(config: Any) -> None:
    """Raise UserError for a number beyond BOUNDS, one that is not finite, and crops without a size."""
    for key, value in flatten(config.to_dict()).items():
        subject = "its numbers" if isinstance(value, tuple | list) else "it"
        for number in jax.tree.leaves(value):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            lowest, highest = BOUNDS.get(key, (-math.inf, math.inf))
            if not math.isfinite(number):
                raise UserError(f"config.{key} is {value}; {subject} must be finite")
            if not lowest <= number <= highest:
                wanted = (
                    f"be at least {lowest}" if highest == math.inf else f"lie between {lowest} and {highest}"
                )
                raise UserError(f"config.{key} is {value}; {subject} must {wanted}")
    size_wh = config.data.input_size_wh
    if len(size_wh) != 2 or not all(isinstance(side, int) for side in size_wh):
        raise UserError(
            f"config.data.input_size_wh is {size_wh}; it must be a width and a height in whole pixels"
        )
