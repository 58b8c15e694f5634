"""The tensors of a TorchScript archive (torch.jit.save), read without PyTorch and without looking at its code.

The archive is the zip of torch.save with source text beside it. Its `data.pkl` holds the modules as objects of classes
that the source text defines; here each is a bare record of attributes, whatever its class is called.
"""

import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import ByteSource, CheckpointFormatError, open_checkpoint, shown
from inr_gan_jax.importers.inert_objects import Constructor, OpaqueClass, StandIn, named
from inr_gan_jax.importers.pickle_machine import Budget
from inr_gan_jax.importers.safe_pickle import ArrayLoader, EntryCounter
from inr_gan_jax.importers.torch_records import STORAGE_TYPES, TENSOR_GLOBALS, TensorRecord
from inr_gan_jax.importers.torch_zip import decode_zip, zip_members

_SCRIPT_PACKAGE = "__torch__"
_ZIP_MAGIC = b"PK\3\4"


class _ScriptGlobals(dict[tuple[str, str], Any]):
    """The globals of tensors, and every class that the archive itself defines, as a record without behaviour."""

    def get(self, key: Any, default: Any = None) -> Any:
        module, name = key
        if module == _SCRIPT_PACKAGE or module.startswith(f"{_SCRIPT_PACKAGE}."):
            return OpaqueClass(name, functools.partial(StandIn, name))
        return super().get(key, default)


def _number_list(_budget: Budget, items: Any) -> list[Any]:
    if type(items) is not list:
        raise CheckpointFormatError(f"a list of numbers is made of a {type(items).__name__}")
    return items


_LISTS = dict(
    named(Constructor, f"torch.jit._pickle.build_{kind}list", _number_list) for kind in ("int", "double", "bool")
)


def is_torch_script(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a TorchScript archive: a zip of torch with `constants.pkl` in it.

    Raises:
        CheckpointFormatError: The file cannot be read, or is a damaged zip archive.
    """
    with open_checkpoint(path) as source:
        if not _is_zip(source):
            return False
        return any(name.rpartition("/")[2] == "constants.pkl" for name in zip_members(source))


def read_torch_script(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads the tensors of the modules of a TorchScript archive.

    Args:
        path: the .pt file.

    Returns:
        Name -> array, bit for bit as stored; attributes of modules within modules are joined by dots. Attributes that
        are no tensors are left out.

    Raises:
        CheckpointFormatError: The file is missing, damaged, or holds something else than modules of tensors.
    """
    with open_checkpoint(path) as source:
        if not _is_zip(source):
            raise CheckpointFormatError("not a TorchScript archive: it is no zip file")
        allowed = _ScriptGlobals({**STORAGE_TYPES, **TENSOR_GLOBALS, **_LISTS})
        root = decode_zip(source, allowed, Budget())
        if type(root) is not StandIn:
            raise CheckpointFormatError(f"the archive holds a {type(root).__name__} instead of a module")
        tensors = dict(_tensors(root, "", EntryCounter(), 0))
        loader = ArrayLoader(source.size)
        for name, tensor in tensors.items():
            loader.reserve(name, tensor)
        return {name: loader.load(tensor) for name, tensor in tensors.items()}


def _is_zip(source: ByteSource) -> bool:
    return source.span().part(0, min(len(_ZIP_MAGIC), source.size)).read() == _ZIP_MAGIC


def _tensors(module: StandIn, prefix: str, counter: EntryCounter, depth: int) -> Iterator[tuple[str, TensorRecord]]:
    counter.visit(prefix or "the module", depth)
    if not isinstance(module.state, dict):
        raise CheckpointFormatError(f"the module {shown(prefix.removesuffix('.'))} has no attributes")
    for key, value in module.state.items():
        name = f"{prefix}{key if type(key) is str else shown(key)}"
        counter.visit(name, depth)
        if type(value) is TensorRecord:
            yield name, value
        elif type(value) is StandIn:
            yield from _tensors(value, f"{name}.", counter, depth + 1)
