"""What a config costs to train, estimated from the multiply-adds of its network. No JAX."""

from typing import Any, NamedTuple

from oasjax.model_catalog import CATALOG

# What one accelerator of today may sustain on these networks; a round figure, not a measurement.
SUSTAINED_TFLOPS = 50


class TrainingCost(NamedTuple):
    """An estimate.

    Attributes:
        multiply_adds: of the forward pass for one crop.
        passes: of the network over one person, counted in forward passes.
        people: that the run sees, epoch by epoch.
    """

    multiply_adds: int
    passes: int
    people: int

    @property
    def flop(self) -> float:
        """A multiply-add is two operations."""
        return 2.0 * self.multiply_adds * self.passes * self.people

    @property
    def hours(self) -> float:
        """At SUSTAINED_TFLOPS."""
        return self.flop / (SUSTAINED_TFLOPS * 1e12) / 3600

    def __str__(self) -> str:
        return (
            f"{self.flop:.1e} FLOP, {self.hours:.1f} hours at {SUSTAINED_TFLOPS} TFLOP/s: an estimate,"
            f" 2 x {self.multiply_adds / 1e9:.1f} G multiply-adds x {self.passes} passes x"
            f" {self.people / 1e6:.2f} million people"
        )


def training_cost(config: Any) -> TrainingCost | None:
    """The estimate for a config; None where no network of the catalog is like its own.

    A branch that is trained costs three forward passes: one forward, two backward. A single branch that
    mimics has a teacher beside it, which costs one.
    """
    multiply_adds = _multiply_adds(config["model"], config["data"]["input_size_wh"])
    if multiply_adds is None:
        return None
    train = config["train"]
    if train["branches"] == "siamese":
        passes = 6
    else:
        passes = 3 + (config["loss"]["mimic"]["kind"] != "none")
    return TrainingCost(multiply_adds, passes, people=train["batch_size"] * train["num_steps"])


def _multiply_adds(model: Any, input_size_wh: tuple[int, int]) -> int | None:
    """Of the catalog's network with this backbone, and this reconstruction or none, brought to this size.

    Heads and joints make no difference that an estimate would show.
    """
    for entry in CATALOG.values():
        if _kind(entry.model()) == _kind(model):
            return round(entry.multiply_adds * _pixels(input_size_wh) / _pixels(entry.input_size_wh))
    return None


def _kind(model: Any) -> tuple[Any, ...]:
    """What the cost of a network depends on."""
    er = model["erase_reconstruct"]
    sizes = [er[name] for name in ("width", "stride", "reduce_kernel", "restore_kernel", "every_stack")]
    return dict(model[model["name"]]), sizes if er["reconstruct"] else None


def _pixels(size_wh: tuple[int, int]) -> int:
    return size_wh[0] * size_wh[1]
