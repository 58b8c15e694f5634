"""LPIPS 0.1: a perceptual distance of image pairs, by weighted differences of normalised features.

Backbones come from torchvision's files and the weights ("heads") from those of the LPIPS package, both of the user.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from jax import lax

from inr_gan_jax.array_types import Array, Params, along_last, check_shape
from inr_gan_jax.metrics.networks import squeezenet, vgg16
from inr_gan_jax.metrics.networks.layers import convolve_relu, max_pool
from inr_gan_jax.metrics.networks.options import LPIPS_HEADS_SOURCE, VGG16_SOURCE
from inr_gan_jax.metrics.networks.weight_files import Shapes, WeightsFile, array_names, channels_last, read_weights

_ALEXNET_SOURCE = (
    "the state_dict of torchvision's alexnet (https://download.pytorch.org/models/alexnet-owt-7be5be79.pth) as .pth, "
    ".npz or .safetensors"
)

# AlexNet: index in torchvision's `features`, features, input channels, side of the kernel, stride, padding.
_ALEXNET_CONVOLUTIONS = (
    (0, 64, 3, 11, 4, 2),
    (3, 192, 64, 5, 1, 2),
    (6, 384, 192, 3, 1, 1),
    (8, 256, 384, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
_ALEXNET_POOLED_BEFORE = (3, 6)


def alexnet_shapes() -> Shapes:
    """Names and shapes of the convolutions in torchvision's state_dict."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, features, before, side, _, _ in _ALEXNET_CONVOLUTIONS:
        shapes[f"features.{index}.weight"] = (features, before, side, side)
        shapes[f"features.{index}.bias"] = (features,)
    return shapes


def alexnet_taps(params: Params, images: Array, precision: lax.PrecisionLike = lax.Precision.HIGHEST) -> list[Array]:
    """Computes the five feature maps that LPIPS compares, each after its ReLU.

    Args:
        params: layer -> {"kernel", "bias"} of torchvision's file.
        images: [batch, height, width, 3], normalised as for ImageNet, sides of at least 31 pixels.
        precision: of the products.

    Returns:
        Maps [batch, height', width', channels] of 64, 192, 384, 256 and 256 channels.

    Source: arXiv 1404.5997, the one-column variant.
    """
    taps = []
    for index, _, _, _, stride, padding in _ALEXNET_CONVOLUTIONS:
        if index in _ALEXNET_POOLED_BEFORE:
            images = max_pool(images, 3, 2)
        images = convolve_relu(images, params[f"features.{index}"], stride, padding, precision=precision)
        taps.append(images)
    return taps


# Added to the norms, outside the root.
_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class _Backbone:
    """A network whose feature maps are compared.

    Attributes:
        shapes: of its arrays in torchvision's file.
        taps: from params and normalised images to feature maps.
        channels: of each map.
        smallest_side: of an image that reaches the last map.
        source: what the file should be.
    """

    shapes: Callable[[], Shapes]
    taps: Callable[..., list[Array]]
    channels: tuple[int, ...]
    smallest_side: int
    source: str


_BACKBONES: Mapping[str, _Backbone] = {
    "vgg": _Backbone(vgg16.convolution_shapes, vgg16.taps_of_normalised, (64, 128, 256, 512, 512), 16, VGG16_SOURCE),
    "alex": _Backbone(alexnet_shapes, alexnet_taps, (64, 192, 384, 256, 256), 31, _ALEXNET_SOURCE),
    "squeeze": _Backbone(
        squeezenet.squeezenet_1_1_shapes,
        squeezenet.squeezenet_1_1_taps,
        (64, 128, 256, 384, 384, 512, 512),
        17,
        squeezenet.TORCHVISION_SOURCE,
    ),
}
NAMES = tuple(_BACKBONES)


def load_lpips(
    name: str, backbone_path: str | os.PathLike[str], heads_path: str | os.PathLike[str]
) -> tuple[Params, dict[str, str]]:
    """Reads a backbone and its heads.

    Args:
        name: `vgg`, `alex` or `squeeze`.
        backbone_path: torchvision's vgg16, alexnet or squeezenet1_1.
        heads_path: of the LPIPS package.

    Returns:
        {"backbone": layers, "heads": {"lin0": [channels], ...}}, NumPy arrays; and the sha256 of both files by name.

    Raises:
        UserError: one sentence, if a file is missing, damaged, hostile or of another network.
    """
    backbone = _BACKBONES[name]
    file = read_weights(backbone_path, backbone.shapes(), backbone.source)
    source = LPIPS_HEADS_SOURCE.format(name=name)
    heads = _read_heads(heads_path, backbone.channels, source)
    params = {"backbone": channels_last(file.arrays), "heads": heads.arrays}
    return params, {f"lpips_{name}_backbone": file.sha256, f"lpips_{name}_heads": heads.sha256}


def lpips(
    name: str,
    params: Params,
    first: Array,
    second: Array,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Array:
    """Compares pairs of images.

    Args:
        name: of the backbone that `params` are of.
        params: of `load_lpips`; heads that are all 1 give the package's `lpips=False`.
        first: [batch, height, width, 3], RGB in [-1, 1], not resized.
        second: as `first`. The gradient flows through both.
        precision: of the products.

    Returns:
        [batch]: sum over the maps of the spatial mean of sum_c w_c (f_c / |f| - g_c / |g|)^2.

    Raises:
        ValueError: if shapes differ or the images are too small for the backbone.

    Source: arXiv 1801.03924 §3, eq. 1.
    """
    backbone = _BACKBONES[name]
    check_shape("second", second, first.shape)
    check_shape("first", first, (None, None, None, 3))
    if min(first.shape[1:3]) < backbone.smallest_side:
        raise ValueError(f"images have shape {first.shape}, expected sides of at least {backbone.smallest_side} pixels")
    maps = [backbone.taps(params["backbone"], vgg16.normalised(x), precision=precision) for x in (first, second)]
    distances = []
    for index, (one, other) in enumerate(zip(*maps, strict=True)):
        squares = jnp.square(_normalised_features(one) - _normalised_features(other))
        weights = along_last(jnp.asarray(params["heads"][f"lin{index}"], squares.dtype), 4)
        distances.append(jnp.mean(jnp.sum(squares * weights, axis=3), axis=(1, 2)))
    return sum(distances[1:], start=distances[0])


def lpips_embedding(
    name: str, params: Params, images: Array, precision: lax.PrecisionLike = lax.Precision.HIGHEST
) -> list[Array]:
    """Maps images to arrays whose squared differences add up to LPIPS: one of a pair then needs to be mapped only once.

    Args:
        name: as in `lpips`.
        params: as in `lpips`; heads must not be negative, as those of the LPIPS package are not.
        images: as `first` of `lpips`.
        precision: of the products.

    Returns:
        One array [batch, height, width, channels] a feature map.
    """
    taps = _BACKBONES[name].taps(params["backbone"], vgg16.normalised(images), precision=precision)
    embedded = []
    for index, features in enumerate(taps):
        weights = along_last(jnp.asarray(params["heads"][f"lin{index}"], features.dtype), 4)
        area = features.shape[1] * features.shape[2]
        embedded.append(_normalised_features(features) * jnp.sqrt(weights / area))
    return embedded


def _normalised_features(features: Array) -> Array:
    squares = jnp.sum(jnp.square(features), axis=3, keepdims=True)
    # The root has no derivative at 0, where no feature is active; its gradient is defined as 0 there.
    is_active = squares > 0
    norms = jnp.where(is_active, jnp.sqrt(jnp.where(is_active, squares, 1)), 0)
    return features / (norms + _EPSILON)


def _read_heads(path: str | os.PathLike[str], channels: tuple[int, ...], source: str) -> WeightsFile:
    """Reads heads under the package's names (`lin0.model.1.weight`, [1, channels, 1, 1]) or short ones (`lin0`)."""
    long = {f"lin{index}.model.1.weight": (1, count, 1, 1) for index, count in enumerate(channels)}
    short = {f"lin{index}": (count,) for index, count in enumerate(channels)}
    is_short = "lin0" in array_names(path, source)
    file = read_weights(path, short if is_short else long, source)
    heads = zip(short, file.arrays.values(), strict=True)
    return dataclasses.replace(file, arrays={name: array.reshape(-1) for name, array in heads})
