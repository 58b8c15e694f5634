"""The tensors of a TorchScript archive (torch.jit.save), read without PyTorch and without looking at its code.

The archive is the zip of torch.save plus source text. Its `data.pkl` holds the modules as objects of classes
that the source text defines; here each is a bare record of attributes, whatever its class is called.
"""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import CheckpointFormatError, open_checkpoint, shown
from inr_gan_jax.importers.restricted_unpickler import Budget, StandIn
from inr_gan_jax.importers.safe_pickle import tensors_in
from inr_gan_jax.importers.torch_records import STORAGE_TYPES, TENSOR_GLOBALS, copy_arrays
from inr_gan_jax.importers.torch_zip import ZIP_MAGIC, decode_zip, open_zip

_SCRIPT_PACKAGE = "__torch__."


class _ScriptGlobals(dict[str, Any]):
    """The globals of tensors, and every class that the archive itself defines, as a record without behaviour."""

    def get(self, key: str, default: Any = None) -> Any:
        return StandIn if key.startswith(_SCRIPT_PACKAGE) else super().get(key, default)


def _number_list(_budget: Budget, items: Any) -> list[Any]:
    if type(items) is not list:
        raise CheckpointFormatError(f"a list of numbers is made of a {type(items).__name__}")
    return items


_LISTS = {f"torch.jit._pickle.build_{kind}list": _number_list for kind in ("int", "double", "bool")}


def is_torch_script(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a TorchScript archive: a zip of torch with `constants.pkl` in it.

    Raises:
        CheckpointFormatError: The file cannot be read, or is a damaged zip archive.
    """
    with open_checkpoint(path) as data:
        if data[:4] != ZIP_MAGIC:
            return False
        with open_zip(path, data) as archive:
            return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())


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
    with open_checkpoint(path) as data:
        if data[:4] != ZIP_MAGIC:
            raise CheckpointFormatError("not a TorchScript archive: it is no zip file")
        root = decode_zip(path, data, _ScriptGlobals({**STORAGE_TYPES, **TENSOR_GLOBALS, **_LISTS}))
        if type(root) is not StandIn:
            raise CheckpointFormatError(f"the archive holds a {type(root).__name__} instead of a module")
        return copy_arrays(tensors_in(root, _attributes, skip_others=True), len(data))


def _attributes(value: Any) -> Mapping[Any, Any] | None:
    if type(value) is not StandIn:
        return None
    if not isinstance(value.state, dict):
        raise CheckpointFormatError(f"a module of the class {shown(value.class_name)} has no attributes")
    return value.state
