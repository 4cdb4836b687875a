"""Evaluate the latest good checkpoint of a workdir, or predict the test split for an official server.

oasjax evaluate --config quickstart --workdir runs/quickstart --config.eval.flip_test=false
oasjax evaluate --config F --workdir D --split test --out submission
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax evaluate`."""
    parser.add_argument(
        "--config", required=True, metavar="F", help="a config's name, or the path of its file"
    )
    parser.add_argument("--workdir", required=True, metavar="D", help="folder of a training run")
    parser.add_argument(
        "--split",
        choices=("eval", "test"),
        default="eval",
        help="the people that training is scored on, or those of the official test (default: eval)",
    )
    parser.add_argument(
        "--out",
        metavar="O",
        help="folder for the predictions, in the form that the data's own evaluator takes"
        " (with --split test by default D/submission)",
    )


def run(args: argparse.Namespace) -> int:
    """Predict, write the predictions if they are wanted, score, print the tables.

    The scores stand in `metrics.json` afterwards, under `after`; those of the test split in `test`.
    """
    from oasjax.cli.config_files import load_config

    config = load_config(args.config, args.overrides)

    from oasjax import compilation_cache
    from oasjax.inference.run_summary import tables
    from oasjax.training.loop import evaluate_latest

    compilation_cache.enable()
    workdir = Path(args.workdir)
    out = Path(args.out) if args.out else None
    if out is None and args.split == "test":
        out = workdir / "submission"
    print(tables(evaluate_latest(config, workdir, split=args.split, out=out)))
    return 0
