"""Tables as plain text for the terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns as wide as they need to be, with a rule below the first row.

    Args:
        rows: cells, the header first; all rows are of one length.
        left: how many columns stand left, as names do; the others stand right, as numbers do. A column
            that holds nothing takes no room.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
