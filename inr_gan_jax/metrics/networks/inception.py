"""The Inception network of 2015-12-05 whose features FID is defined by, as pure functions.

It is TensorFlow's own network, not torchvision's `inception_v3`: 1008 outputs, averages that leave the padding out, one
block that pools by the maximum, batch normalisation with epsilon 0.001, and the bilinear resize of TensorFlow 1.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax import lax

from inr_gan_jax.array_types import Array, Params, along_last, check_shape
from inr_gan_jax.metrics.networks.layers import conv2d, max_pool
from inr_gan_jax.ops.resample import tf1_resize

SIDE = 299
NUM_FEATURES = 2048
NUM_LOGITS = 1008
_EPSILON = 0.001
_STRIDE_2 = 2


@dataclasses.dataclass(frozen=True)
class Unit:
    """A convolution without bias, batch normalisation and ReLU.

    Attributes:
        name: behind that of its block.
        features: channels it makes.
        kernel: (height, width).
    """

    name: str
    features: int
    kernel: tuple[int, int] = (1, 1)


# A unit, or a fork of units that see the same input and whose outputs are joined.
Step = Unit | tuple[Unit, ...]


@dataclasses.dataclass(frozen=True)
class Branch:
    """Units one after the other.

    Attributes:
        tower: TensorFlow's name of the branch; empty for the block itself.
        steps: from input to output.
    """

    tower: str
    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class Block:
    """Branches over the same input, joined along the channels.

    Attributes:
        name: as in PyTorch's files.
        tf_name: as in TensorFlow's graph.
        branches: the last one of a block that preserves the size follows its pooling.
        pool: how the last branch pools, 3x3.
        halves: whether each branch ends with stride 2 and the pooled input is joined as it is.
    """

    name: str
    tf_name: str
    branches: tuple[Branch, ...]
    pool: Literal["average", "max"] = "average"
    halves: bool = False


# Of the stem: name, TensorFlow's name, features, kernel, stride, padding. A 3x3 max pool of stride 2 follows 2b and 4a.
STEM = (
    ("Conv2d_1a_3x3", "conv", 32, 3, 2, 0),
    ("Conv2d_2a_3x3", "conv_1", 32, 3, 1, 0),
    ("Conv2d_2b_3x3", "conv_2", 64, 3, 1, 1),
    ("Conv2d_3b_1x1", "conv_3", 80, 1, 1, 0),
    ("Conv2d_4a_3x3", "conv_4", 192, 3, 1, 0),
)
_POOLED_AFTER = {"Conv2d_2b_3x3": "MaxPool_1", "Conv2d_4a_3x3": "MaxPool_2"}


def _block_35(name: str, tf_name: str, pool_features: int) -> Block:
    five = (Unit("branch5x5_1", 48), Unit("branch5x5_2", 64, (5, 5)))
    double = (Unit("branch3x3dbl_1", 64), Unit("branch3x3dbl_2", 96, (3, 3)), Unit("branch3x3dbl_3", 96, (3, 3)))
    branches = (
        Branch("", (Unit("branch1x1", 64),)),
        Branch("tower", five),
        Branch("tower_1", double),
        Branch("tower_2", (Unit("branch_pool", pool_features),)),
    )
    return Block(name, tf_name, branches)


def _block_17(name: str, tf_name: str, width: int) -> Block:
    row, column = (1, 7), (7, 1)
    seven = (Unit("branch7x7_1", width), Unit("branch7x7_2", width, row), Unit("branch7x7_3", 192, column))
    double = (
        Unit("branch7x7dbl_1", width),
        Unit("branch7x7dbl_2", width, column),
        Unit("branch7x7dbl_3", width, row),
        Unit("branch7x7dbl_4", width, column),
        Unit("branch7x7dbl_5", 192, row),
    )
    branches = (
        Branch("", (Unit("branch1x1", 192),)),
        Branch("tower", seven),
        Branch("tower_1", double),
        Branch("tower_2", (Unit("branch_pool", 192),)),
    )
    return Block(name, tf_name, branches)


def _block_8(name: str, tf_name: str, pool: Literal["average", "max"]) -> Block:
    def fork(first: str, second: str) -> tuple[Unit, ...]:
        return Unit(first, 384, (1, 3)), Unit(second, 384, (3, 1))

    three = (Unit("branch3x3_1", 384), fork("branch3x3_2a", "branch3x3_2b"))
    double = (
        Unit("branch3x3dbl_1", 448),
        Unit("branch3x3dbl_2", 384, (3, 3)),
        fork("branch3x3dbl_3a", "branch3x3dbl_3b"),
    )
    branches = (
        Branch("", (Unit("branch1x1", 320),)),
        Branch("tower", three),
        Branch("tower_1", double),
        Branch("tower_2", (Unit("branch_pool", 192),)),
    )
    return Block(name, tf_name, branches, pool)


_TO_17 = (
    Branch("", (Unit("branch3x3", 384, (3, 3)),)),
    Branch(
        "tower",
        (Unit("branch3x3dbl_1", 64), Unit("branch3x3dbl_2", 96, (3, 3)), Unit("branch3x3dbl_3", 96, (3, 3))),
    ),
)
_TO_8 = (
    Branch("tower", (Unit("branch3x3_1", 192), Unit("branch3x3_2", 320, (3, 3)))),
    Branch(
        "tower_1",
        (
            Unit("branch7x7x3_1", 192),
            Unit("branch7x7x3_2", 192, (1, 7)),
            Unit("branch7x7x3_3", 192, (7, 1)),
            Unit("branch7x7x3_4", 192, (3, 3)),
        ),
    ),
)
BLOCKS = (
    _block_35("Mixed_5b", "mixed", 32),
    _block_35("Mixed_5c", "mixed_1", 64),
    _block_35("Mixed_5d", "mixed_2", 64),
    Block("Mixed_6a", "mixed_3", _TO_17, "max", halves=True),
    _block_17("Mixed_6b", "mixed_4", 128),
    _block_17("Mixed_6c", "mixed_5", 160),
    _block_17("Mixed_6d", "mixed_6", 160),
    _block_17("Mixed_6e", "mixed_7", 192),
    Block("Mixed_7a", "mixed_8", _TO_8, "max", halves=True),
    _block_8("Mixed_7b", "mixed_9", "average"),
    # The quirk of the ported network: the maximum here, the average in its twin.
    _block_8("Mixed_7c", "mixed_10", "max"),
)


def units_of(step: Step) -> tuple[Unit, ...]:
    """The units of a step, one unless it is a fork."""
    return step if isinstance(step, tuple) else (step,)


def unit_shapes() -> Iterator[tuple[str, str, tuple[int, int, int, int]]]:
    """Yields PyTorch's name, TensorFlow's name and the kernel [height, width, in, out] of every convolution."""
    before = 3
    for name, tf_name, features, kernel, _, _ in STEM:
        yield name, tf_name, (kernel, kernel, before, features)
        before = features
    for block in BLOCKS:
        outputs = before if block.halves else 0
        for branch in block.branches:
            place = "/".join(filter(None, (block.tf_name, branch.tower)))
            width = before
            for index, step in enumerate(branch.steps):
                units = units_of(step)
                for number, unit in enumerate(units):
                    nested, position = ("/mixed", number) if len(units) > 1 else ("", index)
                    tf_name = f"{place}{nested}/conv" + (f"_{position}" if position else "")
                    yield f"{block.name}.{unit.name}", tf_name, (*unit.kernel, width, unit.features)
                width = sum(unit.features for unit in units)
            outputs += width
        before = outputs


def inception_params(arrays: Params) -> Params:
    """Lays weights out for `inception_features`.

    Args:
        arrays: `<unit>.conv.weight` [out, in, height, width], `<unit>.bn.weight`, `.bias`, `.running_mean` and
            `.running_var` [out], `fc.weight` [1008, 2048], `fc.bias` [1008].

    Returns:
        Unit -> {"kernel": [height, width, in, out], "scale": [out], "offset": [out]}: batch normalisation as one
        product and one sum, in float64 until it meets the images; "fc" -> {"kernel", "bias"}.
    """
    params: dict[str, dict[str, np.ndarray]] = {}
    for name, _, _ in unit_shapes():
        gamma, beta, mean, variance = (
            np.asarray(arrays[f"{name}.bn.{entry}"], np.float64)
            for entry in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _EPSILON)
        kernel = np.ascontiguousarray(arrays[f"{name}.conv.weight"].transpose(2, 3, 1, 0))
        params[name] = {"kernel": kernel, "scale": scale, "offset": beta - mean * scale}
    params["fc"] = {"kernel": np.ascontiguousarray(arrays["fc.weight"].T), "bias": arrays["fc.bias"]}
    return params


def inception_input(images: Array) -> Array:
    """Resizes images [batch, height, width, 3], RGB in [0, 255], to 299x299 and maps them to [-1, 1).

    Nothing is rounded or clipped between, and the middle is 128, not 127.5.
    """
    return (tf1_resize(images, (SIDE, SIDE)) - 128) / 128


def inception_maps(params: Params, inputs: Array) -> dict[str, Array]:
    """Feature maps of every layer outside the blocks and of every block.

    Args:
        params: of `inception_params`.
        inputs: [batch, 299, 299, 3], of `inception_input`.

    Returns:
        Name -> [batch, height, width, channels], from input to output; the last is Mixed_7c, [batch, 8, 8, 2048].
    """
    check_shape("inputs", inputs, (None, SIDE, SIDE, 3))
    maps, features = {}, inputs
    for name, _, _, _, stride, padding in STEM:
        features = maps[name] = _unit(params, name, features, stride, (padding, padding))
        if name in _POOLED_AFTER:
            features = maps[_POOLED_AFTER[name]] = max_pool(features, 3, 2)
    for block in BLOCKS:
        features = maps[block.name] = _block(params, block, features)
    return maps


def inception_features(params: Params, images: Array) -> dict[str, Array]:
    """Computes what FID, KID and the Inception score are made of.

    Args:
        params: of `inception_params`.
        images: [batch, height, width, 3], RGB in [0, 255], of any size.

    Returns:
        "64", "192", "768", "2048": spatial means, [batch, that many]; "logits_unbiased": [batch, 1008] without the bias
        of the last layer, as the Inception score is computed; "logits" with it.

    Source: arXiv 1512.00567; the weights and their graph are TensorFlow's classify_image_graph_def.pb of 2015-12-05.
    """
    return features_of_maps(params, inception_maps(params, inception_input(images)))


def features_of_maps(params: Params, maps: Mapping[str, Array]) -> dict[str, Array]:
    """As `inception_features`, from what `inception_maps` returns."""
    tapped = {"64": "MaxPool_1", "192": "MaxPool_2", "768": "Mixed_6e", "2048": "Mixed_7c"}
    taps = {name: jnp.mean(maps[place], axis=(1, 2)) for name, place in tapped.items()}
    means = taps["2048"]
    kernel, bias = (jnp.asarray(params["fc"][key], means.dtype) for key in ("kernel", "bias"))
    taps["logits_unbiased"] = jnp.matmul(means, kernel, precision=lax.Precision.HIGHEST)
    taps["logits"] = taps["logits_unbiased"] + along_last(bias, 2)
    return taps


def _unit(params: Params, name: str, inputs: Array, stride: int, padding: tuple[int, int]) -> Array:
    entries = params[name]
    rows, columns = padding
    result = conv2d(inputs, entries["kernel"], stride, ((rows, rows), (columns, columns)))
    scale, offset = (along_last(jnp.asarray(entries[key], inputs.dtype), 4) for key in ("scale", "offset"))
    return jnp.maximum(result * scale + offset, 0)


def _block(params: Params, block: Block, inputs: Array) -> Array:
    outputs = []
    for number, branch in enumerate(block.branches):
        features = inputs
        if not block.halves and number == len(block.branches) - 1:
            features = _average_pool(inputs) if block.pool == "average" else max_pool(inputs, 3, 1, ((1, 1), (1, 1)))
        for index, step in enumerate(branch.steps):
            shrinks = block.halves and index == len(branch.steps) - 1
            forked = [
                _unit(params, f"{block.name}.{unit.name}", features, _STRIDE_2, (0, 0))
                if shrinks
                else _unit(params, f"{block.name}.{unit.name}", features, 1, _keeping(unit))
                for unit in units_of(step)
            ]
            features = forked[0] if len(forked) == 1 else jnp.concatenate(forked, axis=3)
        outputs.append(features)
    if block.halves:
        outputs.append(max_pool(inputs, 3, _STRIDE_2))
    return jnp.concatenate(outputs, axis=3)


def _keeping(unit: Unit) -> tuple[int, int]:
    """The padding that preserves the size."""
    return unit.kernel[0] // 2, unit.kernel[1] // 2


def _average_pool(inputs: Array) -> Array:
    """3x3 means of the samples there are: 9 inside, 6 at an edge, 4 in a corner."""
    zero = np.zeros((), inputs.dtype)
    sums = lax.reduce_window(inputs, zero, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (np.minimum(3, 2 + np.arange(size).clip(0, 1)) for size in inputs.shape[1:3])
    rows[-1], columns[-1] = 2, 2
    counts = np.outer(rows, columns)[None, :, :, None]
    return sums / jnp.asarray(counts, inputs.dtype)
