"""The command line's front door: verbs, exit codes, and what it costs to open it."""

import os
import subprocess
import sys
import types

import pytest

from oasjax.cli import main as cli
from oasjax.errors import UserError


@pytest.fixture
def verb(monkeypatch):
    """A verb `greet --config F` that remembers its parsed arguments; a test may set its `run`."""
    module = types.ModuleType("tests_greet", "Greets.\n\nAt length.")

    def run(args):
        module.seen = args

    module.add_arguments = lambda parser: parser.add_argument("--config")
    module.run = run
    monkeypatch.setitem(sys.modules, "tests_greet", module)
    monkeypatch.setattr(cli, "VERBS", {"greet": ("tests_greet", "greets")})
    return module


def raising(error):
    def run(args):
        raise error

    return run


def test_without_a_verb_the_help_lists_every_verb(capsys):
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {verb}" in shown for verb in cli.VERBS)


def test_an_unknown_verb_exits_2_and_lists_the_choices(capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["trian"])
    assert exit_info.value.code == 2
    assert "'train'" in capsys.readouterr().err


def test_overrides_reach_the_verb_as_typed_and_in_order(verb):
    assert cli.main(["greet", "--config.b.c=(1, 2)", "--config", "f.py", "--config.a=1"]) == 0
    assert verb.seen.config == "f.py"
    assert verb.seen.overrides == ["--config.b.c=(1, 2)", "--config.a=1"]


@pytest.mark.parametrize("stranger", ["--confg=f.py", "--conf=f.py", "--workdirr=x", "loose"])
def test_any_other_unknown_argument_exits_2(verb, capsys, stranger):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["greet", stranger])
    assert exit_info.value.code == 2
    assert f"unrecognized arguments: {stranger}" in capsys.readouterr().err


def test_a_verb_without_a_config_takes_no_overrides(verb, capsys):
    verb.add_arguments = lambda parser: None
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["greet", "--config.a=1"])
    assert exit_info.value.code == 2


def test_a_users_mistake_is_one_line_and_exit_code_2(verb, capsys):
    verb.run = raising(UserError("no such folder: /x.\nPass --data_dir."))
    assert cli.main(["greet"]) == 2
    assert capsys.readouterr().err == "oasjax: no such folder: /x. Pass --data_dir.\n"


def test_an_interrupt_is_exit_code_130_without_a_stack_trace(verb, capsys):
    verb.run = raising(KeyboardInterrupt())
    assert cli.main(["greet"]) == 130
    assert capsys.readouterr().err == "oasjax: interrupted\n"


def test_a_failure_of_ours_keeps_its_stack_trace(verb):
    verb.run = raising(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["greet"])


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_the_verb_decides_the_exit_code(verb, returned, code):
    verb.run = lambda args: returned
    assert cli.main(["greet"]) == code


def test_a_verbs_help_begins_with_the_first_line_of_its_docstring(verb, capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["greet", "--help"])
    assert exit_info.value.code == 0
    shown = capsys.readouterr().out
    assert "Greets." in shown
    assert "At length." not in shown


@pytest.mark.parametrize("words", [[], ["--help"], ["models"], ["models", "--help"]], ids=str)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_has_gone_away_leaves_no_stack_trace(words, unbuffered):
    """`oasjax models | head -1`: with a buffer the pipe breaks at the end, without one while printing."""
    done = subprocess.Popen(
        [sys.executable, "-m", "oasjax", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    done.stdout.close()
    with done.stderr:
        assert done.stderr.read() == b""
    # argparse itself passes over a write that fails.
    assert done.wait() in ((0, 141) if "--help" in words or not words else (141,))


def test_a_pipe_of_ours_that_breaks_is_no_reader_that_went_away():
    program = (
        "import sys\n"
        "from oasjax.cli import main, models\n"
        "def run(args):\n"
        "    raise BrokenPipeError('to a worker')\n"
        "models.run = run\n"
        "sys.exit(main.main(['models']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "BrokenPipeError: to a worker" in done.stderr


def test_help_loads_no_heavy_library():
    """Measured by what is imported, not by the clock: imports are what makes a help text slow."""
    program = (
        "import sys\n"
        "from oasjax.cli.main import main\n"
        "main([])\n"
        "heavy = {'jax', 'numpy', 'cv2', 'tensorflow', 'ml_collections'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_python_m_oasjax_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "oasjax", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: oasjax ")
