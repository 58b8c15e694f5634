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

from inr_gan_jax.importers import safe_pickle
from inr_gan_jax.importers.pickle_machine import MAX_OPERATIONS
from tests.importers import limits, official_format
from tests.importers.official_format import Call, Global, Storage

HEADER = pickle.PROTO + b"\4"
Reader = Callable[[pathlib.Path], object]
Writer = Callable[[pathlib.Path, Any], None]


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


def checkpoint_with_buffers(**buffers: object) -> dict[str, object]:
    state = official_format.module_state({}, buffers, {}, _init_args=(), _init_kwargs={})
    return checkpoint_of_state(state)


def checkpoint_of_state(state: object) -> dict[str, object]:
    return official_format.official_checkpoint(dict.fromkeys(("G", "D", "G_ema"), network_of_state(state)))


def network_of_state(state: object) -> Call:
    return official_format.persistent_object("Generator", state)


def storage(count: int = 4) -> Call:
    return official_format.storage_blob(Storage(np.zeros(count, np.float32)))


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "numpy.load", "posix.system"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_foreign_function_is_refused_by_name(tmp_path: pathlib.Path, path: str, protocol: int) -> None:
    module, _, name = path.partition(".")
    data = official_format.dumps({"G": Call(Global(module, name), ("echo",))}, protocol)
    assert f"refers to {path}," in refusal_of_bytes(tmp_path, data)


def test_foreign_class_in_a_storage_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    header, _ = official_format.legacy_header(Call(Global("subprocess", "Popen"), (["true"],)))
    inner = Call(Global("torch.storage", "_load_from_bytes"), (header,))
    assert "refers to subprocess.Popen," in refusal_of(tmp_path, {"G": inner})


@pytest.mark.parametrize("write", [official_format.write_torch_zip, official_format.write_torch_legacy])
def test_foreign_class_in_a_state_dict_is_refused_by_name(tmp_path: pathlib.Path, write: Writer) -> None:
    write(tmp_path / "a.pth", {"weight": Call(Global("builtins", "eval"), ("1",))})
    assert "refers to builtins.eval," in refusal(tmp_path / "a.pth", safe_pickle.read_torch_state_dict)


def test_permitted_names_cannot_be_called_or_instantiated_otherwise(tmp_path: pathlib.Path) -> None:
    constant = Global("builtins", "dict")
    constructor = Global("torch._utils", "_rebuild_tensor_v2")
    opaque = Global("omegaconf.nodes", "AnyNode")
    assert "calls builtins.dict" in refusal_of(tmp_path, Call(constant))
    assert "calls omegaconf.nodes.AnyNode" in refusal_of(tmp_path, Call(opaque))
    assert "instantiates builtins.dict" in refusal_of(tmp_path, Call(constant, new=True))
    assert "instantiates torch._utils" in refusal_of(tmp_path, Call(constructor, new=True))
    assert "instantiates omegaconf.nodes.AnyNode" in refusal_of(tmp_path, Call(opaque, (1,), new=True))


def test_build_on_anything_but_stand_ins_is_refused(tmp_path: pathlib.Path) -> None:
    build = official_format.opcodes_of({"__class__": 1}) + pickle.BUILD
    targets = {
        "builtins.dict": official_format.opcodes_of(Global("builtins", "dict")),
        "collections.OrderedDict": official_format.opcodes_of(Global("collections", "OrderedDict")),
        "a dict": pickle.EMPTY_DICT,
        "a list": pickle.EMPTY_LIST,
        "a str": pickle.SHORT_BINUNICODE + b"\1a",
    }
    for described, stream in targets.items():
        message = refusal_of_bytes(tmp_path, HEADER + stream + build + pickle.STOP)
        assert f"sets the state of {described}" in message


UNUSED_OPCODES = (
    "EXT1 EXT2 EXT4 PERSID NEXT_BUFFER READONLY_BUFFER BYTEARRAY8 LONG4 INST OBJ NEWOBJ_EX DUP "
    "STRING INT FLOAT LONG UNICODE GET PUT LIST DICT"
)


@pytest.mark.parametrize("name", UNUSED_OPCODES.split())
def test_opcode_without_use_is_refused_by_name(tmp_path: pathlib.Path, name: str) -> None:
    opcode = getattr(pickle, name)
    message = refusal_of_bytes(tmp_path, HEADER + pickle.EMPTY_TUPLE + opcode + b"\1\0\0\0\0\0\0\0\n" + pickle.STOP)
    assert f"opcode {name} at byte 3" in message


def test_persistent_id_outside_of_a_storage_is_refused(tmp_path: pathlib.Path) -> None:
    message = refusal_of_bytes(tmp_path, HEADER + pickle.EMPTY_TUPLE + pickle.BINPERSID + pickle.STOP)
    assert "persistent id outside of a storage" in message


def test_newer_protocol_is_refused(tmp_path: pathlib.Path) -> None:
    assert "starts with" in refusal_of_bytes(tmp_path, pickle.PROTO + b"\6" + pickle.NONE + pickle.STOP)
    data = HEADER + pickle.PROTO + b"\xff" + pickle.NONE + pickle.STOP
    assert "protocol 255 is claimed" in refusal_of_bytes(tmp_path, data)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["official", "zip", "legacy"])
def test_truncated_file_is_refused(tmp_path: pathlib.Path, seed: int, kind: str) -> None:
    path = tmp_path / "whole"
    array = np.ones(1000, np.float32)
    if kind == "official":
        read: Reader = safe_pickle.read_official_checkpoint
        root = checkpoint_with_buffers(weight=official_format.official_tensor(array))
        official_format.write_official_checkpoint(path, root)
    else:
        read = safe_pickle.read_torch_state_dict
        write = official_format.write_torch_zip if kind == "zip" else official_format.write_torch_legacy
        write(path, official_format.state_dict_of({"weight": array}))
    read(path)
    data = path.read_bytes()
    refusal_of_bytes(tmp_path, data[: random.Random(seed).randrange(1, len(data))], read)


@pytest.mark.parametrize(
    ("opcode", "width"),
    [
        (pickle.BINBYTES8, 8),
        (pickle.BINBYTES, 4),
        (pickle.BINUNICODE8, 8),
        (pickle.BINUNICODE, 4),
        (pickle.BINSTRING, 4),
        (pickle.FRAME, 8),
    ],
)
def test_oversized_length_is_refused(tmp_path: pathlib.Path, opcode: bytes, width: int) -> None:
    for claim in (b"\xff" * (width - 1) + b"\x7f", b"\xff" * width):
        message = refusal_of_bytes(tmp_path, HEADER + opcode + claim + b"abc" + pickle.STOP)
        assert f"claims {int.from_bytes(claim, 'little')} bytes where 4 are left" in message


def test_large_memo_index_costs_nothing(tmp_path: pathlib.Path) -> None:
    data = HEADER + pickle.NONE + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f" + pickle.STOP
    assert "NoneType instead of a dict" in refusal_of_bytes(tmp_path, data)


@pytest.mark.parametrize(
    "stream",
    [
        pickle.BINGET + b"\1",
        pickle.TUPLE3,
        pickle.TUPLE,
        pickle.POP_MARK,
        pickle.REDUCE,
        pickle.APPEND,
        pickle.MARK,
        pickle.NONE + pickle.NONE,
        pickle.SHORT_BINUNICODE + b"\1\xff",
        pickle.EMPTY_DICT + pickle.MARK + pickle.NONE + pickle.SETITEMS,
        pickle.EMPTY_LIST + pickle.MARK + pickle.NONE + pickle.ADDITEMS,
        pickle.NONE + pickle.NONE + pickle.APPEND,
        pickle.GLOBAL + b"os\n" + b"x" * 1000,
        pickle.GLOBAL + b"\xff\nx\n",
        pickle.NONE + pickle.NONE + pickle.STACK_GLOBAL,
        pickle.LONG1 + b"\xff" + b"\1" * 255,
    ],
)
def test_malformed_stream_is_refused(tmp_path: pathlib.Path, stream: bytes) -> None:
    refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


@pytest.mark.parametrize("wrap", [pickle.TUPLE1, pickle.MARK + pickle.TUPLE])
def test_deep_nesting_is_refused(tmp_path: pathlib.Path, wrap: bytes) -> None:
    count = MAX_OPERATIONS // 4
    if wrap == pickle.TUPLE1:
        stream = pickle.EMPTY_TUPLE + wrap * count
    else:
        stream = pickle.MARK * count + pickle.NONE + pickle.TUPLE * count
    assert "tuple instead of a dict" in refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


def test_deeply_nested_containers_and_stand_ins_are_refused(tmp_path: pathlib.Path) -> None:
    count = MAX_OPERATIONS // 8
    lists = pickle.EMPTY_LIST * count + pickle.APPEND * (count - 1)
    dicts = (pickle.EMPTY_DICT + pickle.NONE) * count + pickle.EMPTY_DICT + pickle.SETITEM * count
    stand_in = pickle.GLOBAL + b"omegaconf.nodes\nAnyNode\n" + pickle.BINPUT + b"\0" + pickle.POP
    new = pickle.BINGET + b"\0" + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    for stream in (lists, dicts, stand_in + new * count + pickle.BUILD * (count - 1)):
        refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


def test_deeply_nested_key_is_refused(tmp_path: pathlib.Path) -> None:
    nested = pickle.EMPTY_TUPLE + pickle.TUPLE1 * 200_000
    stream = pickle.EMPTY_DICT + nested + pickle.NONE + pickle.SETITEM
    assert "the key <tuple>" in refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


@pytest.mark.parametrize("opcode", [pickle.EMPTY_SET, pickle.EMPTY_DICT, pickle.MARK, pickle.NONE + pickle.MEMOIZE])
def test_endless_stream_is_refused(tmp_path: pathlib.Path, opcode: bytes) -> None:
    message = refusal_of_bytes(tmp_path, HEADER + opcode * (2 * MAX_OPERATIONS))
    assert f"more than {MAX_OPERATIONS} pickle operations" in message


def test_repeated_storage_headers_count_as_operations(tmp_path: pathlib.Path) -> None:
    again = pickle.BINGET + b"\0" + pickle.BINGET + b"\1" + pickle.REDUCE + pickle.POP
    body = official_format.opcodes_of(storage())
    start = pickle.GLOBAL + b"torch.storage\n_load_from_bytes\n" + pickle.LONG_BINPUT + b"\0\0\0\0"
    position = body.index(pickle.BINBYTES)
    blob = body[position : position + 5 + int.from_bytes(body[position + 1 : position + 5], "little")]
    stream = HEADER + start + blob + pickle.TUPLE1 + pickle.LONG_BINPUT + b"\1\0\0\0" + pickle.POP + again * 190_000
    assert "pickle operations" in refusal_of_bytes(tmp_path, stream + pickle.NONE + pickle.STOP)


def test_text_beyond_the_limit_is_refused(tmp_path: pathlib.Path) -> None:
    text = "\U0001f600".encode() + b"a" * (2**24 - 4)
    stream = (pickle.BINUNICODE + struct.pack("<I", len(text)) + text + pickle.MEMOIZE) * 5
    assert "bytes of text" in refusal_of_bytes(tmp_path, HEADER + stream + pickle.STOP)


def test_colliding_or_long_keys_are_refused(tmp_path: pathlib.Path) -> None:
    prime = 2**61 - 1
    assert "the key <int>" in refusal_of(tmp_path, {prime * index: None for index in range(1, 100)})
    assert "the key aaa" in refusal_of(tmp_path, {"a" * 2000: None})


def test_tensor_beyond_its_storage_is_refused(tmp_path: pathlib.Path) -> None:
    views = [((5,), (1,), 0), ((4,), (1,), 1), ((2, 2), (3, 1), 0), ((2,), (2**62,), 0), ((0,), (1,), 5)]
    for size, stride, offset in views:
        view = official_format.tensor(storage(), size, stride, offset)
        assert "of a storage that has 4" in refusal_of(tmp_path, checkpoint_with_buffers(x=view))


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ((2,), (-1,), 3),
        ((-2,), (1,), 0),
        ((2,), (1,), -1),
        ((2,), (1, 1), 0),
        ((2.0,), (1,), 0),
        ((True,), (1,), 0),
        ((1,) * 100, (1,) * 100, 0),
        ((2**80,), (0,), 0),
        ([2], [1], 0),
    ],
)
def test_malformed_shape_is_refused(tmp_path: pathlib.Path, size: Any, stride: Any, offset: int) -> None:
    message = refusal_of(tmp_path, checkpoint_with_buffers(x=official_format.tensor(storage(), size, stride, offset)))
    assert "a tensor has" in message


@pytest.mark.parametrize("size", [(2**40,), (2**31, 2**31), (0, 2**62), (2**62,)])
def test_expanded_giant_is_refused(tmp_path: pathlib.Path, size: tuple[int, ...]) -> None:
    giant = official_format.tensor(storage(), size, (0,) * len(size))
    assert "out of proportion to a file" in refusal_of(tmp_path, checkpoint_with_buffers(x=giant))


def test_many_views_of_one_storage_are_refused(tmp_path: pathlib.Path) -> None:
    large = storage(2**20)
    views = {f"view{index}": official_format.tensor(large, (2,), (2**20 - 1,)) for index in range(1000)}
    assert "out of proportion to a file" in refusal_of(tmp_path, checkpoint_with_buffers(**views))


def test_storage_with_false_length_is_refused(tmp_path: pathlib.Path) -> None:
    for claim in (2**20, 2**59, 2**62, -1):
        fake = Storage(np.zeros(4, np.float32))
        header = official_format.legacy_header(fake)[0]
        header = header.replace(b"K\x04", b"\x8a\x08" + struct.pack("<q", claim))
        data = header + struct.pack("<q", claim) + bytes(16)
        message = refusal_of(tmp_path, {"G": Call(Global("torch.storage", "_load_from_bytes"), (data,))})
        assert "bytes are claimed where 16 are left" in message or "impossible number of elements" in message


def test_storage_whose_two_lengths_differ_is_refused(tmp_path: pathlib.Path) -> None:
    header = official_format.legacy_header(Storage(np.zeros(4, np.float32)))[0]
    data = header + struct.pack("<q", 3) + bytes(12)
    message = refusal_of(tmp_path, {"G": Call(Global("torch.storage", "_load_from_bytes"), (data,))})
    assert "claims 3 elements, its header 4" in message


def test_web_page_is_refused(tmp_path: pathlib.Path) -> None:
    message = refusal_of_bytes(tmp_path, b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>")
    assert "not an official network pickle: it starts with b'<!DOCTYPE html><'" in message


@pytest.mark.parametrize("read", [safe_pickle.read_official_checkpoint, safe_pickle.read_torch_state_dict])
def test_path_that_is_no_file_is_refused(tmp_path: pathlib.Path, read: Reader) -> None:
    (tmp_path / "empty.pkl").touch()
    os.mkfifo(tmp_path / "pipe")
    assert "the file is empty" in refusal(tmp_path / "empty.pkl", read)
    assert "a directory, not a checkpoint file" in refusal(tmp_path, read)
    assert "No such file" in refusal(tmp_path / "missing.pkl", read)
    assert "a special file" in refusal(tmp_path / "pipe", read)


def test_tensorflow_network_pickle_is_refused_by_class(tmp_path: pathlib.Path) -> None:
    network = Call(Global("dnnlib.tflib.network", "Network"), new=True, state={"version": 4, "name": "Gs"})
    assert "refers to dnnlib.tflib.network.Network," in refusal_of(tmp_path, (network, network, network))


def test_other_stylegan2_networks_decode(tmp_path: pathlib.Path) -> None:
    arrays = {"synthesis.b4.const": np.ones((2, 4, 4), np.float32), "mapping.w_avg": np.ones(2, np.float32)}
    network = official_format.network("GeneratorV2", arrays, ["synthesis.b4.const"], {"z_dim": 512})
    root = official_format.official_checkpoint(dict.fromkeys(("G", "D", "G_ema"), network))
    official_format.write_official_checkpoint(tmp_path / "a.pkl", root)
    checkpoint = safe_pickle.read_official_checkpoint(tmp_path / "a.pkl")
    assert checkpoint.networks["G"].class_name == "GeneratorV2"


def test_self_referential_root_is_refused(tmp_path: pathlib.Path) -> None:
    root: list[object] = []
    root.append(root)
    assert "list instead of a dict" in refusal_of(tmp_path, root)


def test_self_referential_arguments_are_refused(tmp_path: pathlib.Path) -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    state = official_format.module_state({}, {}, {}, _init_args=(), _init_kwargs=loop)
    assert "contains itself" in refusal_of(tmp_path, checkpoint_of_state(state))


def test_self_referential_modules_are_refused(tmp_path: pathlib.Path) -> None:
    modules = official_format.Call(Global("torch.nn.modules.container", "ModuleList"), new=True)
    modules.state = official_format.module_state({}, {}, {"0": modules})
    state = official_format.module_state({}, {}, {"list": modules}, _init_args=(), _init_kwargs={})
    assert "contains itself" in refusal_of(tmp_path, checkpoint_of_state(state))


def test_two_tensors_of_one_name_are_refused(tmp_path: pathlib.Path) -> None:
    weight = official_format.tensor(Storage(np.ones(1, np.float32)), (1,))
    official_format.write_torch_zip(tmp_path / "a.pth", {"a.b": weight, "a": {"b": weight}})
    assert "two tensors of the name a.b" in refusal(tmp_path / "a.pth", safe_pickle.read_torch_state_dict)


def test_self_referential_state_dict_is_refused(tmp_path: pathlib.Path) -> None:
    loop: dict[str, object] = {}
    loop["loop"] = loop
    official_format.write_torch_zip(tmp_path / "a.pth", loop)
    assert "contains itself" in refusal(tmp_path / "a.pth", safe_pickle.read_torch_state_dict)


def test_exponentially_shared_arguments_are_refused(tmp_path: pathlib.Path) -> None:
    value: list[object] = [1]
    for _ in range(50):
        value = [value, value]
    state = official_format.module_state({}, {}, {}, _init_args=(), _init_kwargs={"value": value})
    assert "there are more than 100000 entries" in refusal_of(tmp_path, checkpoint_of_state(state))


@pytest.mark.parametrize("name", ["", "a.b", 7])
def test_tensor_name_that_is_no_name_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    buffers = {name: official_format.official_tensor(np.ones(1, np.float32))}
    state = official_format.module_state({}, buffers, {}, _init_args=(), _init_kwargs={})
    assert "which is no name" in refusal_of(tmp_path, checkpoint_of_state(state))


@pytest.mark.parametrize("change", [{"type": "function"}, {"version": 5}, {"class_name": 3}, {"state": None}])
def test_unknown_persistent_object_is_refused(tmp_path: pathlib.Path, change: dict[str, object]) -> None:
    network = network_of_state({})
    network.arguments = (network.arguments[0] | change,)
    assert "persistent object" in refusal_of(tmp_path, {"G": network})


@pytest.mark.parametrize("code", ["O", "V8", "U4", "f16", "M8"])
def test_other_numpy_data_types_are_refused(tmp_path: pathlib.Path, code: str) -> None:
    scalar = Call(Global("numpy", "dtype"), (code, False, True))
    assert f"data type {code} is no scalar type" in refusal_of(tmp_path, scalar)


def test_bytes_behind_the_pickle_are_refused(tmp_path: pathlib.Path) -> None:
    data = official_format.dumps(checkpoint_with_buffers()) + b"more"
    assert "4 bytes follow the end" in refusal_of_bytes(tmp_path, data)


def test_zip_without_pickle_is_refused(tmp_path: pathlib.Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "holds 0 data.pkl" in refusal_of_bytes(tmp_path, file.getvalue(), safe_pickle.read_torch_state_dict)


def test_zip_with_huge_directory_is_refused(tmp_path: pathlib.Path) -> None:
    entry = b"PK\1\2" + bytes(42)
    data = b"PK\3\4" + bytes(26) + entry * 2_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 46 * 2_000_000, 30, 0)
    assert "zip directory claims" in refusal_of_bytes(tmp_path, data + end, safe_pickle.read_torch_state_dict)


def test_zip_storage_of_another_length_is_refused(tmp_path: pathlib.Path) -> None:
    fake = Storage(np.zeros(4, np.float32))
    path = tmp_path / "a.pth"
    official_format.write_torch_zip(path, {"x": official_format.tensor(fake, (4,))})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:8] if "/data/" in name else data)
    assert "claims 16 bytes, the archive holds 8 bytes" in refusal(path, safe_pickle.read_torch_state_dict)


def test_file_of_false_size_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sparse.pkl"
    for size, expected in ((2**33, "the byte 0x00 at byte"), (2**40, "no network file is larger than")):
        with path.open("wb") as file:
            file.write(HEADER + pickle.BINBYTES8 + struct.pack("<Q", size - 12))
            file.truncate(size)
        assert expected in refusal(path)
