"""The form of the configs' docstrings."""

import pytest

from oasjax.config_docstrings import PublishedScore, parse_docstring, read_docstring

TEXT = """\
A title.

A remark: of two
lines.

Another.

Group: ablation
Paper: Fig. 1, "A" | PCKh@0.5,
   MPII | 88.1
Paper: Table 2 | AP | not given
Command: oasjax train
   --workdir D
Cost: an hour
Score: not measured
   a | b

   1 | 2
"""


def test_a_docstring_is_taken_apart():
    found = parse_docstring(TEXT)
    assert found.text == TEXT
    assert found.title == "A title."
    assert found.remarks == "A remark: of two\nlines.\n\nAnother."
    assert found.group == "ablation"
    assert found.paper == (
        PublishedScore('Fig. 1, "A"', "PCKh@0.5, MPII", "88.1"),
        PublishedScore("Table 2", "AP", "not given"),
    )
    assert found.command == "oasjax train\n   --workdir D"
    assert found.cost == "an hour"
    assert found.score == "not measured\n   a | b\n\n   1 | 2"


def test_there_may_be_no_remark_and_nothing_in_the_paper():
    found = parse_docstring("T.\n\nGroup: control\nPaper: not in the paper\nCommand: c\nCost: d\nScore: e")
    assert (found.remarks, found.paper) == ("", ())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Score: not", "Skore: not", "after the first field there may be fields alone, not 'Skore"),
        ("Cost: an hour\n", "", "no 'Cost:'"),
        ("Cost: an hour", "Cost: ", "no 'Cost:', or it is empty"),
        ("Cost: an hour", "Cost: an hour\nCost: two", "'Cost:' twice"),
        ("Group: ablation", "Group: abletion", "'Group:' is 'abletion'; it must be one of published row"),
        ("Table 2 | AP | not given", "Table 2 | AP", "expected 'row | metric | score'"),
        ("Table 2 | AP | not given", "Table 2 | | 3", "expected 'row | metric | score'"),
        ("Table 2 | AP | not given", "not in the paper", "expected 'row | metric | score'"),
    ],
)
def test_another_form_is_refused_with_the_reason(old, new, message):
    assert old in TEXT
    with pytest.raises(ValueError) as error:
        parse_docstring(TEXT.replace(old, new))
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["x = 1", "def get_config(:", '"""A title alone."""'])
def test_a_file_without_such_a_docstring_is_named_and_never_run(tmp_path, text):
    path = tmp_path / "some.py"
    path.write_text(text + "\nraise SystemExit")
    with pytest.raises(ValueError, match="some.py"):
        read_docstring(path)
