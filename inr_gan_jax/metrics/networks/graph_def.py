"""The constants of a frozen TensorFlow graph (GraphDef, .pb), read without TensorFlow; no operation is looked at.

The description of the format comes with tensorboardX, which writes graphs for TensorBoard.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import message_factory
from google.protobuf.message import DecodeError
from tensorboardX.proto import graph_pb2

from inr_gan_jax.errors import UserError

# DT_FLOAT of tensorflow/core/framework/types.proto.
_FLOAT = 1
# The graph of Inception has 96 MB; decoded, a hostile file takes up to forty times its size.
_MAX_BYTES = 128 * 2**20

_GraphDef: Any = message_factory.GetMessageClass(graph_pb2.DESCRIPTOR.message_types_by_name["GraphDef"])


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
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise UserError(f"{path}: has {size} bytes, expected a frozen TensorFlow graph of at most {_MAX_BYTES}")
        graph = _GraphDef.FromString(path.read_bytes())
        nodes = [node for node in graph.node if node.name in names and node.op == "Const"]
        constants = {node.name: _array(node.attr["value"].tensor) for node in nodes}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except (DecodeError, ValueError) as error:
        raise UserError(f"{path}: not a frozen TensorFlow graph, or cut off ({error})") from error
    if not constants:
        raise UserError(f"{path}: a graph without any of the constants looked for, such as {next(iter(names))!r}")
    return constants


def _array(tensor: Any) -> np.ndarray:
    if tensor.dtype != _FLOAT:
        raise ValueError(f"a constant has the type {tensor.dtype}, expected {_FLOAT} (float32)")
    shape = [dimension.size for dimension in tensor.tensor_shape.dim]
    if any(size < 0 for size in shape):
        raise ValueError(f"a constant has the shape {tuple(shape)}")
    values = np.frombuffer(tensor.tensor_content, "<f4") if tensor.tensor_content else np.array(tensor.float_val, "<f4")
    return values.reshape(shape).copy()
