"""Weights of the 2015-12-05 Inception network from any of the files that the field passes on; nothing is executed.

| file | what it is | who uses it |
|---|---|---|
| pt_inception-2015-12-05-6726825d.pth, or weights-inception-... | state_dict | pytorch-fid, torch-fidelity |
| inception-2015-12-05.pt | TorchScript | StyleGAN2-ADA, StyleGAN3 |
| classify_image_graph_def.pb, in inception-2015-12-05.tgz | frozen GraphDef | TensorFlow |

The same arrays as .npz or .safetensors, under the names of the state_dict, are read too.
"""

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import message_factory
from google.protobuf.message import DecodeError
from tensorboardX.proto import graph_pb2

from inr_gan_jax.array_types import Params
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.torch_script import is_torch_script, read_torch_script
from inr_gan_jax.metrics.networks.inception import NUM_FEATURES, NUM_LOGITS, inception_params, unit_shapes
from inr_gan_jax.metrics.networks.options import INCEPTION_SOURCE
from inr_gan_jax.metrics.networks.weight_files import WeightsFile, checked_arrays, file_sha256, read_weights

_NORMALISATION = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_NVIDIA_NORMALISATION = {"bias": "beta", "running_mean": "mean", "running_var": "var"}
# In these blocks NVIDIA's modules are not nested.
_NVIDIA_FLAT_BLOCKS = ("mixed_9/", "mixed_10/")


@dataclasses.dataclass(frozen=True)
class InceptionWeights:
    """What was read.

    Attributes:
        params: of `inception_features`, NumPy arrays, on no device yet.
        sha256: hexadecimal digest of the file.
    """

    params: Params
    sha256: str


def load_inception(path: str | os.PathLike[str]) -> InceptionWeights:
    """Reads the network from any of the three files; .pb is told by its name, the others by what they hold.

    Raises:
        UserError: one sentence, if the file is missing, damaged, hostile or of another network.
    """
    path = Path(path).expanduser()
    if path.suffix in (".npz", ".safetensors"):
        return _weights(read_weights(path, torch_shapes(), INCEPTION_SOURCE))
    sha256 = file_sha256(path, INCEPTION_SOURCE)
    if path.suffix == ".pb":
        arrays = _from_graph_def(path)
    elif is_torch_script(path):
        arrays = _from_torch_script(path)
    else:
        arrays = read_weights(path, torch_shapes(), INCEPTION_SOURCE).arrays
    return _weights(WeightsFile(path, sha256, arrays))


def torch_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in a state_dict."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, _, (height, width, before, features) in unit_shapes():
        shapes[f"{name}.conv.weight"] = (features, before, height, width)
        for entry in _NORMALISATION:
            shapes[f"{name}.bn.{entry}"] = (features,)
    return {**shapes, "fc.weight": (NUM_LOGITS, NUM_FEATURES), "fc.bias": (NUM_LOGITS,)}


def graph_def_names() -> dict[str, str]:
    """Name in a state_dict -> name of the constant in TensorFlow's graph."""
    names = {"fc.weight": "softmax/weights", "fc.bias": "softmax/biases"}
    for name, tf_name, _ in unit_shapes():
        names[f"{name}.conv.weight"] = f"{tf_name}/conv2d_params"
        for entry, tf_entry in _NORMALISATION.items():
            names[f"{name}.bn.{entry}"] = f"{tf_name}/batchnorm/{tf_entry}"
    return names


def torch_script_names() -> dict[str, str]:
    """Name in a state_dict -> name in NVIDIA's TorchScript; it has no factors of the normalisation, they are all 1.

    Source: agreeing names in two third-party translations of the file; NVIDIA publishes none.
    """
    names = {"fc.weight": "output.weight", "fc.bias": "output.bias"}
    for name, tf_name, _ in unit_shapes():
        block, slash, rest = tf_name.partition("/")
        flat = f"{block}{slash}" in _NVIDIA_FLAT_BLOCKS
        prefix = f"layers.{block}" + (f".{rest.replace('/', '_' if flat else '.')}" if rest else "")
        names[f"{name}.conv.weight"] = f"{prefix}.weight"
        for entry, their_entry in _NVIDIA_NORMALISATION.items():
            names[f"{name}.bn.{entry}"] = f"{prefix}.{their_entry}"
    return names


def _weights(file: WeightsFile) -> InceptionWeights:
    return InceptionWeights(inception_params(file.arrays), file.sha256)


def _from_graph_def(path: Path) -> dict[str, np.ndarray]:
    names = graph_def_names()
    shapes = {names[name]: _graph_shape(shape) for name, shape in torch_shapes().items()}
    arrays = checked_arrays(path, read_constants(path, frozenset(shapes)), shapes, INCEPTION_SOURCE)
    return {name: _from_graph_layout(arrays[tf_name]) for name, tf_name in names.items()}


def _from_torch_script(path: Path) -> dict[str, np.ndarray]:
    names, all_shapes = torch_script_names(), torch_shapes()
    shapes = {names[name]: shape for name, shape in all_shapes.items() if name in names}
    arrays = checked_arrays(path, read_torch_script(path), shapes, INCEPTION_SOURCE)
    ones = {name: np.ones(shape, np.float32) for name, shape in all_shapes.items() if name not in names}
    return {**{name: arrays[theirs] for name, theirs in names.items()}, **ones}


def _graph_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[2:], *shape[1::-1]) if len(shape) > 1 else shape


def _from_graph_layout(array: np.ndarray) -> np.ndarray:
    """[height, width, in, out] to [out, in, height, width], [in, out] to [out, in], vectors as they are."""
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


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
