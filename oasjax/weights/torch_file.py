"""Files of `torch.save`, read without PyTorch and without running anything that they hold.

Two formats are read, whatever the file is called (`.pth`, `.pt`, `.pth.tar`, ...):

- since PyTorch 1.6 a zip archive: FOLDER/data.pkl is a pickle, FOLDER/data/KEY the bytes of each storage,
  FOLDER/byteorder their order;
- before, and with `_use_new_zipfile_serialization=False`: five pickles one after the other (a magic number, a
  version, facts of the machine, the object, the list of storage keys) and then, for each key, a count (int64)
  and that many elements, all little endian. Python 2 wrote the same with its own strings and names.

Source: PyTorch's `torch/serialization.py`, `_load` and `_legacy_load`.
"""

import errno
import io
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from oasjax.errors import UserError
from oasjax.weights.pickle_stream import SAVE_AGAIN, ByteStream, DamagedError, UnreadableError, shown
from oasjax.weights.pickled_containers import CONTAINER_NAMES
from oasjax.weights.pickled_tensors import TENSOR_NAMES, Blob, Budget, Storages
from oasjax.weights.plain_pickle import UnknownNameError, read_pickle

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
CHUNK_BYTES = 16 * 2**20
NAMES = {**CONTAINER_NAMES, **TENSOR_NAMES}


def read_torch_file(path: str | Path) -> Any:
    """What `torch.save` wrote to `path`, as plain data.

    Tensors and parameters come back as numpy arrays that own their memory, in C order and native byte
    order; bfloat16 comes as float32, which holds each of its values exactly. NumPy's own scalars and
    arrays stay as they are. Ordered dicts, default dicts and counters come as dict, torch.Size as tuple,
    torch.device and torch.dtype as text ("cuda:0", "torch.float32"). Attributes that were saved along
    (a state dict's `_metadata`, `requires_grad`) are dropped.

    Memory: the tensors and the largest storage; of a zip archive also its pickle, which is small.

    Raises:
        UserError: where there is no such file, where it is cut short, damaged or of another kind, where it
            holds anything but tensors and containers of them (a whole model, code), and where what it
            describes is many times larger than the file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            _check_kind(file.read(512), size)
            file.seek(0)
            return _read_zip(file, size) if file.peek(4)[:4] == ZIP_START else _read_legacy(file, size)
    except FileNotFoundError:
        raise UserError(f"weights file not found: {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the file that torch.save wrote") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except UnknownNameError as error:
        raise UserError(f"{path} {_reason(error)}") from None
    except UnreadableError as error:
        raise UserError(f"{path} {error}") from None


def _reason(error: UnknownNameError) -> str:
    """Why a name is refused: it is the class of a whole model, or something that weights do not need."""
    of_python = error.module.partition(".")[0] in {*sys.stdlib_module_names, "__builtin__"}
    # A module of PyTorch is pickled as its class, followed by its attributes; this one they all have.
    if b"_modules" in error.following and not of_python:
        return (
            f"holds a whole model object ({error.name}) rather than its weights; where you trust its source, "
            "load it in PyTorch with the code it came from and save it again as "
            "torch.save(model.state_dict(), PATH)"
        )
    return str(error)


ZIP_START = b"PK\x03\x04"
OTHER_KINDS = (
    (b"version https://git-lfs", "is a pointer of Git LFS and not the file itself; run `git lfs pull`"),
    (b"\x1f\x8b", "is packed with gzip; unpack it first"),
    (b"\x93NUMPY", "is a NumPy array (.npy) and not what torch.save writes"),
    (b"PK\x05\x06", "is an empty zip archive; download or copy it again"),
)
WEB_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head")


def _check_kind(head: bytes, size: int) -> None:
    """Refuse files that are clearly something else, by their first 512 bytes."""
    if not head:
        raise UnreadableError("is empty; download or copy it again")
    for start, sentence in OTHER_KINDS:
        if head.startswith(start):
            raise UnreadableError(sentence)
    if head.lstrip().lower().startswith(WEB_PAGE):
        raise UnreadableError(
            "is a web page, probably the error or sign-in page of the site it was downloaded from; "
            "download the file itself"
        )
    if head[257:262] == b"ustar":
        raise UnreadableError(
            "is a tar archive: unpack it if it is packed files; if it is weights of the first PyTorch "
            "releases, which used tar, load and save it again in a PyTorch of today"
        )
    # A safetensors file starts with the length of its JSON header.
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        raise UnreadableError("is a safetensors file under another name; give it the ending .safetensors")


def _read_legacy(file: io.BufferedReader, size: int) -> Any:
    stream = ByteStream(file, size)
    if file.peek(1)[:1] != b"\x80":
        raise UnreadableError(f"is no file of torch.save; {SAVE_AGAIN}")
    storages = Storages(Budget(size))
    _check_header(read_pickle(stream, NAMES, storages), MAGIC_NUMBER, "is a pickle but no file of torch.save")
    _check_header(
        read_pickle(stream, NAMES, storages), PROTOCOL_VERSION, "has a torch.save version that nobody knows"
    )
    read_pickle(stream, NAMES, storages)  # sizes of C types; the data have fixed ones
    contents = read_pickle(stream, NAMES, storages)
    keys = read_pickle(stream, NAMES, storages)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise DamagedError("no list of storages")
    if sorted(keys) != sorted(storages.blobs):
        raise DamagedError("its storages are not those that its tensors name")
    for key in keys:
        _fill_from_stream(storages.blobs[key], stream)
    return contents


def _check_header(value: Any, expected: int, sentence: str) -> None:
    if not isinstance(value, int) or value != expected:
        raise UnreadableError(f"{sentence}; {SAVE_AGAIN}")


def _fill_from_stream(blob: Blob, stream: ByteStream) -> None:
    if stream.number("<q") * blob.item_bytes != blob.num_bytes:
        raise DamagedError("a storage of another size than its tensors expect")
    if blob.num_bytes > stream.left:
        raise DamagedError("it ends inside a storage")
    raw = np.empty(blob.num_bytes, np.uint8)
    stream.fill(raw.data)
    blob.fill_arrays(raw, big_endian=False)


def _read_zip(file: io.BufferedReader, size: int) -> Any:
    with _zip_faults():
        archive = zipfile.ZipFile(file)
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise DamagedError("its archive has two entries of one name")
    folder = _folder(names)
    budget = Budget(size)
    storages = Storages(budget)
    pickled = io.BytesIO(_small_entry(archive, f"{folder}/data.pkl", budget))
    contents = read_pickle(ByteStream(pickled, pickled.getbuffer().nbytes), NAMES, storages)
    big_endian = _is_big_endian(archive, f"{folder}/byteorder", budget)
    for key, blob in storages.blobs.items():
        info = _entry(archive, f"{folder}/data/{key}")
        if info.file_size != blob.num_bytes:
            raise DamagedError(f"{shown(info.filename)} is not as large as its tensors expect")
        blob.fill_arrays(_entry_bytes(archive, info), big_endian)
    return contents


def _folder(names: list[str]) -> str:
    """The archive's top folder, which is named after the file that it was first saved as."""
    folders = [name.removesuffix("/data.pkl") for name in names if name.endswith("/data.pkl")]
    if any(name.endswith("/constants.pkl") for name in names):
        raise UnreadableError(
            "is a TorchScript program (torch.jit.save); where you trust its source, load it in PyTorch with "
            "torch.jit.load and save its weights: torch.save(model.state_dict(), PATH)"
        )
    if any(name.endswith(".npy") for name in names):
        raise UnreadableError("is an archive of NumPy arrays; give it the ending .npz")
    if len(folders) != 1 or "/" in folders[0]:
        raise UnreadableError(f"is a zip archive but no file of torch.save; {SAVE_AGAIN}")
    return folders[0]


def _is_big_endian(archive: zipfile.ZipFile, name: str, budget: Budget) -> bool:
    # Older releases wrote no such entry, and practically every machine is little endian.
    order = _small_entry(archive, name, budget) if name in archive.namelist() else b"little"
    if order not in (b"little", b"big"):
        raise DamagedError("an unknown byte order")
    return order == b"big"


def _entry(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    if name not in archive.NameToInfo:
        raise DamagedError(f"its archive lacks {shown(name)}")
    return archive.getinfo(name)


def _small_entry(archive: zipfile.ZipFile, name: str, budget: Budget) -> bytes:
    info = _entry(archive, name)
    budget.spend(info.file_size)
    return _entry_bytes(archive, info).tobytes()


def _entry_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """An entry's bytes, checked against its checksum; its size was checked before."""
    if info.flag_bits & 1:
        raise UnreadableError("is encrypted; unpack it, and pack it again without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableError("is compressed in a way that torch.save never uses; unpack and save it again")
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        raise DamagedError(f"{shown(info.filename)} has two sizes")
    raw = np.empty(info.file_size, np.uint8)
    filled = 0
    # zipfile gives no more than the size that was checked, and compares the checksum at its end.
    with _zip_faults(), archive.open(info) as entry:
        while chunk := entry.read(CHUNK_BYTES):
            raw[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
            filled += len(chunk)
    if filled != info.file_size:
        raise DamagedError(f"{shown(info.filename)} ends too early")
    return raw


@contextmanager
def _zip_faults() -> Iterator[None]:
    """The many ways in which zipfile says that an archive is broken, as one."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError) as error:
        raise DamagedError(shown(str(error))) from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise DamagedError("an offset before the start of the file") from None
