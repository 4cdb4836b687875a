"""Pickles of plain data, read by a stack machine that cannot import, look up or call what a file names.

`pickle.Unpickler` with a narrow `find_class` is not narrow enough for files from strangers: it still calls
what lies on its stack, sets attributes on what it built, and sizes its memo by a number in the file (nine
bytes ask for 32 GB). Here a name in the file is only a key of a table that the caller gives, and every
instruction checks its operands. What comes back is free of cycles and bounded in depth and in size.
"""

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from oasjax.weights.pickle_stream import VALUES, ByteStream, DamagedError, NotPlainError, shown

HIGHEST_PROTOCOL = 5
MAX_INSTRUCTIONS = 4_000_000  # a one-byte instruction may take 200 bytes of memory
MAX_DEPTH = 100
MAX_ITEMS = 10_000_000  # met on a walk: lists of lists of one list grow fast
MAX_KEY_PARTS = 16
MAX_COPIES = 4  # of each byte, by constructors; NumPy's arrays in Python 3's protocol 2 need two


class UnknownNameError(NotPlainError):
    """The file names something that the table lacks.

    Attributes:
        name: module and name, made fit to be printed.
        module: the module as the file has it.
        following: the next bytes of the pickle, which tell what the name is for.
    """

    def __init__(self, module: str, name: str, following: bytes):
        self.module = module
        self.name = shown(f"{module}.{name}")
        self.following = following
        super().__init__(f"wants Python's {self.name} (nothing of it was run)")


@dataclass(frozen=True, slots=True, eq=False)
class Constructor:
    """What a name stands for where a file may call it: `build` takes the tuple of arguments."""

    name: str
    build: Callable[[tuple[Any, ...]], Any]

    def unexpected_arguments(self) -> NotPlainError:
        return NotPlainError(f"calls {self.name} with arguments of another kind than PyTorch does")


@dataclass(frozen=True, slots=True, eq=False)
class Marker:
    """What a name stands for where a file may only mention it, as an argument of something else."""

    name: str


@dataclass(slots=True, eq=False)
class Unbuilt:
    """A value that a file gives in two parts: `finish` makes it from the second (instruction BUILD)."""

    name: str
    finish: Callable[[Any], Any]
    memo_keys: list[int] = field(default_factory=list)


class _Machine:
    def __init__(
        self,
        stream: ByteStream,
        names: Mapping[tuple[str, str], Any],
        persistent: Callable[[Any], Any],
    ):
        self.stream = stream
        self.names = names
        self.persistent = persistent
        self.stack: list[Any] = []
        self.stacks_below: list[list[Any]] = []
        # A dict: its size is the number of entries, whatever index the file names.
        self.memo: dict[int, Any] = {}
        self.copies_left = MAX_COPIES * stream.left

    def run(self) -> Any:
        for _ in range(MAX_INSTRUCTIONS):
            code = self.stream.take(1)
            if code in VALUES:
                self.stack.append(VALUES[code](self.stream))
            elif code in INSTRUCTIONS:
                INSTRUCTIONS[code](self)
            elif code == pickle.STOP:
                return self.pop()
            else:
                raise NotPlainError(f"is damaged or holds the pickle instruction 0x{code.hex()}")
        raise NotPlainError(f"holds more than {MAX_INSTRUCTIONS} pickle instructions")

    def pop(self) -> Any:
        if not self.stack:
            raise DamagedError("an instruction lacks its operand")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """The last value, left where it is."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise DamagedError(f"an instruction for a {kind.__name__} finds none")
        return self.stack[-1]

    def mark(self) -> None:
        self.stacks_below.append(self.stack)
        self.stack = []

    def pop_to_mark(self) -> list[Any]:
        if not self.stacks_below:
            raise DamagedError("an instruction lacks its mark")
        values, self.stack = self.stack, self.stacks_below.pop()
        return values

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(values)))

    def tuple_to_mark(self) -> None:
        values = self.pop_to_mark()
        self.stack.append(tuple(values))

    def frozenset_to_mark(self) -> None:
        values = self.pop_to_mark()
        self.stack.append(frozenset_of(values))

    def append(self) -> None:
        value = self.pop()
        self.top(list).append(value)

    def extend(self) -> None:
        values = self.pop_to_mark()
        self.top(list).extend(values)

    def add(self) -> None:
        values = self.pop_to_mark()
        self.top(set).update(frozenset_of(values))

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        self.top(dict)[checked_key(key)] = value

    def set_items(self) -> None:
        values = self.pop_to_mark()
        if len(values) % 2:
            raise DamagedError("a key without a value")
        self.top(dict).update(dict_of(zip(values[::2], values[1::2], strict=True)))

    def put(self, index: int) -> None:
        value = self.top(object)
        self.memo[index] = value
        if isinstance(value, Unbuilt):
            value.memo_keys.append(index)

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise DamagedError("a reference to nothing")
        self.stack.append(self.memo[index])

    def name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedError("a name that is no text")
        if (module, name) not in self.names:
            raise UnknownNameError(module, name, self.stream.take(min(self.stream.left, 1 << 16)))
        self.stack.append(self.names[module, name])

    def name_in_text(self) -> None:
        module, name = self.stream.line(), self.stream.line()
        self.name(module, name)

    def name_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        self.name(module, name)

    def construct(self) -> None:
        arguments, constructor = self.pop(), self.pop()
        if not isinstance(constructor, Constructor) or not isinstance(arguments, tuple):
            raise NotPlainError("calls something other than a name")
        self.check_copies(arguments)
        self.stack.append(constructor.build(arguments))

    def construct_with_keywords(self) -> None:
        keywords = self.pop()
        if not isinstance(keywords, dict) or keywords:
            raise NotPlainError("calls something with keywords")
        self.construct()

    def check_copies(self, values: tuple[Any, ...]) -> None:
        """Constructors copy; a reference of two bytes can name a megabyte, again and again."""
        sized = str | bytes | bytearray | list | tuple | dict | set | frozenset
        self.copies_left -= sum(len(value) for value in values if isinstance(value, sized))
        if self.copies_left < 0:
            raise NotPlainError("copies its own parts without measure")

    def build(self) -> None:
        state, value = self.pop(), self.pop()
        if isinstance(value, Unbuilt):
            self.check_copies(state if isinstance(state, tuple) else ())
            built = value.finish(state)
            for index in value.memo_keys:
                self.memo[index] = built
            self.stack.append(built)
        elif isinstance(value, dict | np.ndarray):
            # Attributes of an ordered dict or of a parameter: no part of its content.
            self.stack.append(value)
        else:
            raise NotPlainError(f"sets attributes of a {type(value).__name__.lower()}")

    def persistent_value(self) -> None:
        self.stack.append(self.persistent(self.pop()))

    def protocol(self) -> None:
        version = self.stream.number("<B")
        if version > HIGHEST_PROTOCOL:
            raise DamagedError(f"a pickle of the unknown protocol {version}")


INSTRUCTIONS: dict[bytes, Callable[[_Machine], object]] = {
    pickle.PROTO: _Machine.protocol,
    pickle.FRAME: lambda machine: machine.stream.take(8),
    pickle.MARK: _Machine.mark,
    pickle.TUPLE: _Machine.tuple_to_mark,
    pickle.TUPLE1: lambda machine: machine.tuple_of(1),
    pickle.TUPLE2: lambda machine: machine.tuple_of(2),
    pickle.TUPLE3: lambda machine: machine.tuple_of(3),
    pickle.FROZENSET: _Machine.frozenset_to_mark,
    pickle.APPEND: _Machine.append,
    pickle.APPENDS: _Machine.extend,
    pickle.ADDITEMS: _Machine.add,
    pickle.SETITEM: _Machine.set_item,
    pickle.SETITEMS: _Machine.set_items,
    pickle.BINPUT: lambda machine: machine.put(machine.stream.number("<B")),
    pickle.LONG_BINPUT: lambda machine: machine.put(machine.stream.number("<I")),
    pickle.MEMOIZE: lambda machine: machine.put(len(machine.memo)),
    pickle.BINGET: lambda machine: machine.get(machine.stream.number("<B")),
    pickle.LONG_BINGET: lambda machine: machine.get(machine.stream.number("<I")),
    pickle.GLOBAL: _Machine.name_in_text,
    pickle.STACK_GLOBAL: _Machine.name_on_stack,
    pickle.REDUCE: _Machine.construct,
    pickle.NEWOBJ: _Machine.construct,
    pickle.NEWOBJ_EX: _Machine.construct_with_keywords,
    pickle.BUILD: _Machine.build,
    pickle.BINPERSID: _Machine.persistent_value,
}


def checked_key(key: Any) -> Any:
    """`key`, where hashing it is quick.

    Nested tuples that share their parts take exponential time, and long integers can be made to collide.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > MAX_KEY_PARTS or not all(map(_is_simple, parts)):
        raise NotPlainError(f"holds a dictionary or set with a nested or huge {type(key).__name__} as key")
    return key


def _is_simple(part: Any) -> bool:
    if isinstance(part, int):
        return part.bit_length() <= 64
    return part is None or isinstance(part, str | bytes | float | complex | np.generic)


def dict_of(pairs: Iterable[Any]) -> dict[Any, Any]:
    """A dict of (key, value) pairs, its keys checked."""
    return {checked_key(key): value for key, value in pairs}


def frozenset_of(values: Iterable[Any]) -> frozenset[Any]:
    return frozenset(map(checked_key, values))


LEAVES = (
    *(bool, int, float, complex, str, bytes, bytearray, type(None)),
    *(np.ndarray, np.generic, np.dtype),
)


def check_plain(value: Any) -> None:
    """Refuse stand-ins left over, cycles, and what takes too long to walk through."""
    measured: dict[int, tuple[int, int]] = {}

    def measure(part: Any, depth: int) -> tuple[int, int]:
        """Levels and items below `part`, each container measured once."""
        if isinstance(part, LEAVES):
            return 0, 1
        if not isinstance(part, dict | list | tuple | set | frozenset):
            raise NotPlainError(f"holds a bare {getattr(part, 'name', 'storage')} among its values")
        # A container that holds itself is never measured to its end.
        if depth > MAX_DEPTH:
            raise NotPlainError(f"nests values more than {MAX_DEPTH} deep")
        if id(part) not in measured:
            values = part.values() if isinstance(part, dict) else part
            below = [measure(inner, depth + 1) for inner in values]
            levels = 1 + max((levels for levels, _ in below), default=0)
            items = 1 + sum(items for _, items in below)
            if levels > MAX_DEPTH or items > MAX_ITEMS:
                raise NotPlainError(f"nests values more than {MAX_DEPTH} deep or {MAX_ITEMS} in all")
            measured[id(part)] = levels, items
        return measured[id(part)]

    measure(value, 1)


def read_pickle(
    stream: ByteStream,
    names: Mapping[tuple[str, str], Any],
    persistent: Callable[[Any], Any],
) -> Any:
    """The value that the pickle at `stream` describes; the stream then stands behind it.

    Args:
        stream: bytes that begin with a pickle.
        names: (module, name) -> a `Constructor`, a `Marker` or a plain value; nothing else can be named.
        persistent: makes a value of each persistent id (instruction BINPERSID).

    Returns:
        None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, numpy
        arrays, scalars and dtypes, nested without cycles.

    Raises:
        UnknownNameError: for a name that `names` lacks.
        NotPlainError: for everything else that is not plain data.
        DamagedError: for a pickle that ends too early or contradicts itself.
    """
    value = _Machine(stream, names, persistent).run()
    check_plain(value)
    return value
