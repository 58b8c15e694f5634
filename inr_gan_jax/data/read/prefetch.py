"""Moves batches to the device before the step needs them; the state counts only the batches returned."""

import collections
from typing import Any

import grain
import jax

from inr_gan_jax.array_types import Array
from inr_gan_jax.data.read.pipeline import Batch


class DevicePrefetch(grain.DatasetIterator):
    """Iterator over batches on the device; a drop-in replacement for the iterator it wraps, also in a checkpoint.

    Args:
        iterator: over the rows of batches of `rows_of_process`, such as `make_iterator` returns.
        sharding: of the batch of the whole run; its leading axis is split.
        size: batches on the device in addition to the one returned.
    """

    def __init__(self, iterator: grain.DatasetIterator, sharding: jax.sharding.Sharding, size: int = 2) -> None:
        super().__init__()
        self._iterator, self._sharding, self._size = iterator, sharding, size
        self._waiting: collections.deque[tuple[dict[str, Array], dict[str, Any]]] = collections.deque()
        self._state = iterator.get_state()

    def __next__(self) -> dict[str, Array]:
        while len(self._waiting) <= self._size:
            batch = self._put(next(self._iterator))
            self._waiting.append((batch, self._iterator.get_state()))
        batch, self._state = self._waiting.popleft()
        return batch

    def get_state(self) -> dict[str, Any]:
        """The state after the last batch returned, as if nothing had been prefetched."""
        return self._state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores a saved position; prefetched batches are dropped."""
        self._waiting.clear()
        self._iterator.set_state(state)
        self._state = self._iterator.get_state()

    def start_prefetch(self) -> None:
        """Starts decoding before the first batch is requested."""
        self._iterator.start_prefetch()

    def close(self) -> None:
        """Stops threads and worker processes."""
        self._waiting.clear()
        self._iterator.close()

    def _put(self, batch: Batch) -> dict[str, Array]:
        if self._sharding.is_fully_addressable:
            return jax.device_put(batch, self._sharding)
        return {name: jax.make_array_from_process_local_data(self._sharding, part) for name, part in batch.items()}


def rows_of_process(sharding: jax.sharding.Sharding, batch_size: int) -> list[int]:
    """The rows of each batch on devices of this process, in ascending order.

    They need not be contiguous: on a TPU the mesh follows the interconnect between chips, not the hosts.

    Args:
        sharding: of the batch of the whole run; its leading axis is split.
        batch_size: images per batch, over all processes.
    """
    parts = sharding.addressable_devices_indices_map((batch_size,)).values()
    return sorted({row for part in parts if part is not None for row in range(*part[0].indices(batch_size))})
