"""What the names of PyTorch stand for in a pickle of plain data: tensors, storages, sizes, devices, types.

A tensor becomes an empty numpy array and a note of which bytes of which storage fill it; the storages
themselves are read after the pickle, each once.

Sources: PyTorch's `torch/_utils.py` (`_rebuild_*`) and `torch/serialization.py` (persistent ids).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oasjax.weights.pickle_stream import DamagedError, UnreadableError
from oasjax.weights.pickled_containers import are_sizes, is_shape
from oasjax.weights.plain_pickle import Constructor, Marker

GROWTH = 16
SMALL_BYTES = 64 * 2**20


class Budget:
    """Bytes that the content of one file may take, so that a small file cannot fill the memory.

    Overlapping tensors and deflated storages are honest ways to exceed the file's size, but not by much.
    """

    def __init__(self, file_bytes: int):
        self._left = SMALL_BYTES + GROWTH * file_bytes

    def spend(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise UnreadableError(
                f"would take more than {GROWTH} times its own size in memory; where you trust its source, "
                "save it again in PyTorch with every tensor cloned"
            )


def copy_values(source: np.ndarray, target: np.ndarray) -> None:
    target[...] = source


def widen_bfloat16(source: np.ndarray, target: np.ndarray) -> None:
    """bfloat16 is the upper half of float32."""
    np.left_shift(source, np.uint32(16), out=target.view(np.uint32), dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class ElementType:
    """How a tensor's numbers are stored (`stored`, little endian) and what numpy gets (`result`)."""

    stored: np.dtype
    result: np.dtype
    fill: Callable[[np.ndarray, np.ndarray], None] = copy_values


def _as_stored(code: str) -> ElementType:
    stored = np.dtype(code).newbyteorder("<")
    return ElementType(stored, stored.newbyteorder("="))


ELEMENT_TYPES = {
    **{f"torch.{name}": _as_stored(name) for name in ("float16", "float32", "float64")},
    **{f"torch.{name}": _as_stored(name) for name in ("int8", "int16", "int32", "int64")},
    **{f"torch.{name}": _as_stored(name) for name in ("uint8", "uint16", "uint32", "uint64")},
    **{f"torch.{name}": _as_stored(name) for name in ("complex64", "complex128")},
    "torch.bfloat16": ElementType(np.dtype("<u2"), np.dtype(np.float32), widen_bfloat16),
    # Read as numbers, so that every byte but 0 becomes a true of NumPy's own bit pattern.
    "torch.bool": ElementType(np.dtype(np.uint8), np.dtype(np.bool_)),
}

STORAGE_ELEMENTS = {
    **{"FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16"},
    **{"BFloat16Storage": "bfloat16", "BoolStorage": "bool", "ByteStorage": "uint8", "CharStorage": "int8"},
    **{"ShortStorage": "int16", "IntStorage": "int32", "LongStorage": "int64"},
    **{"ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128"},
    "UntypedStorage": "uint8",
}


@dataclass(frozen=True, slots=True, eq=False)
class StorageType(Marker):
    """What a storage class stands for: the type of its elements."""

    element: ElementType


@dataclass(slots=True, eq=False)
class Fill:
    """An array to be filled from a storage: its first byte there, and the bytes between elements."""

    array: np.ndarray
    element: ElementType
    offset: int
    strides: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Blob:
    """The bytes behind one storage key, and the arrays that wait for them."""

    num_bytes: int
    item_bytes: int
    budget: Budget
    fills: list[Fill] = field(default_factory=list)

    def fill_arrays(self, raw: np.ndarray, big_endian: bool) -> None:
        """Fill every waiting array from `raw`, the storage's bytes (uint8)."""
        for fill in self.fills:
            stored = fill.element.stored.newbyteorder(">" if big_endian else "<")
            source = np.ndarray(
                fill.array.shape, stored, buffer=raw.data, offset=fill.offset, strides=fill.strides
            )
            fill.element.fill(source, fill.array)


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A run of one blob's bytes, seen as elements of a type."""

    blob: Blob
    element: ElementType
    start: int
    num_bytes: int

    def array(
        self, element: ElementType, offset: Any, shape: tuple[Any, ...], strides: tuple[Any, ...]
    ) -> np.ndarray:
        """A new C-contiguous array, filled when the blob is read; `offset` and `strides` count elements."""
        size = element.stored.itemsize
        if not is_shape(shape) or len(shape) != len(strides) or not are_sizes((offset, *strides)):
            raise DamagedError("a tensor with an impossible shape")
        count = math.prod(shape)
        if count:
            last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
            if (last + 1) * size > self.num_bytes:
                raise DamagedError("a tensor that reaches beyond its storage")
        self.blob.budget.spend(count * element.result.itemsize)
        array = np.empty(shape, element.result)
        if count:
            steps = tuple(stride * size for stride in strides)
            self.blob.fills.append(Fill(array, element, self.start + offset * size, steps))
        return array


class Storages:
    """The storages that a pickle mentions; called with a persistent id, it gives the `Storage`."""

    def __init__(self, budget: Budget):
        self.blobs: dict[str, Blob] = {}
        self._budget = budget

    def __call__(self, persistent_id: Any) -> Storage:
        match persistent_id:
            case ("storage", StorageType(element=element), str(key), _, count, *view):
                pass
            case _:
                raise DamagedError("a reference to a storage that is none")
        size = element.stored.itemsize
        if not are_sizes((count,)):
            raise DamagedError("a storage with an impossible size")
        if key not in self.blobs:
            self._budget.spend(count * size)
            self.blobs[key] = Blob(count * size, size, self._budget)
        blob = self.blobs[key]
        if blob.num_bytes != count * size:
            raise DamagedError("one storage with two sizes")
        match view:
            case [] | [None]:
                return Storage(blob, element, 0, blob.num_bytes)
            # Old releases wrote a storage that is a part of another one.
            case [(_, offset, length)] if are_sizes((offset, length)) and offset + length <= count:
                return Storage(blob, element, offset * size, length * size)
            case _:
                raise DamagedError("a view of a storage that reaches beyond it")


def _tensor(arguments: tuple[Any, ...]) -> np.ndarray:
    """(storage, offset, size, stride, requires_grad, backward_hooks, metadata), the last three optional."""
    match arguments:
        case (Storage() as storage, offset, tuple(shape), tuple(strides), *rest) if len(rest) <= 3:
            _check_metadata(rest[2:])
            return storage.array(storage.element, offset, shape, strides)
    raise REBUILD_TENSOR.unexpected_arguments()


def _tensor_of_type(arguments: tuple[Any, ...]) -> np.ndarray:
    """As `_tensor`, with the type of the elements before the metadata, and a storage of bytes."""
    match arguments:
        case (Storage() as storage, offset, tuple(shape), tuple(strides), _, _, str(name), *rest) if (
            name in ELEMENT_TYPES and len(rest) <= 1
        ):
            _check_metadata(rest)
            return storage.array(ELEMENT_TYPES[name], offset, shape, strides)
    raise REBUILD_TENSOR_OF_TYPE.unexpected_arguments()


def _check_metadata(metadata: list[Any]) -> None:
    """Marks of a view whose numbers are not the stored ones."""
    for optional in metadata:
        marks = {} if optional is None else optional
        if not isinstance(marks, dict) or any(mark is not False for mark in marks.values()):
            raise UnreadableError(
                "holds a tensor that is still to be conjugated or negated; save it again in PyTorch after "
                "resolve_conj() and resolve_neg()"
            )


def _parameter(arguments: tuple[Any, ...]) -> np.ndarray:
    match arguments:
        case (np.ndarray() as array, *_):
            return array
    raise PARAMETER.unexpected_arguments()


def _tensor_with_attributes(arguments: tuple[Any, ...]) -> np.ndarray:
    """(function, class, its arguments, attributes); the attributes are dropped."""
    match arguments:
        # Only these three, so that no chain of calls within calls can be written.
        case (Constructor() as function, _, tuple(inner), _) if function in (
            REBUILD_TENSOR,
            REBUILD_TENSOR_OF_TYPE,
            PARAMETER,
        ):
            return function.build(inner)
    raise TENSOR_WITH_ATTRIBUTES.unexpected_arguments()


REBUILD_TENSOR = Constructor("torch._utils._rebuild_tensor_v2", _tensor)
REBUILD_TENSOR_OF_TYPE = Constructor("torch._utils._rebuild_tensor_v3", _tensor_of_type)
PARAMETER = Constructor("torch.nn.Parameter", _parameter)
TENSOR_WITH_ATTRIBUTES = Constructor("torch._tensor._rebuild_from_type_v2", _tensor_with_attributes)


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    match arguments:
        case (tuple(sizes),) if is_shape(sizes):
            return sizes
    raise SIZE.unexpected_arguments()


def _device(arguments: tuple[Any, ...]) -> str:
    match arguments:
        case (str(kind),):
            return kind
        case (str(kind), int(index)):
            return f"{kind}:{index}"
    raise DEVICE.unexpected_arguments()


SIZE = Constructor("torch.Size", _size)
DEVICE = Constructor("torch.device", _device)


TENSOR_NAMES: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor"): REBUILD_TENSOR,
    ("torch._utils", "_rebuild_tensor_v2"): REBUILD_TENSOR,
    ("torch._utils", "_rebuild_tensor_v3"): REBUILD_TENSOR_OF_TYPE,
    ("torch._utils", "_rebuild_parameter"): PARAMETER,
    ("torch._utils", "_rebuild_parameter_with_state"): PARAMETER,
    ("torch.nn.parameter", "Parameter"): PARAMETER,
    ("torch._tensor", "_rebuild_from_type_v2"): TENSOR_WITH_ATTRIBUTES,
    ("torch", "Tensor"): Marker("torch.Tensor"),
    ("torch", "Size"): SIZE,
    ("torch", "device"): DEVICE,
    **{("torch", name.removeprefix("torch.")): name for name in ELEMENT_TYPES},
    **{
        (module, storage): StorageType(f"{module}.{storage}", ELEMENT_TYPES[f"torch.{element}"])
        for module in ("torch", "torch.cuda", "torch.storage")
        for storage, element in STORAGE_ELEMENTS.items()
    },
}
