"""Train a model; the same command resumes a run that was stopped.

oasjax train --config quickstart --workdir runs/quickstart
oasjax train --config configs/lspet_small.py --workdir runs/lspet --config.train.num_steps=500
"""

import argparse
import shlex
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `oasjax train`."""
    parser.add_argument(
        "--config", required=True, metavar="F", help="a config's name, or the path of its file"
    )
    parser.add_argument(
        "--workdir", required=True, metavar="D", help="folder for checkpoints, metrics and the report"
    )


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, write the report, print the score table.

    Returns 128 + signal when stopped by one, 1 when training diverged.
    """
    from oasjax.cli.config_files import load_config

    config = load_config(args.config, args.overrides)

    from oasjax import compilation_cache
    from oasjax.inference.run_summary import write_run_summary
    from oasjax.training.loop import train_and_evaluate
    from oasjax.training.metrics_log import NonFiniteLossError

    compilation_cache.enable()
    workdir = Path(args.workdir)
    try:
        result = train_and_evaluate(config, workdir)
    except NonFiniteLossError as error:
        print(f"oasjax: training diverged: {error}; checkpoints before it are in {workdir}", file=sys.stderr)
        return 1
    if result.signal:
        return 128 + result.signal
    command = shlex.join(["oasjax", *sys.argv[1:]])
    print(write_run_summary(workdir, result, command))
    return 0
