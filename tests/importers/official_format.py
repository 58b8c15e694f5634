"""Writes the file formats that the importers read, without PyTorch: values for the pickler of the standard library.

`network` and `write_official_checkpoint` turn state_dicts into an official network pickle, `write_torch_zip` and
`write_torch_legacy` into what torch.save makes of them. Nothing that is named is imported, so a test can write a
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
from typing import Any, BinaryIO, ClassVar

import ml_dtypes
import numpy as np

MODULE_SRC = "raise RuntimeError('module_src was executed')\n"
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
class Storage:
    """A storage named by a persistent id; the container decides where its elements go."""

    array: np.ndarray
    location: str = "cpu"
    key: str = dataclasses.field(default_factory=lambda: str(next(_keys)))


class PickleWriter(pickle._Pickler):
    """The pickler of the standard library, which also writes the values above."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def __init__(self, file: BinaryIO, protocol: int = 4, zip_storages: bool = False) -> None:
        super().__init__(file, protocol)
        self.storages: dict[str, Storage] = {}
        self._zip_storages = zip_storages

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        if not isinstance(obj, Storage):
            return None
        self.storages[obj.key] = obj
        kind = Global("torch", _STORAGE_NAMES[obj.array.dtype])
        identity = ("storage", kind, obj.key, obj.location, obj.array.size)
        return identity if self._zip_storages else (*identity, None)

    def _save_name(self, value: Global) -> None:
        if self.proto >= 4:
            self.save(value.module)
            self.save(value.name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        self.memoize(value)

    def _save_call(self, value: Call) -> None:
        self.save(value.function)
        self.save(value.arguments)
        self.write(pickle.NEWOBJ if value.new else pickle.REDUCE)
        self.memoize(value)
        if value.items:
            self.write(pickle.MARK)
            for item in itertools.chain(*value.items.items()):
                self.save(item)
            self.write(pickle.SETITEMS)
        if value.state is not None:
            self.save(value.state)
            self.write(pickle.BUILD)

    dispatch |= {Global: _save_name, Call: _save_call}


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


def torch_legacy(root: Any) -> bytes:
    """What torch.save wrote in its older format."""
    header, storages = legacy_header(root)
    return header + b"".join(struct.pack("<q", storage.array.size) + storage.array.tobytes() for storage in storages)


def storage_blob(storage: Storage) -> Call:
    """A storage within an official pickle: what torch.save writes into a byte string."""
    return Call(Global("torch.storage", "_load_from_bytes"), (torch_legacy(storage),))


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
    path.write_bytes(torch_legacy(root))
