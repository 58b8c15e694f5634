"""Every file here is malicious or damaged: one sentence, soon, and without much memory."""

import io
import os
import pathlib
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from inr_gan_jax.importers import restricted_unpickler, safe_pickle
from inr_gan_jax.importers.restricted_unpickler import MAX_UNITS
from tests.importers import limits, official_format
from tests.importers.official_format import Call, Global, Storage, opcodes_of

HEADER = pickle.PROTO + b"\4"
Reader = Callable[[pathlib.Path], object]


def refusal(path: pathlib.Path, read: Reader = safe_pickle.read_official_checkpoint) -> str:
    """Reads a file that must be refused within the limits; returns the sentence."""
    with limits.within_limits(), pytest.raises(safe_pickle.CheckpointFormatError) as caught:
        read(path)
    limits.assert_one_sentence(str(caught.value), path)
    return str(caught.value)


def refusal_of_bytes(tmp_path: pathlib.Path, data: bytes, read: Reader = safe_pickle.read_official_checkpoint) -> str:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(data)
    return refusal(path, read)


def refusal_of(tmp_path: pathlib.Path, root: object) -> str:
    return refusal_of_bytes(tmp_path, official_format.dumps(root))


def checkpoint_with(state: dict[str, Any] | None = None, **buffers: object) -> dict[str, object]:
    base = official_format.module_state({}, buffers, {}, _init_args=(), _init_kwargs={})
    network = official_format.persistent_object("Generator", base | (state or {}))
    return official_format.official_checkpoint(dict.fromkeys(("G", "D", "G_ema"), network))


def storage(count: int = 4) -> Call:
    return official_format.storage_blob(Storage(np.zeros(count, np.float32)))


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "builtins.set", "numpy.load", "functools.partial"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_foreign_function_is_refused_by_name(tmp_path: pathlib.Path, path: str, protocol: int) -> None:
    data = official_format.dumps({"G": Call(Global(*path.split(".")), ("echo",))}, protocol)
    assert f"refers to {path}," in refusal_of_bytes(tmp_path, data)


def test_foreign_class_in_a_storage_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    header, _ = official_format.legacy_header(Call(Global("subprocess", "Popen"), (["true"],)))
    inner = Call(Global("torch.storage", "_load_from_bytes"), (header,))
    assert "refers to subprocess.Popen," in refusal_of(tmp_path, {"G": inner})


@pytest.mark.parametrize("write", [official_format.write_torch_zip, official_format.write_torch_legacy])
def test_foreign_class_in_a_state_dict_is_refused_by_name(tmp_path: pathlib.Path, write: Any) -> None:
    write(tmp_path / "a.pth", {"weight": Call(Global("builtins", "eval"), ("1",))})
    assert "refers to builtins.eval," in refusal(tmp_path / "a.pth", safe_pickle.read_torch_state_dict)


MENTIONED = Global("builtins", "dict")
FUNCTION = Global("torch._utils", "_rebuild_tensor_v2")
CLASS = Global("omegaconf.nodes", "AnyNode")


@pytest.mark.parametrize(
    "value",
    [
        *(Call(target) for target in (MENTIONED, CLASS, "text", [], Call(CLASS, new=True))),
        *(Call(target, new=True) for target in (MENTIONED, FUNCTION, "text", {})),
        Call(CLASS, (1,), new=True),
        Call(FUNCTION, [1, 2, 3, 4]),
    ],
)
def test_permitted_names_cannot_be_called_or_instantiated_otherwise(tmp_path: pathlib.Path, value: Call) -> None:
    assert "which is not allowed" in refusal_of(tmp_path, value)


@pytest.mark.parametrize("target", [MENTIONED, FUNCTION, CLASS, Global("dnnlib.util", "EasyDict"), [], "text"])
@pytest.mark.parametrize("state", [{"__class__": 1, "new": 1}, (None, {"__defaults__": (1,), "set_state": 1})])
def test_state_of_anything_but_stand_ins_is_refused(tmp_path: pathlib.Path, target: object, state: object) -> None:
    before = dict(vars(restricted_unpickler.StandIn)), safe_pickle.OFFICIAL_GLOBALS.copy()
    stream = opcodes_of(target) + opcodes_of(state) + pickle.BUILD
    assert "sets the state of" in refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)
    assert (dict(vars(restricted_unpickler.StandIn)), safe_pickle.OFFICIAL_GLOBALS) == before


UNUSED_OPCODES = (
    "EXT1 EXT2 EXT4 PERSID NEXT_BUFFER READONLY_BUFFER BYTEARRAY8 LONG4 INST OBJ NEWOBJ_EX DUP FROZENSET "
    "STRING INT FLOAT LONG UNICODE GET PUT LIST DICT"
)


@pytest.mark.parametrize("name", UNUSED_OPCODES.split())
def test_opcode_without_use_is_refused_by_name(tmp_path: pathlib.Path, name: str) -> None:
    stream = pickle.EMPTY_TUPLE + getattr(pickle, name) + b"\1\0\0\0\0\0\0\0\n"
    assert f"opcode {name}," in refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


def whole_file(kind: str, path: pathlib.Path) -> Reader:
    array = np.ones(1000, np.float32)
    if kind == "official":
        root = checkpoint_with(weight=official_format.official_tensor(array))
        official_format.write_official_checkpoint(path, root)
        return safe_pickle.read_official_checkpoint
    write = official_format.write_torch_zip if kind == "zip" else official_format.write_torch_legacy
    write(path, official_format.state_dict_of({"weight": array}))
    return safe_pickle.read_torch_state_dict


@pytest.mark.parametrize("kind", ["official", "zip", "legacy"])
def test_truncated_file_is_refused(tmp_path: pathlib.Path, kind: str) -> None:
    read = whole_file(kind, tmp_path / "whole")
    read(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    for length in random.Random(0).sample(range(1, len(data)), 10):
        refusal_of_bytes(tmp_path, data[:length], read)


LENGTHS = {"BINBYTES8": 8, "BINBYTES": 4, "BINUNICODE8": 8, "BINUNICODE": 4, "BINSTRING": 4}


@pytest.mark.parametrize("name", LENGTHS)
def test_oversized_length_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    for claim in (b"\xff" * (LENGTHS[name] - 1) + b"\x7f", b"\xff" * LENGTHS[name]):
        refusal_of_bytes(tmp_path, HEADER + getattr(pickle, name) + claim + b"abc" + pickle.STOP)


FLAGS = opcodes_of(official_format.official_tensor(np.ones((1,) * 32, np.bool_)))
DOUBLED_LIST = pickle.EMPTY_LIST + (pickle.BINPUT + b"\0" + pickle.BINGET + b"\0" + pickle.TUPLE2) * 28
MALFORMED = {
    "item of a tensor that takes for ever": FLAGS + pickle.NONE + DOUBLED_LIST + pickle.SETITEM,
    "item of a type": opcodes_of(CLASS) + pickle.NONE + pickle.NONE + pickle.SETITEM,
    "persistent id outside of a storage": pickle.EMPTY_TUPLE + pickle.BINPERSID,
    "protocol of the future": pickle.PROTO + b"\xff" + pickle.NONE,
    "unused memo": pickle.BINGET + b"\1",
    "large memo index": pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f",
    "giant frame": pickle.FRAME + b"\xff" * 8 + pickle.NONE,
    "short tuple": pickle.TUPLE3,
    "tuple without a mark": pickle.TUPLE,
    "no mark": pickle.POP_MARK,
    "no function": pickle.REDUCE,
    "no list": pickle.APPEND,
    "open mark": pickle.MARK,
    "two values": pickle.NONE + pickle.NONE,
    "text that is no UTF-8": pickle.SHORT_BINUNICODE + b"\1\xff",
    "key without a value": pickle.EMPTY_DICT + pickle.MARK + pickle.NONE + pickle.SETITEMS,
    "elements of a list": pickle.EMPTY_LIST + pickle.MARK + pickle.NONE + pickle.ADDITEMS,
    "items of a list": pickle.EMPTY_LIST + pickle.NONE + pickle.NONE + pickle.SETITEM,
    "append to None": pickle.NONE + pickle.NONE + pickle.APPEND,
    "endless name": pickle.GLOBAL + b"os\n" + b"x" * 1000,
    "name that is no UTF-8": pickle.GLOBAL + b"\xff\nx\n",
    "name that is no text": pickle.NONE + pickle.NONE + pickle.STACK_GLOBAL,
    "cut integer": pickle.LONG1 + b"\xff" + b"\1" * 100,
    "deeply nested tuple": pickle.EMPTY_TUPLE + pickle.TUPLE1 * 100_000,
    "deeply nested marks": pickle.MARK * 100_000 + pickle.NONE + pickle.TUPLE * 100_000,
    "deeply nested lists": pickle.EMPTY_LIST * 100_000 + pickle.APPEND * 99_999,
    "deeply nested dicts": (pickle.EMPTY_DICT + pickle.NONE) * 100_000 + pickle.EMPTY_DICT + pickle.SETITEM * 100_000,
    "deeply nested objects": opcodes_of(CLASS)
    + (pickle.BINGET + b"\0" + pickle.EMPTY_TUPLE + pickle.NEWOBJ) * 100_000
    + pickle.BUILD * 100_000,
    "list in itself": pickle.EMPTY_LIST + pickle.MEMOIZE + pickle.BINGET + b"\0" + pickle.APPEND,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_stream_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    refusal_of_bytes(tmp_path, HEADER + MALFORMED[name] + pickle.STOP)


DOUBLED = b"".join(pickle.BINPUT + bytes([i]) + pickle.BINGET + bytes([i]) + pickle.TUPLE2 for i in range(60))
KEYS = {
    "nested so deep that hashing overflows the stack": pickle.EMPTY_TUPLE + pickle.TUPLE1 * 200_000,
    "doubled so often that hashing takes for ever": pickle.EMPTY_TUPLE + DOUBLED,
    "integer beyond 64 bits": opcodes_of(2**61 - 1 << 64),
    "long text": opcodes_of("a" * 2000),
    "number": opcodes_of(0.5),
    "tensor": opcodes_of(official_format.official_tensor(np.ones(2, np.float32))),
}


@pytest.mark.parametrize("name", KEYS)
def test_key_that_makes_look_ups_slow_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    as_item = pickle.EMPTY_DICT + KEYS[name] + pickle.NONE + pickle.SETITEM
    as_element = pickle.EMPTY_SET + pickle.MARK + KEYS[name] + pickle.ADDITEMS
    pairs = opcodes_of(Global("collections", "OrderedDict")) + pickle.EMPTY_LIST + KEYS[name] + pickle.NONE
    in_pairs = pairs + pickle.TUPLE2 + pickle.APPEND + pickle.TUPLE1 + pickle.REDUCE
    for stream in (as_item, as_element, in_pairs):
        assert "has the key" in refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


def repeated_calls(function: str, argument: object) -> bytes:
    """A function applied to one large argument again and again."""
    large = bytes([0, 0, 1, 0])
    start = opcodes_of(Global(*function.rsplit(".", 1))) + pickle.LONG_BINPUT + large
    start += opcodes_of((argument,)) + pickle.BINPUT + b"\0" + pickle.POP
    return start + (pickle.LONG_BINGET + large + pickle.BINGET + b"\0" + pickle.REDUCE + pickle.POP) * 2_000


LIMIT = 100_000
ENDLESS = {
    "sets": pickle.EMPTY_SET * (LIMIT + 1),
    "memo": (pickle.NONE + pickle.MEMOIZE) * LIMIT,
    "text": (pickle.BINUNICODE + struct.pack("<I", 2**20) + b"a" * 2**20 + pickle.POP) * (1 + LIMIT // 2**15),
    "storages": repeated_calls(
        "torch.storage._load_from_bytes", official_format.torch_legacy(Storage(np.ones(4, np.float32)))
    ),
    "pairs": repeated_calls("collections.OrderedDict", [[str(index), None] for index in range(1000)]),
    "arguments": repeated_calls("torch._utils._rebuild_parameter", None).replace(b"N\x85", b"(" + b"N" * 1000 + b"t"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_endless_stream_is_refused(tmp_path: pathlib.Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted_unpickler, "MAX_UNITS", LIMIT)
    assert f"more than {LIMIT} units" in refusal_of_bytes(tmp_path, HEADER + ENDLESS[name] + pickle.STOP)


@pytest.mark.slow
def test_longest_stream_stays_within_the_limits(tmp_path: pathlib.Path) -> None:
    # A set is the largest object that a single byte makes.
    assert "units of work" in refusal_of_bytes(tmp_path, HEADER + pickle.EMPTY_SET * 2 * MAX_UNITS)


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        # Beyond the storage of 4 elements.
        *[((5,), (1,), 0), ((4,), (1,), 1), ((2, 2), (3, 1), 0), ((2,), (2**62,), 0), ((0,), (1,), 5)],
        # Likewise, where 64-bit integers overflow to an end of 1.
        ((5,), (2**60,), 0),
        # No shape, strides or offset.
        *[
            ((2,), (-1,), 3),
            ((-2,), (1,), 0),
            ((2,), (1,), -1),
            ((2,), (1, 1), 0),
            ((2.0,), (1,), 0),
            ((True,), (1,), 0),
        ],
        *[((1,) * 100, (1,) * 100, 0), ((2**80,), (0,), 0), ([2], [1], 0)],
        # Far more memory than the file has bytes.
        *[((size), (0,) * len(size), 0) for size in [(2**40,), (2**31, 2**31), (0, 2**62), (2**62,)]],
    ],
)
def test_tensor_that_its_storage_does_not_hold_is_refused(
    tmp_path: pathlib.Path, size: Any, stride: Any, offset: int
) -> None:
    refusal_of(tmp_path, checkpoint_with(x=official_format.tensor(storage(), size, stride, offset)))


def test_many_expanded_tensors_are_refused(tmp_path: pathlib.Path) -> None:
    shared = storage()
    tensors = {f"x{index}": official_format.tensor(shared, (2**16,), (0,)) for index in range(1000)}
    assert "out of proportion to a file" in refusal_of(tmp_path, checkpoint_with(**tensors))


@pytest.mark.parametrize("claim", [2**20, 2**59, 2**62, -1])
def test_storage_with_false_length_is_refused(tmp_path: pathlib.Path, claim: int) -> None:
    header = official_format.legacy_header(Storage(np.zeros(4, np.float32)))[0]
    for end in (struct.pack("<q", claim) + bytes(16), struct.pack("<q", 4) + bytes(16)):
        data = header.replace(b"K\x04", b"\x8a\x08" + struct.pack("<q", claim)) + end
        refusal_of(tmp_path, {"G": Call(Global("torch.storage", "_load_from_bytes"), (data,))})


def test_web_page_is_refused(tmp_path: pathlib.Path) -> None:
    message = refusal_of_bytes(tmp_path, b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>")
    assert "b'<!DOCTYPE html><'" in message


@pytest.mark.parametrize("read", [safe_pickle.read_official_checkpoint, safe_pickle.read_torch_state_dict])
def test_path_that_is_no_file_is_refused(tmp_path: pathlib.Path, read: Reader) -> None:
    (tmp_path / "empty.pkl").touch()
    os.mkfifo(tmp_path / "pipe")
    named = {"empty": tmp_path / "empty.pkl", "directory": tmp_path, "No such file": tmp_path / "missing.pkl"}
    for fact, path in {**named, "special file": tmp_path / "pipe"}.items():
        assert fact in refusal(path, read)


def test_tensorflow_network_pickle_is_refused_by_class(tmp_path: pathlib.Path) -> None:
    network = Call(Global("dnnlib.tflib.network", "Network"), new=True, state={"version": 4, "name": "Gs"})
    assert "refers to dnnlib.tflib.network.Network," in refusal_of(tmp_path, (network, network, network))


def looped(value: dict[str, Any]) -> dict[str, Any]:
    value["loop"] = value
    return value


def doubled() -> list[object]:
    value: list[object] = [1]
    for _ in range(50):
        value = [value, value]
    return value


def module_in_itself() -> Call:
    modules = Call(Global("torch.nn.modules.container", "ModuleList"), new=True)
    modules.state = official_format.module_state({}, {}, {"0": modules})
    return modules


@pytest.mark.parametrize(
    "state",
    [
        {"_init_kwargs": looped({})},
        {"_init_kwargs": {"value": doubled()}},
        {"_init_kwargs": {"value": b"bytes"}},
        {"_modules": {"list": module_in_itself()}},
        {"_modules": None},
        {"_parameters": {"x": 1}},
        {"_non_persistent_buffers_set": ["x"]},
        *({"_parameters": {name: official_format.official_tensor(np.ones(1, np.float32))}} for name in ("", "a.b", 7)),
    ],
)
def test_module_of_another_kind_is_refused(tmp_path: pathlib.Path, state: dict[str, Any]) -> None:
    refusal_of(tmp_path, checkpoint_with(state))


def test_state_dict_that_repeats_itself_is_refused(tmp_path: pathlib.Path) -> None:
    weight = official_format.tensor(Storage(np.ones(1, np.float32)), (1,))
    for root in (looped({}), {"a.b": weight, "a": {"b": weight}}):
        official_format.write_torch_zip(tmp_path / "a.pth", root)
        refusal(tmp_path / "a.pth", safe_pickle.read_torch_state_dict)


@pytest.mark.parametrize("change", [{"type": "function"}, {"version": 5}, {"class_name": 3}, {"state": None}])
def test_unknown_persistent_object_is_refused(tmp_path: pathlib.Path, change: dict[str, object]) -> None:
    network = official_format.persistent_object("Generator", {})
    network.arguments = (network.arguments[0] | change,)
    assert "persistent object" in refusal_of(tmp_path, {"G": network})


@pytest.mark.parametrize("code", ["O", "V8", "U4", "f16", "M8"])
def test_other_numpy_data_types_are_refused(tmp_path: pathlib.Path, code: str) -> None:
    assert f"data type {code} " in refusal_of(tmp_path, Call(Global("numpy", "dtype"), (code, False, True)))


def test_bytes_behind_the_pickle_are_refused(tmp_path: pathlib.Path) -> None:
    assert "4 bytes follow" in refusal_of_bytes(tmp_path, official_format.dumps(checkpoint_with()) + b"more")


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def test_archive_of_another_kind_is_refused(tmp_path: pathlib.Path) -> None:
    whole_file("zip", tmp_path / "whole")
    with zipfile.ZipFile(tmp_path / "whole") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    flipped = bytearray(zip_of(members))
    flipped[flipped.index(np.ones(1000, np.float32).tobytes()) + 2000] ^= 1
    entry = b"PK\1\2" + bytes(42)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 46 * 2_000_000, 30, 0)
    files = {
        "0 data.pkl": zip_of({"readme.txt": b"hello"}),
        "compressed": zip_of(members, zipfile.ZIP_DEFLATED),
        "claims 4000 bytes": zip_of({name: data[:8] if "/data/" in name else data for name, data in members.items()}),
        "is missing": zip_of({name: data for name, data in members.items() if "/data/" not in name}),
        "damaged (BadZipFile)": bytes(flipped),
        "little-endian": zip_of(members | {"archive/byteorder": b"big"}),
        "directory claims": b"PK\3\4" + bytes(26) + entry * 2_000_000 + end,
    }
    for fact, data in files.items():
        assert fact in refusal_of_bytes(tmp_path, data, safe_pickle.read_torch_state_dict)


@pytest.mark.parametrize("size", [2**33, 2**40])
def test_sparse_file_is_refused(tmp_path: pathlib.Path, size: int) -> None:
    path = tmp_path / "sparse.pkl"
    with path.open("wb") as file:
        file.write(HEADER + pickle.BINBYTES8 + struct.pack("<Q", size - 12))
        file.truncate(size)
    refusal(path)
