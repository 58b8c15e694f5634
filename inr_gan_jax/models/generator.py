"""The generator as the rest of the project sees it: mapping, modulation, render, one sample at a time or a batch."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Params, PRNGKey
from inr_gan_jax.models.paper_inr import PaperModulation, PaperNetwork
from inr_gan_jax.ops.viewport import BlockGrid, Viewport

# One image as an INR: a pytree that can be kept, interpolated and rendered anywhere.
Modulation = PaperModulation


@dataclasses.dataclass(frozen=True)
class Generator:
    """A network with what its callers need to know of it.

    Attributes:
        network: Flax module with `mapping`, `modulation`, `render`, `grids` and `render_grids`, for one sample.
        z_dim: size of the latent code.
        c_dim: size of the label, 0 for unconditional.
        native_viewport: the trained picture.
        channels: of the picture.
    """

    network: PaperNetwork
    z_dim: int
    c_dim: int
    native_viewport: Viewport
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the trained picture, in pixels."""
        return self.native_viewport.height, self.native_viewport.width

    def init(self, key: PRNGKey) -> Params:
        """Draws initial parameters."""
        z, c = jnp.zeros(self.z_dim), jnp.zeros(self.c_dim)
        return self.network.init(key, z, c if self.c_dim else None)["params"]

    def mapping(self, params: Params, z: Array, c: Array | None = None) -> Array:
        """Maps z [z_dim] (and c [c_dim], one-hot) to ws [num_ws, w_dim]."""
        return self._apply("mapping", params, z, c)

    def modulation(self, params: Params, ws: Array) -> Modulation:
        """Maps ws [num_ws, w_dim] to the modulation of one image."""
        return self._apply("modulation", params, ws)

    def render(self, params: Params, modulation: Modulation, viewport: Viewport) -> Array:
        """Draws one image: [viewport.height, viewport.width, channels], in [-1, 1]."""
        return self._apply("render", params, modulation, viewport)

    def grids(self, viewport: Viewport) -> tuple[BlockGrid, ...]:
        """The lattices of a viewport, as arrays: `render_grids` then moves without compiling again."""
        return self.network.grids(viewport)

    def render_grids(self, params: Params, modulation: Modulation, grids: tuple[BlockGrid, ...]) -> Array:
        """Draws one image on given lattices, as `render`."""
        return self._apply("render_grids", params, modulation, grids)

    def images(self, params: Params, z: Array, c: Array | None = None, viewport: Viewport | None = None) -> Array:
        """Draws a batch.

        Args:
            params: of the generator.
            z: [batch, z_dim], standard normal.
            c: [batch, c_dim], one-hot, for a conditional generator.
            viewport: where to sample; None for the trained picture.

        Returns:
            [batch, height, width, channels], in [-1, 1].
        """
        view = viewport or self.native_viewport

        def one(z: Array, c: Array | None) -> Array:
            return self.render(params, self.modulation(params, self.mapping(params, z, c)), view)

        return jax.vmap(one)(z, c)

    def latents(self, key: PRNGKey, count: int) -> Array:
        """Draws [count, z_dim] standard normal latent codes."""
        return jax.random.normal(key, (count, self.z_dim))

    def _apply(self, method: str, params: Params, *arguments: Any) -> Any:
        return self.network.apply({"params": params}, *arguments, method=method)
