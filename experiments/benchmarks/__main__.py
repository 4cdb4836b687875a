"""Command: python -m experiments.benchmarks SUITE [--out FOLDER] [--only REGEX] [--plot] ..."""

import argparse
import json
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from experiments.benchmarks import kernel_gradient, loading, pose_step, report, results, score, sinkhorn
from experiments.benchmarks.harness import OK, Case, Contender, Effort, run
from experiments.benchmarks.suite import Suite

SUITES = {
    suite.name: suite
    for suite in (sinkhorn.SUITE, kernel_gradient.SUITE, pose_step.SUITE, loading.SUITE, score.SUITE)
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    suite = SUITES[options.suite]
    contenders = [each for each in suite.contenders if re.search(options.only, each.name)]
    if options.uncut:
        contenders = [each._replace(only={}) for each in contenders]
    if not contenders:
        parser.error(f"no contender of {suite.name} matches {options.only!r}")
    out = options.out or Path("runs/benchmarks") / suite.name
    try:
        done = _open(out, suite, options.resume)
    except ValueError as error:
        parser.error(str(error))
    cases = suite.cases({axis: getattr(options, axis) for axis in suite.axes})
    missing = [case for case in cases if case not in done]
    _measure(suite, contenders, missing, _effort(suite.effort, options), out)
    _report(suite, out, arguments if arguments is not None else sys.argv[1:], options.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks")
    suites = parser.add_subparsers(dest="suite", required=True, metavar="SUITE")
    for suite in SUITES.values():
        verb = suites.add_parser(suite.name, help=suite.summary, description=suite.summary)
        for name, axis in suite.axes.items():
            verb.add_argument(
                f"--{name}",
                type=axis.kind,
                choices=axis.choices,
                nargs="+",
                default=list(axis.values),
                metavar=axis.symbol or None,
            )
        verb.add_argument("--out", type=Path, help=f"default: runs/benchmarks/{suite.name}")
        verb.add_argument("--only", default="", metavar="REGEX", help="contenders whose name it is found in")
        verb.add_argument(
            "--seconds", type=float, default=suite.effort.seconds, help="for a contender and case"
        )
        verb.add_argument("--repeats", type=int, help="rounds, instead of --seconds")
        verb.add_argument("--uncut", action="store_true", help="every contender in every case")
        verb.add_argument("--resume", action="store_true", help="leave out the cases that --out has already")
        verb.add_argument("--plot", action="store_true", help="draw the times as well")
    return parser


def _effort(usual: Effort, options: argparse.Namespace) -> Effort:
    if options.repeats is None:
        return usual._replace(seconds=options.seconds)
    return usual._replace(fewest=options.repeats, most=options.repeats, patience=float("inf"))


def _open(out: Path, suite: Suite, resume: bool) -> list[Case]:
    """Makes the folder ready; the cases that it has already.

    Raises:
        ValueError: there are results that this run must not be mixed with.
    """
    environment = results.environment(suite)
    table, about = out / "results.csv", out / "environment.json"
    if table.exists():
        if not resume:
            raise ValueError(f"{table} exists: continue it with --resume, or choose another --out")
        if json.loads(about.read_text()) != environment:
            raise ValueError(f"{table} was measured elsewhere (see {about}): choose another --out")
        return [row.case for row in results.read(table, suite)]
    out.mkdir(parents=True, exist_ok=True)
    results.write_environment(about, environment)
    return []


def _measure(
    suite: Suite, contenders: Sequence[Contender], cases: Sequence[Case], effort: Effort, out: Path
) -> None:
    begin = time.perf_counter()
    for number, case in enumerate(cases, start=1):
        rows = run(contenders, case, reference=suite.reference, effort=effort)
        results.append(out / "results.csv", suite, rows)
        timed = sum(row.status == OK for row in rows)
        minutes = (time.perf_counter() - begin) / 60
        print(
            f"[{number}/{len(cases)}] {suite.label(case)}: {timed} of {len(rows)} timed, {minutes:.1f} min",
            flush=True,
        )


def _report(suite: Suite, out: Path, arguments: Sequence[str], plot: bool) -> None:
    rows = results.read(out / "results.csv", suite)
    environment = json.loads((out / "environment.json").read_text())
    command = f"python -m experiments.benchmarks {shlex.join(arguments)}"
    (out / "table.md").write_text(report.markdown(suite, rows, environment, command))
    pictures = report.plot(suite, rows, out) if plot else []
    print("\n".join(str(path) for path in [out / "results.csv", out / "table.md", *pictures]))


if __name__ == "__main__":
    # Threads of one library that spin while they wait would slow down the next one in turn.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Compile seconds are those of a first compilation.
    jax.config.update("jax_enable_compilation_cache", False)
    main()
