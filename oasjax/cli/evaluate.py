"""Evaluate the latest good checkpoint of a workdir.

oasjax evaluate --config quickstart --workdir runs/quickstart --config.eval.flip_test=false
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax evaluate`."""
    parser.add_argument(
        "--config", required=True, metavar="F", help="a config's name, or the path of its file"
    )
    parser.add_argument("--workdir", required=True, metavar="D", help="folder of a training run")


def run(args: argparse.Namespace) -> int:
    """Score, put the scores into `metrics.json` under `after`, print them."""
    from oasjax.cli.config_files import load_config

    config = load_config(args.config, args.overrides)

    from oasjax import compilation_cache
    from oasjax.inference.run_summary import tables
    from oasjax.training.loop import evaluate_latest

    compilation_cache.enable()
    print(tables(evaluate_latest(config, Path(args.workdir))))
    return 0
