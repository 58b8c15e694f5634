"""Tensors of PyTorch as read-only NumPy views of a file.

Three containers hold storages: the byte string that `torch.storage._load_from_bytes` would get (official network
pickles), the old format of torch.save (the same bytes as a file), and the zip format of torch.save (`torch_zip.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from inr_gan_jax.importers.byte_source import CheckpointFormatError, shown
from inr_gan_jax.importers.restricted_unpickler import Budget, Globals, Inert, InertDict, Stream, check_key, load

LEGACY_HEADER = (0x1950A86A20F9469CFC6C, 1001)
# NumPy 1 allows no more.
MAX_DIMENSIONS = 32
# Arrays may use this many bytes more than twice the file: expanded views and tied weights are small or few.
SPARE_ARRAY_BYTES = 2**20

# Key, type and number of elements of a storage -> its elements, or something inert while only the keys are wanted.
_Find = Callable[[str, np.dtype, int], np.ndarray | Inert]


def copy_arrays(views: Mapping[str, np.ndarray], file_size: int) -> dict[str, np.ndarray]:
    """Copies tensors out of their file into arrays that own their memory; names of one tensor share an array.

    Raises:
        CheckpointFormatError: They would be out of proportion to the file; nothing has been allocated then.
    """
    bytes_left = 2 * file_size + SPARE_ARRAY_BYTES
    unique = {id(view): (name, view) for name, view in views.items()}
    for name, view in unique.values():
        bytes_left -= view.nbytes
        if bytes_left < 0:
            raise CheckpointFormatError(
                f"the tensor {shown(name)} of shape {shown(str(view.shape))} claims memory out of proportion to "
                f"a file of {file_size} bytes"
            )
    copies = {key: view.copy() for key, (_, view) in unique.items()}
    return {name: copies[id(view)] for name, view in views.items()}


def decode_legacy(data: memoryview, allowed: Globals, budget: Budget) -> Any:
    """Decodes the old format of torch.save: five pickle streams, then the storages.

    Args:
        data: The whole container.
        allowed: Permitted globals of the stored object.
        budget: What the streams may cost.

    Returns:
        The stored object; its tensors are views of `data`.
    """
    stream = Stream(data, budget)
    magic, version, system = (load(stream, {}) for _ in range(3))
    if (magic, version) != LEGACY_HEADER or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise CheckpointFormatError("the header of torch.save is missing, of an unknown version or not little-endian")
    described: dict[str, tuple[np.dtype, int]] = {}

    def describe(key: str, dtype: np.dtype, numel: int) -> Inert:
        described[key] = (dtype, numel)
        return Inert()

    # The storages follow the object that is made of them, so it is decoded twice.
    structure = stream.rest
    load(stream, allowed, persistent_loader(describe))
    keys = load(stream, {})
    if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(described):
        raise CheckpointFormatError("the list of storages differs from the storages in use")
    storages = {}
    for key in keys:
        dtype, numel = described[key]
        if int.from_bytes(stream.read(8), "little") != numel:
            raise CheckpointFormatError(f"the storage {shown(key)} has another length than its header says")
        storages[key] = elements(stream.view(numel * dtype.itemsize), dtype)
    if stream.rest:
        raise CheckpointFormatError(f"{len(stream.rest)} bytes follow the last storage")
    return load(Stream(structure, budget), allowed, persistent_loader(lambda key, *_: storages[key]))


def load_from_bytes(budget: Budget, data: Any) -> np.ndarray:
    """Stand-in of torch.storage._load_from_bytes: one storage as torch.save wrote it into a byte string."""
    if type(data) is not memoryview:
        raise CheckpointFormatError(f"a storage is made of a {type(data).__name__} instead of bytes")
    storage = decode_legacy(data, STORAGE_TYPES, budget)
    if type(storage) is not np.ndarray:
        raise CheckpointFormatError(f"a byte string holds a {type(storage).__name__} instead of a storage")
    return storage


def persistent_loader(find: _Find) -> Callable[[Any], np.ndarray | Inert]:
    """Loads persistent ids ('storage', class, key, device, number of elements[, view]), each storage once.

    The device, for instance 'cuda:0', is where the tensor was; it does not matter here.
    """
    found: dict[str, tuple[np.dtype, int, np.ndarray | Inert]] = {}

    def load_persistent(identity: Any) -> np.ndarray | Inert:
        if type(identity) is not tuple or not 5 <= len(identity) <= 6 or identity[0] != "storage":
            raise CheckpointFormatError("the pickle stream holds a persistent id that is no storage")
        dtype, key, _, numel, *view = identity[1:]
        if not isinstance(dtype, np.dtype) or type(key) is not str or type(numel) is not int or not 0 <= numel < 2**60:
            raise CheckpointFormatError(f"the storage {shown(key)} has no known element type, name or length")
        if view not in ([], [None]):
            raise CheckpointFormatError(f"the storage {shown(key)} is a view of another one, which is not supported")
        check_key(key)
        if key not in found:
            found[key] = (dtype, numel, find(key, dtype, numel))
        if found[key][:2] != (dtype, numel):
            raise CheckpointFormatError(f"the storage {shown(key)} is named twice, with different types or lengths")
        return found[key][2]

    return load_persistent


def elements(data: bytes | memoryview, dtype: np.dtype) -> np.ndarray:
    """The elements of a storage, [number of elements], read-only."""
    if dtype != np.bool_:
        return np.frombuffer(data, dtype)
    # A byte other than 0 and 1 in a boolean array would be undefined behaviour, so such bytes are compared to 0.
    flags = np.frombuffer(data, np.uint8) != 0
    flags.setflags(write=False)
    return flags


def _rebuild_tensor(_budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> Any:
    """A strided view of a storage. The rest, in newer files, is requires_grad, hooks and metadata."""
    if type(storage) is Inert:
        return storage
    if type(storage) is not np.ndarray or not storage.flags.c_contiguous:
        raise CheckpointFormatError(f"a tensor is stored in a {type(storage).__name__}, expected a storage")
    if type(size) is not tuple or type(stride) is not tuple:
        raise CheckpointFormatError("a tensor has a shape or strides that are no tuple")
    is_short = len(size) == len(stride) <= MAX_DIMENSIONS
    if not is_short or not all(type(n) is int and 0 <= n < 2**63 for n in (offset, *size, *stride)):
        raise CheckpointFormatError("a tensor has a shape, strides and offset that do not fit each other")
    end = offset if 0 in size else offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if end > storage.size:
        raise CheckpointFormatError(
            f"a tensor of shape {shown(str(size))} claims {end} elements of a storage that has {storage.size}"
        )
    itemsize = storage.itemsize
    strides = tuple(step * itemsize if n > 1 else 0 for n, step in zip(size, stride, strict=True))
    return np.ndarray(size, storage.dtype, storage, offset * itemsize, strides)


def _rebuild_parameter(_budget: Budget, data: Any, *_rest: Any) -> Any:
    return data


def _ordered_dict(budget: Budget, items: Any = ()) -> InertDict:
    """An OrderedDict; Python 2 passed the items as a list of [key, value] lists."""
    budget.spend(len(items))
    result = InertDict()
    for key, value in items:
        result[key] = value
    return result


_DTYPES = {
    **{"Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": ml_dtypes.bfloat16, "Bool": "?"},
    **{"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "i1", "Byte": "u1"},
}
# The storage classes whose elements have a NumPy counterpart.
STORAGE_TYPES: Globals = {f"torch.{name}Storage": np.dtype(kind) for name, kind in _DTYPES.items()}
# What state_dicts are made of, whichever container they are in.
TENSOR_GLOBALS: Globals = {
    "collections.OrderedDict": _ordered_dict,
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch.nn.parameter.Parameter": _rebuild_parameter,
}
