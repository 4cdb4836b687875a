"""What the docstring of a config file says: which row of which table it is, how to run it, cost and score.

    OASNet on the 2-stack hourglass, MPII.

    Remarks, as many paragraphs as need be; or none.

    Group: ablation
    Paper: Fig. 6b, "OT" | PCKh@0.5, MPII validation | 88.69
    Command: oasjax train --config hg2_ot --workdir runs/hg2_ot
    Cost: 4.1e+17 FLOP ...
    Score: not measured

`Group` is one of GROUPS. `Paper` has a line for each figure that is printed somewhere: where, what is
measured, the figure; or it is "not in the paper". A line that is indented goes on with the field above it.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

# In the order in which they are listed.
GROUPS = ("published row", "ablation", "control", "extension", "to try")
NOT_IN_THE_PAPER = "not in the paper"
_FIELDS = ("Group", "Paper", "Command", "Cost", "Score")
_FIELD = re.compile(rf"({'|'.join(_FIELDS)}): ?(.*)")


class PublishedScore(NamedTuple):
    """A printed figure.

    Attributes:
        row: where it is printed, with the row or the bar.
        metric: what is measured, on what.
        score: as printed; words where only these are.
    """

    row: str
    metric: str
    score: str


class ConfigDocstring(NamedTuple):
    """A docstring in its parts; a field of several lines keeps their breaks.

    Attributes:
        text: the whole.
        title: its first line.
        remarks: may be empty.
        paper: empty for a config that is not in the paper.
    """

    text: str
    title: str
    remarks: str
    group: str
    paper: tuple[PublishedScore, ...]
    command: str
    cost: str
    score: str


def read_docstring(path: Path) -> ConfigDocstring:
    """The docstring of a config file, which is parsed, not run. Raises ValueError as `parse_docstring`."""
    try:
        return parse_docstring(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def parse_docstring(text: str) -> ConfigDocstring:
    """Raises ValueError where a field is missing, empty, there twice, or not in its form."""
    lines = text.splitlines()
    start = next((n for n, line in enumerate(lines) if _FIELD.fullmatch(line)), len(lines))
    fields: dict[str, list[str]] = {name: [] for name in _FIELDS}
    values: list[str] = []
    for line in lines[start:]:
        if match := _FIELD.fullmatch(line):
            values = fields[match[1]]
            values.append(match[2])
        elif line and not line.startswith(" "):
            raise ValueError(f"after the first field there may be fields alone, not {line!r}")
        else:
            values[-1] += f"\n{line}"
    for name in _FIELDS:
        if not fields[name] or not all(value.strip() for value in fields[name]):
            raise ValueError(f"the docstring has no '{name}:', or it is empty")
        if len(fields[name]) > 1 and name != "Paper":
            raise ValueError(f"the docstring has '{name}:' twice")
    (group,) = fields["Group"]
    if group not in GROUPS:
        raise ValueError(f"'Group:' is {group!r}; it must be one of {', '.join(GROUPS)}")
    return ConfigDocstring(
        text=text,
        title=lines[0],
        remarks="\n".join(lines[1:start]).strip(),
        group=group,
        paper=_published(fields["Paper"]),
        command=fields["Command"][0].strip(),
        cost=fields["Cost"][0].strip(),
        score=fields["Score"][0].strip(),
    )


def _published(values: list[str]) -> tuple[PublishedScore, ...]:
    if values == [NOT_IN_THE_PAPER]:
        return ()
    scores = []
    for value in values:
        parts = [" ".join(part.split()) for part in value.split("|")]
        if len(parts) != 3 or not all(parts):
            raise ValueError(
                f"'Paper:' is {value!r}, expected 'row | metric | score' or '{NOT_IN_THE_PAPER}'"
            )
        scores.append(PublishedScore(*parts))
    return tuple(scores)
