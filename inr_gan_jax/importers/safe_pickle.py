"""Reads official network pickles and torch.save files without PyTorch and without running anything they contain.

The pickle streams are interpreted by `pickle_machine`, which knows a fixed list of classes and functions, replaces each
by inert data, and refuses every other one. The source text that official pickles carry is never looked at. Tensors stay
in the file until the structure is decoded and all their claims are checked; then each is read once, into its own array.
"""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import (
    ByteSource,
    CheckpointFormatError,
    open_checkpoint,
    shown,
)
from inr_gan_jax.importers.inert_objects import StandIn
from inr_gan_jax.importers.official_globals import OFFICIAL_GLOBALS
from inr_gan_jax.importers.pickle_machine import MAX_PROTOCOL, Budget, PickleMachine
from inr_gan_jax.importers.torch_records import STORAGE_TYPES, TENSOR_GLOBALS, TensorRecord, decode_legacy
from inr_gan_jax.importers.torch_zip import decode_zip

__all__ = [
    "CheckpointFormatError",
    "NetworkSnapshot",
    "OfficialCheckpoint",
    "read_official_checkpoint",
    "read_torch_state_dict",
]

# Modules within modules, and containers within constructor arguments; the recorded files stay below 8.
MAX_DEPTH = 64
# Entries that one walk may visit: shared references make a small file look exponentially large.
MAX_ENTRIES = 100_000
# Of a dotted name; without it, long names at each level of nesting would add up.
MAX_NAME_LENGTH = 1024
# Arrays may take this many bytes above twice the file: expanded views and tied weights are small or few.
SPARE_ARRAY_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class NetworkSnapshot:
    """One network of a checkpoint.

    Attributes:
        class_name: Name of its class, for instance 'Generator'.
        init_kwargs: Constructor arguments as plain Python containers and scalars.
        arrays: Dotted state_dict name -> array, parameters and persistent buffers, bit for bit as stored. They own
            their memory; tied parameters share one array.
        parameter_names: Which of `arrays` are parameters.
    """

    class_name: str
    init_kwargs: dict[str, Any]
    arrays: dict[str, np.ndarray]
    parameter_names: frozenset[str]


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
    with open_checkpoint(path) as source:
        root = _decode_official(source)
        loader = ArrayLoader(source.size)
        plans = {name: _plan_network(root, name, loader) for name in networks}
        augment_p = _augment_strength(root.get("augment_pipe"), loader)
        training_set = _plain(root.get("training_set_kwargs", {}), "training_set_kwargs")
        if not isinstance(training_set, dict):
            raise CheckpointFormatError(f"training_set_kwargs is a {type(training_set).__name__} instead of a dict")
        # Hashing and reading take turns on the disk but run on two cores; both start when nothing can be refused.
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            digest = executor.submit(_sha256, pathlib.Path(path), source)
            snapshots = {name: plan.load(loader) for name, plan in plans.items()}
        return OfficialCheckpoint(pathlib.Path(path), digest.result(), snapshots, augment_p, training_set)


def read_torch_state_dict(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state_dict that torch.save wrote, in its zip format or the older one.

    Args:
        path: The .pth or .pt file.

    Returns:
        Name -> array, bit for bit as stored; names of nested dicts are joined by dots.

    Raises:
        CheckpointFormatError: The file is missing, damaged, compressed, or holds something else than tensors.
    """
    with open_checkpoint(path) as source:
        allowed = {**STORAGE_TYPES, **TENSOR_GLOBALS}
        if source.span().part(0, min(4, source.size)).read() == b"PK\3\4":
            root = decode_zip(source, allowed, Budget())
        else:
            _check_header(source, "a torch.save file")
            root = decode_legacy(source.span(), source, allowed, Budget())
        if not isinstance(root, dict):
            raise CheckpointFormatError(f"the file holds a {type(root).__name__} instead of a state_dict")
        loader = ArrayLoader(source.size)
        tensors: dict[str, TensorRecord] = {}
        for name, tensor in _flatten(root, "", EntryCounter(), 0):
            if name in tensors:
                raise CheckpointFormatError(f"the state_dict has two tensors of the name {shown(name)}")
            loader.reserve(name, tensor)
            tensors[name] = tensor
        return {name: loader.load(tensor) for name, tensor in tensors.items()}


@dataclasses.dataclass(frozen=True)
class _NetworkPlan:
    """A network whose tensors are checked and not yet read."""

    class_name: str
    init_kwargs: dict[str, Any]
    parameters: dict[str, TensorRecord]
    buffers: dict[str, TensorRecord]

    def load(self, loader: "ArrayLoader") -> NetworkSnapshot:
        tensors = {**self.parameters, **self.buffers}
        arrays = {name: loader.load(tensor) for name, tensor in tensors.items()}
        return NetworkSnapshot(self.class_name, self.init_kwargs, arrays, frozenset(self.parameters))


class ArrayLoader:
    """Reads tensors, each one once, and refuses arrays that are out of proportion to the file."""

    def __init__(self, file_size: int) -> None:
        self._bytes_left = 2 * file_size + SPARE_ARRAY_BYTES
        self._file_size = file_size
        # Keyed by identity; the values keep the tensors alive, so that no identity is used twice.
        self._reserved: dict[int, TensorRecord] = {}
        self._arrays: dict[int, np.ndarray] = {}

    def reserve(self, name: str, tensor: TensorRecord) -> None:
        """Checks that there is room for a tensor, before anything is allocated."""
        if id(tensor) in self._reserved:
            return
        self._reserved[id(tensor)] = tensor
        self._bytes_left -= tensor.cost()
        if self._bytes_left < 0:
            raise CheckpointFormatError(
                f"the tensor {shown(name)} of shape {shown(str(tensor.size))} claims memory "
                f"out of proportion to a file of {self._file_size} bytes"
            )

    def load(self, tensor: TensorRecord) -> np.ndarray:
        """The array of a reserved tensor."""
        if id(tensor) not in self._arrays:
            self._arrays[id(tensor)] = tensor.load()
        return self._arrays[id(tensor)]


class EntryCounter:
    """Bounds the entries that a walk over a decoded graph visits."""

    def __init__(self) -> None:
        self._left = MAX_ENTRIES

    def visit(self, name: str, depth: int) -> None:
        self._left -= 1
        if depth > MAX_DEPTH:
            raise CheckpointFormatError(f"{shown(name)} contains itself or is nested more than {MAX_DEPTH} deep")
        if self._left < 0:
            raise CheckpointFormatError(f"there are more than {MAX_ENTRIES} entries up to {shown(name)}")
        if len(name) > MAX_NAME_LENGTH:
            raise CheckpointFormatError(f"the name {shown(name)} has more than {MAX_NAME_LENGTH} characters")


def _decode_official(source: ByteSource) -> dict[Any, Any]:
    _check_header(source, "an official network pickle")
    root = PickleMachine(source, OFFICIAL_GLOBALS, Budget()).run()
    if source.file.tell() != source.size:
        raise CheckpointFormatError(f"{source.size - source.file.tell()} bytes follow the end of the pickle stream")
    if not isinstance(root, dict):
        raise CheckpointFormatError(f"the pickle holds a {type(root).__name__} instead of a dict of networks")
    return root


def _check_header(source: ByteSource, expected: str) -> None:
    start = source.span().part(0, min(16, source.size)).read()
    if start[0] != 0x80 or len(start) < 2 or not 2 <= start[1] <= MAX_PROTOCOL:
        raise CheckpointFormatError(f"not {expected}: it starts with {start!r}")


def _sha256(path: pathlib.Path, source: ByteSource) -> str:
    with path.open("rb") as file:
        if not os.path.samestat(os.fstat(file.fileno()), os.fstat(source.file.fileno())):
            raise CheckpointFormatError("the file was replaced while it was read")
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plan_network(root: Mapping[Any, Any], name: str, loader: ArrayLoader) -> _NetworkPlan:
    record = root.get(name)
    if type(record) is not StandIn:
        found = sorted(shown(key) for key, value in root.items() if type(value) is StandIn)[:3]
        raise CheckpointFormatError(
            f"the file has no network {shown(name)}, it has {', '.join(found) or 'none at all'}"
        )
    plan = _NetworkPlan(record.class_name, _init_kwargs(record, name), {}, {})
    for kind, tensor_name, tensor in _walk_module(record, "", EntryCounter(), 0):
        if tensor_name in plan.parameters or tensor_name in plan.buffers:
            raise CheckpointFormatError(f"{name} has two tensors of the name {shown(tensor_name)}")
        loader.reserve(f"{name}.{tensor_name}", tensor)
        (plan.parameters if kind == "_parameters" else plan.buffers)[tensor_name] = tensor
    return plan


def _init_kwargs(record: StandIn, name: str) -> dict[str, Any]:
    state = record.state if isinstance(record.state, dict) else {}
    if state.get("_init_args"):
        raise CheckpointFormatError(f"{name} was constructed with positional arguments")
    init_kwargs = _plain(state.get("_init_kwargs"), f"{name}._init_kwargs")
    if not isinstance(init_kwargs, dict):
        raise CheckpointFormatError(f"{name} was stored without its constructor arguments")
    return init_kwargs


def _walk_module(
    record: Any, prefix: str, counter: EntryCounter, depth: int
) -> Iterator[tuple[str, str, TensorRecord]]:
    """Yields ('_parameters' or '_buffers', dotted name, tensor) in the order of a state_dict."""
    counter.visit(prefix or "the network", depth)
    if type(record) is not StandIn or not isinstance(record.state, dict):
        where = shown(prefix.removesuffix(".")) or "at the top"
        raise CheckpointFormatError(f"the module {where} is a {type(record).__name__} without the state of a module")
    skipped = record.state.get("_non_persistent_buffers_set", frozenset())
    if not isinstance(skipped, set | frozenset):
        raise CheckpointFormatError(f"{shown(prefix)} has a malformed list of non-persistent buffers")
    for kind in ("_parameters", "_buffers", "_modules"):
        for key, value in _named_entries(record.state.get(kind), f"{prefix}{kind}"):
            counter.visit(f"{prefix}{key}", depth)
            if value is None or (kind == "_buffers" and key in skipped):
                continue
            if kind == "_modules":
                yield from _walk_module(value, f"{prefix}{key}.", counter, depth + 1)
            elif type(value) is TensorRecord:
                yield kind, f"{prefix}{key}", value
            else:
                raise CheckpointFormatError(f"{shown(prefix + key)} is a {type(value).__name__} instead of a tensor")


def _named_entries(entries: Any, where: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(entries, dict):
        raise CheckpointFormatError(f"{shown(where)} is a {type(entries).__name__} instead of a dict")
    for key, value in entries.items():
        if type(key) is not str or not key or "." in key:
            raise CheckpointFormatError(f"{shown(where)} has an entry {shown(key)}, which is no name")
        yield key, value


def _flatten(
    root: Mapping[Any, Any], prefix: str, counter: EntryCounter, depth: int
) -> Iterator[tuple[str, TensorRecord]]:
    counter.visit(prefix or "the state_dict", depth)
    for key, value in root.items():
        counter.visit(f"{prefix}{key if type(key) is str else shown(key)}", depth)
        if type(key) is str and type(value) is TensorRecord:
            yield f"{prefix}{key}", value
        elif type(key) is str and isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.", counter, depth + 1)
        else:
            name = shown(f"{prefix}{shown(key)}")
            raise CheckpointFormatError(f"the entry {name} is a {type(value).__name__} instead of a tensor")


def _augment_strength(record: Any, loader: ArrayLoader) -> float | None:
    if record is None:
        return None
    tensors = {name: tensor for _, name, tensor in _walk_module(record, "", EntryCounter(), 0)}
    strength = tensors.get("p")
    if strength is None or strength.size != () or strength.storage.kind.dtype.kind != "f":
        raise CheckpointFormatError("the augment_pipe has no scalar p")
    loader.reserve("augment_pipe.p", strength)
    return float(loader.load(strength))


def _plain(value: Any, where: str, counter: EntryCounter | None = None, depth: int = 0) -> Any:
    """Copies decoded containers and scalars into plain Python ones; refuses anything else."""
    counter = counter or EntryCounter()
    counter.visit(where, depth)
    if isinstance(value, dict):
        return {key: _plain(item, f"{where}.{key}", counter, depth + 1) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item, where, counter, depth + 1) for item in value)
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise CheckpointFormatError(f"{shown(where)} holds a {type(value).__name__} instead of plain data")
