"""Writes frozen TensorFlow graphs with the protobuf library, whose encoder knows nothing of our reader."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = {"string": 9, "bytes": 12, "int64": 3, "enum": 5, "float": 2, "message": 11}
# Message -> (field, number, type, repeated, message of the field), a subset of tensorflow/core/framework/*.proto.
_MESSAGES: dict[str, list[tuple[str, int, str, bool, str]]] = {
    "Dim": [("size", 1, "int64", False, ""), ("name", 2, "string", False, "")],
    "Shape": [("dim", 2, "message", True, "Dim")],
    "Tensor": [
        ("dtype", 1, "enum", False, ""),
        ("tensor_shape", 2, "message", False, "Shape"),
        ("version_number", 3, "enum", False, ""),
        ("tensor_content", 4, "bytes", False, ""),
        ("float_val", 5, "float", True, ""),
    ],
    "Value": [("f", 4, "float", False, ""), ("type", 6, "enum", False, ""), ("tensor", 8, "message", False, "Tensor")],
    "Entry": [("key", 1, "string", False, ""), ("value", 2, "message", False, "Value")],
    "Node": [
        ("name", 1, "string", False, ""),
        ("op", 2, "string", False, ""),
        ("input", 3, "string", True, ""),
        ("device", 4, "string", False, ""),
        ("attr", 5, "message", True, "Entry"),
    ],
    "Graph": [("node", 1, "message", True, "Node"), ("version", 3, "enum", False, "")],
}


@functools.cache
def message(name: str) -> Any:
    """A message class."""
    return _classes()[name]


@functools.cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="graph_of_tests.proto", package="tests", syntax="proto3")
    for title, fields in _MESSAGES.items():
        described = file.message_type.add(name=title)
        for name, number, kind, repeated, target in fields:
            described.field.add(
                name=name,
                number=number,
                type=_TYPES[kind],  # pyright: ignore[reportArgumentType] - its number
                label=3 if repeated else 1,  # pyright: ignore[reportArgumentType]
                type_name=f".tests.{target}" if target else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = [f"tests.{title}" for title in _MESSAGES]
    return {name.split(".")[1]: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


def constant(name: str, array: np.ndarray, as_content: bool = True, dtype: int = 1) -> Any:
    """A Const node."""
    shape = message("Shape")(dim=[message("Dim")(size=size) for size in array.shape])
    tensor = message("Tensor")(dtype=dtype, tensor_shape=shape, version_number=0)
    if as_content:
        tensor.tensor_content = np.ascontiguousarray(array).tobytes()
    else:
        tensor.float_val.extend(array.reshape(-1).tolist())
    attributes = [
        message("Entry")(key="dtype", value=message("Value")(type=dtype)),
        message("Entry")(key="value", value=message("Value")(f=0.5, tensor=tensor)),
    ]
    return message("Node")(name=name, op="Const", attr=attributes)


def write_graph_def(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A graph of constants, with an operation between each."""
    with path.open("wb") as file:
        for name, array in arrays.items():
            other = message("Node")(name=f"{name}/read", op="Identity", input=[name], device="/cpu:0")
            # A message in parts is the same message; whole, this one would be copied several times.
            file.write(message("Graph")(node=[constant(name, array), other], version=9).SerializeToString())
