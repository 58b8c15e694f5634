"""Mutated files and opcode soups: they decode or are refused by one sentence; nothing else may come out.

    INR_GAN_FUZZ_EXAMPLES=3000 python -m pytest tests/importers/test_safe_pickle_fuzz.py

runs that many inputs in each test.
"""

import functools
import os
import pathlib
import pickle
import tempfile
from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from inr_gan_jax.importers import safe_pickle
from inr_gan_jax.importers.safe_pickle import OFFICIAL_GLOBALS
from inr_gan_jax.importers.torch_records import STORAGE_TYPES
from tests.importers import limits, official_format

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("INR_GAN_FUZZ_EXAMPLES", "150"))
FORMATS = ("official", "zip", "legacy")
fuzz = hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)


@functools.cache
def valid_file(kind: str) -> bytes:
    """A small file that has one of everything."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        if kind == "official":
            kwargs = {"scale": official_format.numpy_scalar(0.5), "cfg": official_format.easy_dict({"a": [1, (2,)]})}
            node = official_format.Global("omegaconf.nodes", "AnyNode")
            config = official_format.Call(node, new=True, state={"_val": 1})
            names = {"fc.weight": array, "w_avg": array[0]}
            network = official_format.network("Generator", names, ["fc.weight"], kwargs, cfg=config)
            root = official_format.official_checkpoint(dict.fromkeys(("G", "D", "G_ema"), network), augment_p=0.25)
            official_format.write_official_checkpoint(path, root)
        else:
            writers = {"zip": official_format.write_torch_zip, "legacy": official_format.write_torch_legacy}
            arrays = {"weight": array, "flags": array > 1, "half": array.astype(np.float16)}
            writers[kind](path, official_format.state_dict_of(arrays))
        return path.read_bytes()


def try_to_read(kind: str, data: bytes) -> None:
    """Reads `data` as a file of one of the formats; fails if anything but CheckpointFormatError comes out."""
    read: Callable[[pathlib.Path], object]
    read = safe_pickle.read_official_checkpoint if kind == "official" else safe_pickle.read_torch_state_dict
    path = pathlib.Path(tempfile.gettempdir()) / f"fuzz-{os.getpid()}"
    path.write_bytes(data)
    with limits.within_limits():
        try:
            read(path)
        except safe_pickle.CheckpointFormatError as error:
            limits.assert_one_sentence(str(error), path)
    path.unlink()


@pytest.mark.parametrize("kind", FORMATS)
@hypothesis.given(data=st.data())
@fuzz
def test_changed_files_decode_or_are_refused(kind: str, data: st.DataObject) -> None:
    content = valid_file(kind)
    start, stop, target = (data.draw(st.integers(0, len(content) - 1)) for _ in range(3))
    match data.draw(st.sampled_from(("flip", "cut", "copy", "insert", "truncate"))):
        case "flip":
            content = content[:start] + bytes([data.draw(st.integers(0, 255))]) + content[start + 1 :]
        case "cut":
            content = content[:start] + content[max(start, stop) :]
        case "copy":
            content = content[:target] + content[start : start + 200] + content[target:]
        case "insert":
            soup = b"".join(data.draw(st.lists(st.sampled_from(opcode_pieces()), max_size=5)))
            content = content[:target] + soup + content[target + data.draw(st.integers(0, 8)) :]
        case "truncate":
            content = content[:target]
    try_to_read(kind, content)


@functools.cache
def opcode_pieces() -> list[bytes]:
    """Every opcode with a plausible argument, and every permitted name."""
    arguments = {
        'BININT': b'\1\0\0\0', 'BININT1': b'\3', 'BININT2': b'\1\1', 'LONG1': b'\1\5', 'BINFLOAT': bytes(8),
        'SHORT_BINUNICODE': b'\1G', 'BINUNICODE': b'\1\0\0\0p', 'BINUNICODE8': b'\1' + bytes(7) + b'q',
        'SHORT_BINBYTES': b'\2ab', 'BINBYTES': b'\1\0\0\0a', 'BINBYTES8': b'\1' + bytes(7) + b'b',
        'BINGET': b'\0', 'LONG_BINGET': b'\1\0\0\0', 'BINPUT': b'\0', 'LONG_BINPUT': b'\1\0\0\0', 'FRAME': bytes(8),
        'SHORT_BINSTRING': b'\1s', 'BINSTRING': b'\1\0\0\0s', 'PROTO': b'\4', 'GLOBAL': b'os\nsystem\n', 'EXT1': b'\1',
    }  # fmt: skip
    opcodes = [name for name in pickle.__all__ if name.isupper() and isinstance(getattr(pickle, name), bytes)]
    pieces = [getattr(pickle, name) + arguments.get(name, b"") for name in opcodes]
    allowed = {**OFFICIAL_GLOBALS, **STORAGE_TYPES}
    pieces += [pickle.GLOBAL + "{}\n{}\n".format(*path.rsplit(".", 1)).encode() for path in allowed]
    texts = ("storage", "0", "cpu", "_modules", "_parameters", "_buffers", "G", "f4", "state", "class", "latin1")
    pieces += [pickle.SHORT_BINUNICODE + bytes([len(text)]) + text.encode() for text in texts]
    storage = official_format.storage_blob(official_format.Storage(np.ones(4, np.float32)))
    tensor = official_format.tensor(storage, (2, 2))
    samples = ({"a": 1}, [1, 2], ("a",), official_format.ordered_dict(), storage, tensor)
    return pieces + [official_format.opcodes_of(value) for value in samples]


@pytest.mark.parametrize("kind", ["official", "legacy"])
@hypothesis.given(data=st.data())
@fuzz
def test_opcode_soups_decode_or_are_refused(kind: str, data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.sampled_from(opcode_pieces()), max_size=40))
    soup = b"".join(pieces)
    content = pickle.PROTO + b"\4" + soup + pickle.STOP
    try_to_read(kind, content if kind == "official" else official_format.legacy_preamble() + content)


def values() -> st.SearchStrategy[Any]:
    """Whatever a stream can describe with permitted names, mostly with arguments that do not fit."""
    names = [official_format.Global(*path.rsplit(".", 1)) for path in OFFICIAL_GLOBALS]
    array = np.arange(4, dtype=np.float32)
    storage = official_format.storage_blob(official_format.Storage(array))
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 5),
        st.sampled_from([2**31, 2**62, 2**63, -(2**63), 2**80]),
        st.floats(),
        st.sampled_from(KEYS),
        st.binary(max_size=8),
        st.sampled_from(names),
        st.builds(lambda: storage),
        st.builds(lambda: official_format.official_tensor(array)),
        st.builds(lambda size, stride: official_format.tensor(storage, tuple(size), tuple(stride)), SIZES, SIZES),
    )
    return st.recursive(leaves, containers, max_leaves=12)


KEYS = ["_parameters", "_buffers", "_modules", "_init_kwargs", "_init_args", "_non_persistent_buffers_set", "p", "G"]
KEYS += ["type", "class", "version", "class_name", "state", "augment_pipe", "training_set_kwargs", "f8", "<", ""]
SIZES = st.lists(st.integers(-1, 5), max_size=4)


def containers(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Containers, calls and objects of `children`."""
    names = [official_format.Global(*path.rsplit(".", 1)) for path in OFFICIAL_GLOBALS]
    items = st.dictionaries(st.one_of(st.sampled_from(KEYS), st.integers(-2, 2), st.none()), children, max_size=4)
    arguments = st.lists(children, max_size=6).map(tuple)
    calls = st.builds(
        official_format.Call,
        st.one_of(st.sampled_from(names), children),
        st.one_of(arguments, children),
        st.one_of(st.none(), children, items),
        st.one_of(st.none(), items),
        st.booleans(),
    )
    return st.one_of(st.lists(children, max_size=4), arguments, items, calls, items.map(official_format.ordered_dict))


@hypothesis.given(where=st.integers(0, 3), key=st.sampled_from(KEYS), value=values())
@fuzz
def test_values_of_wrong_kinds_decode_or_are_refused(where: int, key: str, value: Any) -> None:
    tensor = official_format.official_tensor(np.ones(2, np.float32), parameter=True)
    state: Any = official_format.module_state({"weight": tensor}, {}, {}, _init_args=(), _init_kwargs={"z_dim": 2})
    changed = {key: value}
    inner = state | changed if where == 0 else state
    modules = {"fc": official_format.persistent_object("Layer", inner), **(changed if where == 1 else {})}
    state["_modules"] = official_format.ordered_dict(modules)
    network = official_format.persistent_object("Generator", state)
    if where == 2:
        network.arguments = (network.arguments[0] | changed,)
    root = official_format.official_checkpoint(dict.fromkeys(("G", "D", "G_ema"), network), augment_p=0.5)
    try_to_read("official", official_format.dumps(root | (changed if where == 3 else {})))
