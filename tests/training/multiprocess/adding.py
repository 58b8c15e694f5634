"""Training without networks: labels are added up, by one process or several. Imports nothing that chooses devices."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from configs import digits
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.data.read.pipeline import BatchIterator, make_iterator


def make_data(rows: Sequence[int] | None = None) -> BatchIterator:
    """Batches of 8 of 13 pictures that carry their number as label."""
    elements = [{"image": np.full((8, 8, 1), number, np.uint8), "label": number} for number in range(13)]
    config = parse_config(digits.get_config()).data
    return make_iterator(Dataset("numbered", elements, 13), config, 8, 0, rows)


def shardings() -> tuple[NamedSharding, NamedSharding]:
    """Of rows that are spread over eight devices, and of what all of them hold."""
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    return NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())


def fresh() -> dict[str, jax.Array]:
    """A state with an array on all devices and one that is spread over them."""
    rows, whole = shardings()
    make = jax.jit(lambda: (jax.numpy.zeros(()), jax.numpy.zeros(64)), out_shardings=(whole, rows))
    return dict(zip(("total", "spread"), make(), strict=True))


def add(state: dict[str, jax.Array], labels: jax.Array) -> dict[str, jax.Array]:
    """Adds the sum of labels to the one array, and each label to its part of the other."""
    spread = state["spread"].reshape(8, 8) + labels[:, None]
    return {"total": state["total"] + labels.sum(), "spread": spread.reshape(-1)}
