"""From a prepared set to shuffled batches whose position can be saved and restored.

An endless sequence of images, reshuffled in every epoch, is divided into batches of the whole run; each process loads
its rows of every batch. A batch depends only on its number, the seed and the set, so the position is one number,
independent of how many threads, worker processes and processes the run uses.
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np

from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.data.prepare.preparation import changed_size
from inr_gan_jax.data.read.batches import Batch, CachedImages, EpochOrder, FittedImages, LoadBatch
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.errors import DatasetError

# More batches than any run uses.
_ENDLESS = 2**48


class BatchIterator(grain.DatasetIterator):
    """Endless iterator over batches; its state is the number of batches returned.

    Args:
        load: loads a batch, given its number.
        config: section `data`.
        identity: what must be the same when a saved position is restored.
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
        """Restores a saved position.

        Raises:
            DatasetError: if it was saved with another set, batch size or seed.
        """
        # A state without these numbers is no position: a KeyError, which is not a DatasetError.
        saved = {name: int(state[name]) for name in self._identity}
        before, now = saved["num_images"], self._identity["num_images"]
        if before != now:
            raise changed_size(self._config.name, before, now)
        for name, value in self._identity.items():
            if saved[name] != value:
                raise DatasetError(
                    f"the saved position in the data has {name} = {saved[name]}, but this run has {value}; resume "
                    "with the configuration of the saved run"
                )
        with self._lock:
            self._stop()
            self._next_batch = state["next_batch"]

    def start_prefetch(self) -> None:
        """Starts decoding before the first batch is requested."""
        with self._lock:
            self._started().start_prefetch()

    def close(self) -> None:
        """Stops threads and worker processes."""
        with self._lock:
            self._stop()

    def _started(self) -> grain.DatasetIterator:
        if self._batches is None:
            config = self._config
            # More threads than cores only wait for each other.
            num_threads = min(config.num_threads, len(os.sched_getaffinity(0)))
            prefetch = max(config.prefetch, num_threads)
            options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=prefetch)
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


def describe_data(dataset: Dataset, config: DataConfig, batch_size: int) -> str:
    """The number of images and their augmentation, as a clause for the first line of a run."""
    count = len(dataset)
    clause = f"{count:,} image{'s' if count > 1 else ''} of {dataset.name}"
    if count < batch_size:
        clause += f", repeated within each batch of {batch_size}"
    mirrored = "each mirrored with probability 1/2 (config.data.x_flip)" if config.x_flip else "not mirrored"
    return f"{clause}, {mirrored}"


def make_iterator(
    dataset: Dataset,
    config: DataConfig,
    batch_size: int,
    seed: int,
    rows: Sequence[int] | None = None,
) -> BatchIterator:
    """Builds an endless iterator over shuffled batches.

    Every image appears once per epoch; an epoch may end in the middle of a batch. If the batch is larger than the set,
    it spans several epochs and images repeat within it. Batch t of the whole run does not depend on which processes
    load its rows. The state is small and exact: after a restore, with any number of threads, worker processes and
    processes, the same batches follow.

    Args:
        dataset: opened split.
        config: section `data`.
        batch_size: images per batch, over all processes.
        seed: of the order and of the mirroring.
        rows: of each batch that this process loads, each in [0, batch_size); None for all, in order.

    Returns:
        Iterator over {"image": uint8 [rows, height, width, channels], "label": int32 [rows]}.

    Raises:
        DatasetError: if the set is empty.
    """
    if not len(dataset):
        raise DatasetError(f"data set {dataset.name} is empty, expected at least one image")
    own = np.arange(batch_size) if rows is None else np.asarray(rows)
    image_shape = (config.height, config.width, config.channels)
    fits = len(dataset) * int(np.prod(image_shape)) <= config.cache_mib * 2**20
    images = FittedImages(dataset, config)
    # Each worker process would keep a copy.
    if fits and not config.num_workers:
        images = CachedImages(images, len(dataset), image_shape)
    load = LoadBatch(images, EpochOrder(len(dataset), seed), config, batch_size, own)
    return BatchIterator(load, config, {"num_images": len(dataset), "batch_size": batch_size, "seed": seed})
