"""`oasjax models`: the table, one model in detail, JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oasjax.cli import models
from oasjax.cli.main import main
from oasjax.model_catalog import CATALOG, Measured

README = Path(__file__).parents[2] / "README.md"


class Leaf:
    """Stands in for an array: its shape is all that counts."""

    def __init__(self, *shape):
        self.shape = shape


@pytest.fixture
def counted(monkeypatch):
    """Every model is measured to have 10 + 6 parameters and 3 * 2^30 multiply-adds; nothing is traced."""
    params = {"backbone": {"conv": {"kernel": Leaf(5, 2)}}, "head0": {"joints": {"bias": Leaf(6)}}}
    monkeypatch.setattr(models, "measure", lambda entry: Measured({"params": params}, 3 * 2**30))


def shown(capsys, *words):
    assert main(["models", *words]) == 0
    return capsys.readouterr().out


def line_of(name, text):
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return line.split()


def test_the_table_shows_exact_counts_in_both_units_beside_the_published_figures(capsys):
    text = shown(capsys)
    assert line_of("hrnet_w32_256x192", text) == [
        "hrnet_w32_256x192", "256x192", "17", "28,536,113", "7.645", "7.120", "28.5M", "7.1", "[1]",
    ]  # fmt: skip
    assert re.search(r"^\[1\] README of leoxiaobin/", text, re.MULTILINE)
    assert all(line_of(name, text) for name in CATALOG)


def test_where_nothing_is_published_there_are_dashes_and_a_note_is_kept(capsys):
    text = shown(capsys)
    *_, parameters, gflops, mark = line_of("hourglass_princeton_8", text)
    assert (parameters, gflops) == ("-", "-")
    assert f"\n{mark} the original has 32,819,328, of which 7,385,216" in text


def test_the_table_says_that_the_printed_figures_do_not_determine_oasnet(capsys):
    assert "no plain design has all four of its figures" in " ".join(shown(capsys).split())


def test_the_columns_are_aligned(capsys):
    head, rule, *rest = shown(capsys).splitlines()
    rows = rest[: rest.index("")]
    assert len(rows) == len(CATALOG)
    end = head.index("parameters") + len("parameters")
    assert all(row[end - 1].isdigit() and row[end] == " " for row in rows)
    assert set(rule) == {"-"} and len(rule) == max(map(len, rows))


def test_one_model_is_counted_anew_and_shown_by_part_with_its_configuration(capsys, counted):
    text = shown(capsys, "oasnet_hrnet_w48_budget")
    assert line_of("oasnet_hrnet_w48_budget", text)[3:6] == ["16", "3.221", "3.000"]
    assert line_of("backbone", text) == ["backbone", "10"]
    assert line_of("joints", text) == ["joints", "6"]
    assert "model.hrnet.channels = ((48, 96), (48, 96, 192), (48, 96, 192, 384))" in text
    assert "model.erase_reconstruct.width = 256" in text
    assert "hourglass" not in text


def test_the_json_holds_every_model_in_the_documented_form(capsys):
    document = json.loads(shown(capsys, "--json"))
    assert list(document) == ["models"]
    assert [model["name"] for model in document["models"]] == list(CATALOG)
    for model in document["models"]:
        assert {key: type(value) for key, value in model.items()} == {
            "name": str,
            "num_joints": int,
            "input_size_wh": list,
            "parameters": int,
            "multiply_adds": int,
            "published": dict if CATALOG[model["name"]].published else type(None),
            "note": str,
            "config": dict,
        }
        assert model["config"]["name"] in model["config"]
    first = document["models"][0]
    assert first["input_size_wh"] == [192, 256]
    assert first["published"] == {
        "parameters_m": 28.5,
        "gflops": 7.1,
        "source": "README of leoxiaobin/deep-high-resolution-net.pytorch",
    }
    assert first["config"]["hrnet"]["channels"] == [[32, 64], [32, 64, 128], [32, 64, 128, 256]]


def test_the_json_of_one_model_is_what_was_counted_with_its_parts(capsys, counted):
    (model,) = json.loads(shown(capsys, "hourglass_bearpaw_1", "--json"))["models"]
    assert model["parameters"] == 16
    assert model["multiply_adds"] == 3 * 2**30
    assert model["parameters_by_part"] == {"backbone": 10, "joints": 6}


def test_an_unknown_model_is_one_line_that_lists_the_models(capsys):
    assert main(["models", "hrnet_w64"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "'hrnet_w64'" in line and all(name in line for name in CATALOG)


def test_the_table_needs_no_jax_and_a_model_neither_tensorflow_nor_a_compiler():
    program = (
        "import sys\n"
        "from oasjax.cli.main import main\n"
        "main(['models'])\n"
        "assert 'jax' not in sys.modules\n"
        "import jax\n"
        "events = []\n"
        "jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))\n"
        "main(['models', 'hourglass_bearpaw_1'])\n"
        "assert 'tensorflow' not in sys.modules\n"
        "assert set(events) == {'/jax/core/compile/jaxpr_trace_duration'}, set(events)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_shows_what_the_command_prints(capsys):
    text = shown(capsys)
    quoted = [words for line in README.read_text().splitlines() if (words := line.split())]
    quoted = [words for words in quoted if words[0] in CATALOG]
    assert len(quoted) >= 5
    for words in quoted:
        assert line_of(words[0], text)[:8] == words
