"""VGG16 as torchvision has it: feature maps for perceptual distances. Its weights come from a file of the user.

Functions take `params` as an argument: a jitted function that closes over them would carry 59 MB of constants.
"""

import itertools
import os
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax

from inr_gan_jax.array_types import Array, Params, along_last, check_shape
from inr_gan_jax.metrics.networks.layers import convolve_relu, max_pool
from inr_gan_jax.metrics.networks.options import VGG16_SOURCE
from inr_gan_jax.metrics.networks.weight_files import Shapes, WeightsFile, channels_last, read_weights
from inr_gan_jax.ops.resample import tf1_resize

SIDE = 224
NUM_FEATURES = 4096
TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

# Index in torchvision's `features` and width of the convolutions of each block; blocks are separated by a 2x2 max pool.
_BLOCKS = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
    ((24, 512), (26, 512), (28, 512)),
)
_DENSE_LAYERS = ("classifier.0", "classifier.3")
# ImageNet's mean and deviation, for images in [-1, 1].
_SHIFT = np.array([-0.030, -0.088, -0.188])
_SCALE = np.array([0.458, 0.448, 0.450])


def convolution_shapes() -> Shapes:
    """Names and shapes of the convolutions in torchvision's state_dict."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = 3
    for index, width in itertools.chain.from_iterable(_BLOCKS):
        shapes[f"features.{index}.weight"], shapes[f"features.{index}.bias"] = (width, before, 3, 3), (width,)
        before = width
    return shapes


def dense_shapes() -> Shapes:
    """Names and shapes of the first two fully connected layers in torchvision's state_dict."""
    inputs = 512 * 7 * 7
    shapes: dict[str, tuple[int, ...]] = {}
    for name in _DENSE_LAYERS:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (NUM_FEATURES, inputs), (NUM_FEATURES,)
        inputs = NUM_FEATURES
    return shapes


def load_vgg16(path: str | os.PathLike[str], with_dense_layers: bool = False) -> Params:
    """Reads the convolutions of VGG16, and its first two fully connected layers if asked for.

    Args:
        path: torchvision's vgg16, .pth, .npz or .safetensors.
        with_dense_layers: needed for `vgg16_fc2` only; 480 MB.

    Returns:
        Layer -> {"kernel", "bias"}, NumPy arrays in float32, on no device yet.

    Raises:
        UserError: one sentence, if the file is missing, damaged, hostile or of another network.
    """
    return channels_last(read_vgg16(path, with_dense_layers).arrays)


def read_vgg16(path: str | os.PathLike[str], with_dense_layers: bool) -> WeightsFile:
    """As `load_vgg16`, in PyTorch's layout, with the digest of the file."""
    shapes = {**convolution_shapes(), **(dense_shapes() if with_dense_layers else {})}
    return read_weights(path, shapes, VGG16_SOURCE)


def normalised(images: Array) -> Array:
    """Maps images [batch, height, width, 3] in [-1, 1] to the range that ImageNet networks were trained on.

    Source: (x - mean) / deviation of arXiv 1801.03924's code; the same as torchvision's normalisation of [0, 1].
    """
    shift, scale = (along_last(jnp.asarray(values, images.dtype), 4) for values in (_SHIFT, _SCALE))
    return (images - shift) / scale


def vgg16_taps(
    params: Params, images: Array, last: str = TAPS[-1], precision: lax.PrecisionLike = lax.Precision.HIGHEST
) -> dict[str, Array]:
    """Computes the feature maps that perceptual distances compare: after a ReLU, before the pooling.

    Args:
        params: of `load_vgg16`.
        images: [batch, height, width, 3], RGB in [-1, 1]; repeat the channel of grey images. Not resized.
        last: name of the last tap; nothing behind it is computed.
        precision: of the products; `lax.Precision.DEFAULT` is faster on accelerators and less exact.

    Returns:
        Name -> [batch, height', width', channels], in order; sizes halve from tap to tap, channels are 64, 128, 256,
        512, 512.

    Raises:
        ValueError: if the images have another shape or are too small for the last tap.

    Source: arXiv 1409.1556, configuration D.
    """
    num_taps = TAPS.index(last) + 1
    check_shape("images", images, (None, None, None, 3))
    smallest = 2 ** (num_taps - 1)
    if min(images.shape[1:3]) < smallest:
        raise ValueError(f"images have shape {images.shape}, expected sides of at least {smallest} pixels for {last}")
    return dict(zip(TAPS, taps_of_normalised(params, normalised(images), num_taps, precision), strict=False))


def taps_of_normalised(
    params: Params,
    images: Array,
    num_taps: int = len(TAPS),
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> list[Array]:
    """The first taps of images [batch, height, width, 3] that `normalised` has mapped already."""
    taps: list[Array] = []
    for block in _BLOCKS[:num_taps]:
        features = max_pool(taps[-1], 2, 2) if taps else images
        for index, _ in block:
            features = convolve_relu(features, params[f"features.{index}"], padding=1, precision=precision)
        taps.append(features)
    return taps


def vgg16_fc2(params: Params, images: Array) -> Array:
    """Computes the features that precision and recall are measured in.

    Args:
        params: of `load_vgg16` with the fully connected layers.
        images: [batch, height, width, 3], RGB in [0, 255], of any size; resized to 224x224 as TensorFlow 1 does.

    Returns:
        [batch, 4096], the second fully connected layer after its ReLU.

    Source: arXiv 1904.06991 §3; arXiv 1409.1556, configuration D.
    """
    inputs = normalised(tf1_resize(images, (SIDE, SIDE)) / 127.5 - 1)
    maps = max_pool(taps_of_normalised(params, inputs)[-1], 2, 2)
    # PyTorch flattens channels first.
    features = maps.transpose(0, 3, 1, 2).reshape(len(maps), -1)
    for name in _DENSE_LAYERS:
        kernel, bias = (jnp.asarray(params[name][key], images.dtype) for key in ("kernel", "bias"))
        features = jnp.matmul(features, kernel, precision=lax.Precision.HIGHEST) + along_last(bias, 2)
        features = jnp.maximum(features, 0)
    return features


def perceptual_distance(
    params: Params,
    generated: Array,
    real: Array,
    tap_weights: Sequence[float] = (1.0,) * len(TAPS),
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Array:
    """Compares pairs of images by their feature maps.

    Args:
        params: of `load_vgg16`.
        generated: [batch, height, width, 3], RGB in [-1, 1].
        real: as `generated`; the gradient flows through both.
        tap_weights: of the first taps; those that have none are not computed.
        precision: of the products.

    Returns:
        [batch]: weighted sum over the taps of the mean squared difference over height, width and channels.

    Raises:
        ValueError: if shapes differ, or there are no weights or more than taps.

    Source: arXiv 1603.08155 §3.2, feature reconstruction.
    """
    check_shape("real", real, generated.shape)
    if not 1 <= len(tap_weights) <= len(TAPS):
        raise ValueError(f"{len(tap_weights)} weights of taps were given, expected 1 to {len(TAPS)}")
    last = TAPS[len(tap_weights) - 1]
    first, second = (vgg16_taps(params, images, last, precision) for images in (generated, real))
    distances = [
        jnp.mean(jnp.square(first[name] - second[name]), axis=(1, 2, 3)) * weight
        for name, weight in zip(first, tap_weights, strict=True)
    ]
    return sum(distances[1:], start=distances[0])
