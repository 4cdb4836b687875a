"""Tables and plots of a benchmark's rows."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks.harness import OK, Case, Row, within
from experiments.benchmarks.suite import Suite, Target

_GRIDS: dict[str, Callable[[Row], float | None]] = {
    "Milliseconds, medians": lambda row: row.median and row.median * 1e3,
    "Temporary megabytes": lambda row: row.temp_bytes and row.temp_bytes / 1e6,
    "Seconds to trace and compile": lambda row: row.compile_seconds,
}


def markdown(suite: Suite, rows: Sequence[Row], environment: Mapping[str, Any], command: str) -> str:
    """Everything that was measured, as Markdown: the headline cases in full, then medians over the grid."""
    cases = _cases(rows)
    parts = [
        f"Command: `{command}`",
        _hardware(environment),
        f"Times are medians of the rounds; ratios and differences are to *{suite.reference}*.",
    ]
    for case in [case for case in cases if within(case, suite.headline)] or cases[:1]:
        table = _headline_table([row for row in rows if row.case == case])
        parts += [f"**{suite.label(case)}**", table]
    if suite.targets:
        parts.append(_target_table(suite, rows))
    for title, value in _grids(suite, rows).items():
        tables = [
            _grid_table(suite, panel, [row for row in rows if within(row.case, panel)], value)
            for panel in _combinations(cases, suite.panels)
        ]
        parts += [f"<details><summary>{title}</summary>", *tables, "</details>"]
    parts += ["**Not measured**", _missing(suite, rows)]
    return "\n\n".join(parts) + "\n"


def _grids(suite: Suite, rows: Sequence[Row]) -> dict[str, Callable[[Row], float | None]]:
    """Those that there is a value for."""
    grids = dict(_GRIDS)
    if suite.rate is not None:
        a_call = suite.rate.a_call
        grids = {suite.rate.title: lambda row: row.median and a_call / row.median} | grids
    return {title: value for title, value in grids.items() if any(value(row) is not None for row in rows)}


def _hardware(environment: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    devices = ", ".join(sorted(set(environment["jax_devices"])))
    return (
        f"Hardware: {environment['cores']} cores of {environment['processor']}; JAX on {devices}. "
        f"Seed {environment['seed']}. Python {environment['python']}, {versions}."
    )


def _headline_table(rows: Sequence[Row]) -> str:
    """One case; it has the outputs that were compared."""
    compared = list(dict.fromkeys(name for row in rows for name in row.differences))
    header = [
        "contender",
        "computes",
        "ms",
        "quartiles",
        "least",
        "rounds",
        "ratio",
        "compile s",
        "temporary MB",
        *(f"{name} differs by" for name in compared),
    ]
    return _table(header, [_headline_cells(row, compared) for row in rows])


def _headline_cells(row: Row, compared: Sequence[str]) -> list[str]:
    cells = [row.contender, row.what]
    if row.status != OK:
        return [*cells, row.status, *[""] * (6 + len(compared))]
    cells += [
        _milliseconds(row.median),
        f"{_milliseconds(row.lower_quartile)} to {_milliseconds(row.upper_quartile)}",
        _milliseconds(row.minimum),
        str(row.rounds),
        _number(row.ratio),
        _number(row.compile_seconds),
        _number(None if row.temp_bytes is None else row.temp_bytes / 1e6),
    ]
    differences = (row.differences.get(name) for name in compared)
    return cells + ["" if value is None else f"{value:.0e}" for value in differences]


def _target_table(suite: Suite, rows: Sequence[Row]) -> str:
    lines = []
    for target in suite.targets:
        bound = f"ratio of *{target.contender}* {_bound(target)}"
        for label, ratio in _ratios(suite, rows, target).items():
            met = "not measured" if ratio is None else _verdict(target, ratio)
            lines.append([target.claim, bound, label, _number(ratio), met])
    return _table(["target", "that is", "at", "measured", ""], lines)


def _ratios(suite: Suite, rows: Sequence[Row], target: Target) -> dict[str, float | None]:
    """The ratio in each case that the target speaks of, by label."""
    found = {
        suite.label(row.case): row.ratio
        for row in rows
        if row.contender == target.contender and within(row.case, target.at)
    }
    return found or {suite.label(target.at): None}


def _verdict(target: Target, ratio: float) -> str:
    return "met" if target.at_least <= ratio <= target.at_most else "missed"


def _bound(target: Target) -> str:
    return f"at least {target.at_least:.3g}" if target.at_least else f"at most {target.at_most:.3g}"


def _grid_table(suite: Suite, panel: Case, rows: Sequence[Row], value: Callable[[Row], float | None]) -> str:
    """One panel's contenders, as far as they have the value anywhere, over the other axes."""
    rest = [axis for axis in suite.axes if axis not in panel]
    labels = [suite.label(column) for column in _combinations(_cases(rows), rest)]
    lines: dict[str, dict[str, float]] = {}
    for row in rows:
        if (number := value(row)) is not None:
            lines.setdefault(row.contender, {})[suite.label(_part(row.case, rest))] = number
    order = [contender.name for contender in suite.contenders if contender.name in lines]
    cells = [[name, *(_number(lines[name].get(label)) for label in labels)] for name in order]
    return _table([suite.label(panel), *labels], cells)


def _missing(suite: Suite, rows: Sequence[Row]) -> str:
    """Each reason why times are missing, with its cases."""
    cases: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.status != OK:
            cases.setdefault((row.contender, row.status), []).append(suite.label(row.case))
    lines = [f"- *{name}*: {why} ({_abridged(found)})" for (name, why), found in cases.items()]
    return "\n".join(lines) or "Nothing."


def _abridged(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 3 else f"{len(labels)} cases"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (header, *lines)]
    rule = ["---"] * len(header)
    return "\n".join(f"| {' | '.join(line)} |" for line in (escaped[0], rule, *escaped[1:]))


def _milliseconds(seconds: float | None) -> str:
    return _number(None if seconds is None else seconds * 1e3)


def _number(value: float | None) -> str:
    """Three significant digits, never in scientific notation."""
    if value is None:
        return "-"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _cases(rows: Sequence[Row]) -> list[Case]:
    return list({tuple(row.case.items()): row.case for row in rows}.values())


def _part(case: Case, axes: Sequence[str]) -> Case:
    return {axis: case[axis] for axis in axes}


def _combinations(cases: Sequence[Case], axes: Sequence[str]) -> list[Case]:
    """The values of some axes that occur in the cases, in ascending order."""
    found = {tuple(case[axis] for axis in axes) for case in cases}
    return [dict(zip(axes, values, strict=True)) for values in sorted(found)]


def plot(suite: Suite, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Median times over `suite.over`, both logarithmic; a picture for each combination of the other axes.

    Contenders that take part in some cases alone are left to the tables: more lines could not be told apart.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rest = [axis for axis in suite.axes if axis not in (*suite.panels, suite.over)]
    panels = _combinations(_cases(rows), suite.panels)
    paths = []
    for fixed in _combinations(_cases(rows), rest):
        down, across = _grid_shape(len(panels))
        figure, axes = pyplot.subplots(
            down, across, figsize=(4.5 * across + 3, 3.6 * down), squeeze=False, layout="constrained"
        )
        for panel, plane in itertools.zip_longest(panels, axes.flat):
            if panel is None:
                plane.set_axis_off()
                continue
            _draw_panel(suite, plane, [row for row in rows if within(row.case, {**panel, **fixed})])
            plane.set(title=suite.label(panel), xlabel=suite.over, ylabel="milliseconds")
        handles = {
            label: handle
            for plane in axes.flat
            for handle, label in zip(*plane.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside right center", fontsize="small")
        words = suite.label(fixed).split()
        figure.suptitle(f"{suite.summary}: {' '.join(words)}")
        paths.append(folder / f"{'_'.join(['times', *words])}.png")
        figure.savefig(paths[-1], dpi=110)
        pyplot.close(figure)
    return paths


def _grid_shape(count: int) -> tuple[int, int]:
    across = min(2, count)
    return math.ceil(count / across), across


def _draw_panel(suite: Suite, plane: Any, rows: Sequence[Row]) -> None:
    for number, contender in enumerate(
        contender.name for contender in suite.contenders if not contender.only
    ):
        points = sorted(
            (row.case[suite.over], row.median * 1e3)
            for row in rows
            if row.contender == contender and row.median is not None
        )
        if points:
            style = {"color": f"C{number % 10}", "linestyle": ("-", "--", ":")[number // 10 % 3]}
            plane.loglog(*zip(*points, strict=True), marker=".", label=contender, **style)
