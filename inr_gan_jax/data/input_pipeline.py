"""From a prepared set to shuffled batches whose position can be saved and restored.

The images of an endless sequence, shuffled anew in every epoch, are cut into batches of the whole run; each process
takes its part of every batch. A batch depends on its number, the seed and the set alone, so the position is one number,
whatever the threads, worker processes and processes that the run is spread over.
"""

import threading
from typing import Any

import grain
import numpy as np
from PIL import Image

from inr_gan_jax.config import DataConfig
from inr_gan_jax.data.dataset import Dataset
from inr_gan_jax.data.errors import DatasetError
from inr_gan_jax.data.fit_image import crop_and_resize, to_mode

Batch = dict[str, np.ndarray]

# More batches than any run shows.
_ENDLESS = 2**48
# Keeps the random numbers of mirroring apart from others of the same seed.
_FLIP_STREAM = 1


class FitImage(grain.transforms.Map):
    """Crops to the wanted aspect around the centre, resizes (Lanczos), and sets the number of channels.

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
        if image.shape == (*self._size, 1):
            return image.repeat(self._channels, axis=2)
        picture = to_mode(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), self._channels)
        fitted = crop_and_resize(picture, self._size, "center", "lanczos")
        return np.asarray(fitted).reshape(*self._size, self._channels)


class ImageCache:
    """Fitted images that were seen before, kept in memory.

    Args:
        count: images in the set.
        image_shape: of a fitted image.
    """

    def __init__(self, count: int, image_shape: tuple[int, int, int]) -> None:
        self._images = np.empty((count, *image_shape), np.uint8)
        self._labels = np.zeros(count, np.int32)
        self._is_kept = np.zeros(count, bool)

    def absent(self, indices: np.ndarray) -> np.ndarray:
        """Those of the indices that were not seen yet."""
        return indices[~self._is_kept[indices]]

    def keep(self, index: int, element: Batch) -> None:
        """Keeps one image; several threads may keep the same one."""
        self._images[index] = element["image"]
        self._labels[index] = element["label"]
        # Last: who sees the mark may read.
        self._is_kept[index] = True

    def batch(self, indices: np.ndarray) -> Batch:
        """Copies of the images at the indices, all of which are kept."""
        return {"image": self._images[indices], "label": self._labels[indices]}


class LoadBatch(grain.transforms.Map):
    """Maps the number of a batch to the part of it that one process takes.

    Args:
        dataset: opened split.
        config: section `data`.
        batch_size: images a batch, over all processes.
        seed: of the order and of the mirroring.
        part: positions within a batch that this process takes.
        cache: of fitted images, None for none.
    """

    def __init__(  # noqa: PLR0913 - each is one independent fact
        self, dataset: Dataset, config: DataConfig, batch_size: int, seed: int, part: slice, cache: ImageCache | None
    ) -> None:
        self._source = dataset.source
        self._order = grain.MapDataset.range(len(dataset)).seed(seed).shuffle().repeat()
        self._fit = FitImage(config.height, config.width, config.channels)
        self._image_shape = (config.height, config.width, config.channels)
        self._batch_size, self._seed, self._part = batch_size, seed, part
        self._x_flip, self._cache = config.x_flip, cache

    def map(self, element: int) -> Batch:
        """Maps a number from 0 on to {"image": uint8 [part, height, width, channels], "label": int32 [part]}."""
        number = int(element)
        positions = range(number * self._batch_size, (number + 1) * self._batch_size)[self._part]
        indices = np.array([self._order[position] for position in positions])
        batch = self._load(indices) if self._cache is None else self._recall(indices, self._cache)
        if self._x_flip:
            # Drawn for the whole batch, so that it does not matter which process takes which part.
            random = np.random.default_rng((_FLIP_STREAM, self._seed, number)).random(self._batch_size)
            is_mirrored = random[self._part] < 0.5
            batch["image"][is_mirrored] = mirrored(batch["image"][is_mirrored])
        return batch

    def _load(self, indices: np.ndarray) -> Batch:
        images = np.empty((len(indices), *self._image_shape), np.uint8)
        labels = np.empty(len(indices), np.int32)
        for place, index in enumerate(indices):
            element = self._fit.map(self._source[int(index)])
            images[place], labels[place] = element["image"], element["label"]
        return {"image": images, "label": labels}

    def _recall(self, indices: np.ndarray, cache: ImageCache) -> Batch:
        for index in cache.absent(indices):
            cache.keep(int(index), self._fit.map(self._source[int(index)]))
        return cache.batch(indices)


def mirrored(images: np.ndarray) -> np.ndarray:
    """Copies of images [count, height, width, channels], mirrored left to right."""
    result = np.empty_like(images)
    # One channel at a time: NumPy copies long runs of single bytes several times as fast as many runs of three.
    for channel in range(images.shape[-1]):
        result[..., channel] = images[:, :, ::-1, channel]
    return result


class BatchIterator(grain.DatasetIterator):
    """Endless iterator over batches; its state is the number of batches handed out.

    Args:
        load: makes a batch of its number.
        config: section `data`.
        identity: what a saved position belongs to.
    """

    def __init__(self, load: LoadBatch, config: DataConfig, identity: dict[str, int]) -> None:
        super().__init__()
        self._load, self._config, self._identity = load, config, identity
        self._next_batch = 0
        self._batches: grain.DatasetIterator | None = None
        self._lock = threading.Lock()

    def __next__(self) -> Batch:
        with self._lock:
            batch = next(self._started())
            self._next_batch += 1
            return batch

    def get_state(self) -> dict[str, Any]:
        """The position, as a few numbers that JSON can hold; the same on every process."""
        return {"next_batch": self._next_batch, **self._identity}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a saved position.

        Raises:
            DatasetError: if it was saved with another set, batch size or seed.
        """
        for name, value in self._identity.items():
            if state.get(name) != value:
                raise DatasetError(
                    f"the saved position in the data has {name} = {state.get(name)} and this run has {value}; go on "
                    "with the data and the configuration of the saved run"
                )
        with self._lock:
            self._stop()
            self._next_batch = state["next_batch"]

    def start_prefetch(self) -> None:
        """Begins to decode before the first batch is asked for."""
        with self._lock:
            self._started().start_prefetch()

    def close(self) -> None:
        """Ends threads and worker processes."""
        with self._lock:
            self._stop()

    def _started(self) -> grain.DatasetIterator:
        if self._batches is None:
            config = self._config
            options = grain.ReadOptions(num_threads=config.num_threads, prefetch_buffer_size=config.prefetch)
            batches = grain.MapDataset.range(self._next_batch, _ENDLESS).map(self._load).to_iter_dataset(options)
            if config.num_workers:
                workers = grain.MultiprocessingOptions(
                    num_workers=config.num_workers, per_worker_buffer_size=config.prefetch
                )
                batches = batches.mp_prefetch(workers)
            self._batches = iter(batches)
        return self._batches

    def _stop(self) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None


def all_images(dataset: Dataset, config: DataConfig) -> np.ndarray:
    """Decodes and fits a whole (small) set: [count, height, width, channels], float32 in [-1, 1]."""
    fit = FitImage(config.height, config.width, config.channels)
    images = np.stack([fit.map(dataset.source[index])["image"] for index in range(len(dataset))])
    return images.astype(np.float32) / 127.5 - 1


def make_iterator(  # noqa: PLR0913 - each is one independent fact
    dataset: Dataset,
    config: DataConfig,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> BatchIterator:
    """Builds an endless iterator over shuffled batches.

    Every image comes once an epoch; an epoch that does not divide into batches ends within one. Batch t of the whole run
    is the parts of all processes joined in their order, and does not depend on how many they are. The state is small and
    exact: saved and restored, with any number of threads, worker processes and processes, it yields the very batches
    that would have come.

    Args:
        dataset: opened split.
        config: section `data`.
        batch_size: images a batch, over all processes.
        seed: of the order and of the mirroring.
        process_index: which of the processes this is.
        process_count: how many processes train together.

    Returns:
        Iterator over {"image": uint8 [part, height, width, channels], "label": int32 [part]}, where part is batch_size
        / process_count.

    Raises:
        DatasetError: if the set is smaller than one batch, or a batch does not divide by the processes.
    """
    if len(dataset) < batch_size:
        raise DatasetError(
            f"data set {dataset.name} has {len(dataset)} images, expected at least config.training.batch_size = "
            f"{batch_size}; choose a smaller batch or prepare more images"
        )
    if batch_size % process_count:
        raise DatasetError(
            f"config.training.batch_size is {batch_size}, expected a multiple of the {process_count} processes"
        )
    size = batch_size // process_count
    part = slice(process_index * size, (process_index + 1) * size)
    image_shape = (config.height, config.width, config.channels)
    fits = len(dataset) * int(np.prod(image_shape)) <= config.cache_mib * 2**20
    # Worker processes would keep a copy each.
    cache = ImageCache(len(dataset), image_shape) if fits and not config.num_workers else None
    load = LoadBatch(dataset, config, batch_size, seed, part, cache)
    return BatchIterator(load, config, {"num_images": len(dataset), "batch_size": batch_size, "seed": seed})
