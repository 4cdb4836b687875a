"""Optimizers that step exactly as torch's, and learning-rate schedules."""

from collections import Counter
from typing import Any

import optax

from oasjax.errors import UserError

# torch.optim.RMSprop: alpha .99 and epsilon outside the root; optax's defaults are .9 and inside.
OPTIMIZERS = {
    "rmsprop": lambda: optax.scale_by_rms(decay=0.99, eps=1e-8, eps_in_sqrt=False),
    "adam": lambda: optax.scale_by_adam(b1=0.9, b2=0.999, eps=1e-8),
}


def step_schedule(learning_rate: float, num_steps: int, schedule: Any) -> optax.Schedule:
    """Divide by 1 / factor at each of `boundaries`, given as fractions of the run."""
    # In a short run several may fall on one step.
    drops = Counter(round(fraction * num_steps) for fraction in schedule["boundaries"])
    factors = {step: schedule["factor"] ** times for step, times in drops.items()}
    return optax.piecewise_constant_schedule(learning_rate, factors)


def cosine_schedule(learning_rate: float, num_steps: int, schedule: Any) -> optax.Schedule:
    """Half a cosine down to `factor` times the learning rate at the last step."""
    return optax.cosine_decay_schedule(learning_rate, num_steps, alpha=schedule["factor"])


SCHEDULES = {"step": step_schedule, "cosine": cosine_schedule}


def make_schedule(optimizer: Any, num_steps: int) -> optax.Schedule:
    """Learning rate by step, from `config.optimizer`: linear warm-up, then the named schedule.

    Raises UserError for an unknown schedule, or a warm-up as long as the run.
    """
    name = optimizer["schedule"]["name"]
    if name not in SCHEDULES:
        choices = ", ".join(sorted(SCHEDULES))
        raise UserError(f"config.optimizer.schedule.name is '{name}'; choose one of {choices}")
    warmup = optimizer["schedule"]["warmup_steps"]
    if not 0 <= warmup < num_steps:
        raise UserError(
            f"config.optimizer.schedule.warmup_steps is {warmup}; it must be at least 0 and less than"
            f" config.train.num_steps ({num_steps})"
        )
    main = SCHEDULES[name](optimizer["learning_rate"], num_steps - warmup, optimizer["schedule"])
    if not warmup:
        return main
    ramp = optax.linear_schedule(0.0, optimizer["learning_rate"], warmup)
    return optax.join_schedules([ramp, main], [warmup])


def make_optimizer(optimizer: Any, num_steps: int) -> optax.GradientTransformation:
    """From `config.optimizer`. Weight decay is torch's: added to the gradient, before the scaling.

    Raises UserError for an unknown optimizer.
    """
    name = optimizer["name"]
    if name not in OPTIMIZERS:
        raise UserError(f"config.optimizer.name is '{name}'; choose one of {', '.join(sorted(OPTIMIZERS))}")
    return optax.chain(
        optax.add_decayed_weights(optimizer["weight_decay"]),
        OPTIMIZERS[name](),
        optax.scale_by_learning_rate(make_schedule(optimizer, num_steps)),
    )
