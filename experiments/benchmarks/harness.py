"""Times several implementations of the same thing in one process, in turn.

The contenders of a case run A B C A B C ..., after a warm-up, so that whatever else the machine does hits
all of them alike; a ratio is the median of the ratios of the rounds, not the ratio of two medians.
Nothing here knows what is measured: that is a suite's business.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

# What is measured: a value for each axis of a suite, a number or a name.
Value = int | str
Case = dict[str, Value]
Clock = Callable[[], float]

OK = "ok"


def within(case: Case, part: Mapping[str, Value]) -> bool:
    """Whether a case has these values, whatever its others are."""
    return part.items() <= case.items()


class Skip(Exception):  # noqa: N818 - no error
    """A contender cannot take part in a case; the message says why."""


@dataclass(frozen=True)
class Built:
    """A contender made ready for one case.

    Attributes:
        run: what is timed; returns when its result is there.
        outputs: picks from that result what is compared with the reference.
        compile_seconds: of the compiler, where there is one.
        temp_bytes: memory that a run takes besides its arguments.
    """

    run: Callable[[], Any]
    outputs: Callable[[Any], Mapping[str, np.ndarray]] = lambda result: {}
    compile_seconds: float | None = None
    temp_bytes: int | None = None


class Contender(NamedTuple):
    """One implementation.

    Attributes:
        name: as in the tables.
        build: makes it ready for a case; may raise `Skip`.
        what: what `build(case).run` computes, where contenders differ in that.
        only: it takes part in cases with these values alone.
    """

    name: str
    build: Callable[[Case], Built]
    what: str = ""
    only: Mapping[str, Value] = MappingProxyType({})


class Effort(NamedTuple):
    """How long a contender is timed in a case.

    Attributes:
        seconds: aim for all rounds together.
        fewest, most: rounds, whatever the aim says...
        patience: ... but where `fewest` rounds would take more seconds than this, as many as fit into it.
        sample_seconds: a round consists of so many calls that it lasts as long as this...
        most_calls: ... but at most so many.
        settling_seconds: a round of a contender whose calls are shorter than this begins with an unmeasured
            call, because its neighbours have emptied the caches.
    """

    seconds: float = 0.5
    fewest: int = 5
    most: int = 30
    patience: float = 3.0
    sample_seconds: float = 2e-3
    most_calls: int = 50
    settling_seconds: float = 0.05

    def rounds(self, call_seconds: float) -> int:
        sample = max(call_seconds, self.sample_seconds)
        wanted = max(self.seconds / sample, min(self.fewest, self.patience / sample))
        return max(1, min(self.most, int(wanted)))

    def calls(self, call_seconds: float) -> int:
        return max(1, min(self.most_calls, math.ceil(self.sample_seconds / max(call_seconds, 1e-9))))


@dataclass(frozen=True)
class Row:
    """What became of a contender in a case.

    Attributes:
        status: `OK`, or why there are no times.
        median, minimum, lower_quartile, upper_quartile: seconds for one call, over the rounds.
        ratio: to the reference, pairwise (see the top of this file).
        sizes: Euclidean norm of each output; of a number, the number itself.
        differences: norm of an output's difference from the reference's, relative to the norm of the latter.
    """

    case: Case
    contender: str
    what: str
    status: str
    rounds: int | None = None
    calls: int | None = None
    median: float | None = None
    minimum: float | None = None
    lower_quartile: float | None = None
    upper_quartile: float | None = None
    ratio: float | None = None
    compile_seconds: float | None = None
    temp_bytes: int | None = None
    sizes: Mapping[str, float] = field(default_factory=dict)
    differences: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Lane:
    """A contender on its way through a case."""

    contender: Contender
    status: str = OK
    built: Built | None = None
    outputs: Mapping[str, np.ndarray] = field(default_factory=dict)
    rounds: int = 0
    calls: int = 1
    settles: bool = False
    samples: list[float] = field(default_factory=list)


def run(
    contenders: Sequence[Contender],
    case: Case,
    *,
    reference: str,
    effort: Effort = Effort(),  # noqa: B008 - immutable
    clock: Clock = time.perf_counter,
) -> list[Row]:
    """One row for each contender, whatever happens to it.

    Args:
        reference: name of the contender that the others are compared with; where it is missing or has
            failed, there are no ratios and no differences.
    """
    lanes = [_Lane(contender) for contender in contenders]
    for lane in lanes:
        with _failures_noted(lane):
            _prepare(lane, case, effort, clock)
    _take_turns(lanes, clock)
    compared = next((lane for lane in lanes if lane.contender.name == reference and lane.status == OK), None)
    return [_row(lane, case, compared) for lane in lanes]


@contextmanager
def _failures_noted(lane: _Lane) -> Iterator[None]:
    """Whatever a contender raises becomes its status: the others go on."""
    try:
        yield
    except Skip as skip:
        lane.status = str(skip)
    except Exception as error:
        message = " ".join(str(error).split())
        lane.status = f"failed: {type(error).__name__}: {message[:200]}"


def _prepare(lane: _Lane, case: Case, effort: Effort, clock: Clock) -> None:
    only = lane.contender.only
    if not within(case, only):
        raise Skip(f"left out: only at {', '.join(f'{axis} {value}' for axis, value in only.items())}")
    lane.built = lane.contender.build(case)
    seconds = float("inf")
    for _ in range(2):  # the first call may be much dearer than any other
        start = clock()
        result = lane.built.run()
        seconds = min(seconds, clock() - start)
        if seconds > effort.seconds:
            break
    outputs = lane.built.outputs(result)
    lane.outputs = {name: np.asarray(value, np.float64) for name, value in outputs.items()}
    lane.rounds, lane.calls = effort.rounds(seconds), effort.calls(seconds)
    lane.settles = seconds < effort.settling_seconds


def _take_turns(lanes: Sequence[_Lane], clock: Clock) -> None:
    gc.collect()
    gc.disable()
    try:
        for turn in range(max((lane.rounds for lane in lanes), default=0)):
            for lane in lanes:
                if lane.status == OK and turn < lane.rounds:
                    with _failures_noted(lane):
                        lane.samples.append(_sample(lane, clock))
    finally:
        gc.enable()


def _sample(lane: _Lane, clock: Clock) -> float:
    if lane.settles:
        lane.built.run()
    start = clock()
    for _ in range(lane.calls):
        lane.built.run()
    return (clock() - start) / lane.calls


def _row(lane: _Lane, case: Case, reference: _Lane | None) -> Row:
    built = lane.built or Built(run=lambda: None)
    row = Row(
        case=case,
        contender=lane.contender.name,
        what=lane.contender.what,
        status=lane.status,
        compile_seconds=built.compile_seconds,
        temp_bytes=built.temp_bytes,
        sizes={name: _size(value) for name, value in lane.outputs.items()},
        differences=_differences(lane, reference),
    )
    if lane.status != OK:
        return row
    lower, middle, upper = np.quantile(lane.samples, [0.25, 0.5, 0.75])
    return replace(
        row,
        rounds=len(lane.samples),
        calls=lane.calls,
        median=float(middle),
        minimum=min(lane.samples),
        lower_quartile=float(lower),
        upper_quartile=float(upper),
        ratio=reference and pairwise_ratio(lane.samples, reference.samples),
    )


def pairwise_ratio(samples: Sequence[float], reference: Sequence[float]) -> float:
    """Median of the rounds' ratios, over the rounds that both have run."""
    return statistics.median(a / b for a, b in zip(samples, reference, strict=False))


def _size(value: np.ndarray) -> float:
    return float(value) if value.ndim == 0 else float(np.linalg.norm(value))


def _differences(lane: _Lane, reference: _Lane | None) -> dict[str, float]:
    if reference is None:
        return {}
    return {
        name: float(np.linalg.norm(value - reference.outputs[name]) / np.linalg.norm(reference.outputs[name]))
        for name, value in lane.outputs.items()
    }
