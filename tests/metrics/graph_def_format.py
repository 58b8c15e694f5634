"""Writes frozen TensorFlow graphs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.proto.node_def_pb2 import NodeDef


def constant(name: str, array: np.ndarray, as_content: bool = True, dtype: int = 1) -> NodeDef:
    """A Const node."""
    node = NodeDef(name=name, op="Const")
    node.attr["dtype"].type = dtype
    tensor = node.attr["value"].tensor
    tensor.dtype = dtype
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    if as_content:
        tensor.tensor_content = np.ascontiguousarray(array).tobytes()
    else:
        tensor.float_val.extend(array.reshape(-1).tolist())
    return node


def write_graph_def(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A graph of constants, with an operation between each."""
    with path.open("wb") as file:
        for name, array in arrays.items():
            other = NodeDef(name=f"{name}/read", op="Identity", input=[name], device="/cpu:0")
            # A message in parts is the same message; whole, this one would be copied several times.
            file.write(GraphDef(node=[constant(name, array), other]).SerializeToString())
