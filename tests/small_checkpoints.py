"""A small state, a data position that belongs to it, and the check that both come back."""

from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.checkpoint.manager import Checkpointer


def make_state(step: int) -> dict[str, Any]:
    """A state whose arrays all depend on the step; the kernel fills several pages of a file."""
    values = np.random.default_rng(step)
    return {
        "params": {"kernel": jnp.asarray(values.standard_normal((64, 64)), jnp.float32)},
        "moments": (jnp.asarray(values.standard_normal(5), jnp.bfloat16), {}),
        "mask": jnp.asarray([step % 2 == 0, True]),
        "key": jnp.asarray([0, 2**32 - 1 - step], jnp.uint32),
        "step": jnp.int32(step),
    }


def make_iterator() -> grain.DatasetIterator:
    data = grain.MapDataset.source(list(range(20))).seed(0).shuffle().repeat()
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)).batch(3))


def save(checkpoints: Checkpointer, *steps: int, **metric: float) -> None:
    """Saves states with the data position that belongs to each."""
    for step in steps:
        iterator = make_iterator()
        for _ in range(step):
            next(iterator)
        checkpoints.save(step, make_state(step), iterator, **metric)
    checkpoints.wait()


def assert_holds(state: Any, step: int) -> None:
    jax.tree.map(np.testing.assert_array_equal, state, make_state(step))


def restored_step(directory: Path, **options: int) -> int:
    """Restores, checks state and position against those of the step, and returns it."""
    checkpoints, iterator = Checkpointer(directory, 3), make_iterator()
    restored = checkpoints.restore(make_state(0), iterator, **options)
    checkpoints.close()
    assert restored is not None
    assert_holds(*restored)
    expected = make_iterator()
    batches = [next(expected) for _ in range(restored[1] + 1)]
    np.testing.assert_array_equal(next(iterator), batches[-1])
    return restored[1]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
