"""Writes TorchScript archives as torch.jit.save lays them out: modules as objects, and compressed source text."""

import io
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.importers.official_format import Call, Global, PickleWriter, Storage, tensor

CODE = "class Module(Module):\n  __parameters__ = []\n" * 20


def module(attributes: Mapping[str, Any], name: str = "Module") -> Call:
    """An object of a class that the archive's own code defines."""
    state = {"training": False, "_is_full_backward_hook": None, "stride": int_list([1, 1]), **attributes}
    return Call(Global("__torch__.networks", name), (), new=True, state=state)


def int_list(values: list[int]) -> Call:
    return Call(Global("torch.jit._pickle", "build_intlist"), (values,))


def write_torch_script(path: pathlib.Path, arrays: Mapping[str, Any]) -> None:
    """An archive whose modules hold the arrays, each dot of a name opening a module."""
    write_archive(path, module(_nested(arrays), "Network"))


def write_archive(path: pathlib.Path, root: Any) -> None:
    stream = io.BytesIO()
    writer = PickleWriter(stream, 2, zip_storages=True)
    writer.dump(root)
    with zipfile.ZipFile(path, "w") as archive:
        for key, storage in writer.storages.items():
            archive.writestr(f"network/data/{key}", storage.array.tobytes())
        archive.writestr("network/data.pkl", stream.getvalue())
        archive.writestr("network/code/__torch__/networks.py", CODE, zipfile.ZIP_DEFLATED)
        archive.writestr("network/constants.pkl", b"\x80\x02).")
        archive.writestr("network/version", "3\n")


def _nested(arrays: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    children: dict[str, dict[str, Any]] = {}
    for name, value in arrays.items():
        head, dot, rest = name.partition(".")
        if dot:
            children.setdefault(head, {})[rest] = value
        else:
            attributes[head] = tensor(Storage(value), value.shape) if isinstance(value, np.ndarray) else value
    for head, child in children.items():
        attributes[head] = module(_nested(child), f"___torch_mangle_{len(attributes)}.{head}")
    return attributes
