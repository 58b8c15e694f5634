"""Batches on the device before the step asks for them, with a state that knows which were handed out."""

import collections
from typing import Any

import grain
import jax

from inr_gan_jax.array_types import Array
from inr_gan_jax.data.read.pipeline import Batch


class DevicePrefetch(grain.DatasetIterator):
    """Iterator over batches on the device; can stand wherever the iterator it wraps can, a checkpoint included.

    Args:
        iterator: over the rows of batches that `rows_of_process` names.
        sharding: of the batch of the whole run.
        size: batches on the device beside the one handed out.
    """

    def __init__(self, iterator: grain.DatasetIterator, sharding: jax.sharding.Sharding, size: int) -> None:
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
        """The state after the last batch handed out, as if nothing had been fetched ahead."""
        return self._state

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a saved position; what was fetched ahead is dropped."""
        self._waiting.clear()
        self._iterator.set_state(state)
        self._state = self._iterator.get_state()

    def start_prefetch(self) -> None:
        """Begins to decode before the first batch is asked for."""
        self._iterator.start_prefetch()

    def close(self) -> None:
        """Ends threads and worker processes."""
        self._waiting.clear()
        self._iterator.close()

    def _put(self, batch: Batch) -> dict[str, Array]:
        if self._sharding.is_fully_addressable:
            return jax.device_put(batch, self._sharding)
        return {name: jax.make_array_from_process_local_data(self._sharding, part) for name, part in batch.items()}


def rows_of_process(sharding: jax.sharding.Sharding, batch_size: int) -> list[int]:
    """The rows of each batch that lie on devices of this process, rising.

    They need not be neighbours: on a TPU the devices of the mesh follow the wires between chips, not the hosts.

    Args:
        sharding: of the batch of the whole run; its leading axis is split.
        batch_size: images a batch, over all processes.
    """
    parts = sharding.addressable_devices_indices_map((batch_size,)).values()
    return sorted({row for part in parts if part is not None for row in range(*part[0].indices(batch_size))})


def device_prefetch(iterator: grain.DatasetIterator, sharding: jax.sharding.Sharding, size: int = 2) -> DevicePrefetch:
    """Wraps an iterator so that batches travel to the device while the steps before them compute.

    Args:
        iterator: over the rows of batches that `rows_of_process` names, such as `make_iterator` returns.
        sharding: of the batch of the whole run; its leading axis is split.
        size: batches on the device beside the one handed out.

    Returns:
        Iterator over the same batches as global arrays; its saved state counts those handed out, not those fetched.
    """
    return DevicePrefetch(iterator, sharding, size)
