"""The bytes of a pickle: errors of a file that is not plain data, and the instructions that are values.

Only what picklers of protocol 2 and later write is known, those of Python 2 included.
"""

import io
import pickle
import struct
from collections.abc import Callable
from typing import Any

MAX_INTEGER_BYTES = 1024
MAX_LINE = 1024
SAVE_AGAIN = "ask for it as .safetensors, or save the weights alone: torch.save(model.state_dict(), PATH)"


class UnreadableError(Exception):
    """Why a file is not read and what to do about it; the text goes on from the file's name."""


class DamagedError(UnreadableError):
    """The file is not what its own parts say it is; `detail` says where that shows."""

    def __init__(self, detail: str):
        super().__init__(f"is cut short or damaged ({detail}); download or copy it again")


class NotPlainError(UnreadableError):
    """The file is whole, as far as is known, but asks for more than plain data; `what` says for what."""

    def __init__(self, what: str):
        super().__init__(f"{what}, which weights do not need; {SAVE_AGAIN}")


def shown(text: str) -> str:
    """Text from a file, fit for a terminal: printable ASCII of bounded length."""
    return ascii(text[:80])[1:-1] + ("..." if len(text) > 80 else "")


class ByteStream:
    """The next `length` bytes of an open file; more is never read, nor is memory taken for it."""

    def __init__(self, file: io.BufferedIOBase, length: int):
        self._file = file
        self.left = length

    def take(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self.left else b""
        if len(data) != count:
            raise DamagedError("it ends too early")
        self.left -= count
        return data

    def fill(self, buffer: memoryview) -> None:
        """As many bytes as `buffer` holds, without a copy on the way."""
        if len(buffer) > self.left or self._file.readinto(buffer) != len(buffer):
            raise DamagedError("it ends inside a storage")
        self.left -= len(buffer)

    def line(self) -> str:
        data = self._file.readline(min(self.left, MAX_LINE))
        self.left -= len(data)
        if not data.endswith(b"\n"):
            raise DamagedError("a name or number without an end")
        return decoded(data[:-1], "utf-8")

    def number(self, form: str) -> Any:
        """A number as `struct` knows it."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def counted(self, form: str) -> bytes:
        """Bytes behind their own length, which is stored as `form` says."""
        count = self.number(form)
        if count < 0:
            raise DamagedError("a negative length")
        return self.take(count)

    def text(self, form: str, encoding: str) -> str:
        return decoded(self.counted(form), encoding)


def decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise DamagedError(f"text that is not {encoding}") from None


def _decimal(stream: ByteStream) -> int | bool:
    """Python 2 writes integers of more than 32 bits as text; 00 and 01 are its old booleans."""
    line = stream.line()
    if line in ("00", "01"):
        return line == "01"
    if not line.removeprefix("-").isdecimal() or len(line) > 20:
        raise DamagedError("a number that is none")
    return int(line)


def _integer(stream: ByteStream, form: str) -> int:
    data = stream.counted(form)
    if len(data) > MAX_INTEGER_BYTES:
        raise NotPlainError(f"holds an integer of {len(data)} bytes")
    return int.from_bytes(data, "little", signed=True)


VALUES: dict[bytes, Callable[[ByteStream], Any]] = {
    pickle.NONE: lambda stream: None,
    pickle.NEWTRUE: lambda stream: True,
    pickle.NEWFALSE: lambda stream: False,
    pickle.EMPTY_LIST: lambda stream: [],
    pickle.EMPTY_DICT: lambda stream: {},
    pickle.EMPTY_SET: lambda stream: set(),
    pickle.EMPTY_TUPLE: lambda stream: (),
    pickle.INT: _decimal,
    pickle.BININT: lambda stream: stream.number("<i"),
    pickle.BININT1: lambda stream: stream.number("<B"),
    pickle.BININT2: lambda stream: stream.number("<H"),
    pickle.LONG1: lambda stream: _integer(stream, "<B"),
    pickle.LONG4: lambda stream: _integer(stream, "<i"),
    pickle.BINFLOAT: lambda stream: stream.number(">d"),
    # The str of Python 2 is bytes; latin-1 keeps each of them as one character.
    pickle.SHORT_BINSTRING: lambda stream: stream.text("<B", "latin-1"),
    pickle.BINSTRING: lambda stream: stream.text("<i", "latin-1"),
    pickle.SHORT_BINUNICODE: lambda stream: stream.text("<B", "utf-8"),
    pickle.BINUNICODE: lambda stream: stream.text("<I", "utf-8"),
    pickle.BINUNICODE8: lambda stream: stream.text("<Q", "utf-8"),
    pickle.SHORT_BINBYTES: lambda stream: stream.counted("<B"),
    pickle.BINBYTES: lambda stream: stream.counted("<I"),
    pickle.BINBYTES8: lambda stream: stream.counted("<Q"),
    pickle.BYTEARRAY8: lambda stream: bytearray(stream.counted("<Q")),
}
