"""The networks that image sets are compared by, each under its own name."""

import dataclasses
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

from inr_gan_jax.array_types import Array, Params
from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks import digits as digits_features
from inr_gan_jax.metrics.networks import inception, inception_weights, squeezenet, vgg16
from inr_gan_jax.metrics.networks.options import WEIGHTS_OPTIONS, NetworkName
from inr_gan_jax.metrics.networks.weight_files import channels_last


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A trained network as the metrics see it.

    Attributes:
        name: of the network.
        params: its weights.
        sha256: of the file that they are from.
        compute: from params and images [batch, height, width, 3], float32, RGB in [0, 255], to arrays [batch, ...] by
            name.
        features: name of the array that distances are measured in.
        num_features: entries of it.
        resize: how images come to the size of the network, for the record.
        host_side: side that pictures are resized to before they reach a device; None: the network does it itself.
        fixed_size: (height, width) that images must have; None: any.
    """

    name: str
    params: Params
    sha256: str
    compute: Callable[[Params, Array], dict[str, Array]]
    features: str
    num_features: int
    resize: str
    host_side: int | None = None
    fixed_size: tuple[int, int] | None = None

    def prepare(self, images: np.ndarray) -> np.ndarray:
        """Makes images [count, height, width, 1 or 3], uint8, RGB of the size that `compute` expects.

        Raises:
            UserError: if the network accepts one size only and the images have another.
        """
        if self.fixed_size not in (None, images.shape[1:3]):
            expected = "x".join(map(str, self.fixed_size or ()))
            got = "x".join(map(str, images.shape[1:3]))
            raise UserError(f"the feature network {self.name!r} expects images of {expected} pixels, got {got}")
        images = np.broadcast_to(images, (*images.shape[:3], 3))
        if self.host_side is None:
            return images
        size = (self.host_side, self.host_side)
        pictures = (Image.fromarray(np.ascontiguousarray(image)) for image in images)
        return np.stack([np.asarray(picture.resize(size, Image.Resampling.BILINEAR)) for picture in pictures])


def load_feature_network(name: NetworkName, weights: str | os.PathLike[str] | None = None) -> FeatureNetwork:
    """Loads a network by name.

    Args:
        name: which one.
        weights: its file; None for the one that the environment names. `digits` has none.

    Raises:
        UserError: one sentence, if the file is not named, missing, damaged, hostile or of another network.
    """
    if name == "digits":
        params, sha256 = digits_features.digits_params()
        size = (digits_features.SIDE, digits_features.SIDE)
        return FeatureNetwork(
            name, params, sha256, digits_features.digits_features, "similarities", digits_features.NUM_FEATURES,
            resize="none", fixed_size=size,
        )  # fmt: skip
    path = WEIGHTS_OPTIONS[name].resolve(weights)
    match name:
        case "inception":
            loaded = inception_weights.load_inception(path)
            return FeatureNetwork(
                name, loaded.params, loaded.sha256, inception.inception_features, "2048", inception.NUM_FEATURES,
                resize="TensorFlow 1 bilinear to 299x299",
            )  # fmt: skip
        case "squeezenet":
            params, file = squeezenet.load_squeezenet(path)
            return FeatureNetwork(
                name, params, file.sha256, squeezenet.squeezenet_features, "fire9", squeezenet.NUM_FEATURES,
                resize="PIL bilinear to 227x227, uint8", host_side=squeezenet.SIDE,
            )  # fmt: skip
        case "vgg16":
            file = vgg16.read_vgg16(path, with_dense_layers=True)
            return FeatureNetwork(
                name, channels_last(file.arrays), file.sha256, _vgg16_features, "fc2", vgg16.NUM_FEATURES,
                resize="TensorFlow 1 bilinear to 224x224",
            )  # fmt: skip
    raise ValueError(f"feature network {name!r} is unknown")


def _vgg16_features(params: Params, images: Array) -> dict[str, Array]:
    return {"fc2": vgg16.vgg16_fc2(params, images)}
