"""What a suite declares about itself."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.benchmarks.harness import Case, Contender


class Axis(NamedTuple):
    """Something that cases differ in; `symbol` stands for it in tables."""

    symbol: str
    values: Sequence[int]


class Target(NamedTuple):
    """A bound on a contender's ratio to the reference, in the suite's headline case."""

    claim: str
    contender: str
    at_least: float = 0.0
    at_most: float = float("inf")


@dataclass(frozen=True)
class Suite:
    """A set of contenders and the grid that they run over.

    Attributes:
        summary: what is measured, in one line.
        contenders: in the order of the tables.
        reference: name of the one that the others are compared with.
        axes: the grid, by name.
        panels: axes of which each combination of values has a table and a plot of its own.
        over: the axis along which times are plotted.
        outputs: what `Built.outputs` picks; the first must be a number.
        headline: the case that is shown in full, measured first.
        packages: distributions whose versions are recorded.
        seed: of the data.
    """

    name: str
    summary: str
    contenders: Sequence[Contender]
    reference: str
    axes: Mapping[str, Axis]
    panels: Sequence[str]
    over: str
    outputs: Sequence[str]
    headline: Case
    packages: Sequence[str]
    seed: int
    targets: Sequence[Target] = ()

    def cases(self, values: Mapping[str, Sequence[int]]) -> list[Case]:
        """All combinations of the values of the axes, the headline first where it is one of them."""
        grid = [
            dict(zip(self.axes, point, strict=True))
            for point in itertools.product(*(values[axis] for axis in self.axes))
        ]
        return sorted(grid, key=lambda case: case != self.headline)

    def label(self, case: Mapping[str, int]) -> str:
        return " ".join(f"{self.axes[axis].symbol}{value}" for axis, value in case.items())
