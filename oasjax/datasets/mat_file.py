"""Reading MATLAB files that strangers made."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import scipy.io
import scipy.io.matlab

from oasjax.errors import UserError


def load_mat(path: Path, keys: Iterable[str] | None = None) -> dict[str, Any]:
    """The variables `keys` of a .mat file, as `scipy.io.loadmat` gives them, others unread; None: all.

    Raises:
        UserError: there is no such file, it is no MATLAB file or a broken one, or it lacks a variable.
    """
    keys = None if keys is None else tuple(keys)
    try:
        values = scipy.io.loadmat(path, variable_names=keys)
    except FileNotFoundError:
        raise UserError(f"{path} not found. Check the folder.") from None
    except NotImplementedError:
        raise UserError(
            f"{path} is a MATLAB file of version 7.3. Save it with MATLAB's option -v7."
        ) from None
    # What a cut, overwritten or mistaken file makes scipy's reader stumble over.
    except (
        scipy.io.matlab.MatReadError, zlib.error, ValueError, TypeError, OSError, IndexError, KeyError,
        EOFError, MemoryError, OverflowError, UnicodeDecodeError, AttributeError, SystemError,
    ) as error:  # fmt: skip
        raise UserError(
            f"{path} is no whole MATLAB file ({type(error).__name__}: {error}). Fetch it again."
        ) from None
    if keys is None:
        return {key: value for key, value in values.items() if not key.startswith("__")}
    lacking = [key for key in keys if key not in values]
    if lacking:
        raise UserError(
            f"{path} lacks the variable{'s' * (len(lacking) > 1)} {', '.join(lacking)}. "
            "Is this another data set?"
        )
    return {key: values[key] for key in keys}
