"""From seeds, labels, truncation and noise to latent codes, modulations and images, in batches sharded over a mesh.

The only place outside the training step that compiles a generator to make images of latent codes. All programs belong
to the module and take the network as a static argument, so a second call of equal shapes compiles nothing.

Every image has a random key of its own, so it depends neither on the size of a batch, nor on its neighbours, nor on the
number of devices. Its latent code is `normal(key)`, its label is chosen by `fold_in(key, 1)`, its noise by
`fold_in(key, 2)`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from inr_gan_jax.array_types import Array, PRNGKey, Variables
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.generator import Generator, Grids, Modulation
from inr_gan_jax.models.mapping import truncate
from inr_gan_jax.ops.viewport import Viewport

# Pixels rendered per call and device; a network 512 wide then holds 128 MiB per layer.
PIXELS_PER_CALL = 2**16
# Latent codes mapped, or modulations computed, per call.
BATCH_SIZE = 64

_LABEL, _NOISE = 1, 2


@dataclasses.dataclass(frozen=True)
class Truncation:
    """How far intermediate latent codes are interpolated toward their mean.

    Attributes:
        psi: 1 leaves them, 0 gives the mean.
        cutoff: number of codes to truncate, from the first on; None for all.
    """

    psi: float = 1.0
    cutoff: int | None = None


@jax.jit
def keys_of_seeds(seeds: Array) -> PRNGKey:
    """The keys [count] of images that are named by seeds [count], uint32."""
    return jax.vmap(jax.random.key)(seeds)


@jax.jit
def keys_of_indices(seed: Array, indices: Array) -> PRNGKey:
    """The keys [count] of images number `indices` [count] of the set that a seed names."""
    key = jax.random.key(seed)
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(indices)


@functools.partial(jax.jit, static_argnums=1)
def latents_of_keys(keys: PRNGKey, z_dim: int) -> Array:
    """Standard normal latent codes [count, z_dim] of keys [count]."""
    return jax.vmap(lambda key: jax.random.normal(key, (z_dim,)))(keys)


@functools.partial(jax.jit, static_argnums=2)
def labels_of_keys(keys: PRNGKey, real_labels: Array | np.ndarray, c_dim: int) -> Array:
    """One-hot labels [count, c_dim] of keys [count], each that of a random real image.

    Args:
        keys: of the images.
        real_labels: [num_real], class of every real image.
        c_dim: number of classes.
    """

    def label(key: PRNGKey) -> Array:
        chosen = jax.random.randint(jax.random.fold_in(key, _LABEL), (), 0, len(real_labels))
        return jax.nn.one_hot(jnp.asarray(real_labels)[chosen], c_dim)

    return jax.vmap(label)(keys)


@jax.jit
def noise_keys_of(keys: PRNGKey) -> PRNGKey:
    """Keys [count] of the noise of images with keys [count]."""
    return jax.vmap(lambda key: jax.random.fold_in(key, _NOISE))(keys)


@jax.jit
def to_bytes(images: Array) -> Array:
    """Maps [-1, 1] to 0 .. 255, rounded, on the device; values beyond are clipped."""
    return jnp.clip(jnp.rint((images + 1) * 127.5), 0, 255).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnums=0)
def _map(generator: Generator, variables: Variables, z: Array, c: Array | None) -> Array:
    return generator.batch_mapping(variables, z, c)


@functools.partial(jax.jit, static_argnums=0)
def _modulate(generator: Generator, variables: Variables, ws: Array) -> Modulation:
    return jax.vmap(lambda codes: generator.modulation(variables, codes))(ws)


@functools.partial(jax.jit, static_argnums=0)
def _synthesise(generator: Generator, variables: Variables, ws: Array, noise_keys: PRNGKey) -> Array:
    return generator.batch_synthesis(variables, ws, noise_keys)


@functools.partial(jax.jit, static_argnums=0)
def _render(generator: Generator, variables: Variables, modulations: Modulation, grids: Grids) -> Array:
    return jax.vmap(lambda modulation: generator.render_grids(variables, modulation, grids))(modulations)


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Makes codes, modulations and images of one generator.

    Attributes:
        generator: network.
        variables: of the network.
        w_avg: [w_dim], mean of the intermediate latent codes, for truncation; None where it is not known.
        truncation: of the intermediate latent codes.
        mesh: devices that share every batch, along all of its axes; None for the default device.
        batch_size: images per batch; rounded up to a multiple of the number of devices.
        real_labels: [num_real], class of every real image; labels of `batches` are drawn from them.
        source: what the generator is called in messages.

    Raises:
        UserError: for a truncation without a mean of w.
    """

    generator: Generator
    variables: Variables
    w_avg: Array | None = None
    truncation: Truncation = dataclasses.field(default_factory=Truncation)
    mesh: Mesh | None = None
    batch_size: int = BATCH_SIZE
    real_labels: Array | np.ndarray | None = None
    source: str = "the generator"

    def __post_init__(self) -> None:
        if self.truncation.psi != 1 and self.w_avg is None:
            raise UserError(f"{self.source} holds no mean of w, so truncation_psi must be 1")
        if self.mesh is not None:
            replicated = NamedSharding(self.mesh, PartitionSpec())
            for name in ("variables", "w_avg", "real_labels"):
                object.__setattr__(self, name, jax.device_put(getattr(self, name), replicated))

    @property
    def num_devices(self) -> int:
        """Number of devices that share a batch."""
        return 1 if self.mesh is None else self.mesh.size

    def batches(self, seed: int, count: int) -> Iterator[Array]:
        """`images` of the first `count` keys of the set that a seed names, with labels of random real images."""
        return self.images(keys_of_indices(jnp.uint32(seed), jnp.arange(count, dtype=jnp.uint32)))

    def images(self, keys: PRNGKey, c: Array | None = None) -> Iterator[Array]:
        """Images at the trained size, with fresh noise.

        Args:
            keys: [count], of the images.
            c: [count, c_dim], one-hot labels; None for those of random real images.

        Yields:
            [batch, height, width, channels], about [-1, 1], on the devices; the last batch may be smaller.

        Raises:
            ValueError: for a conditional generator without labels.
        """

        def of_batch(part: tuple[PRNGKey, Array | None]) -> Array:
            keys, c = part
            c = self.labels(keys) if c is None else c
            ws = self._truncated(_map(self.generator, self.variables, latents_of_keys(keys, self.generator.z_dim), c))
            return _synthesise(self.generator, self.variables, ws, noise_keys_of(keys))

        return self._in_batches(of_batch, (keys, c), self.batch_size)

    def labels(self, keys: PRNGKey) -> Array | None:
        """One-hot labels [count, c_dim] of keys [count], those of random real images; None for an unconditional one.

        Raises:
            ValueError: for a conditional generator without labels of real images.
        """
        if not self.generator.c_dim:
            return None
        if self.real_labels is None:
            raise ValueError(f"{self.source} is conditional, expected labels or the labels of real images")
        return labels_of_keys(keys, self.real_labels, self.generator.c_dim)

    def codes(self, z: Array, c: Array | None = None) -> Array:
        """Maps z [count, z_dim] and labels [count, c_dim] to ws [count, num_ws, w_dim], truncated."""

        def of_batch(part: tuple[Array, Array | None]) -> Array:
            return self._truncated(_map(self.generator, self.variables, *part))

        return _joined(self._in_batches(of_batch, (z, c), self.batch_size))

    def modulations(self, ws: Array) -> Modulation:
        """Maps ws [count, num_ws, w_dim] to images as INRs: a modulation whose arrays have a leading axis [count]."""

        def of_batch(part: Array) -> Modulation:
            return _modulate(self.generator, self.variables, part)

        return _joined(self._in_batches(of_batch, ws, self.batch_size))

    def render(self, modulations: Modulation, viewport: Viewport) -> Iterator[Array | np.ndarray]:
        """Renders images, several per call where they are small and in strips where they are large.

        Args:
            modulations: of the images, with a leading axis.
            viewport: where, how dense and with which rule.

        Yields:
            [batch, height, width, channels], about [-1, 1]; on the devices, or on the host if rendered in strips.

        Raises:
            UserError: if the network renders its trained picture only and another viewport is asked for.
        """
        return self._rendered(modulations, viewport, lambda images: images)

    def render_bytes(self, modulations: Modulation, viewport: Viewport) -> Iterator[np.ndarray]:
        """`render` as bytes on the host, converted on the devices: yields [batch, height, width, channels], uint8."""
        return map(np.asarray, self._rendered(modulations, viewport, to_bytes))

    def render_on(self, modulations: Modulation, grids: Grids) -> Array:
        """Renders one batch of images on given grids: [batch, height, width, channels], about [-1, 1]."""
        return _render(self.generator, self.variables, self._shard(modulations), grids)

    def grids_of_tiles(self, viewports: Sequence[Viewport]) -> Iterator[Grids]:
        """As `Generator.grids_of_tiles`.

        Raises:
            UserError: if the network renders its trained picture only and another viewport is asked for.
        """
        try:
            yield from self.generator.grids_of_tiles(viewports)
        except ValueError as error:
            raise UserError(f"{self.source} cannot be rendered like this: {error}") from error

    def fitting(self, count: int) -> int:
        """The smallest multiple of the number of devices that is not below a count."""
        return -(-count // self.num_devices) * self.num_devices

    def _rendered(self, modulations: Modulation, viewport: Viewport, finish: Callable[[Array], Array]) -> Iterator[Any]:
        """Images of a viewport in batches; `finish` is applied to each on the devices."""
        strips = self._strips(viewport)
        size = max(1, PIXELS_PER_CALL // (viewport.height * viewport.width)) * self.num_devices
        if len(strips) == 1:
            (grids,) = self.grids_of_tiles(strips)
            return self._in_batches(lambda part: finish(self.render_on(part, grids)), modulations, size)
        height, width = strips[0].height, viewport.width

        def in_strips(part: Modulation) -> np.ndarray:
            # Grids of equal layout may reach beyond the strip.
            rendered = (
                finish(self.render_on(part, grids)[:, :height, :width]) for grids in self.grids_of_tiles(strips)
            )
            return np.concatenate([np.asarray(strip) for strip in rendered], axis=1)[:, : viewport.height]

        return self._in_batches(in_strips, modulations, size)

    def _strips(self, viewport: Viewport) -> list[Viewport]:
        """Cuts a viewport into strips of equal height; the last may reach beyond the viewport."""
        rows = max(1, PIXELS_PER_CALL // viewport.width)
        if rows >= viewport.height or not self.generator.is_continuous:
            return [viewport]
        return [viewport.crop(top, 0, rows, viewport.width) for top in range(0, viewport.height, rows)]

    def _truncated(self, ws: Array) -> Array:
        if self.truncation.psi == 1:
            return ws
        assert self.w_avg is not None, "checked by the constructor"
        return truncate(ws, self.w_avg, self.truncation.psi, self.truncation.cutoff)

    def _in_batches(self, function: Callable[[Any], Any], arrays: Any, size: int) -> Iterator[Any]:
        """Applies a function to parts of arrays with a leading axis, all of one size; the surplus is cut off."""
        count = count_of(arrays)
        size = self.fitting(min(size, count))
        for start in range(0, count, size):
            # The last part is filled up with copies of the last sample.
            rows = np.minimum(np.arange(start, start + size), count - 1)
            part = arrays if size == count else jax.tree.map(lambda leaf, rows=rows: leaf[rows], arrays)
            result = function(self._shard(part))
            num_left = min(size, count - start)
            yield result if num_left == size else jax.tree.map(lambda leaf, end=num_left: leaf[:end], result)

    def _shard(self, arrays: Any) -> Any:
        """Splits the leading axis over the devices."""
        if self.mesh is None:
            return arrays
        return jax.device_put(arrays, NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names)))


def class_labels(c_dim: int, count: int, class_index: int | None = None) -> Array | None:
    """One-hot labels [count, c_dim] of one class, or of all in turn; None without classes."""
    if not c_dim:
        return None
    indices = jnp.arange(count) % c_dim if class_index is None else jnp.full(count, class_index)
    return jax.nn.one_hot(indices, c_dim)


def count_of(arrays: Any) -> int:
    """Number of samples of a pytree whose arrays have a leading axis."""
    return jax.tree.leaves(arrays)[0].shape[0]


def _joined(parts: Iterator[Any]) -> Any:
    """Joins parts along the leading axis."""
    whole = list(parts)
    return whole[0] if len(whole) == 1 else jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *whole)
