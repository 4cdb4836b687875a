"""List the papers' models: parameters, multiply-adds, and the figures that are printed elsewhere.

    oasjax models              the table
    oasjax models NAME         one model, counted on itself: parameters by part, and its configuration
    oasjax models NAME --json  either of them as JSON

The JSON, stable:

    {"models": [
      {"name": str,
       "num_joints": int,
       "input_size_wh": [int, int],     width and height of the crop, in pixels
       "parameters": int,               weights that are trained
       "multiply_adds": int,            of convolutions and matrix products, for one crop
       "published": {                   null where its authors print no figures
         "parameters_m": float,         in millions
         "gflops": float,               multiply-adds as they are printed, mostly in units of 2^30
         "source": str},
       "note": str,                     may be empty
       "config": {...},                 its `config.model`
       "parameters_by_part": {str: int} only with NAME: backbone, joints, occlusion, reconstruction
      }, ...]}
"""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from oasjax.errors import UserError
from oasjax.model_catalog import CATALOG, CatalogEntry, measure, parameters_by_part, published_gflops
from oasjax.text_table import aligned

LEGEND = """\
G: 10^9 multiply-adds of convolutions and matrix products for one crop. Gi: 2^30 of them, the "GFLOPs" of
HRNet's tables. OASNet's paper gives neither the widths of its layers nor the unit of its GFLOPs, and no plain
design has all four of its figures: "literal" is its text, "budget" comes nearest to its figures."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax models`."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="one model in detail; it takes seconds to count"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> None:
    """Print the table, or one model; nothing is compiled."""
    if args.name is None:
        entries = list(CATALOG.values())
        print(_document([entry_json(entry) for entry in entries]) if args.json else table(entries))
        return
    if args.name not in CATALOG:
        raise UserError(f"there is no model '{args.name}'; choose one of {', '.join(CATALOG)}")
    entry = CATALOG[args.name]
    found = measure(entry)
    parts = parameters_by_part(found.variables["params"])
    entry = entry._replace(parameters=sum(parts.values()), multiply_adds=found.multiply_adds)
    if args.json:
        print(_document([entry_json(entry) | {"parameters_by_part": parts}]))
    else:
        print(details(entry, parts))


def entry_json(entry: CatalogEntry) -> dict[str, Any]:
    """A model as in the schema above, less `parameters_by_part`."""
    return {
        "name": entry.name,
        "num_joints": entry.num_joints,
        "input_size_wh": list(entry.input_size_wh),
        "parameters": entry.parameters,
        "multiply_adds": entry.multiply_adds,
        "published": entry.published and entry.published._asdict(),
        "note": entry.note,
        "config": entry.model().to_dict(),
    }


def _document(models: list[dict[str, Any]]) -> str:
    return json.dumps({"models": models}, indent=2)


def table(entries: list[CatalogEntry]) -> str:
    """A line for each model, then the sources and notes that the lines refer to by number."""
    remarks = list(dict.fromkeys(filter(None, map(_remark, entries))))
    header = ("model", "input", "joints", "parameters", "G", "Gi", "published", "GFLOPs", "")
    rows = [header, *(_cells(entry, remarks) for entry in entries)]
    numbered = [f"[{number}] {remark}" for number, remark in enumerate(remarks, start=1)]
    return "\n".join([aligned(rows), "", *numbered, "", LEGEND])


def _remark(entry: CatalogEntry) -> str:
    source = entry.published.source if entry.published else ""
    return "; ".join(filter(None, (source, entry.note)))


def _cells(entry: CatalogEntry, remarks: list[str]) -> tuple[str, ...]:
    width, height = entry.input_size_wh
    published, remark = entry.published, _remark(entry)
    return (
        entry.name,
        f"{height}x{width}",  # as papers write it
        str(entry.num_joints),
        f"{entry.parameters:,}",
        f"{entry.multiply_adds / 1e9:.3f}",
        f"{published_gflops(entry.multiply_adds):.3f}",
        f"{published.parameters_m}M" if published else "-",
        f"{published.gflops}" if published else "-",
        f"[{remarks.index(remark) + 1}]" if remark else "",
    )


def details(entry: CatalogEntry, parts: Mapping[str, int]) -> str:
    """The model's line of the table, its parameters by part, and the configuration that builds it."""
    from flax.traverse_util import flatten_dict  # brings JAX along, which the table does without

    width = max(map(len, parts))
    counts = [f"  {part:<{width}}  {count:>11,}" for part, count in parts.items()]
    leaves = flatten_dict(entry.model().to_dict(), sep=".")
    config = [f"  model.{key} = {value!r}" for key, value in leaves.items()]
    return "\n".join([table([entry]), "", "parameters by part", *counts, "", "configuration", *config])
