"""SqueezeNet: version 1.0 as the feature network of the Frechet SqueezeNet distance, 1.1 as a backbone of LPIPS."""

import os

import jax.numpy as jnp
import numpy as np
from jax import lax

from inr_gan_jax.array_types import Array, Params, along_last, check_shape
from inr_gan_jax.metrics.networks.layers import convolve_relu, max_pool
from inr_gan_jax.metrics.networks.options import SQUEEZENET_SOURCE
from inr_gan_jax.metrics.networks.weight_files import Shapes, WeightsFile, channels_last, read_weights

SIDE = 227
NUM_FEATURES = 512
TORCHVISION_SOURCE = (
    "the state_dict of torchvision's squeezenet1_1 "
    "(https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth) as .pth, .npz or .safetensors"
)

# Name, input, squeezed and expanded (twice) channels of the fire modules.
_FIRES = (
    ("fire2", 96, 16, 64),
    ("fire3", 128, 16, 64),
    ("fire4", 128, 32, 128),
    ("fire5", 256, 32, 128),
    ("fire6", 256, 48, 192),
    ("fire7", 384, 48, 192),
    ("fire8", 384, 64, 256),
    ("fire9", 512, 64, 256),
)
_POOLED_BEFORE = ("fire2", "fire5", "fire9")
# Of version 1.1, by index in torchvision's `features`.
_FIRES_1_1 = (
    (3, 64, 16, 64),
    (4, 128, 16, 64),
    (6, 128, 32, 128),
    (7, 256, 32, 128),
    (9, 256, 48, 192),
    (10, 384, 48, 192),
    (11, 384, 64, 256),
    (12, 512, 64, 256),
)
_POOLED_BEFORE_1_1 = (3, 6, 9)
# Modules whose outputs LPIPS compares, besides the first convolution.
_TAPPED_1_1 = (4, 7, 9, 10, 11, 12)
# Of the blue, green and red channel.
_MEAN = np.array([104.0, 117.0, 123.0])


def squeezenet_shapes() -> Shapes:
    """Names and shapes of the arrays in the file of version 1.0."""
    shapes: dict[str, tuple[int, ...]] = {"conv1/w": (96, 3, 7, 7), "conv1/b": (96,)}
    for name, before, squeezed, expanded in _FIRES:
        for layer, features, source, side in _fire_layers(before, squeezed, expanded):
            shapes[f"{name}/{layer}/w"], shapes[f"{name}/{layer}/b"] = (features, source, side, side), (features,)
    return {**shapes, "conv_final/w": (1000, 512, 1, 1), "conv_final/b": (1000,)}


def load_squeezenet(path: str | os.PathLike[str]) -> tuple[Params, WeightsFile]:
    """Reads version 1.0.

    Returns:
        Layer -> {"kernel", "bias"}, NumPy arrays; and the file they are from.

    Raises:
        UserError: one sentence, if the file is missing, damaged, hostile or of another network.
    """
    file = read_weights(path, squeezenet_shapes(), SQUEEZENET_SOURCE)
    kinds = {"w": "weight", "b": "bias"}
    named = {f"{name[:-2]}.{kinds[name[-1]]}": array for name, array in file.arrays.items()}
    return channels_last(named), file


def squeezenet_features(params: Params, images: Array) -> dict[str, Array]:
    """Computes the features of the Frechet SqueezeNet distance.

    Args:
        params: of `load_squeezenet`.
        images: [batch, 227, 227, 3], RGB in [0, 255].

    Returns:
        "fire9": [batch, 512], spatial means of the last fire module; "logits": [batch, 1000].

    Source: arXiv 1602.07360; weights of its Deep Compression release.
    """
    check_shape("images", images, (None, SIDE, SIDE, 3))
    features = images[..., ::-1] - along_last(jnp.asarray(_MEAN, images.dtype), 4)
    features = convolve_relu(features, params["conv1"], stride=2)
    for name, *_ in _FIRES:
        if name in _POOLED_BEFORE:
            features = _pool(features)
        features = _fire(params, features, [f"{name}/{layer}" for layer in ("conv1x1_1", "conv1x1_2", "conv3x3_2")])
    logits = convolve_relu(features, params["conv_final"], padding=1)
    return {"fire9": jnp.mean(features, axis=(1, 2)), "logits": jnp.mean(logits, axis=(1, 2))}


def squeezenet_1_1_shapes() -> Shapes:
    """Names and shapes of the convolutions in torchvision's state_dict of version 1.1."""
    shapes: dict[str, tuple[int, ...]] = {"features.0.weight": (64, 3, 3, 3), "features.0.bias": (64,)}
    for index, before, squeezed, expanded in _FIRES_1_1:
        layers = zip(_fire_layers(before, squeezed, expanded), _fire_names_1_1(index), strict=True)
        for (_, features, source, side), name in layers:
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (features, source, side, side), (features,)
    return shapes


def squeezenet_1_1_taps(
    params: Params, images: Array, precision: lax.PrecisionLike = lax.Precision.HIGHEST
) -> list[Array]:
    """Computes the seven feature maps that LPIPS compares.

    Args:
        params: layer -> {"kernel", "bias"} of torchvision's file.
        images: [batch, height, width, 3], normalised as for ImageNet, sides of at least 17 pixels.
        precision: of the products.

    Returns:
        Maps [batch, height', width', channels] of 64, 128, 256, 384, 384, 512 and 512 channels.
    """
    features = convolve_relu(images, params["features.0"], stride=2, precision=precision)
    taps = [features]
    for index, *_ in _FIRES_1_1:
        if index in _POOLED_BEFORE_1_1:
            features = _pool(features)
        features = _fire(params, features, _fire_names_1_1(index), precision)
        if index in _TAPPED_1_1:
            taps.append(features)
    return taps


def _fire_layers(before: int, squeezed: int, expanded: int) -> tuple[tuple[str, int, int, int], ...]:
    """Name in version 1.0, features, input channels and side of the kernel of the three convolutions of a module."""
    return (
        ("conv1x1_1", squeezed, before, 1),
        ("conv1x1_2", expanded, squeezed, 1),
        ("conv3x3_2", expanded, squeezed, 3),
    )


def _fire_names_1_1(index: int) -> list[str]:
    return [f"features.{index}.{layer}" for layer in ("squeeze", "expand1x1", "expand3x3")]


def _fire(
    params: Params, images: Array, names: list[str], precision: lax.PrecisionLike = lax.Precision.HIGHEST
) -> Array:
    squeezed = convolve_relu(images, params[names[0]], precision=precision)
    point = convolve_relu(squeezed, params[names[1]], precision=precision)
    around = convolve_relu(squeezed, params[names[2]], padding=1, precision=precision)
    return jnp.concatenate([point, around], axis=3)


def _pool(images: Array) -> Array:
    """3x3 maxima at stride 2; a last window that hangs over the edge counts too (ceil mode)."""
    padding = [(0, (size - 3) % 2) for size in images.shape[1:3]]
    return max_pool(images, 3, 2, padding)
