"""`oasjax configs`: the table, one config in detail, JSON."""

import json
import re
import resource
import subprocess
import sys

import pytest

from oasjax.cli import configs
from oasjax.cli.config_files import config_names, load_config
from oasjax.cli.main import main
from oasjax.config_docstrings import GROUPS

OWN = '''"""A config of one's own.

Group: to try
Paper: Table 9, mine | PCKh@0.5, my pictures | about 50
Command: oasjax train --config own --workdir runs/own
Cost: none
Score: 12.3
"""

from oasjax import config_sections


def get_config():
    config = config_sections.pose()
    config.model.hourglass.features = 8
    config.optimizer.schedule.boundaries = (0.5,)
    return config
'''


@pytest.fixture
def own_config(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def shown(capsys, *words):
    assert main(["configs", *map(str, words)]) == 0
    return capsys.readouterr().out


def line_of(name, text):
    (line,) = [line for line in text.splitlines() if line.split()[:1] == [name]]
    return re.split(r"  +", line)


def test_every_config_stands_in_the_table_of_its_group_with_the_printed_score(capsys):
    text = shown(capsys)
    assert all(line_of(name, text) for name in config_names())
    heads = [line.rpartition("score")[0].strip() for line in text.splitlines() if line.endswith("hours")]
    assert heads == list(GROUPS)
    *cells, metric = line_of("hg2_kl", text)
    assert cells[:3] == ["hg2_kl", 'Fig. 6b, "KL", non-detach', "88.56"] and float(cells[3]) > 0
    assert f"\n{metric} PCKh@0.5, MPII validation, one scale, no flip\n" in text


def test_what_the_paper_has_no_number_for_shows_its_words_or_a_dash(capsys):
    text = shown(capsys)
    assert line_of("hg2_recon", text)[2] == "+0.34 over hg2_base"
    assert line_of("hg2_base_paste", text)[1:3] == [
        "The 2-stack hourglass alone with pasted occluders, MPII.",
        "-",
    ]
    assert line_of("quickstart", text)[2:] == ["-", "-"]  # no network of a published size


def test_the_lines_of_a_group_are_aligned(capsys):
    head, rule, *lines = shown(capsys).splitlines()
    rows = lines[: lines.index("")]
    end = head.index("score") + len("score")
    assert len(rows) > 10 and all(row[end - 1] != " " and row[end] == " " for row in rows)
    assert set(rule) == {"-"} and len(rule) == max(map(len, rows))


def test_one_config_shows_its_docstring_and_only_what_is_not_our_default(capsys, own_config):
    text = shown(capsys, own_config)
    assert text.startswith("A config of one's own.\n\nGroup: to try\nPaper: Table 9, mine |")
    assert text.endswith(
        "differs from our defaults in\n"
        "  model.hourglass.features = 8\n"
        "  optimizer.schedule.boundaries = (0.5,)\n"
    )


def test_a_value_of_another_backbone_differs_whatever_it_is(capsys):
    values = configs.differences(load_config("mpii_w32_base"))
    assert values["model.hrnet.modules"] == (1, 4, 3)
    assert values["model.name"] == "hrnet" and "data.padding" not in values


def test_the_json_holds_every_config_in_the_documented_form(capsys):
    document = json.loads(shown(capsys, "--json"))
    assert list(document) == ["configs"]
    assert [config["name"] for config in document["configs"]] == config_names()
    for config in document["configs"]:
        assert {key: type(value) for key, value in config.items() if key != "training_flop"} == {
            "name": str,
            "group": str,
            "title": str,
            "remarks": str,
            "paper": list,
            "command": str,
            "cost": str,
            "score": str,
        }
        assert config["group"] in GROUPS
        assert config["training_flop"] is None or config["training_flop"] > 1e15
        for printed in config["paper"]:
            assert list(printed) == ["row", "metric", "score", "value"]
            assert printed["value"] is None or str(printed["value"]) == printed["score"]
    (ot,) = [config for config in document["configs"] if config["name"] == "hg2_ot"]
    assert [printed["value"] for printed in ot["paper"]] == [88.69, None]


def test_the_json_of_one_config_has_its_values(capsys, own_config):
    (config,) = json.loads(shown(capsys, own_config, "--json"))["configs"]
    assert config["paper"] == [
        {"row": "Table 9, mine", "metric": "PCKh@0.5, my pictures", "score": "about 50", "value": None}
    ]
    assert config["differs"] == {"model.hourglass.features": 8, "optimizer.schedule.boundaries": [0.5]}
    assert config["config"]["optimizer"]["schedule"]["boundaries"] == [0.5]
    assert config["training_flop"] is None and config["score"] == "12.3"


def test_an_unknown_config_is_one_line_that_lists_the_names(capsys):
    assert main(["configs", "hg2_otto"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "hg2_otto" in line and "hg2_ot," in line


def test_a_docstring_without_its_form_is_one_line_that_says_what_is_missing(capsys, own_config):
    own_config.write_text(OWN.replace("Cost: none\n", ""))
    assert main(["configs", str(own_config)]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and str(own_config) in line and "no 'Cost:'" in line


def test_the_listing_loads_nothing_heavy_and_takes_no_time():
    program = (
        "import sys\n"
        "from oasjax.cli.main import main\n"
        "main(['configs'])\n"
        "heavy = {'jax', 'tensorflow', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(heavy)}' if heavy else 0)\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1
