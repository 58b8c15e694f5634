"""The mesh of devices and how state and batch lie on it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from inr_gan_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shardings:
    """Placement of the arrays of a run.

    Attributes:
        mesh: devices along the axis `data`.
        replicated: whole on every device; the state.
        batch: leading axis split over `data`.
    """

    mesh: Mesh
    replicated: NamedSharding
    batch: NamedSharding

    @property
    def num_devices(self) -> int:
        """Devices in use."""
        return self.mesh.size


def make_shardings(num_devices: int, batch_size: int) -> Shardings:
    """Lays a batch over devices.

    Args:
        num_devices: how many to use, 0 for all.
        batch_size: images a batch.

    Raises:
        UserError: if there are fewer devices, or the batch does not divide by them.
    """
    devices = jax.devices()
    count = num_devices or len(devices)
    if count > len(devices):
        raise UserError(f"config.num_devices is {count}, but {len(devices)} {devices[0].platform} devices are found")
    return shardings_of(devices[:count], batch_size)


def shardings_of(devices: Sequence[Any], batch_size: int) -> Shardings:
    """Lays a batch over given devices, present or only described.

    Args:
        devices: all are used.
        batch_size: images a batch.

    Raises:
        UserError: if the batch does not divide by them.
    """
    count = len(devices)
    if batch_size % count:
        raise UserError(
            f"config.training.batch_size is {batch_size}, expected a multiple of the {count} devices in use"
        )
    # Arguments by position: the keyword names changed between jax 0.10 and 0.12.
    mesh = jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=devices)
    return Shardings(
        mesh=mesh,
        replicated=NamedSharding(mesh, PartitionSpec()),
        batch=NamedSharding(mesh, PartitionSpec("data")),
    )
