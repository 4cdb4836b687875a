"""What a suite declares about itself."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from experiments.benchmarks.harness import Case, Contender, Effort, Value, within


class Axis(NamedTuple):
    """Something that cases differ in.

    Attributes:
        symbol: stands before the value in tables; names may do without.
        values: the grid's. Other numbers can be asked for, other names cannot.
    """

    symbol: str
    values: Sequence[int] | Sequence[str]

    @property
    def kind(self) -> type[int] | type[str]:
        """Makes a value of what stands on the command line or in a file."""
        return type(self.values[0])

    @property
    def choices(self) -> Sequence[str] | None:
        return self.values if self.kind is str else None


class Rate(NamedTuple):
    """What a call handles many of: how many in a second is tabulated, too."""

    title: str
    a_call: int


class Target(NamedTuple):
    """A bound on a contender's ratio to the reference, in every case that has the values of `at`."""

    claim: str
    contender: str
    at: Mapping[str, Value]
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
        outputs: what `Built.outputs` picks.
        headline: values of the cases that are shown in full, measured first.
        packages: distributions whose versions are recorded.
        seed: of the data.
        rate: what is counted by the second, if anything.
        effort: how long a contender is timed in a case, unless the command says otherwise.
    """

    name: str
    summary: str
    contenders: Sequence[Contender]
    reference: str
    axes: Mapping[str, Axis]
    panels: Sequence[str]
    over: str
    outputs: Sequence[str]
    headline: Mapping[str, Value]
    packages: Sequence[str]
    seed: int
    targets: Sequence[Target] = ()
    rate: Rate | None = None
    effort: Effort = Effort()  # noqa: RUF009 - immutable

    def cases(self, values: Mapping[str, Sequence[Value]]) -> list[Case]:
        """All combinations of the values of the axes, those of the headline first."""
        grid = [
            dict(zip(self.axes, point, strict=True))
            for point in itertools.product(*(values[axis] for axis in self.axes))
        ]
        return sorted(grid, key=lambda case: not within(case, self.headline))

    def label(self, case: Mapping[str, Value]) -> str:
        return " ".join(f"{self.axes[axis].symbol}{value}" for axis, value in case.items())
