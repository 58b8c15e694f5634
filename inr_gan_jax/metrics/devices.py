"""Batches of images spread over devices."""

import dataclasses

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from inr_gan_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class BatchDevices:
    """Devices that each take a part of a batch.

    Attributes:
        replicated: whole on every device; weights.
        batch: leading axis split.
    """

    replicated: NamedSharding
    batch: NamedSharding

    @property
    def mesh(self) -> Mesh:
        """The devices, along one axis."""
        assert isinstance(self.batch.mesh, Mesh), "built from devices"
        return self.batch.mesh

    @property
    def count(self) -> int:
        """Number of devices."""
        return self.batch.mesh.size

    def fitting(self, batch_size: int) -> int:
        """The smallest multiple of the number of devices that is not below a batch size."""
        return -(-batch_size // self.count) * self.count


def batch_devices(num_devices: int = 0) -> BatchDevices:
    """Lays batches over devices of this process.

    Args:
        num_devices: how many to use, 0 for all.

    Raises:
        UserError: if there are fewer.
    """
    devices = jax.local_devices()
    count = num_devices or len(devices)
    if count > len(devices):
        raise UserError(f"{count} devices were asked for, but {len(devices)} {devices[0].platform} devices are found")
    # Arguments by position: the keyword names changed between jax 0.10 and 0.12.
    mesh: Mesh = jax.make_mesh((count,), ("data",), (AxisType.Auto,), devices=devices[:count])
    return BatchDevices(NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data")))
