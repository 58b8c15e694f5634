"""Feature networks for comparing images during inversion.

Features are any callable from images [batch, height, width, channels] in [-1, 1] to arrays [batch, ...]; the distance
of two images is the sum of the squared differences of all entries.
"""

import os
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Params
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import FEATURES_NAMES, FeaturesName
from inr_gan_jax.metrics.networks import squeezenet
from inr_gan_jax.metrics.networks.inception import inception_features
from inr_gan_jax.metrics.networks.lpips import load_lpips, lpips_embedding
from inr_gan_jax.metrics.networks.options import LPIPS_HEADS, WEIGHTS_OPTIONS
from inr_gan_jax.metrics.networks.registry import load_feature_network
from inr_gan_jax.metrics.networks.vgg16 import load_vgg16, vgg16_taps

Features = Callable[[Array], Sequence[Array]]

# Range of sides that suits the networks; smaller images are magnified, larger ones averaged, by whole factors.
_SMALLEST_SIDE, _LARGEST_SIDE = 32, 256


def load_features(name: FeaturesName, weights: Mapping[str, str | os.PathLike[str] | None]) -> Features | None:
    """Loads a feature network.

    - `digits`: similarities to real digits; for 8x8 images, needs no file.
    - `squeezenet`, `inception`: the features of the Fréchet distances, mean squared difference.
    - `vgg16`: feature maps after five ReLUs, sum of the mean squared differences.
    - `lpips`: LPIPS 0.1 with VGG16.

    Args:
        name: which one; `none` for none.
        weights: flag -> file; environment variables name those that are missing here.

    Returns:
        The features, with the weights as leaves (`jax.tree_util.Partial`), so that they are arguments of
        compiled programs; None for `none`.

    Raises:
        UserError: if a file is not named, missing, damaged or of another network.
    """

    def file_of(network: str) -> str:
        option = WEIGHTS_OPTIONS[network]
        return option.resolve(weights.get(option.flag))

    match name:
        case "none":
            return None
        case "digits":
            network = load_feature_network("digits")
            return jax.tree_util.Partial(_by_network(network.compute, network.features), network.params)
        case "squeezenet":
            params, _ = squeezenet.load_squeezenet(file_of(name))
            return jax.tree_util.Partial(_squeezenet, params)
        case "vgg16":
            return jax.tree_util.Partial(_vgg16, load_vgg16(file_of(name)))
        case "inception":
            network = load_feature_network("inception", file_of(name))
            return jax.tree_util.Partial(_by_network(inception_features, network.features), network.params)
        case "lpips":
            heads = LPIPS_HEADS.resolve(weights.get(LPIPS_HEADS.flag))
            params, _ = load_lpips("vgg", file_of("vgg16"), heads)
            return jax.tree_util.Partial(_lpips, params)
    raise ValueError(f"features {name!r} are unknown, expected one of {', '.join(FEATURES_NAMES)}")


def check_features(features: Features | None, height: int, width: int, channels: int) -> None:
    """Checks that features of images of a size can be computed.

    Raises:
        UserError: if they cannot.
    """
    if features is None:
        return
    try:
        jax.eval_shape(features, jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32))
    except (TypeError, ValueError) as error:
        raise UserError(f"the features do not accept images of {height}x{width} pixels ({error})") from error


def feature_distance(first: Sequence[Array], second: Sequence[Array]) -> Array:
    """Sum of the squared differences of the features of images: [batch]."""
    squares = [
        jnp.sum(jnp.square(one - other).reshape(len(one), -1), axis=1) for one, other in zip(first, second, strict=True)
    ]
    return sum(squares[1:], start=squares[0])


def at_usual_side(images: Array) -> Array:
    """Repeats the pixels of images below 32, averages those of images above 256, by whole factors."""
    _, height, width, channels = images.shape
    repeats = -(-_SMALLEST_SIDE // min(height, width))
    if repeats > 1:
        return jnp.repeat(jnp.repeat(images, repeats, axis=1), repeats, axis=2)
    factor = max(height, width) // _LARGEST_SIDE
    if factor < 2:
        return images
    rows, columns = height // factor, width // factor
    cells = images[:, : rows * factor, : columns * factor].reshape(-1, rows, factor, columns, factor, channels)
    return jnp.mean(cells, axis=(2, 4))


def _by_network(compute: Callable[[Params, Array], dict[str, Array]], name: str) -> Callable[..., list[Array]]:
    """Features of a network for RGB in [0, 255]."""

    def features(params: Params, images: Array) -> list[Array]:
        return [_for_mean(compute(params, (_coloured(images) + 1) * 127.5)[name])]

    return features


def _squeezenet(params: Params, images: Array) -> list[Array]:
    # Pillow's filter, except for its rounding to bytes, which has no gradient.
    size = (len(images), squeezenet.SIDE, squeezenet.SIDE, 3)
    resized = jax.image.resize(_coloured(images), size, "linear")
    return [_for_mean(squeezenet.squeezenet_features(params, (resized + 1) * 127.5)["fire9"])]


def _vgg16(params: Params, images: Array) -> list[Array]:
    return [_for_mean(tap) for tap in vgg16_taps(params, at_usual_side(_coloured(images))).values()]


def _lpips(params: Params, images: Array) -> list[Array]:
    return lpips_embedding("vgg", params, at_usual_side(_coloured(images)))


def _for_mean(features: Array) -> Array:
    """Scales features so that the sum of squared differences is their mean squared difference."""
    return features / (features[0].size ** 0.5)


def _coloured(images: Array) -> Array:
    """Grey images as three equal channels."""
    return jnp.broadcast_to(images, (*images.shape[:-1], 3))
