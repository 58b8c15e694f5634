"""Tensors and storages of PyTorch as found in its files: checked descriptions first, arrays when asked for.

Three containers hold storages: the byte string that `torch.storage._load_from_bytes` would get (official network
pickles), the old format of torch.save (the same bytes as a file), and the zip format of torch.save (`torch_zip.py`).
"""

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from inr_gan_jax.importers.byte_source import ByteSource, ByteSpan, CheckpointFormatError, shown, source_of_bytes
from inr_gan_jax.importers.inert_objects import Constructor, Globals, Inert, InertDict, named
from inr_gan_jax.importers.pickle_machine import MAX_KEY_LENGTH, Budget, PickleMachine, check_keys

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# The streams in front of a single storage take about 300 bytes.
MAX_STORAGE_HEADER_BYTES = 4096
# NumPy 1 allows no more.
MAX_DIMENSIONS = 32


class StorageType:
    """Stand-in of a class such as torch.FloatStorage; `dtype` is how its elements lie in the file."""

    __slots__ = ("dtype", "name")

    def __init__(self, name: str, dtype: Any) -> None:
        self.name = name
        self.dtype = np.dtype(dtype)


class StorageRecord:
    """A storage: `numel` elements in `span`, which is None until the container has been located."""

    __slots__ = ("kind", "numel", "span")

    def __init__(self, kind: StorageType, numel: int, span: ByteSpan | None = None) -> None:
        self.kind = kind
        self.numel = numel
        self.span = span


class TensorRecord(Inert):
    """A strided view of a storage; the constructor checks that it lies within the storage.

    Attributes:
        offset, size, stride: As in torch, in elements.
        extent: Number of elements from the first to the last that the view touches.
    """

    __slots__ = ("extent", "offset", "size", "storage", "stride")

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any) -> None:
        if type(storage) is not StorageRecord:
            raise CheckpointFormatError(f"a tensor lies in a {type(storage).__name__} instead of a storage")
        for values in (size, stride):
            if type(values) is not tuple or len(values) > MAX_DIMENSIONS:
                raise CheckpointFormatError("a tensor has a shape or strides that are no short tuple")
        if len(size) != len(stride) or not all(type(n) is int and 0 <= n < 2**63 for n in (offset, *size, *stride)):
            raise CheckpointFormatError("a tensor has a shape, strides and offset that do not fit each other")
        self.storage = storage
        self.offset = offset
        self.size = size
        self.stride = stride
        last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        self.extent = 0 if 0 in size else last + 1
        if offset + self.extent > storage.numel:
            raise CheckpointFormatError(
                f"a tensor of shape {shown(str(size))} claims elements {offset} to {offset + self.extent} "
                f"of a storage that has {storage.numel}"
            )

    def set_state(self, state: Any) -> None:
        """Drops the state: parameters of torch 0.1 store requires_grad and hooks this way."""

    def cost(self) -> int:
        """Bytes that `load` allocates or reads, whichever is more."""
        # Lengths of 0 count as 1, since NumPy refuses an empty array with another axis beyond its address space.
        numel = math.prod(max(n, 1) for n in self.size)
        return max(numel, self.extent) * self.storage.kind.dtype.itemsize

    def load(self) -> np.ndarray:
        """Reads the elements.

        Returns:
            A contiguous array that owns its memory, bit for bit what the file holds.

        Raises:
            CheckpointFormatError: The storage was named but is not in the file.
        """
        dtype = self.storage.kind.dtype
        if self.storage.span is None:
            raise CheckpointFormatError("a tensor lies in a storage that the file does not hold")
        if self.extent == 0:
            return np.zeros(self.size, dtype)
        # A byte other than 0 and 1 in a boolean array would be undefined behaviour, so such bytes are compared to 0.
        flat = np.empty(self.extent, np.uint8 if dtype == np.bool_ else dtype)
        span = self.storage.span.part(self.offset * dtype.itemsize, flat.nbytes)
        span.source.read_into(span.start, flat.view(np.uint8).data)
        strides = tuple(step * dtype.itemsize if n > 1 else 0 for n, step in zip(self.size, self.stride, strict=True))
        view = np.ndarray(self.size, flat.dtype, flat.view(np.uint8).data, 0, strides)
        if dtype == np.bool_:
            return view.astype(np.bool_)
        return flat.reshape(self.size) if view.flags.c_contiguous else view.copy()


def storage_types() -> Globals:
    """The storage classes whose elements have a NumPy counterpart."""
    dtypes = {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "BFloat16": ml_dtypes.bfloat16,
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }
    return dict(named(StorageType, f"torch.{name}Storage", dtype) for name, dtype in dtypes.items())


def _rebuild_tensor(_budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> TensorRecord:
    # The rest, in newer files, is requires_grad, hooks and metadata.
    return TensorRecord(storage, offset, size, stride)


def _rebuild_parameter(_budget: Budget, data: Any, *_rest: Any) -> TensorRecord:
    if type(data) is not TensorRecord:
        raise CheckpointFormatError(f"a parameter is made of a {type(data).__name__} instead of a tensor")
    return data


def _ordered_dict(budget: Budget, items: Any = ()) -> InertDict:
    """An OrderedDict; Python 2 passed the items as a list of [key, value] lists."""
    budget.spend_operations(len(items))
    result = InertDict()
    for key, value in items:
        check_keys([key])
        result[key] = value
    return result


# What state_dicts are made of, whichever container they are in.
TENSOR_GLOBALS: Globals = dict(
    [
        named(Constructor, "collections.OrderedDict", _ordered_dict),
        named(Constructor, "torch._utils._rebuild_tensor", _rebuild_tensor),
        named(Constructor, "torch._utils._rebuild_tensor_v2", _rebuild_tensor),
        named(Constructor, "torch._utils._rebuild_parameter", _rebuild_parameter),
        named(Constructor, "torch.nn.parameter.Parameter", _rebuild_parameter),
    ]
)
STORAGE_TYPES = storage_types()


class StorageTable:
    """The storages that the persistent ids of one container name.

    Args:
        locate: Finds the bytes of a storage from (key, number of bytes); None where they follow later in the file.
    """

    def __init__(self, locate: Callable[[str, int], ByteSpan] | None = None) -> None:
        self.records: dict[str, StorageRecord] = {}
        self._locate = locate

    def load_persistent(self, identity: Any) -> StorageRecord:
        """The storage of a persistent id ('storage', class, key, device, number of elements[, view]).

        The device, for instance 'cuda:0', is where the tensor was; it does not matter here.
        """
        if type(identity) is not tuple or not 5 <= len(identity) <= 6 or identity[0] != "storage":
            raise CheckpointFormatError("the pickle stream holds a persistent id that is no storage")
        kind, key, _, numel, *view = identity[1:]
        if type(kind) is not StorageType or type(key) is not str or len(key) > MAX_KEY_LENGTH:
            raise CheckpointFormatError(f"the storage {shown(key)} has no known element type, or a key that is no name")
        if type(numel) is not int or not 0 <= numel < 2**60:
            raise CheckpointFormatError(f"the storage {shown(key)} claims an impossible number of elements")
        if view not in ([], [None]):
            raise CheckpointFormatError(f"the storage {shown(key)} is a view of another one, which is not supported")
        record = self.records.get(key)
        if record is None:
            span = self._locate(key, numel * kind.dtype.itemsize) if self._locate else None
            record = self.records[key] = StorageRecord(kind, numel, span)
        if record.kind is not kind or record.numel != numel:
            raise CheckpointFormatError(f"the storage {shown(key)} is named twice, with different types or lengths")
        return record


def decode_legacy(region: ByteSpan, stream: ByteSource, allowed: Globals, budget: Budget) -> Any:
    """Decodes the old format of torch.save: five pickle streams, then the storages.

    Args:
        region: The whole container.
        stream: A source that starts at `region` and reaches behind the five streams.
        allowed: Permitted globals of the stored object.
        budget: What the streams may cost.

    Returns:
        The stored object, with every storage located and bounds-checked.
    """
    if PickleMachine(stream, {}, budget).run() != LEGACY_MAGIC:
        raise CheckpointFormatError("the magic number of torch.save is missing")
    version = PickleMachine(stream, {}, budget).run()
    system = PickleMachine(stream, {}, budget).run()
    if version != LEGACY_PROTOCOL or type(system) is not dict or system.get("little_endian") is not True:
        raise CheckpointFormatError("the torch.save header is of an unknown version or not little-endian")
    table = StorageTable()
    result = PickleMachine(stream, allowed, budget, table.load_persistent).run()
    keys = PickleMachine(stream, {}, budget).run()
    known = type(keys) is list and all(type(key) is str and key in table.records for key in keys)
    if not known or len(keys) != len(table.records) or len(set(keys)) != len(keys):
        raise CheckpointFormatError("the list of storages differs from the storages in use")
    _locate_in_order(region, stream.file.tell(), [table.records[key] for key in keys])
    return result


def _locate_in_order(region: ByteSpan, position: int, records: list[StorageRecord]) -> None:
    for record in records:
        numel = int.from_bytes(region.part(position, 8).read(), "little")
        if numel != record.numel:
            raise CheckpointFormatError(f"a storage claims {numel} elements, its header {record.numel}")
        record.span = region.part(position + 8, numel * record.kind.dtype.itemsize)
        position += 8 + record.span.length
    if position != region.length:
        raise CheckpointFormatError(f"{region.length - position} bytes follow the last storage")


def load_from_bytes(budget: Budget, data: Any) -> StorageRecord:
    """Stand-in of torch.storage._load_from_bytes: one storage as torch.save wrote it into a byte string."""
    if type(data) is not ByteSpan:
        raise CheckpointFormatError(f"a storage is made of a {type(data).__name__} instead of bytes")
    header = data.part(0, min(data.length, MAX_STORAGE_HEADER_BYTES)).read()
    record = decode_legacy(data, source_of_bytes(header), STORAGE_TYPES, budget)
    if type(record) is not StorageRecord:
        raise CheckpointFormatError(f"a byte string holds a {type(record).__name__} instead of a storage")
    return record
