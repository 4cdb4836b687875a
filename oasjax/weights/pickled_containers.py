"""What the names of containers, of bytes and of NumPy stand for in a pickle of plain data.

Nothing here is the thing that a file names: each `Constructor` looks at its arguments and makes a dict, a
set, bytes or numbers, or refuses.

Sources: how CPython's `collections` and NumPy (`dtype.__reduce__`, `ndarray.__reduce__`) are pickled.
"""

import math
from typing import Any

import numpy as np

from oasjax.weights.pickle_stream import DamagedError, NotPlainError
from oasjax.weights.plain_pickle import Constructor, Marker, Unbuilt, checked_key, dict_of

MAX_AXES = 32
MAX_COUNT = 2**48  # of elements along an axis, in an array or in a storage


def are_sizes(values: tuple[Any, ...]) -> bool:
    return all(type(value) is int and 0 <= value < MAX_COUNT for value in values)


def is_shape(sizes: tuple[Any, ...]) -> bool:
    # NumPy multiplies the other axes even where one is 0.
    return len(sizes) <= MAX_AXES and are_sizes(sizes) and math.prod(filter(None, sizes)) < MAX_COUNT


def _mapping(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Ordered dicts: () or, from Python 2, a list of [key, value]; Counters: a dict."""
    match arguments:
        case ():
            return {}
        case (dict(items),):
            return dict(items)
        case (list(pairs),) if all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
            return dict_of(pairs)
    raise MAPPING.unexpected_arguments()


def _default_mapping(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """The default is dropped; its keys follow as for any dict."""
    match arguments:
        case () | (Marker() | Constructor() | None,):
            return {}
    raise DEFAULT_MAPPING.unexpected_arguments()


def _set(arguments: tuple[Any, ...]) -> set[Any]:
    match arguments:
        case ():
            return set()
        case (list(values) | tuple(values),):
            return set(map(checked_key, values))
    raise SET.unexpected_arguments()


def _bytes_of_text(arguments: tuple[Any, ...]) -> bytes:
    """Protocol 2 has no bytes: Python 3 writes them as text of the characters 0 to 255."""
    match arguments:
        case ():
            return b""
        case (str(text), "latin1" | "latin-1"):
            return _latin_1(text)
    raise BYTES.unexpected_arguments()


def _bytearray(arguments: tuple[Any, ...]) -> bytearray:
    match arguments:
        case (bytes(data),):
            return bytearray(data)
    return bytearray(_bytes_of_text(arguments))


def _complex(arguments: tuple[Any, ...]) -> complex:
    match arguments:
        case (float(real), float(imaginary)):
            return complex(real, imaginary)
    raise COMPLEX.unexpected_arguments()


MAPPING = Constructor("collections.OrderedDict", _mapping)
DEFAULT_MAPPING = Constructor("collections.defaultdict", _default_mapping)
SET = Constructor("set", _set)
FROZENSET = Constructor("frozenset", lambda arguments: frozenset(_set(arguments)))
BYTES = Constructor("_codecs.encode", _bytes_of_text)
BYTEARRAY = Constructor("bytearray", _bytearray)
COMPLEX = Constructor("complex", _complex)


NUMPY_CODES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
NDARRAY = Marker("numpy.ndarray")


def _numpy_type(arguments: tuple[Any, ...]) -> Unbuilt:
    match arguments:
        case (str(code), *_) if code in NUMPY_CODES:
            return Unbuilt("numpy.dtype", lambda state: _with_byte_order(code, state))
        case (str(code), *_) if code.lstrip("|<>=").startswith("O"):
            raise NotPlainError("holds a NumPy array of Python objects")
    raise NUMPY_TYPE.unexpected_arguments()


def _with_byte_order(code: str, state: Any) -> np.dtype:
    match state:
        # Version, byte order; a type with parts (subarray, names, fields) has more than None after them.
        case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
            return np.dtype(code).newbyteorder("<" if order == "=" else order)
    raise NUMPY_TYPE.unexpected_arguments()


def _numpy_scalar(arguments: tuple[Any, ...]) -> np.generic:
    match arguments:
        case (np.dtype() as dtype, bytes() | str() as data) if len(data) == dtype.itemsize:
            return _numbers(dtype, data)[0]
    raise NUMPY_SCALAR.unexpected_arguments()


def _numpy_array(arguments: tuple[Any, ...]) -> Unbuilt:
    match arguments:
        case (Marker() as kind, *_) if kind is NDARRAY:
            return Unbuilt("numpy.ndarray", _array_of_state)
    raise NUMPY_ARRAY.unexpected_arguments()


def _array_of_state(state: Any) -> np.ndarray:
    match state:
        case (int(), tuple(shape), np.dtype() as dtype, int(fortran), bytes() | str() as data) if is_shape(
            shape
        ) and math.prod(shape) * dtype.itemsize == len(data):
            return np.array(_numbers(dtype, data).reshape(shape, order="F" if fortran else "C"), order="C")
    raise NUMPY_ARRAY.unexpected_arguments()


def _numbers(dtype: np.dtype, data: bytes | str) -> np.ndarray:
    """One axis of numbers in native byte order."""
    raw = np.frombuffer(data if isinstance(data, bytes) else _latin_1(data), np.uint8)
    if dtype.kind == "b":
        return raw != 0
    return raw.view(dtype).astype(dtype.newbyteorder("="))


def _latin_1(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise DamagedError("bytes written as text that is none") from None


NUMPY_TYPE = Constructor("numpy.dtype", _numpy_type)
NUMPY_SCALAR = Constructor("numpy.core.multiarray.scalar", _numpy_scalar)
NUMPY_ARRAY = Constructor("numpy.core.multiarray._reconstruct", _numpy_array)

# Python 2 and 3, NumPy before and since 2.
_BUILTINS = ("builtins", "__builtin__")
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")

CONTAINER_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): MAPPING,
    ("collections", "Counter"): MAPPING,
    ("collections", "defaultdict"): DEFAULT_MAPPING,
    **{(module, name): Marker(name) for module in _BUILTINS for name in ("dict", "list", "int", "float")},
    **{(module, "set"): SET for module in _BUILTINS},
    **{(module, "frozenset"): FROZENSET for module in _BUILTINS},
    **{(module, "bytes"): BYTES for module in _BUILTINS},
    **{(module, "bytearray"): BYTEARRAY for module in _BUILTINS},
    **{(module, "complex"): COMPLEX for module in _BUILTINS},
    ("_codecs", "encode"): BYTES,
    ("numpy", "dtype"): NUMPY_TYPE,
    ("numpy", "ndarray"): NDARRAY,
    **{(module, "scalar"): NUMPY_SCALAR for module in _MULTIARRAY},
    **{(module, "_reconstruct"): NUMPY_ARRAY for module in _MULTIARRAY},
}
