"""Writes the file formats that the importers read, without PyTorch: values for a small pickle writer of our own.

`network` and `write_official_checkpoint` turn state_dicts into an official network pickle, `write_torch_zip` and
`write_torch_legacy` into what torch.save makes of them. The writer never imports what it names, so a test can write a
reference to any class or function.
"""

import dataclasses
import io
import itertools
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

MODULE_SRC = "raise RuntimeError('module_src was executed')\n"
_FRAME_BYTES = 64 * 2**10
_STORAGE_NAMES = {
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.int16): "ShortStorage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}
_keys = itertools.count(94420880214016)


@dataclasses.dataclass(frozen=True)
class Global:
    """A class or function by name."""

    module: str
    name: str


@dataclasses.dataclass(eq=False)
class Call:
    """`function(*arguments)` by REDUCE, or by NEWOBJ if `new`; then BUILD with `state`, SETITEMS with `items`."""

    function: Any
    arguments: Any = ()
    state: Any = None
    items: Mapping[Any, Any] | None = None
    new: bool = False


@dataclasses.dataclass(eq=False)
class Blob:
    """A byte string in parts, so that large arrays are written without a copy."""

    parts: list[Any]

    def __len__(self) -> int:
        return sum(memoryview(part).nbytes for part in self.parts)


@dataclasses.dataclass(eq=False)
class Storage:
    """A storage named by a persistent id; the container decides where its elements go."""

    array: np.ndarray
    location: str = "cpu"
    key: str = dataclasses.field(default_factory=lambda: str(next(_keys)))

    def identity(self) -> tuple[Any, ...]:
        """The first five fields of its persistent id."""
        kind = Global("torch", _STORAGE_NAMES[self.array.dtype])
        return ("storage", kind, self.key, self.location, self.array.size)


class PickleWriter:
    """Writes one value as a pickle stream of protocol 2 to 4, memoising and framing the way CPython does."""

    def __init__(self, file: BinaryIO, protocol: int = 4, zip_storages: bool = False) -> None:
        self.storages: dict[str, Storage] = {}
        self._file = file
        self._protocol = protocol
        self._zip_storages = zip_storages
        self._frame = io.BytesIO()
        self._memo: dict[Any, int] = {}
        self._kept_alive: list[Any] = []

    def dump(self, value: Any) -> None:
        """Writes the whole stream."""
        self._file.write(pickle.PROTO + bytes([self._protocol]))
        self._save(value)
        self._emit(pickle.STOP)
        self._flush()

    def _emit(self, *parts: bytes) -> None:
        for part in parts:
            self._frame.write(part)
        if self._frame.tell() > _FRAME_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = self._frame.getvalue()
        if self._protocol >= 4 and data:
            self._file.write(pickle.FRAME + struct.pack("<Q", len(data)))
        self._file.write(data)
        self._frame = io.BytesIO()

    def _recall(self, key: Any) -> bool:
        index = self._memo.get(key)
        if index is None:
            return False
        self._emit(pickle.BINGET + bytes([index]) if index < 256 else pickle.LONG_BINGET + struct.pack("<I", index))
        return True

    def _memoize(self, key: Any) -> None:
        index = self._memo[key] = len(self._memo)
        if self._protocol >= 4:
            self._emit(pickle.MEMOIZE)
        else:
            self._emit(pickle.BINPUT + bytes([index]) if index < 256 else pickle.LONG_BINPUT + struct.pack("<I", index))

    def _save(self, value: Any) -> None:
        if value is None or isinstance(value, bool | int | float):
            self._save_number(value)
        elif isinstance(value, str):
            self._save_text(value)
        elif isinstance(value, Global):
            self._save_global(value)
        elif isinstance(value, Storage):
            self._save_storage(value)
        elif not self._recall(id(value)):
            self._kept_alive.append(value)
            self._save_object(value)

    def _save_number(self, value: float | None) -> None:
        if value is None or isinstance(value, bool):
            self._emit({None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value])
        elif isinstance(value, float):
            self._emit(pickle.BINFLOAT, struct.pack(">d", value))
        elif 0 <= value < 256:
            self._emit(pickle.BININT1, bytes([value]))
        elif 0 <= value < 65536:
            self._emit(pickle.BININT2, struct.pack("<H", value))
        elif -(2**31) <= value < 2**31:
            self._emit(pickle.BININT, struct.pack("<i", value))
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self._emit(pickle.LONG1, bytes([len(data)]), data)

    def _save_text(self, value: str) -> None:
        if self._recall(value):
            return
        data = value.encode("utf-8", "surrogatepass")
        if self._protocol >= 4 and len(data) < 256:
            self._emit(pickle.SHORT_BINUNICODE, bytes([len(data)]), data)
        else:
            self._emit(pickle.BINUNICODE, struct.pack("<I", len(data)), data)
        self._memoize(value)

    def _save_global(self, value: Global) -> None:
        if self._recall(value):
            return
        if self._protocol >= 4:
            self._save(value.module)
            self._save(value.name)
            self._emit(pickle.STACK_GLOBAL)
        else:
            self._emit(pickle.GLOBAL, f"{value.module}\n{value.name}\n".encode())
        self._memoize(value)

    def _save_storage(self, value: Storage) -> None:
        self.storages[value.key] = value
        identity = value.identity()
        self._save(identity if self._zip_storages else (*identity, None))
        self._emit(pickle.BINPERSID)

    def _save_object(self, value: Any) -> None:
        if isinstance(value, dict | list | set):
            self._emit({dict: pickle.EMPTY_DICT, list: pickle.EMPTY_LIST, set: pickle.EMPTY_SET}[type(value)])
            self._memoize(id(value))
            self._save_items(value)
        elif isinstance(value, tuple):
            self._save_tuple(value)
        elif isinstance(value, bytes):
            self._save_blob(Blob([value]))
            self._memoize(id(value))
        elif isinstance(value, Blob):
            self._save_blob(value)
            self._memoize(id(value))
        elif isinstance(value, Call):
            self._save_call(value)
        else:
            raise TypeError(f"cannot write a {type(value).__name__}")

    def _save_items(self, value: Mapping[Any, Any] | Iterable[Any]) -> None:
        opcode = {list: pickle.APPENDS, set: pickle.ADDITEMS}.get(type(value), pickle.SETITEMS)
        items = list(itertools.chain(*value.items()) if isinstance(value, Mapping) else value)
        if items:
            self._emit(pickle.MARK)
            for item in items:
                self._save(item)
            self._emit(opcode)

    def _save_tuple(self, value: tuple[Any, ...]) -> None:
        short = {0: pickle.EMPTY_TUPLE, 1: pickle.TUPLE1, 2: pickle.TUPLE2, 3: pickle.TUPLE3}.get(len(value))
        if short is None:
            self._emit(pickle.MARK)
        for item in value:
            self._save(item)
        self._emit(short or pickle.TUPLE)
        if value:
            self._memoize(id(value))

    def _save_blob(self, value: Blob) -> None:
        length = len(value)
        if length < 256:
            head = pickle.SHORT_BINBYTES + bytes([length])
        elif length < 2**32:
            head = pickle.BINBYTES + struct.pack("<I", length)
        else:
            head = pickle.BINBYTES8 + struct.pack("<Q", length)
        if length < _FRAME_BYTES:
            self._emit(head, *(bytes(part) for part in value.parts))
            return
        self._flush()
        self._file.write(head)
        for part in value.parts:
            self._file.write(part)

    def _save_call(self, value: Call) -> None:
        self._save(value.function)
        self._save(value.arguments)
        self._emit(pickle.NEWOBJ if value.new else pickle.REDUCE)
        self._memoize(id(value))
        if value.items is not None:
            self._save_items(value.items)
        if value.state is not None:
            self._save(value.state)
            self._emit(pickle.BUILD)


def dumps(value: Any, protocol: int = 4) -> bytes:
    """The pickle stream of a value."""
    file = io.BytesIO()
    PickleWriter(file, protocol).dump(value)
    return file.getvalue()


def opcodes_of(value: Any) -> bytes:
    """The opcodes that push a value, without the header and STOP; for small values."""
    return dumps(value, 3)[2:-1]


def ordered_dict(items: Mapping[Any, Any] | None = None) -> Call:
    """A collections.OrderedDict."""
    return Call(Global("collections", "OrderedDict"), items=items)


def easy_dict(items: Mapping[str, Any]) -> Call:
    """A dnnlib.EasyDict."""
    return Call(Global("dnnlib.util", "EasyDict"), items=items, new=True)


def numpy_scalar(value: float, code: str = "f8") -> Call:
    """A NumPy scalar of little-endian byte order."""
    kind = Call(Global("numpy", "dtype"), (code, False, True), state=(3, "<", None, None, None, -1, -1, 0))
    return Call(Global("numpy.core.multiarray", "scalar"), (kind, np.array(value, f"<{code}").tobytes()))


def legacy_preamble() -> bytes:
    """The three streams in front of the object in the old torch.save format."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return b"".join(dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, system))


def legacy_header(root: Any) -> tuple[bytes, list[Storage]]:
    """The five streams of the old torch.save format, and the storages that follow in order."""
    file = io.BytesIO()
    writer = PickleWriter(file, 2)
    writer.dump(root)
    order = sorted(writer.storages)
    return legacy_preamble() + file.getvalue() + dumps(order, 2), [writer.storages[key] for key in order]


def storage_blob(storage: Storage) -> Call:
    """A storage within an official pickle: what torch.save writes into a byte string."""
    header, _ = legacy_header(storage)
    data = np.ascontiguousarray(storage.array).reshape(-1).view(np.uint8)
    parts = [header, struct.pack("<q", storage.array.size), data.data]
    return Call(Global("torch.storage", "_load_from_bytes"), (Blob(parts),))


def tensor(
    storage: Any, size: tuple[int, ...], stride: tuple[int, ...] | None = None, offset: int = 0, parameter: bool = False
) -> Call:
    """A tensor over `storage`: a `Storage` in torch.save files, a `storage_blob` in official pickles."""
    if stride is None:
        stride = tuple(int(np.prod(size[axis + 1 :], dtype=np.int64)) for axis in range(len(size)))
    arguments = (storage, offset, size, stride, False, ordered_dict())
    result = Call(Global("torch._utils", "_rebuild_tensor_v2"), arguments)
    if parameter:
        result = Call(Global("torch._utils", "_rebuild_parameter"), (result, True, ordered_dict()))
    return result


def official_tensor(array: np.ndarray, parameter: bool = False, location: str = "cpu") -> Call:
    """A contiguous tensor with its own storage, for official pickles."""
    return tensor(storage_blob(Storage(array, location)), array.shape, parameter=parameter)


def module_state(
    parameters: Mapping[str, Any], buffers: Mapping[str, Any], modules: Mapping[str, Any], **attributes: Any
) -> dict[str, Any]:
    """The `__dict__` of a torch.nn.Module."""
    hooks = {name: ordered_dict() for name in ("_backward_hooks", "_forward_hooks", "_state_dict_hooks")}
    return {
        "training": False,
        "_parameters": ordered_dict(parameters),
        "_buffers": ordered_dict(buffers),
        "_non_persistent_buffers_set": set(),
        **hooks,
        "_modules": ordered_dict(modules),
        **attributes,
    }


def persistent_object(class_name: str, state: Any, module_src: str = MODULE_SRC) -> Call:
    """An object of a class under torch_utils.persistence."""
    meta = {"type": "class", "version": 6, "module_src": module_src, "class_name": class_name, "state": state}
    return Call(Global("torch_utils.persistence", "_reconstruct_persistent_obj"), (meta,))


def network(
    class_name: str,
    arrays: Mapping[str, np.ndarray],
    parameter_names: Iterable[str],
    init_kwargs: Mapping[str, Any],
    **attributes: Any,
) -> Call:
    """A network with the given state_dict; each dot of a name opens a submodule."""
    parameter_names = frozenset(parameter_names)
    state = _nested_state("", arrays, parameter_names)
    state.update(_init_args=(), _init_kwargs=easy_dict(init_kwargs), **attributes)
    return persistent_object(class_name, state)


def _nested_state(prefix: str, arrays: Mapping[str, np.ndarray], parameter_names: frozenset[str]) -> dict[str, Any]:
    parameters, buffers, children = {}, {}, {}
    for name, array in arrays.items():
        if not name.startswith(prefix):
            continue
        head, dot, _ = name[len(prefix) :].partition(".")
        if dot:
            children[head] = None
        elif name in parameter_names:
            parameters[head] = official_tensor(array, parameter=True)
        else:
            buffers[head] = official_tensor(array)
    for head in children:
        child = _nested_state(f"{prefix}{head}.", arrays, parameter_names)
        children[head] = persistent_object("Submodule", child)
    return module_state(parameters, buffers, children)


def official_checkpoint(networks: Mapping[str, Any], augment_p: float | None = None) -> dict[str, Any]:
    """The dict that an official network pickle holds."""
    pipe = None
    if augment_p is not None:
        strength = official_tensor(np.array(augment_p, np.float32))
        pipe = persistent_object("AugmentPipe", module_state({}, {"p": strength}, {}))
    return {"training_set_kwargs": {"path": "data/set.zip", "resolution": 16}, **networks, "augment_pipe": pipe}


def write_official_checkpoint(path: pathlib.Path, root: Any) -> None:
    """Writes an official network pickle."""
    with path.open("wb") as file:
        PickleWriter(file).dump(root)


def state_dict_of(arrays: Mapping[str, np.ndarray]) -> Call:
    """A state_dict with its `_metadata`, for torch.save files."""
    result = ordered_dict({name: tensor(Storage(array), array.shape) for name, array in arrays.items()})
    result.state = {"_metadata": ordered_dict({"": {"version": 1}})}
    return result


def write_torch_zip(path: pathlib.Path, root: Any, compression: int = zipfile.ZIP_STORED) -> None:
    """Writes the zip format of torch.save."""
    stream = io.BytesIO()
    writer = PickleWriter(stream, 2, zip_storages=True)
    writer.dump(root)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/byteorder", "little")
        for key, storage in writer.storages.items():
            archive.writestr(f"archive/data/{key}", storage.array.tobytes())
        archive.writestr("archive/version", "3\n")


def write_torch_legacy(path: pathlib.Path, root: Any) -> None:
    """Writes the older format of torch.save."""
    header, storages = legacy_header(root)
    with path.open("wb") as file:
        file.write(header)
        for storage in storages:
            file.write(struct.pack("<q", storage.array.size))
            file.write(storage.array.tobytes())
