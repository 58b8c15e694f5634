"""The mesh of devices, and the shardings of state, batch and images on it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from inr_gan_jax.array_types import Array
from inr_gan_jax.config.schema import ShardingConfig
from inr_gan_jax.errors import UserError
from inr_gan_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Shardings:
    """Placement of the arrays of a run.

    Attributes:
        mesh: devices along the axes `data` and `spatial`.
        splits_optimizer: optimizer states are split over `data` instead of replicated (ZeRO-1).
    """

    mesh: Mesh
    splits_optimizer: bool = False

    @property
    def num_devices(self) -> int:
        """Number of devices in use."""
        return self.mesh.size

    @property
    def replicated(self) -> NamedSharding:
        """A whole copy on every device."""
        return NamedSharding(self.mesh, PartitionSpec())

    @property
    def batch(self) -> NamedSharding:
        """Leading axis split over `data`."""
        return NamedSharding(self.mesh, PartitionSpec("data"))

    @property
    def images(self) -> NamedSharding:
        """Images [batch, height, ...]: the batch over `data`, the rows over `spatial`."""
        return NamedSharding(self.mesh, PartitionSpec("data", "spatial"))

    def of_state(self, state: TrainState) -> Any:
        """The sharding of each array of a state.

        Args:
            state: of arrays or of their shapes.

        Returns:
            A state of shardings: all replicated, except the optimizer states if they are split.
        """
        shardings = jax.tree.map(lambda _: self.replicated, state)
        if not self.splits_optimizer:
            return shardings
        optimizers = (state.generator_opt, state.discriminator_opt)
        split_generator, split_discriminator = jax.tree.map(self._split, optimizers)
        return shardings.replace(generator_opt=split_generator, discriminator_opt=split_discriminator)

    def constrain_state(self, state: TrainState) -> TrainState:
        """Constrains a state to the shardings of `of_state`, within a program."""
        if not self.splits_optimizer:
            return state
        return jax.lax.with_sharding_constraint(state, self.of_state(state))

    def constrain_images(self, images: Array) -> Array:
        """Constrains images to the sharding `images`, within a program."""
        return jax.lax.with_sharding_constraint(images, self.images)

    def _split(self, leaf: Any) -> NamedSharding:
        """Splits the longest axis that is divisible by the devices along `data`; replicates an array without one."""
        count = self.mesh.shape["data"]
        sizes = [size if size % count == 0 else 0 for size in leaf.shape]
        if not any(sizes):
            return self.replicated
        axis = sizes.index(max(sizes))
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, "data"))


def make_shardings(num_devices: int, batch_size: int, settings: ShardingConfig | None = None) -> Shardings:
    """Shards a run over the devices that are present.

    Args:
        num_devices: how many to use, 0 for all.
        batch_size: images per batch.
        settings: of the mesh; by default, batches are split over all devices.

    Raises:
        UserError: if there are fewer devices, or the batch does not divide by them.
    """
    devices = jax.devices()
    count = num_devices or len(devices)
    if count > len(devices):
        raise UserError(f"config.num_devices is {count}, but {len(devices)} {devices[0].platform} devices are found")
    return shardings_of(devices[:count], batch_size, settings)


def shardings_of(devices: Sequence[Any], batch_size: int, settings: ShardingConfig | None = None) -> Shardings:
    """Shards a run over given devices, present or only described.

    Args:
        devices: of the mesh.
        batch_size: images per batch.
        settings: of the mesh; by default, batches are split over all devices.

    Raises:
        UserError: if they do not divide the batch.
    """
    settings = settings or ShardingConfig()
    shape = mesh_shape(len(devices), batch_size, settings)
    # Arguments by position: the keyword names changed between jax 0.10 and 0.12.
    axes = (AxisType.Auto, AxisType.Auto)
    mesh = jax.make_mesh(shape, ("data", "spatial"), axes, devices=devices)
    return Shardings(mesh, settings.optimizer)


def mesh_shape(count: int, batch_size: int, settings: ShardingConfig) -> tuple[int, int]:
    """The lengths of the axes `data` and `spatial` of a mesh.

    Args:
        count: of the devices in use.
        batch_size: images per batch.
        settings: how a run is sharded.

    Raises:
        UserError: if the batch does not divide by the devices.
    """
    num_spatial = settings.spatial
    if count % num_spatial:
        raise UserError(f"config.sharding.spatial is {num_spatial}, expected a divisor of the {count} devices in use")
    num_data = count // num_spatial
    if batch_size % num_data:
        what = f"{num_data} groups of {num_spatial} devices" if num_spatial > 1 else f"{count} devices"
        raise UserError(f"config.training.batch_size is {batch_size}, expected a multiple of the {what} in use")
    return num_data, num_spatial
