"""List the configs: the paper's rows and ablations with their scores, controls, extensions, what to try.

    oasjax configs              the table
    oasjax configs NAME         one config: its docstring, and what differs from our defaults
    oasjax configs NAME --json  either of them as JSON

NAME is one of the table, or the path of a file. The JSON, stable:

    {"configs": [
      {"name": str,
       "group": str,                    published row, ablation, control, extension, to try
       "title": str,
       "remarks": str,                  may be empty
       "paper": [                       figures that are printed somewhere; empty if there is none
         {"row": str,                   where
          "metric": str,                what is measured, on what
          "score": str,                 as printed; words where the paper gives no number
          "value": float or null}],     the score, if it is a number
       "command": str,
       "cost": str,
       "training_flop": float or null,  estimate; null where the network is of no published size
       "score": str,                    measured by us, or "not measured"
       "config": {...},                 only with NAME: all its values
       "differs": {"a.b": value}        only with NAME: those that are not `config_sections.pose()`'s
      }, ...]}
"""

import argparse
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from oasjax import config_sections
from oasjax.cli.config_files import config_names, find_config, load_config
from oasjax.config_docstrings import GROUPS, ConfigDocstring, read_docstring
from oasjax.errors import UserError
from oasjax.text_table import aligned
from oasjax.training.workdir import flatten
from oasjax.training_cost import SUSTAINED_TFLOPS, training_cost

LEGEND = f"""\
score: as printed in the paper, or in HRNet's README where the row says so; ours stand in the docstrings.
hours: of training at {SUSTAINED_TFLOPS} TFLOP/s, estimated from the network's multiply-adds; not measured.
`oasjax configs NAME` shows one of them, `oasjax train --config NAME --workdir D` trains it."""


class ConfigEntry(NamedTuple):
    """A config file: its name, what its docstring says, its values."""

    name: str
    docstring: ConfigDocstring
    config: ConfigDict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax configs`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="one config in detail, by name or by path")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args: argparse.Namespace) -> None:
    """Print the table, or one config."""
    if args.name is None:
        entries = [read_entry(name) for name in config_names()]
        print(_document(map(entry_json, entries)) if args.json else tables(entries))
        return
    entry = read_entry(args.name)
    print(_document([entry_json(entry) | values_json(entry.config)]) if args.json else details(entry))


def read_entry(name_or_path: str) -> ConfigEntry:
    """Raises UserError where there is no such config, or its docstring is not in its form."""
    path = find_config(name_or_path)
    try:
        docstring = read_docstring(path)
    except ValueError as error:
        raise UserError(f"{error}; oasjax/config_docstrings.py describes the form.") from None
    return ConfigEntry(path.stem, docstring, load_config(str(path)))


def entry_json(entry: ConfigEntry) -> dict[str, Any]:
    """A config as in the schema above, less `config` and `differs`."""
    docstring = entry.docstring
    cost = training_cost(entry.config)
    return {
        "name": entry.name,
        "group": docstring.group,
        "title": docstring.title,
        "remarks": docstring.remarks,
        "paper": [each._asdict() | {"value": _number(each.score)} for each in docstring.paper],
        "command": docstring.command,
        "cost": docstring.cost,
        "training_flop": cost and cost.flop,
        "score": docstring.score,
    }


def values_json(config: ConfigDict) -> dict[str, Any]:
    """All values, and those that differ from our defaults."""
    return {"config": config.to_dict(), "differs": differences(config)}


def differences(config: ConfigDict) -> dict[str, Any]:
    """Values by dotted key that a config has and `config_sections.pose()` has not."""
    defaults = flatten(config_sections.pose().to_dict())
    return {
        key: value
        for key, value in flatten(config.to_dict()).items()
        if key not in defaults or value != defaults[key]
    }


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _document(configs: Iterable[dict[str, Any]]) -> str:
    return json.dumps({"configs": list(configs)}, indent=2)


def tables(entries: list[ConfigEntry]) -> str:
    """A table of each group, a line for each config; then the metrics that the lines refer to by number."""
    entries = sorted(entries, key=lambda entry: GROUPS.index(entry.docstring.group))
    metrics = list(dict.fromkeys(each.metric for entry in entries for each in entry.docstring.paper[:1]))
    parts = []
    for group in GROUPS:
        rows = [_cells(entry, metrics) for entry in entries if entry.docstring.group == group]
        if rows:
            parts += [aligned([(group, "", "score", "hours", ""), *rows], left=2), ""]
    numbered = [f"[{number}] {metric}" for number, metric in enumerate(metrics, start=1)]
    return "\n".join([*parts, *numbered, "", LEGEND])


def _cells(entry: ConfigEntry, metrics: list[str]) -> tuple[str, ...]:
    """Of several printed figures the first is shown."""
    paper = entry.docstring.paper
    cost = training_cost(entry.config)
    return (
        entry.name,
        paper[0].row if paper else entry.docstring.title,
        paper[0].score if paper else "-",
        f"{cost.hours:.1f}" if cost else "-",
        f"[{metrics.index(paper[0].metric) + 1}]" if paper else "",
    )


def details(entry: ConfigEntry) -> str:
    """The docstring, and the values that differ from our defaults."""
    values = [f"  {key} = {value!r}" for key, value in differences(entry.config).items()]
    return "\n".join([entry.docstring.text, "", "differs from our defaults in", *values])
