"""A feature network that compiles in no time: one convolution with seeded weights, and its spatial means."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from inr_gan_jax.metrics.networks.layers import convolve_relu
from inr_gan_jax.metrics.networks.registry import FeatureNetwork

NUM_FEATURES = 5


def compute(params: Any, images: Any) -> Any:
    features = convolve_relu(images / 255, params["layer"], padding=1)
    means = jnp.mean(features, axis=(1, 2))
    return {"means": means, "logits_unbiased": 3 * means}


def tiny_network(sha256: str = "0" * 64) -> FeatureNetwork:
    rng = np.random.default_rng(0)
    layer = {
        "kernel": rng.normal(size=(3, 3, 3, NUM_FEATURES)).astype(np.float32),
        "bias": rng.normal(size=NUM_FEATURES).astype(np.float32),
    }
    return FeatureNetwork("tiny", {"layer": layer}, sha256, compute, "means", NUM_FEATURES, resize="none")


def random_images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)
