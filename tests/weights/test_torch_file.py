"""Files of `torch.save`: written byte by byte here, and by PyTorch itself under the marker `peers`."""

import contextlib
import errno
import gzip
import io
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from oasjax.errors import UserError
from oasjax.weights import pickled_tensors
from oasjax.weights.torch_file import read_torch_file

# ------------------------------------------------------------------ a small assembler of pickles


@dataclass
class Name:
    module: str
    attribute: str


@dataclass
class Call:
    function: Name
    arguments: tuple
    state: Any = None


@dataclass
class Stored:
    persistent_id: tuple


@dataclass
class Raw:
    instructions: bytes


def assembled(value: Any, python: int = 3) -> bytes:
    """`value` as a pickle of protocol 2, in the words of Python 2 or of Python 3."""
    return b"\x80\x02" + _instructions(value, python) + b"."


def _instructions(value: Any, python: int) -> bytes:
    def all_of(values) -> bytes:
        return b"".join(_instructions(inner, python) for inner in values)

    match value:
        case None | True | False:
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int() if python == 2 and abs(value) < 2**63:
            return b"I%d\n" % value
        case int():
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            return b"\x8a" + bytes([len(data)]) + data
        case float():
            return b"G" + struct.pack(">d", value)
        case str() if python == 2:
            return b"U" + bytes([len(value)]) + value.encode("latin-1")
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case bytes():
            return (b"U" if python == 2 else b"C") + bytes([len(value)]) + value
        case list():
            return b"](" + all_of(value) + b"e"
        case tuple():
            return b"(" + all_of(value) + b"t"
        case dict():
            return b"}(" + all_of(inner for item in value.items() for inner in item) + b"u"
        case Name():
            return f"c{value.module}\n{value.attribute}\n".encode()
        case Call():
            state = b"" if value.state is None else all_of([value.state]) + b"b"
            return all_of([value.function, value.arguments]) + b"R" + state
        case Stored():
            return all_of([value.persistent_id]) + b"Q"
        case Raw():
            return value.instructions
    raise TypeError(value)


def ordered(items: dict, python: int = 3) -> Call:
    """An OrderedDict as Python 2 (list of pairs) and Python 3 (empty, then its state) pickle it."""
    function = Name("collections", "OrderedDict")
    return Call(function, ([list(pair) for pair in items.items()],) if items or python == 2 else ())


def storage(key: str, kind: str, count: int, *view, location="cpu", module="torch") -> Stored:
    return Stored(("storage", Name(module, kind), key, location, count, *view))


def tensor(stored: Stored, shape: tuple, strides: tuple, offset: int = 0) -> Call:
    rebuild = Name("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, (stored, offset, shape, strides, False, ordered({})))


# ------------------------------------------------------------------------ the two formats of files

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def zip_file(
    path,
    contents,
    storages: dict[str, bytes],
    *,
    folder="archive",
    byte_order=b"little",
    method=zipfile.ZIP_STORED,
):
    pickled = contents if isinstance(contents, bytes) else assembled(contents)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        if byte_order is not None:
            archive.writestr(f"{folder}/byteorder", byte_order)
        for key, data in storages.items():
            archive.writestr(f"{folder}/data/{key}", data)
        archive.writestr(f"{folder}/version", b"3\n")
    return path


def legacy_bytes(contents, storages: dict[str, bytes], counts: dict[str, int], *, python=3) -> bytes:
    pickles = [MAGIC_NUMBER, 1001, SYSTEM, contents, list(storages)]
    parts = [part if isinstance(part, bytes) else assembled(part, python) for part in pickles]
    for key, data in storages.items():
        parts += [struct.pack("<q", counts[key]), data]
    return b"".join(parts)


def legacy_file(path, contents, storages: dict[str, bytes], counts: dict[str, int], *, python=3):
    path.write_bytes(legacy_bytes(contents, storages, counts, python=python))
    return path


WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3) / 4
STEPS = np.array(12, np.int64)
STORAGES = {"0": WEIGHT.tobytes(), "1": STEPS.tobytes()}
COUNTS = {"0": 6, "1": 1}


def checkpoint(*view, python=3):
    weight = tensor(storage("0", "FloatStorage", 6, *view), (2, 3), (3, 1))
    steps = tensor(storage("1", "LongStorage", 1, *view, location="cuda:0"), (), ())
    state = ordered({"module.conv.weight": weight, "module.bn.num_batches_tracked": steps}, python)
    state.state = {"_metadata": ordered({"": {"version": 1}}, python)}
    return {"epoch": 3, "arch": "hg", "state_dict": state, "lr": 2.5e-4, "schedule": [60, 90]}


def assert_is_checkpoint(contents):
    assert list(contents) == ["epoch", "arch", "state_dict", "lr", "schedule"]
    state = contents.pop("state_dict")
    assert contents == {"epoch": 3, "arch": "hg", "lr": 2.5e-4, "schedule": [60, 90]}
    assert type(state) is dict
    assert list(state) == ["module.conv.weight", "module.bn.num_batches_tracked"]
    for got, expected in zip(state.values(), (WEIGHT, STEPS), strict=True):
        np.testing.assert_array_equal(got, expected)
        assert type(got) is np.ndarray and got.dtype == expected.dtype and got.shape == expected.shape
        assert got.flags.owndata and got.flags.c_contiguous and got.flags.writeable


@pytest.mark.parametrize("folder", ["archive", "model_best", "pose hrnet w32.v2", "modèle"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_file_comes_back_with_its_names_values_and_types(tmp_path, folder, method):
    path = zip_file(tmp_path / "model_best.pth.tar", checkpoint(), STORAGES, folder=folder, method=method)
    assert_is_checkpoint(read_torch_file(path))
    assert_is_checkpoint(read_torch_file(str(path)))


def test_a_legacy_file_comes_back_with_its_names_values_and_types(tmp_path):
    path = legacy_file(tmp_path / "a.pth", checkpoint(None), STORAGES, COUNTS)
    assert_is_checkpoint(read_torch_file(path))


def test_legacy_storages_stand_in_the_order_of_their_list_and_not_of_the_tensors(tmp_path):
    contents = [tensor(storage(key, "FloatStorage", 1, None), (1,), (1,)) for key in ("9", "10")]
    storages = {"10": np.float32(10).tobytes(), "9": np.float32(9).tobytes()}
    nine, ten = read_torch_file(legacy_file(tmp_path / "a.pth", contents, storages, {"9": 1, "10": 1}))
    assert (nine, ten) == (9, 10)


def test_bytes_behind_a_legacy_file_do_no_harm(tmp_path):
    path = legacy_file(tmp_path / "a.pth", checkpoint(None), STORAGES, COUNTS)
    path.write_bytes(path.read_bytes() + b"more")
    assert_is_checkpoint(read_torch_file(path))


def python_2_checkpoint():
    """A checkpoint as of 2017: tensors of the first kind, a NumPy score of Python 2, an optimizer's state."""
    rebuild = Name("torch._utils", "_rebuild_tensor")
    size = Call(Name("torch", "Size"), ((2, 3),))
    weight = storage("94117", "FloatStorage", 6, None, location="cuda:0")
    part = storage("94117", "FloatStorage", 6, ("94118", 2, 4), location="cuda:0")
    dtype = Call(Name("numpy", "dtype"), ("f8", 0, 1), (3, "<", None, None, None, -1, -1, 0))
    score = Call(Name("numpy.core.multiarray", "scalar"), (dtype, np.float64(0.8765).tobytes()))
    moments = {"square_avg": Call(rebuild, (part, 0, (2, 2), (2, 1))), "step": 7}
    return {
        "state_dict": ordered({"module.conv1.weight": Call(rebuild, (weight, 0, size, (3, 1)))}, 2),
        "optimizer": {"state": {140212345678912: moments}, "param_groups": [{"lr": 2.5e-4, "params": []}]},
        "best_acc": score,
        "flags": Call(Name("__builtin__", "set"), (["caf\xe9"],)),
    }


def test_a_legacy_file_of_python_2_comes_back_with_text_as_str(tmp_path):
    path = legacy_file(
        tmp_path / "a.pth.tar", python_2_checkpoint(), {"94117": STORAGES["0"]}, {"94117": 6}, python=2
    )
    contents = read_torch_file(path)
    np.testing.assert_array_equal(contents["state_dict"]["module.conv1.weight"], WEIGHT)
    assert contents["best_acc"] == 0.8765 and type(contents["best_acc"]) is np.float64
    assert contents["flags"] == {"café"}
    moments = contents["optimizer"]["state"][140212345678912]
    np.testing.assert_array_equal(moments["square_avg"], WEIGHT.ravel()[2:].reshape(2, 2))
    assert moments["step"] == 7 and contents["optimizer"]["param_groups"] == [{"lr": 2.5e-4, "params": []}]
    assert all(type(name) is str for name in (*contents, *contents["state_dict"], *moments))


KINDS = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "ComplexFloatStorage": "c8",
    "ComplexDoubleStorage": "c16",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("big_endian", [False, True])
def test_storages_of_every_type_and_byte_order_come_back_exactly(tmp_path, kind, big_endian):
    values = np.array([-3, 0, 1, 100], np.int8).astype(KINDS[kind])
    data = values.astype(values.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    contents = [
        tensor(storage("0", kind, 4, module=module), (4,), (1,)) for module in ("torch", "torch.cuda")
    ]
    order = b"big" if big_endian else b"little"
    for got in read_torch_file(zip_file(tmp_path / "a.pth", contents, {"0": data}, byte_order=order)):
        np.testing.assert_array_equal(got, values)
        assert got.dtype == values.dtype and got.dtype.isnative


@pytest.mark.parametrize("order", ["<", ">"])
def test_bfloat16_comes_back_as_the_float32_of_equal_value(tmp_path, order):
    # 1, -2, the number next to 1, the largest one, infinity, the smallest one above 0
    data = np.array([0x3F80, 0xC000, 0x3F81, 0x7F7F, 0x7F80, 0x0001], f"{order}u2").tobytes()
    contents = [
        tensor(storage("0", "BFloat16Storage", 6), (6,), (1,)),
        tensor(storage("0", "BFloat16Storage", 6), (), (), 1),
    ]
    byte_order = b"little" if order == "<" else b"big"
    got, scalar = read_torch_file(zip_file(tmp_path / "a.pth", contents, {"0": data}, byte_order=byte_order))
    assert got.dtype == np.float32 and got.flags.owndata
    assert got.tolist() == [1.0, -2.0, 1.0078125, 255 * 2.0**120, np.inf, 2.0**-133]
    assert scalar.shape == () and scalar == -2.0


def test_a_bool_of_another_bit_pattern_than_one_is_true(tmp_path):
    contents = tensor(storage("0", "BoolStorage", 3), (3,), (1,))
    got = read_torch_file(zip_file(tmp_path / "a.pth", contents, {"0": b"\x00\x01\x07"}))
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got.view(np.uint8), [0, 1, 1])


@pytest.mark.parametrize("module", ["torch", "torch.storage"])
def test_an_untyped_storage_takes_the_type_that_its_tensor_names(tmp_path, module):
    rebuild = Name("torch._utils", "_rebuild_tensor_v3")
    values = np.array([1, 2, 65535], "<u2")
    stored = storage("0", "UntypedStorage", 6, module=module)
    contents = Call(rebuild, (stored, 1, (2,), (1,), False, ordered({}), Name("torch", "uint16")))
    got = read_torch_file(zip_file(tmp_path / "a.pth", contents, {"0": values.tobytes()}))
    assert got.dtype == np.uint16 and got.tolist() == [2, 65535]


LAYOUTS = {
    "transposed": ((3, 2), (1, 3), 0),
    "every second column from the second on": ((2, 1), (3, 2), 1),
    "one number": ((), (), 4),
    "repeated": ((2, 3), (0, 1), 3),
    "overlapping": ((4, 3), (1, 1), 0),
    "empty": ((0, 3), (3, 1), 0),
    "empty, its offset beyond": ((2, 0), (1, 1), 99),
    "one row with a stride that leads nowhere": ((1, 3), (2**40, 1), 3),
    "of 32 axes": ((1,) * 31 + (3,), (1,) * 32, 1),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_of_every_layout_come_back_in_c_order(tmp_path, layout, legacy):
    shape, strides, offset = LAYOUTS[layout]
    flat = WEIGHT.ravel()
    expected = np.empty(shape, np.float32)
    for index in np.ndindex(shape):
        expected[index] = flat[offset + sum(i * step for i, step in zip(index, strides, strict=True))]
    contents = tensor(storage("0", "FloatStorage", 6, None), shape, strides, offset)
    write = legacy_file if legacy else zip_file
    counts = [{"0": 6}] if legacy else []
    got = read_torch_file(write(tmp_path / "a.pth", contents, {"0": STORAGES["0"]}, *counts))
    np.testing.assert_array_equal(got, expected)
    assert got.shape == shape and got.flags.owndata and got.flags.c_contiguous


def test_tensors_that_share_a_storage_come_back_as_arrays_of_their_own(tmp_path):
    stored = storage("0", "FloatStorage", 6)
    contents = [tensor(stored, (6,), (1,)), tensor(stored, (3,), (1,), 3)]
    whole, half = read_torch_file(zip_file(tmp_path / "a.pth", contents, {"0": STORAGES["0"]}))
    whole[:] = -1
    np.testing.assert_array_equal(half, WEIGHT[1])


def test_a_storage_that_many_tensors_share_is_read_once(tmp_path, monkeypatch):
    contents = [tensor(storage("0", "FloatStorage", 6), (1,), (1,), n) for n in range(6)]
    path = zip_file(tmp_path / "a.pth", contents, {"0": STORAGES["0"]})
    opened, open_entry = [], zipfile.ZipFile.open

    def counting(archive, info, *rest):
        opened.append(info.filename)
        return open_entry(archive, info, *rest)

    monkeypatch.setattr(zipfile.ZipFile, "open", counting)
    np.testing.assert_array_equal(np.concatenate(read_torch_file(path)), WEIGHT.ravel())
    assert opened.count("archive/data/0") == 1


@pytest.mark.parametrize("legacy", [False, True])
def test_reading_takes_the_memory_of_the_tensors_and_of_a_storage_or_two(tmp_path, legacy):
    size, number = 2**20, 8
    data = np.arange(size // 4, dtype=np.float32).tobytes()
    keys = [str(n) for n in range(number)]
    contents = [tensor(storage(key, "FloatStorage", size // 4, None), (size // 4,), (1,)) for key in keys]
    write = legacy_file if legacy else zip_file
    counts = [dict.fromkeys(keys, size // 4)] if legacy else []
    path = write(tmp_path / "a.pth", contents, dict.fromkeys(keys, data), *counts)
    tracemalloc.start()
    try:
        arrays = read_torch_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(array.nbytes for array in arrays) == size * number
    assert peak < size * (number + 3)


def test_containers_and_small_things_come_back_as_plain_values(tmp_path):
    weight = tensor(storage("0", "FloatStorage", 6), (2, 3), (3, 1))
    hooks = ordered({})
    parameter = Name("torch.nn.parameter", "Parameter")
    contents = {
        "parameter": Call(Name("torch._utils", "_rebuild_parameter"), (weight, True, hooks)),
        "old parameter": Call(parameter, (weight,), (True, False, hooks)),
        "with state": Call(
            Name("torch._utils", "_rebuild_parameter_with_state"), (weight, True, hooks, {"a": 1})
        ),
        "unmarked": Call(REBUILD, (*weight.arguments, {"conj": False, "neg": False})),
        "of a named type": Call(REBUILD_3, (*weight.arguments, Name("torch", "float32"), None)),
        "with attributes": Call(
            Name("torch._tensor", "_rebuild_from_type_v2"),
            (weight.function, Name("torch", "Tensor"), weight.arguments, {"note": 1}),
        ),
        "size": Call(Name("torch", "Size"), ((2, 3),)),
        "device": Call(Name("torch", "device"), ("cuda", 1)),
        "cpu": Call(Name("torch", "device"), ("cpu",)),
        "type": Name("torch", "bfloat16"),
        "milestones": Call(Name("collections", "Counter"), ({30: 1, 60: 1},)),
        "default": Call(Name("collections", "defaultdict"), (Name("__builtin__", "dict"),)),
        "bytes": Call(Name("_codecs", "encode"), ("caf\xe9", "latin1")),
    }
    got = read_torch_file(zip_file(tmp_path / "a.pth", contents, {"0": STORAGES["0"]}))
    for name in (
        "parameter",
        "old parameter",
        "with state",
        "unmarked",
        "of a named type",
        "with attributes",
    ):
        np.testing.assert_array_equal(got.pop(name), WEIGHT)
    assert got == {
        "size": (2, 3),
        "device": "cuda:1",
        "cpu": "cpu",
        "type": "torch.bfloat16",
        "milestones": {30: 1, 60: 1},
        "default": {},
        "bytes": b"caf\xe9",
    }


# --------------------------------------------------------------------------------- files that attack


def payload(target) -> bytes:
    """A pickle that makes the file `target` when Python's own unpickler reads it."""
    return assembled(Call(Name("os", "system"), (f"touch {target}",)))


def hostile_files(folder, hostile: bytes) -> dict[str, Any]:
    folder.mkdir()
    harmless = [MAGIC_NUMBER, 1001, SYSTEM, {}, []]

    def legacy_with(place: int):
        parts = [assembled(part) for part in harmless]
        parts[place] = hostile
        path = folder / f"legacy{place}.pth"
        path.write_bytes(b"".join(parts))
        return path

    plain = folder / "plain.pth"
    plain.write_bytes(hostile)
    return {
        "zip": zip_file(folder / "zip.pth", hostile, {}),
        "deflated zip": zip_file(folder / "deflated.pth", hostile, {}, method=zipfile.ZIP_DEFLATED),
        "plain pickle": plain,
        **{f"legacy, pickle {place}": legacy_with(place) for place in range(5)},
    }


def unpickled_by_python(path) -> None:
    """Every pickle of a file, given to Python's own unpickler."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            pickle.loads(archive.read("archive/data.pkl"))
        return
    with path.open("rb") as file, contextlib.suppress(EOFError):
        while True:
            pickle.load(file)


@pytest.mark.parametrize(
    "place", ["zip", "deflated zip", "plain pickle", *(f"legacy, pickle {n}" for n in range(5))]
)
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(tmp_path, place):
    target = tmp_path / "ran"
    path = hostile_files(tmp_path / "files", payload(target))[place]
    with pytest.raises(UserError, match=r"wants Python's os\.system \(nothing of it was run\)") as caught:
        read_torch_file(path)
    assert str(caught.value).startswith(str(path)) and "safetensors" in str(caught.value)
    assert not target.exists()
    # The control: the same file is a working attack.
    unpickled_by_python(path)
    assert target.exists()


def refusal(path) -> str:
    """The one line that a user sees."""
    with pytest.raises(UserError) as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


GOOD = storage("0", "FloatStorage", 6)
REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
REBUILD_3 = Name("torch._utils", "_rebuild_tensor_v3")
FROM_TYPE = Name("torch._tensor", "_rebuild_from_type_v2")
FLOAT_STORAGE = Name("torch", "FloatStorage")

# what the refusal says: what the file does: its contents, beside a storage "0" of six float32 numbers
MISUSES = {
    "a reference to a storage that is none": {
        "names a storage by a number": Stored(("storage", FLOAT_STORAGE, 0, "cpu", 6)),
        "names a storage of no type": Stored(("storage", "FloatStorage", "0", "cpu", 6)),
        "names a storage of another type": Stored(("storage", Name("torch", "Size"), "0", "cpu", 6)),
        "refers by text": Raw(b"X\x01\x00\x00\x000Q"),
        "refers by a short tuple": Stored(("storage", FLOAT_STORAGE, "0")),
        "refers by an empty tuple": Stored(()),
        "refers to something else": Stored(("module", FLOAT_STORAGE, "0", "cpu", 6)),
    },
    "a storage with an impossible size": {
        "names a storage of a negative size": storage("0", "FloatStorage", -6),
        "names a storage of an enormous size": storage("0", "FloatStorage", 2**62),
        "names a storage whose size is text": Stored(("storage", FLOAT_STORAGE, "0", "cpu", "6")),
        "names a storage whose size is true": Stored(("storage", FLOAT_STORAGE, "0", "cpu", True)),
    },
    "one storage with two sizes": {
        "names a storage twice with other sizes": [
            tensor(GOOD, (6,), (1,)),
            tensor(storage("0", "FloatStorage", 5), (5,), (1,)),
        ],
        "names a storage twice with other types": [
            tensor(GOOD, (6,), (1,)),
            tensor(storage("0", "DoubleStorage", 6), (6,), (1,)),
        ],
    },
    "a view of a storage that reaches beyond it": {
        "views a storage beyond its end": storage("0", "FloatStorage", 6, ("1", 4, 3)),
        "views a storage before its start": storage("0", "FloatStorage", 6, ("1", -1, 3)),
        "views a storage with text": storage("0", "FloatStorage", 6, "view"),
        "views a storage twice": storage("0", "FloatStorage", 6, None, None),
    },
    "a tensor that reaches beyond its storage": {
        "has a tensor larger than its storage": tensor(GOOD, (7,), (1,)),
        "has a tensor whose offset is beyond": tensor(GOOD, (1,), (1,), 6),
        "has a tensor whose strides lead beyond": tensor(GOOD, (2, 2), (5, 1), 0),
        "has a tensor whose offset leads beyond": tensor(GOOD, (2, 3), (3, 1), 1),
        "has one number beyond": tensor(GOOD, (), (), 6),
        "has a tensor beyond the view of its storage": tensor(
            storage("0", "FloatStorage", 6, ("1", 0, 3)), (4,), (1,)
        ),
        "has a tensor of a larger type than its storage": Call(
            REBUILD_3, (GOOD, 0, (6,), (1,), False, ordered({}), Name("torch", "float64"))
        ),
    },
    "a tensor with an impossible shape": {
        "has a negative stride": tensor(GOOD, (6,), (-1,), 5),
        "has a negative offset": tensor(GOOD, (6,), (1,), -1),
        "has a negative size": tensor(GOOD, (-6,), (1,)),
        "has two negative sizes": tensor(GOOD, (-2, -3), (3, 1)),
        "has more sizes than strides": tensor(GOOD, (2, 3), (1,)),
        "has more strides than sizes": tensor(GOOD, (6,), (1, 1)),
        "has a size that is text": tensor(GOOD, ("6",), (1,)),
        "has a size that is a fraction": tensor(GOOD, (6.0,), (1,)),
        "has a size that is true": tensor(GOOD, (True,), (1,)),
        "has an offset that is nothing": tensor(GOOD, (6,), (1,), None),
        "has an enormous stride": tensor(GOOD, (1,), (2**63,)),
        "has 33 axes": tensor(GOOD, (1,) * 33, (1,) * 33),
        "is empty and enormous": tensor(GOOD, (0, 2**47, 2**47), (1, 1, 1)),
    },
    "more than 16 times its own size": {
        "repeats a number without end": tensor(GOOD, (2**40,), (0,)),
        "repeats a number along many axes": tensor(GOOD, (2**11,) * 4, (0,) * 4),
        "names a storage that is larger than the file": storage("9", "FloatStorage", 2**40),
        "has thousands of overlapping tensors": [tensor(GOOD, (2**21,), (0,)) for _ in range(20)],
    },
    "calls torch._utils._rebuild_tensor_v2 with": {
        "makes a tensor of text": Call(REBUILD, ("touch x", 0, (6,), (1,), False, ordered({}))),
        "makes a tensor of a tensor": Call(
            REBUILD, (tensor(GOOD, (6,), (1,)), 0, (6,), (1,), False, ordered({}))
        ),
        "makes a tensor of nothing": Call(REBUILD, ()),
        "makes a tensor with a list as shape": Call(REBUILD, (GOOD, 0, [6], (1,), False, ordered({}))),
        "makes a tensor with more arguments": Call(REBUILD, (GOOD, 0, (6,), (1,), *[None] * 4)),
    },
    "calls torch._utils._rebuild_tensor_v3 with": {
        "makes a tensor of a type with more arguments": Call(
            REBUILD_3, (GOOD, 0, (6,), (1,), False, ordered({}), Name("torch", "int32"), None, None)
        ),
        "makes a tensor of a type that is a device": Call(
            REBUILD_3, (GOOD, 0, (6,), (1,), False, ordered({}), Call(Name("torch", "device"), ("cpu",)))
        ),
    },
    "calls torch._tensor._rebuild_from_type_v2 with": {
        "rebuilds by another name": Call(
            FROM_TYPE, (Name("torch", "Size"), Name("torch", "Tensor"), ((1,),), {})
        ),
        "rebuilds by itself": Call(
            FROM_TYPE, (FROM_TYPE, Name("torch", "Tensor"), (REBUILD, None, (), None), {})
        ),
        "rebuilds by text": Call(FROM_TYPE, ("os.system", Name("torch", "Tensor"), ("ls",), {})),
    },
    "calls torch.nn.Parameter with": {
        "makes a parameter of text": Call(Name("torch.nn.parameter", "Parameter"), ("os.system",)),
        "makes a parameter of a storage": Call(
            Name("torch._utils", "_rebuild_parameter"), (GOOD, True, None)
        ),
    },
    "calls torch.Size with": {
        "makes a size of negative numbers": Call(Name("torch", "Size"), ((-1,),)),
        "makes a size of text": Call(Name("torch", "Size"), ("12",)),
    },
    "calls torch.device with": {
        "makes a device of a number": Call(Name("torch", "device"), (1,)),
    },
    "still to be conjugated": {
        "has a conjugated tensor": Call(REBUILD, (GOOD, 0, (6,), (1,), False, ordered({}), {"conj": True})),
        "has a negated tensor of a named type": Call(
            REBUILD_3, (GOOD, 0, (6,), (1,), False, ordered({}), Name("torch", "int32"), {"neg": True})
        ),
        "has a tensor with an array as marks": Call(
            REBUILD, (GOOD, 0, (6,), (1,), False, ordered({}), tensor(GOOD, (6,), (1,)))
        ),
        "has a tensor with unknown marks": Call(REBUILD, (GOOD, 0, (6,), (1,), False, ordered({}), "conj")),
    },
    "holds a bare storage": {
        "holds a storage without a tensor": [GOOD],
    },
    "holds a bare torch.FloatStorage": {
        "holds the type of a storage": [FLOAT_STORAGE],
    },
    "sets attributes of a storage": {
        "sets attributes of a storage": Raw(_instructions(GOOD, 3) + b"}b"),
    },
    "wants Python's torch._utils._rebuild_qtensor": {
        "has a quantized tensor": Call(Name("torch._utils", "_rebuild_qtensor"), ()),
    },
    "wants Python's torch.storage._load_from_bytes": {
        "hides a file within the file": Call(Name("torch.storage", "_load_from_bytes"), (b"",)),
    },
    "wants Python's torch.float8_e5m2": {
        "has a type that NumPy lacks": Name("torch", "float8_e5m2"),
    },
}
CASES = [(says, does) for says, cases in MISUSES.items() for does in cases]


@pytest.mark.parametrize(("says", "does"), CASES, ids=[does for _, does in CASES])
def test_a_file_is_refused_that(tmp_path, says, does):
    path = zip_file(tmp_path / "a.pth", MISUSES[says][does], {"0": STORAGES["0"]})
    tracemalloc.start()
    try:
        assert says in refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Arrays that wait to be filled count, though they take no memory yet.
    assert peak < pickled_tensors.SMALL_BYTES + 2**20


def test_the_limit_of_growth_leaves_room_for_honest_repetition(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled_tensors, "SMALL_BYTES", 0)
    size = len(zip_file(tmp_path / "a.pth", tensor(GOOD, (1,), (1,)), {"0": STORAGES["0"]}).read_bytes())
    room = size * pickled_tensors.GROWTH // 4
    for count, fits in ((room // 2, True), (2 * room, False)):
        path = zip_file(tmp_path / "a.pth", tensor(GOOD, (count,), (0,)), {"0": STORAGES["0"]})
        if fits:
            assert read_torch_file(path).shape == (count,)
        else:
            assert "more than 16 times" in refusal(path)


# ----------------------------------------------------------------------------- archives that deceive


def test_a_zip_bomb_is_refused_before_it_unfolds(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled_tensors, "SMALL_BYTES", 2**20)
    count = 2**22
    contents = tensor(storage("0", "FloatStorage", count), (1,), (1,))
    path = zip_file(tmp_path / "a.pth", contents, {"0": bytes(4 * count)}, method=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 4 * count / 500
    tracemalloc.start()
    try:
        assert "more than 16 times" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_pickle_that_unfolds_from_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickled_tensors, "SMALL_BYTES", 2**20)
    path = zip_file(tmp_path / "a.pth", b"\x80\x02" + b"N0" * 2**21 + b"N.", {}, method=zipfile.ZIP_DEFLATED)
    assert "more than 16 times" in refusal(path)


@pytest.mark.parametrize("count", [5, 7])
def test_a_storage_of_another_size_than_its_tensors_expect_is_refused(tmp_path, count):
    contents = tensor(storage("0", "FloatStorage", 6, None), (5,), (1,))
    data = np.arange(count, dtype=np.float32).tobytes()
    path = zip_file(tmp_path / "a.pth", contents, {"0": data})
    assert "archive/data/0 is not as large as its tensors expect" in refusal(path)
    path = legacy_file(tmp_path / "a.pth", contents, {"0": data}, {"0": count})
    assert "a storage of another size than its tensors expect" in refusal(path)


def test_a_legacy_storage_that_ends_with_the_file_is_refused_before_memory_is_taken(tmp_path):
    count = 2**22
    contents = tensor(storage("0", "FloatStorage", count, None), (1,), (1,))
    path = legacy_file(tmp_path / "a.pth", contents, {"0": STORAGES["0"]}, {"0": count})
    tracemalloc.start()
    try:
        assert "it ends inside a storage" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_missing_storage_is_named(tmp_path):
    contents = tensor(storage("../../etc/passwd", "FloatStorage", 6), (6,), (1,))
    assert "lacks archive/data/../../etc/passwd" in refusal(zip_file(tmp_path / "a.pth", contents, {}))
    path = legacy_file(tmp_path / "a.pth", contents, {}, {})
    assert "its storages are not those that its tensors name" in refusal(path)


def test_names_that_lead_out_of_the_archive_write_nothing(tmp_path):
    contents = tensor(storage("../../../out", "FloatStorage", 6), (6,), (1,))
    folder = tmp_path / "in"
    folder.mkdir()
    path = zip_file(folder / "a.pth", contents, {"../../../out": STORAGES["0"]})
    np.testing.assert_array_equal(read_torch_file(path), WEIGHT.ravel())
    assert [item.name for item in tmp_path.iterdir()] == ["in"]
    assert [item.name for item in folder.iterdir()] == ["a.pth"]


def test_a_damaged_storage_is_found_by_its_checksum(tmp_path):
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES)
    data = bytearray(path.read_bytes())
    data[data.index(STORAGES["0"]) + 5] ^= 1
    path.write_bytes(data)
    assert "Bad CRC-32" in refusal(path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", assembled({}))
    assert "two entries of one name" in refusal(path)


def test_other_compressions_and_encryption_are_refused(tmp_path):
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES, method=zipfile.ZIP_BZIP2)
    assert "compressed in a way that torch.save never uses" in refusal(path)
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES)
    data = bytearray(path.read_bytes())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(start) + flags] |= 1
    path.write_bytes(data)
    assert "is encrypted" in refusal(path)


def test_a_stored_entry_with_two_sizes_is_refused(tmp_path):
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES)
    data = bytearray(path.read_bytes())
    size = data.index(b"PK\x01\x02") + 24
    data[size : size + 4] = struct.pack("<I", struct.unpack("<I", data[size : size + 4])[0] - 1)
    path.write_bytes(data)
    assert "archive/data.pkl has two sizes" in refusal(path)


def test_an_archive_that_lost_its_beginning_is_refused(tmp_path):
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES)
    data = path.read_bytes()
    path.write_bytes(b"PK\x03\x04" + data[14:])
    assert "is cut short or damaged (an offset before the start of the file)" in refusal(path)


def test_a_storage_that_is_shorter_than_its_entry_says_is_refused(tmp_path):
    contents = tensor(storage("0", "FloatStorage", 7), (7,), (1,))
    path = zip_file(tmp_path / "a.pth", contents, {"0": STORAGES["0"]}, method=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    size = data.rindex(b"archive/data/0") - 46 + 24
    assert data[size : size + 4] == struct.pack("<I", 24)
    data[size : size + 4] = struct.pack("<I", 28)
    path.write_bytes(data)
    assert "archive/data/0 ends too early" in refusal(path)


def test_a_disk_that_fails_is_not_taken_for_a_damaged_file(tmp_path, monkeypatch):
    def failing(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES)
    monkeypatch.setattr(zipfile.ZipFile, "open", failing)
    assert refusal(path) == f"cannot read {path}: Input/output error"


def test_an_unknown_byte_order_is_refused(tmp_path):
    path = zip_file(tmp_path / "a.pth", checkpoint(), STORAGES, byte_order=b"middle")
    assert "an unknown byte order" in refusal(path)
    assert_is_checkpoint(
        read_torch_file(zip_file(tmp_path / "b.pth", checkpoint(), STORAGES, byte_order=None))
    )


# ------------------------------------------------------------------------------- broken files

TINY = {"weight": tensor(storage("0", "FloatStorage", 2, None), (2,), (1,)), "epoch": 1}


def tiny_file(path, legacy: bool) -> bytes:
    data = WEIGHT.ravel()[:2].tobytes()
    if legacy:
        return legacy_file(path, TINY, {"0": data}, {"0": 2}).read_bytes()
    return zip_file(path, TINY, {"0": data}).read_bytes()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_cut_short_anywhere_is_a_clear_error(tmp_path, legacy):
    path = tmp_path / "a.pth"
    data = tiny_file(path, legacy)
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        message = refusal(path)
        assert "is cut short or damaged" in message or length < 4, (length, message)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_changed_byte_gives_a_value_or_a_clear_error(tmp_path, legacy):
    path = tmp_path / "a.pth"
    data = bytearray(tiny_file(path, legacy))
    refused = 0
    for place in range(len(data)):
        for change in (0x01, 0xFF):
            data[place] ^= change
            path.write_bytes(data)
            data[place] ^= change
            try:
                read_torch_file(path)
            except UserError as error:
                refused += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused > len(data) / 2


# ------------------------------------------------------------------------------- files of other kinds


def with_bytes(data: bytes):
    return lambda path: path.write_bytes(data)


def with_entries(*names: str):
    """A zip archive of these entries."""

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, assembled({}))

    return write


def as_tar(path):
    with tarfile.open(path, "w") as archive:
        for member in ("sys_info", "pickle", "tensors", "storages"):
            info = tarfile.TarInfo(member)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"\x80\x02N."))


def as_npz(path):
    with path.open("wb") as file:
        np.savez(file, a=WEIGHT)


def as_npy(path):
    with path.open("wb") as file:
        np.save(file, WEIGHT)


def as_safetensors(path):
    save_file({"weight": WEIGHT}, path)


def legacy_with_keys(keys):
    contents = tensor(storage("0", "FloatStorage", 6, None), (6,), (1,))
    return with_bytes(b"".join(map(assembled, (MAGIC_NUMBER, 1001, SYSTEM, contents, keys))))


WEB_PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"

# what the refusal says: what the file is: how it is made
OTHER_KINDS = {
    "is empty; download": {"an empty file": with_bytes(b"")},
    "is a web page": {
        "a page": with_bytes(WEB_PAGE),
        "a page in XML": with_bytes(b"<?xml version='1.0'?><html>"),
    },
    "is a pointer of Git LFS": {"a pointer": with_bytes(LFS_POINTER)},
    "is packed with gzip; unpack it": {"a gzip file": with_bytes(gzip.compress(b"weights"))},
    "is a tar archive": {"the tar archive of the first PyTorch": as_tar},
    "is a TorchScript program": {
        "a program": with_entries(
            "net/data.pkl", "net/constants.pkl", "net/code/__torch__.py", "net/version"
        ),
    },
    "is an archive of NumPy arrays; give it the ending .npz": {"an npz file": as_npz},
    "is a NumPy array (.npy)": {"an npy file": as_npy},
    "is a safetensors file under another name; give it the ending .safetensors": {
        "safetensors": as_safetensors
    },
    "is a zip archive but no file of torch.save": {
        "another archive": with_entries("folder/readme.txt"),
        "an archive of two files of torch.save": with_entries("a/data.pkl", "b/data.pkl"),
        "a folder within a folder": with_entries("a/b/data.pkl"),
        "an archive without a folder": with_entries("data.pkl"),
    },
    "is an empty zip archive": {"an archive of nothing": with_entries()},
    "is no file of torch.save": {
        "a text": with_bytes(b"weights of 2017\n"),
        "a text with a brace": with_bytes(b"weights {" + b"}" * 50),
        "zeros": with_bytes(bytes(1000)),
    },
    "is a pickle but no file of torch.save": {
        "a pickled dict": with_bytes(pickle.dumps({"weight": WEIGHT}, 2)),
        "a pickled array": with_bytes(pickle.dumps(WEIGHT, 2)),
    },
    "has a torch.save version that nobody knows": {
        "a file of the future": with_bytes(assembled(MAGIC_NUMBER) + assembled(1002)),
    },
    "no list of storages": {
        "a legacy file without keys": legacy_with_keys({}),
        "a legacy file whose keys are numbers": legacy_with_keys(["0", 0]),
    },
    "its storages are not those that its tensors name": {
        "a legacy file of no storage": legacy_with_keys([]),
        "a legacy file of another storage": legacy_with_keys(["1"]),
        "a legacy file of one storage twice": legacy_with_keys(["0", "0"]),
    },
}
KIND_CASES = [(says, kind) for says, kinds in OTHER_KINDS.items() for kind in kinds]


@pytest.mark.parametrize(("says", "kind"), KIND_CASES, ids=[kind for _, kind in KIND_CASES])
def test_a_file_of_another_kind_is_refused_with_the_reason(tmp_path, says, kind):
    path = tmp_path / "hourglass.pth"
    OTHER_KINDS[says][kind](path)
    assert says in refusal(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert "weights file not found" in refusal(tmp_path / "nowhere.pth")
    assert "is a folder" in refusal(tmp_path)
    assert "cannot read" in refusal(tmp_path / ("long" * 100))


MODULE_STATE = {
    "training": True,
    "_parameters": ordered({}),
    "_buffers": ordered({}),
    "_modules": ordered({}),
}


def whole_model(name: Name) -> Raw:
    """An object of a class and its attributes, as Python 3 pickles it."""
    return Raw(_instructions(name, 3) + b")\x81" + _instructions(MODULE_STATE, 3) + b"b")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_whole_model_is_refused_with_how_to_save_it_again(tmp_path, legacy):
    name = Name("models.hourglass", "HourglassNet")
    if legacy:
        # The legacy format wraps the class, and keeps the source of its code beside it.
        source = "class HourglassNet(nn.Module): ..." * 100
        wrapped = Raw(_instructions(Stored(("module", name, "hourglass.py", source)), 3))
        contents = {"model": Raw(wrapped.instructions + b")\x81" + _instructions(MODULE_STATE, 3) + b"b")}
        path = legacy_file(tmp_path / "a.pth", contents, {}, {})
    else:
        path = zip_file(tmp_path / "a.pth", {"model": whole_model(name)}, {})
    message = refusal(path)
    assert "holds a whole model object (models.hourglass.HourglassNet) rather than its weights" in message
    assert "torch.save(model.state_dict(), PATH)" in message


def test_an_object_of_another_class_is_not_taken_for_a_model(tmp_path):
    contents = {"meter": Call(Name("utils.eval", "AverageMeter"), ())}
    message = refusal(zip_file(tmp_path / "a.pth", contents, {}))
    assert "wants Python's utils.eval.AverageMeter" in message and "model object" not in message


def test_an_attack_that_dresses_as_a_model_is_still_named(tmp_path):
    contents = [Call(Name("posix", "system"), ("ls",)), whole_model(Name("models.hourglass", "HourglassNet"))]
    message = refusal(zip_file(tmp_path / "a.pth", contents, {}))
    assert "wants Python's posix.system" in message and "model object" not in message


# ------------------------------------------------------------------------------- PyTorch itself


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


BOTH_FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def assert_same(torch, got, expected):
    """What was read against what was saved."""
    if isinstance(expected, torch.Tensor):
        values = expected.detach()
        values = values.float() if values.dtype == torch.bfloat16 else values
        np.testing.assert_array_equal(got, values.numpy())
        assert got.dtype == values.numpy().dtype and got.shape == tuple(values.shape)
        assert got.flags.owndata and got.flags.c_contiguous
    elif isinstance(expected, dict):
        assert type(got) is dict and list(got) == list(expected)
        for name in expected:
            assert_same(torch, got[name], expected[name])
    elif isinstance(expected, list | tuple):
        assert type(got) is (tuple if isinstance(expected, tuple) else list) and len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(torch, one, other)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype
    else:
        assert got == expected and type(got) is type(expected)


def round_trip(torch, path, value, zipped: bool, **options):
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    got = read_torch_file(path)
    assert_same(torch, got, value)
    return got


def odd_tensors(torch):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    shared = torch.arange(10, dtype=torch.float64)
    tagged = torch.ones(2)
    tagged.note = "kept beside the tensor"
    return {
        "transposed": base.t(),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "slice": base[1::2, 2:5],
        "first of two views": shared[:4],
        "second of two views": shared[3:].view(7),
        "the same again": shared[:4],
        "expanded": torch.ones(1).expand(3, 2),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "half": torch.tensor([1.5, -65504.0]).half(),
        "bfloat16": torch.randn(3, 5).bfloat16().t(),
        "bool": torch.tensor([[True, False], [False, True]]).t(),
        "long": torch.tensor([2**62, -1]),
        "int": torch.tensor([2**30], dtype=torch.int32),
        "short": torch.tensor([-300], dtype=torch.int16),
        "char": torch.tensor([-3], dtype=torch.int8),
        "byte": torch.tensor([250], dtype=torch.uint8),
        "uint16": torch.tensor([65535], dtype=torch.uint16),
        "complex": torch.tensor([1 + 2j, -1j]),
        "parameter": torch.nn.Parameter(base[:, 1]),
        "tagged": tagged,
        "named tuple of sizes": tuple(base.shape),
    }


@pytest.mark.peers
@BOTH_FORMATS
def test_odd_tensors_of_pytorch_come_back_as_pytorch_has_them(torch, tmp_path, zipped):
    round_trip(torch, tmp_path / "a.pth", odd_tensors(torch), zipped)


@pytest.mark.peers
@BOTH_FORMATS
@pytest.mark.parametrize("optimizer", ["Adam", "RMSprop", "SGD"])
def test_a_checkpoint_of_a_training_comes_back_as_pytorch_has_it(torch, tmp_path, zipped, optimizer):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, 2, 1))
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    descent = getattr(torch.optim, optimizer)(model.parameters(), lr=1e-3, **options)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    descent.step()
    assert model.state_dict()._metadata
    got = round_trip(
        torch,
        tmp_path / "a.pth.tar",
        {
            "epoch": 7,
            "arch": "hg",
            "state_dict": model.state_dict(),
            "best_acc": np.float64(0.875),
            "optimizer": descent.state_dict(),
            "history": np.linspace(0, 1, 5, dtype=np.float32),
            "names": ["é", None, True, -(2**40), 1e-8, b"raw", {3, 4}, 2**70],
        },
        zipped,
    )
    assert got["state_dict"]["1.num_batches_tracked"].shape == ()


@pytest.mark.peers
@BOTH_FORMATS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_pickle_protocol_of_pytorch_is_read(torch, tmp_path, zipped, protocol):
    value = {"weight": torch.randn(3, 2), "names": ["a"] * 300, "bytes": bytes(300)}
    round_trip(torch, tmp_path / "a.pth", value, zipped, pickle_protocol=protocol)


@pytest.mark.peers
def test_small_things_of_pytorch_come_back_as_plain_values(torch, tmp_path):
    schedule = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([torch.zeros(1)], lr=0.1), [30, 60])
    value = {"size": torch.Size([2, 3]), "device": torch.device("cuda:1"), "type": torch.float16}
    torch.save({**value, "schedule": schedule.state_dict()}, tmp_path / "a.pth")
    got = read_torch_file(tmp_path / "a.pth")
    assert got.pop("schedule")["milestones"] == {30: 1, 60: 1}
    assert got == {"size": (2, 3), "device": "cuda:1", "type": "torch.float16"}


@pytest.mark.peers
@BOTH_FORMATS
def test_a_whole_module_of_pytorch_is_refused_with_how_to_save_it_again(torch, tmp_path, zipped):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    torch.save({"model": model}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    message = refusal(tmp_path / "a.pth")
    assert "holds a whole model object (torch.nn.modules.container.Sequential)" in message


@pytest.mark.peers
def test_a_tensor_marked_as_conjugated_is_refused_by_name(torch, tmp_path):
    torch.save(torch.tensor([1 + 2j]).conj(), tmp_path / "a.pth")
    assert "still to be conjugated" in refusal(tmp_path / "a.pth")


@pytest.mark.peers
def test_a_torch_script_program_of_pytorch_is_refused(torch, tmp_path):
    with pytest.warns(DeprecationWarning, match="jit"):
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "a.pth")
    assert "is a TorchScript program" in refusal(tmp_path / "a.pth")


@pytest.mark.peers
def test_pytorch_reads_the_files_written_here_byte_by_byte_as_we_do(torch, tmp_path):
    old = (python_2_checkpoint(), {"94117": STORAGES["0"]}, {"94117": 6})
    paths = [
        zip_file(tmp_path / "zip.pth", checkpoint(), STORAGES),
        legacy_file(tmp_path / "legacy.pth", checkpoint(None), STORAGES, COUNTS),
        legacy_file(tmp_path / "python2.pth", *old, python=2),
    ]
    for path in paths:
        expected = torch.load(path, map_location="cpu", weights_only=False, encoding="latin1")
        assert_same(torch, read_torch_file(path), expected)
        assert isinstance(expected["state_dict"], OrderedDict)
