"""Real images and labels as arrays, in any order, fitted to the size of a run but neither shuffled nor mirrored."""

import numpy as np

from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.data.read.batches import FitImage
from inr_gan_jax.data.read.dataset import Dataset


def read_images(dataset: Dataset, config: DataConfig, indices: np.ndarray) -> np.ndarray:
    """Decodes and fits images.

    Args:
        dataset: opened split.
        config: section `data`.
        indices: [count], of the images.

    Returns:
        [count, height, width, channels], uint8.
    """
    fit = FitImage(config.height, config.width, config.channels)
    return np.stack([fit(dataset.source[int(index)]["image"]) for index in indices])


def all_images(dataset: Dataset, config: DataConfig) -> np.ndarray:
    """Decodes and fits a whole (small) set: [count, height, width, channels], float32 in [-1, 1]."""
    return read_images(dataset, config, np.arange(len(dataset))).astype(np.float32) / 127.5 - 1


def read_labels(dataset: Dataset) -> np.ndarray:
    """Reads the labels of the whole split: [count], int64; this decodes the images too."""
    return np.array([int(dataset.source[index]["label"]) for index in range(len(dataset))])
