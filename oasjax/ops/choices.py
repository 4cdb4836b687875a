"""One sentence for options that take one of a few names."""

from collections.abc import Iterable


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raise ValueError, listing the choices, unless `value` is one of them."""
    if value not in choices:
        raise ValueError(f"{name} is '{value}'; choose one of {', '.join(sorted(choices))}")
