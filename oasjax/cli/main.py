"""The command line: `oasjax VERB ...` parses, runs the verb, and turns errors into exit codes.

One file per verb in `oasjax/cli/`, imported only when that verb is called, so that `oasjax --help`
loads neither JAX nor OpenCV. A verb's module has `add_arguments(parser)` and `run(args) -> int |
None` (None is exit code 0); the first line of its docstring stands above its help. A verb with a
`--config` argument also takes `--config.a.b=value`; these arrive as typed in `args.overrides`.

Exit codes: 0 done, 1 a failure of ours (with a stack trace), 2 a mistake of the user's (one line),
130 interrupted, 141 nobody reads what is printed any more (`oasjax models | head -1`).
"""

import argparse
import importlib
import os
import select
import sys
from collections.abc import Sequence

from oasjax.errors import UserError

# verb -> (module, the line in `oasjax --help`)
VERBS = {
    "train": ("oasjax.cli.train", "train a model; the same command resumes"),
    "evaluate": ("oasjax.cli.evaluate", "evaluate the latest good checkpoint of a workdir"),
    "check-data": ("oasjax.cli.check_data", "count what a data folder holds, find broken files, draw people"),
    "score": ("oasjax.cli.score", "score a file of predictions from anywhere"),
    "predict": ("oasjax.cli.predict", "find the joints of people in pictures"),
    "import-weights": ("oasjax.cli.import_weights", "published PyTorch weights to a model folder"),
    "configs": ("oasjax.cli.configs", "list the configs: the paper's rows and ablations, what else to try"),
    "models": ("oasjax.cli.models", "list the papers' models: parameters, multiply-adds, printed figures"),
}

OVERRIDE_PREFIX = "--config."


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `oasjax` with these arguments (default: the process's own); returns the exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        return _dispatch_and_flush(argv)
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        # The interpreter flushes once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UserError as error:
        print("oasjax:", " ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("oasjax: interrupted", file=sys.stderr)
        return 130


def _dispatch_and_flush(argv: list[str]) -> int:
    """What is printed leaves here, not when the interpreter ends: nobody could catch the error there."""
    try:
        code = _dispatch(argv)
    except SystemExit:  # argparse has printed a help text
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return code


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that its reader has closed."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _dispatch(argv: list[str]) -> int:
    parser = _top_parser()
    # Only the first word is ours; what follows belongs to the verb.
    verb = parser.parse_args(argv[:1]).verb
    if verb is None:
        parser.print_help()
        return 0
    module = importlib.import_module(VERBS[verb][0])
    args = _parse_verb(verb, module, argv[1:])
    return module.run(args) or 0


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="oasjax",
        description="Seeing people who are partly hidden: pose estimation under occlusion.",
        epilog="verbs:\n"
        + "\n".join(f"  {verb:<{width}}  {line}" for verb, (_, line) in VERBS.items())
        + "\n\n`oasjax VERB --help` shows the arguments of a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="oasjax [-h] [--version] VERB ...",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_PrintVersion, help="show the version and exit")
    parser.add_argument("verb", nargs="?", choices=VERBS, metavar="VERB", help="what to do, see below")
    return parser


def _parse_verb(verb: str, module, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"oasjax {verb}",
        description=(module.__doc__ or "").partition("\n")[0],
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    args, unknown = parser.parse_known_args(argv)
    args.overrides = [
        word for word in unknown if hasattr(args, "config") and word.startswith(OVERRIDE_PREFIX)
    ]
    strangers = [word for word in unknown if word not in args.overrides]
    if strangers:
        parser.error(f"unrecognized arguments: {' '.join(strangers)}")
    return args


class _PrintVersion(argparse.Action):
    """Like argparse's own version action, but looks the version up only when it is asked for."""

    def __init__(self, option_strings, dest, **kwargs):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=kwargs.get("help"))

    def __call__(self, parser, namespace, values, option_string=None):
        from importlib.metadata import version

        print(f"oasjax {version('oasjax')}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
