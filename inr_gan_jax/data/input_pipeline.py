"""From a prepared set to shuffled batches whose position can be saved and restored."""

from typing import Any

import grain
import numpy as np
from PIL import Image

from inr_gan_jax.config import DataConfig
from inr_gan_jax.data.dataset import Dataset, DatasetError

Batch = dict[str, np.ndarray]


class FitImage(grain.transforms.Map):
    """Crops to the wanted aspect around the centre, resizes, and sets the number of channels.

    Args:
        height, width: pixels of the result.
        channels: 1 or 3.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        self._size = (height, width)
        self._channels = channels

    def map(self, element: dict[str, Any]) -> Batch:
        """Maps `image` [any, any, any], uint8, and maybe `label` to image [height, width, channels] and label []."""
        image = element["image"]
        if image.shape != (*self._size, self._channels):
            image = self._fit(image)
        return {"image": image, "label": np.asarray(element.get("label", 0), np.int32)}

    def _fit(self, image: np.ndarray) -> np.ndarray:
        height, width = self._size
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture = picture.convert("L" if self._channels == 1 else "RGB")
        if picture.size != (width, height):
            # Cropped first: the filter of a resize with `box` would take in pixels beyond it.
            scale = min(picture.width / width, picture.height / height)
            crop_width, crop_height = round(scale * width), round(scale * height)
            left, top = (picture.width - crop_width) // 2, (picture.height - crop_height) // 2
            picture = picture.crop((left, top, left + crop_width, top + crop_height))
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        return np.asarray(picture).reshape(height, width, self._channels)


class RandomFlip(grain.transforms.RandomMap):
    """Mirrors an image left to right half of the time."""

    def random_map(self, element: Batch, rng: np.random.Generator) -> Batch:
        """Maps image [height, width, channels] to itself or its mirror image."""
        if rng.random() < 0.5:
            element = {**element, "image": np.ascontiguousarray(element["image"][:, ::-1])}
        return element


def all_images(dataset: Dataset, config: DataConfig) -> np.ndarray:
    """Decodes and fits a whole (small) set: [count, height, width, channels], float32 in [-1, 1]."""
    fit = FitImage(config.height, config.width, config.channels)
    images = np.stack([fit.map(dataset.source[index])["image"] for index in range(len(dataset))])
    return images.astype(np.float32) / 127.5 - 1


def make_iterator(dataset: Dataset, config: DataConfig, batch_size: int, seed: int) -> grain.DatasetIterator:
    """Builds an endless iterator over shuffled batches.

    Its state is small and exact: saved and restored, it yields the very batches that would have come.

    Args:
        dataset: opened split.
        config: section `data`.
        batch_size: images a batch.
        seed: of the order and of the mirroring.

    Returns:
        Iterator over {"image": uint8 [batch, height, width, channels], "label": int32 [batch]}.

    Raises:
        DatasetError: if the set is smaller than one batch.
    """
    if len(dataset) < batch_size:
        raise DatasetError(
            f"data set {dataset.name} has {len(dataset)} images, expected at least config.training.batch_size = "
            f"{batch_size}"
        )
    data = grain.MapDataset.source(dataset.source).seed(seed).shuffle().repeat()
    data = data.map(FitImage(config.height, config.width, config.channels))
    if config.x_flip:
        data = data.random_map(RandomFlip())
    options = grain.ReadOptions(num_threads=config.num_threads, prefetch_buffer_size=config.prefetch * batch_size)
    return iter(data.to_iter_dataset(options).batch(batch_size, drop_remainder=True))
