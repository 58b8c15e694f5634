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
from inr_gan_jax.metrics.layers import convolve_relu, max_pool
from inr_gan_jax.metrics.weight_files import Shapes, channels_last, read_weights

WEIGHTS_SOURCE = (
    "the state_dict of torchvision's vgg16 (https://download.pytorch.org/models/vgg16-397923af.pth) as .pth, .npz or "
    ".safetensors"
)
TAPS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")

# Index in torchvision's `features` and width of the convolutions of each block; a 2x2 max pool lies between blocks.
_BLOCKS = (
    ((0, 64), (2, 64)),
    ((5, 128), (7, 128)),
    ((10, 256), (12, 256), (14, 256)),
    ((17, 512), (19, 512), (21, 512)),
    ((24, 512), (26, 512), (28, 512)),
)
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


def load_vgg16(path: str | os.PathLike[str]) -> Params:
    """Reads the convolutions of VGG16; the fully connected layers may be in the file or not.

    Args:
        path: torchvision's vgg16, .pth, .npz or .safetensors.

    Returns:
        Layer -> {"kernel", "bias"}, NumPy arrays in float32, on no device yet.

    Raises:
        UserError: one sentence, if the file is missing, damaged, hostile or of another network.
    """
    return channels_last(read_weights(path, convolution_shapes(), WEIGHTS_SOURCE).arrays)


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
    features, taps = normalised(images), {}
    for name, block in zip(TAPS[:num_taps], _BLOCKS, strict=False):
        if taps:
            features = max_pool(features, 2, 2)
        for index, _ in block:
            features = convolve_relu(features, params[f"features.{index}"], padding=1, precision=precision)
        taps[name] = features
    return taps


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
