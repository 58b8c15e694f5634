"""Features of 8x8 handwritten digits: how similar a picture is to each of a hundred real ones.

Feature j is exp(-|x - x_j|^2 / (2 * 1.5^2)) for pixels in [0, 1] and the j-th landmark, one of the first ten digits of
each class in scikit-learn's set. Nothing is trained, so every machine computes the same numbers. They are not linear in
the pixels, so that blurred pictures and averages of two digits are far off.
"""

import hashlib

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array, Params, check_shape

SIDE = 8
NUM_FEATURES = 100
# In units of the distance between pictures: the nearest other digit is at 1.3, the typical one at 3.
_WIDTH = 1.5
_LANDMARKS_A_CLASS, _NUM_CLASSES = 10, 10
_SOURCE_LEVELS = 16


def digits_params() -> tuple[Params, str]:
    """The landmarks, {"landmarks": [100, 64]} in [0, 1], and the sha256 of their bytes."""
    from sklearn.datasets import load_digits  # Takes a second; needed here only.

    digits = load_digits()
    pixels, labels = digits.data, digits.target  # pyright: ignore[reportAttributeAccessIssue] - a Bunch
    chosen = [pixels[labels == label][:_LANDMARKS_A_CLASS] for label in range(_NUM_CLASSES)]
    landmarks = (np.concatenate(chosen) / _SOURCE_LEVELS).astype(np.float32)
    return {"landmarks": landmarks}, hashlib.sha256(landmarks.tobytes()).hexdigest()


def digits_features(params: Params, images: Array) -> dict[str, Array]:
    """Computes "similarities" [batch, 100] of images [batch, 8, 8, 3] in [0, 255], whose channels are averaged."""
    check_shape("images", images, (None, SIDE, SIDE, 3))
    pixels = jnp.mean(images, axis=3).reshape(len(images), -1) / 255
    landmarks = jnp.asarray(params["landmarks"], images.dtype)
    squares = jnp.sum(jnp.square(pixels[:, None] - landmarks[None]), axis=2)
    return {"similarities": jnp.exp(squares / (-2 * _WIDTH**2))}
