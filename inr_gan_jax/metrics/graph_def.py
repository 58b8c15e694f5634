"""The constants of a frozen TensorFlow graph (GraphDef, .pb), read without TensorFlow; no operation is looked at.

A GraphDef is a protocol buffer. This reads the few fields that constants need straight from the wire format, so that
the format's other hundred fields need no description. Field numbers by message:
    GraphDef     node = 1
    NodeDef      name = 1, op = 2, attr = 5 (entries of a map: key = 1, value = 2)
    AttrValue    tensor = 8
    TensorProto  dtype = 1, tensor_shape = 2, tensor_content = 4, float_val = 5
    TensorShape  dim = 2 (size = 1)

Source: protobuf.dev/programming-guides/encoding and tensorflow/core/framework/*.proto.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from inr_gan_jax.errors import UserError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOAT = 1
_MAX_VARINT_BYTES = 10
_NODE, _NAME, _OPERATION, _ATTRIBUTE = 1, 1, 2, 5
_KEY, _VALUE, _TENSOR = 1, 2, 8
_TYPE, _SHAPE, _CONTENT, _FLOAT_VALUES = 1, 2, 4, 5
_DIMENSION, _SIZE = 2, 1

Field = tuple[int, int | memoryview]


class _WireFormatError(ValueError):
    """The bytes are no protocol buffer of the expected kind."""


def read_constants(path: Path, names: Collection[str]) -> dict[str, np.ndarray]:
    """Reads constants of type float32.

    Args:
        path: the .pb file.
        names: of the nodes to read; those that the graph lacks are left out.

    Returns:
        Name -> array, float32, in TensorFlow's layout.

    Raises:
        UserError: if the file cannot be read or is no graph.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    constants = {}
    try:
        for number, node in _fields(data):
            if number == _NODE and isinstance(node, memoryview):
                name, operation, attributes = _node(node)
                if name in names and operation == "Const":
                    constants[name] = _constant(attributes)
    except ValueError as error:
        raise UserError(f"{path}: not a frozen TensorFlow graph, or cut off ({error})") from error
    if not constants:
        raise UserError(f"{path}: a graph without any of the constants looked for, such as {next(iter(names))!r}")
    return constants


def _node(data: memoryview) -> tuple[str, str, list[memoryview]]:
    """Name, operation and attribute entries of a node."""
    name = operation = ""
    attributes = []
    for number, value in _fields(data):
        if number == _NAME:
            name = _text(value)
        elif number == _OPERATION:
            operation = _text(value)
        elif number == _ATTRIBUTE:
            attributes.append(_message(value))
    return name, operation, attributes


def _constant(attributes: list[memoryview]) -> np.ndarray:
    for attribute in attributes:
        entry = dict(_fields(attribute))
        if _text(entry.get(_KEY, b"")) == "value":
            for number, value in _fields(_message(entry.get(_VALUE))):
                if number == _TENSOR:
                    return _tensor(_message(value))
    raise _WireFormatError("a constant has no value")


def _tensor(data: memoryview) -> np.ndarray:
    kind, shape, content, values = 0, (), memoryview(b""), []
    for number, value in _fields(data):
        if number == _TYPE:
            kind = value
        elif number == _SHAPE:
            shape = _shape(_message(value))
        elif number == _CONTENT:
            content = _message(value)
        elif number == _FLOAT_VALUES:
            # Packed into one entry or written one by one.
            values.append(_message(value))
    if kind != _FLOAT:
        raise _WireFormatError(f"a constant has the type {kind}, expected {_FLOAT} (float32)")
    return np.frombuffer(content or b"".join(values), "<f4").reshape(shape).copy()


def _shape(data: memoryview) -> tuple[int, ...]:
    sizes = []
    for number, value in _fields(data):
        if number == _DIMENSION:
            size = dict(_fields(_message(value))).get(_SIZE, 0)
            sizes.append(size if isinstance(size, int) else -1)
    if any(not 0 <= size < 2**31 for size in sizes):
        raise _WireFormatError(f"a constant has the shape {tuple(sizes)}")
    return tuple(sizes)


def _fields(data: memoryview) -> Iterator[Field]:
    """Yields (number, value) of each field of a message; values are integers or the bytes of the field."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = _varint(data, position)
        else:
            if kind == _BYTES:
                length, position = _varint(data, position)
            elif kind in (_FIXED32, _FIXED64):
                length = 4 if kind == _FIXED32 else 8
            else:
                raise _WireFormatError(f"wire type {kind}")
            if position + length > len(data):
                raise _WireFormatError(f"{length} bytes are claimed where {len(data) - position} are left")
            value = data[position : position + length]
            position += length
        yield tag >> 3, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """The integer at a position, and the position behind it."""
    result = 0
    for index in range(_MAX_VARINT_BYTES):
        if position + index >= len(data):
            raise _WireFormatError("an integer is cut off")
        byte = data[position + index]
        result |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return result, position + index + 1
    raise _WireFormatError("an integer is too long")


def _message(value: int | bytes | memoryview | None) -> memoryview:
    if not isinstance(value, memoryview):
        raise _WireFormatError("a number stands where a message is expected")
    return value


def _text(value: int | bytes | memoryview) -> str:
    if isinstance(value, int):
        raise _WireFormatError("a number stands where a text is expected")
    return bytes(value).decode("utf-8", "replace")
