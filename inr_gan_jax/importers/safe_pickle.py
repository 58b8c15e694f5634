"""Reads official network pickles and torch.save files without PyTorch and without running anything they contain.

`restricted_unpickler` decodes the pickle streams: it knows a fixed list of classes and functions, replaces each by
inert data, and refuses every other one. The source text that official pickles carry is never looked at. Tensors are
views of the file until the structure is decoded and all claims are checked; then each is copied into its own array.
"""

import dataclasses
import hashlib
import os
import pathlib
import pickle  # for a constant only
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import CheckpointFormatError, open_checkpoint, shown
from inr_gan_jax.importers.restricted_unpickler import Budget, Globals, InertDict, StandIn, Stream, load
from inr_gan_jax.importers.torch_records import (
    STORAGE_TYPES,
    TENSOR_GLOBALS,
    copy_arrays,
    decode_legacy,
    load_from_bytes,
)
from inr_gan_jax.importers.torch_zip import ZIP_MAGIC, decode_zip

__all__ = [
    "CheckpointFormatError",
    "NetworkSnapshot",
    "OfficialCheckpoint",
    "read_official_checkpoint",
    "read_torch_state_dict",
]

PERSISTENCE_VERSION = 6
# Modules within modules, and containers within constructor arguments; the recorded files stay below 8.
MAX_DEPTH = 64
# Entries that one walk may visit: shared references make a small file look exponentially large.
MAX_ENTRIES = 100_000
# Of a dotted name; without it, long names at each level of nesting would add up.
MAX_NAME_LENGTH = 1024

_SCALAR_TYPES = frozenset({"b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"})


@dataclasses.dataclass(frozen=True)
class NetworkSnapshot:
    """One network of a checkpoint.

    Attributes:
        class_name: Name of its class, for instance 'Generator'.
        init_kwargs: Constructor arguments as plain Python containers and scalars.
        arrays: Dotted state_dict name -> array, parameters and persistent buffers, bit for bit as stored. They own
            their memory; tied parameters share one array.
    """

    class_name: str
    init_kwargs: dict[str, Any]
    arrays: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class OfficialCheckpoint:
    """An official network pickle.

    Attributes:
        path: Where it was read.
        sha256: Hexadecimal digest of the file.
        networks: 'G', 'D', 'G_ema' -> snapshot, as far as they were asked for.
        augment_p: Strength of the adaptive augmentation when the file was written, None without augmentation.
        training_set_kwargs: Description of the training set as plain Python containers and scalars.
    """

    path: pathlib.Path
    sha256: str
    networks: dict[str, NetworkSnapshot]
    augment_p: float | None
    training_set_kwargs: dict[str, Any]


def read_official_checkpoint(
    path: str | os.PathLike[str], networks: Sequence[str] = ("G_ema", "G", "D")
) -> OfficialCheckpoint:
    """Reads a network pickle of the official INR-GAN or StyleGAN2-ADA (PyTorch) code.

    Args:
        path: The .pkl file.
        networks: Which networks to load; the others are decoded, not loaded.

    Raises:
        CheckpointFormatError: The file is missing, damaged, no such pickle, or names a class that is not allowed.
    """
    with open_checkpoint(path) as data:
        root = _decode_official(data)
        records = {name: _network(root, name) for name in networks}
        found = {name: tensors_in(record, _module_entries) for name, record in records.items()}
        pipe = root.get("augment_pipe")
        strength = None if pipe is None else tensors_in(pipe, _module_entries).get("p")
        if pipe is not None and (strength is None or strength.shape != () or strength.dtype.kind != "f"):
            raise CheckpointFormatError("the augment_pipe has no scalar p")
        training_set = _plain_dict(root.get("training_set_kwargs", {}), "training_set_kwargs")
        arguments = {name: _init_kwargs(record, name) for name, record in records.items()}
        views = {f"{name}.{key}": view for name, own in found.items() for key, view in own.items()}
        arrays = copy_arrays(views, len(data))
        snapshots = {
            name: NetworkSnapshot(
                record.class_name, arguments[name], {key: arrays[f"{name}.{key}"] for key in found[name]}
            )
            for name, record in records.items()
        }
        augment_p = None if strength is None else float(strength)
        return OfficialCheckpoint(
            pathlib.Path(path), hashlib.sha256(data).hexdigest(), snapshots, augment_p, training_set
        )


def read_torch_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state_dict that torch.save wrote, in its zip format or the older one.

    Args:
        path: The .pth or .pt file.

    Returns:
        Name -> array, bit for bit as stored; names of nested dicts are joined by dots.

    Raises:
        CheckpointFormatError: The file is missing, damaged, compressed, or holds something else than tensors.
    """
    with open_checkpoint(path) as data:
        allowed = {**STORAGE_TYPES, **TENSOR_GLOBALS}
        if data[:4] == ZIP_MAGIC:
            root = decode_zip(path, data, allowed)
        else:
            _check_header(data, "a torch.save file")
            root = decode_legacy(data, allowed, Budget())
        if not isinstance(root, dict):
            raise CheckpointFormatError(f"the file holds a {type(root).__name__} instead of a state_dict")
        views = tensors_in(root, lambda value: value if isinstance(value, dict) else None)
        return copy_arrays(views, len(data))


class EntryCounter:
    """Bounds the entries that a walk over decoded data visits."""

    def __init__(self) -> None:
        self._left = MAX_ENTRIES

    def visit(self, name: str, depth: int) -> None:
        """Counts one entry.

        Raises:
            CheckpointFormatError: It is one too many or too deep, or its name is too long.
        """
        self._left -= 1
        if depth > MAX_DEPTH:
            raise CheckpointFormatError(f"{shown(name)} contains itself or is nested more than {MAX_DEPTH} deep")
        if self._left < 0 or len(name) > MAX_NAME_LENGTH:
            raise CheckpointFormatError(
                f"there are more than {MAX_ENTRIES} entries, or too long names, at {shown(name)}"
            )


def tensors_in(
    root: Any, entries_of: Callable[[Any], Mapping[Any, Any] | None], skip_others: bool = False
) -> dict[str, np.ndarray]:
    """Finds the tensors below a value.

    Args:
        root: Where to begin.
        entries_of: Returns the named entries of a value, None where it has none.
        skip_others: Whether leaves that are no tensors are left out; otherwise they are refused.

    Returns:
        Name -> view of the file, names of entries within entries joined by dots.
    """
    counter, found = EntryCounter(), {}

    def walk(value: Any, name: str, depth: int) -> None:
        counter.visit(name, depth)
        if type(value) is np.ndarray:
            if name in found:
                raise CheckpointFormatError(f"there are two tensors of the name {shown(name)}")
            found[name] = value
            return
        entries = entries_of(value)
        if entries is None and not skip_others:
            raise CheckpointFormatError(f"{shown(name)} is of type {type(value).__name__}, expected a tensor")
        for key, item in (entries or {}).items():
            if type(key) is not str or not key:
                raise CheckpointFormatError(f"an entry of {shown(name) or 'the file'} has the name {shown(key)!r}")
            walk(item, f"{name}.{key}" if name else key, depth + 1)

    walk(root, "", 0)
    return found


def _decode_official(data: memoryview) -> dict[Any, Any]:
    _check_header(data, "an official network pickle")
    stream = Stream(data, Budget())
    root = load(stream, OFFICIAL_GLOBALS)
    if stream.rest:
        raise CheckpointFormatError(f"{len(stream.rest)} bytes follow the end of the pickle stream")
    if not isinstance(root, dict):
        raise CheckpointFormatError(f"the pickle holds a {type(root).__name__} instead of a dict of networks")
    return root


def _check_header(data: memoryview, expected: str) -> None:
    start = bytes(data[:16])
    if start[0] != pickle.PROTO[0] or not 2 <= int.from_bytes(start[1:2]) <= pickle.HIGHEST_PROTOCOL:
        raise CheckpointFormatError(f"not {expected}: it starts with {start!r}")


def _network(root: Mapping[Any, Any], name: str) -> StandIn:
    record = root.get(name)
    if type(record) is not StandIn:
        found = sorted(shown(key) for key, value in root.items() if type(value) is StandIn)[:3]
        raise CheckpointFormatError(
            f"the file has no network {shown(name)}, it has {', '.join(found) or 'none at all'}"
        )
    return record


def _init_kwargs(record: StandIn, name: str) -> dict[str, Any]:
    if record.state.get("_init_args"):
        raise CheckpointFormatError(f"{name} was constructed with positional arguments")
    return _plain_dict(record.state.get("_init_kwargs"), f"{name}._init_kwargs")


def _module_entries(module: Any) -> dict[Any, Any]:
    """Parameters, persistent buffers and modules of a module, in the order of a state_dict."""
    state = module.state if type(module) is StandIn and isinstance(module.state, dict) else {}
    skipped = state.get("_non_persistent_buffers_set", set())
    parts = [state.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
    if not isinstance(skipped, set) or not all(isinstance(part, dict) for part in parts):
        raise CheckpointFormatError(f"a {type(module).__name__} lacks the state of a module")
    entries: dict[Any, Any] = {}
    for part in filter(None, parts):
        for key, value in part.items():
            if key in entries or (type(key) is str and "." in key):
                raise CheckpointFormatError(f"a module has two entries {shown(key)!r}, or one with a dot")
            if value is not None and not (part is parts[1] and key in skipped):
                entries[key] = value
    return entries


def _plain_dict(value: Any, where: str) -> dict[Any, Any]:
    """Copies decoded containers and scalars into plain Python ones; refuses anything else."""
    counter = EntryCounter()

    def plain(value: Any, depth: int) -> Any:
        counter.visit(where, depth)
        if isinstance(value, dict):
            return {key: plain(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return type(value)(plain(item, depth + 1) for item in value)
        if value is None or type(value) in (bool, int, float, str):
            return value
        raise CheckpointFormatError(f"{shown(where)} holds a {type(value).__name__} instead of plain data")

    if not isinstance(value, dict):
        raise CheckpointFormatError(f"{shown(where)} is a {type(value).__name__} instead of a dict")
    return plain(value, 0)


def _numpy_dtype(_budget: Budget, code: Any, _align: Any = False, _copy: Any = True) -> StandIn:
    if type(code) is not str or code not in _SCALAR_TYPES:
        raise CheckpointFormatError(f"the NumPy data type {shown(code)} is no scalar type of checkpoints")
    return StandIn(code)


def _numpy_scalar(_budget: Budget, kind: Any, data: Any) -> Any:
    """A NumPy scalar as a Python scalar."""
    if type(kind) is not StandIn or kind.class_name not in _SCALAR_TYPES:
        raise CheckpointFormatError("a NumPy scalar has no data type")
    if kind.state is not None and kind.state[1] not in ("<", "|", "="):
        raise CheckpointFormatError("a NumPy scalar has a data type that is not little-endian")
    dtype = np.dtype(f"<{kind.class_name}")
    if type(data) is not memoryview or len(data) != dtype.itemsize:
        raise CheckpointFormatError("a NumPy scalar does not have the length of its data type")
    return bytes(data) != b"\0" if dtype.kind == "b" else np.frombuffer(data, dtype)[0].item()


def _default_dict(_budget: Budget, _factory: Any = None) -> InertDict:
    return InertDict()


def _persistent_object(_budget: Budget, meta: Any) -> StandIn:
    """Stand-in of _reconstruct_persistent_obj, which would execute `module_src`; here it is never looked at."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or meta.get("version") != PERSISTENCE_VERSION:
        raise CheckpointFormatError(f"a persistent object is not described as a class of version {PERSISTENCE_VERSION}")
    name, state = meta.get("class_name"), meta.get("state")
    if type(name) is not str or not isinstance(state, dict):
        raise CheckpointFormatError(f"the persistent object {shown(name)} has no name or no state")
    return StandIn(name, state)


# Every global that was seen in official files; whatever is missing here is refused by name.
OFFICIAL_GLOBALS: Globals = {
    **TENSOR_GLOBALS,
    "torch.storage._load_from_bytes": load_from_bytes,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent_object,
    "collections.defaultdict": _default_dict,
    "numpy.dtype": _numpy_dtype,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy._core.multiarray.scalar": _numpy_scalar,
    "dnnlib.util.EasyDict": InertDict,
    "torch.nn.modules.container.ModuleList": StandIn,
    # Configuration objects are decoded and ignored: the constructor arguments are stored as plain dicts too.
    "omegaconf.base.ContainerMetadata": StandIn,
    "omegaconf.base.Metadata": StandIn,
    "omegaconf.dictconfig.DictConfig": StandIn,
    "omegaconf.nodes.AnyNode": StandIn,
    # Mentioned, never called.
    "builtins.dict": "builtins.dict",
    "typing.Any": "typing.Any",
}
