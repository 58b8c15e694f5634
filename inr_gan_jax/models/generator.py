"""The generator as the rest of the project sees it: mapping, modulation, render, one sample at a time or a batch."""

import dataclasses

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Params, PRNGKey, Variables
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
        size: (height, width) of the trained picture, in pixels.
        channels: of the picture.
    """

    network: PaperNetwork
    z_dim: int
    c_dim: int
    size: tuple[int, int]
    channels: int

    @property
    def native_viewport(self) -> Viewport:
        """The trained picture."""
        return Viewport(*self.size)

    def init(self, key: PRNGKey) -> Params:
        """Draws initial parameters."""
        z, c = jnp.zeros(self.z_dim), jnp.zeros(self.c_dim)
        return self.network.init(key, z, c if self.c_dim else None)["params"]

    def mapping(self, params: Params, z: Array, c: Array | None = None) -> Array:
        """Maps z [z_dim] (and c [c_dim], one-hot) to ws [num_ws, w_dim]."""
        return self.network.apply(_variables(params), z, c, method="mapping")

    def modulation(self, params: Params, ws: Array) -> Modulation:
        """Maps ws [num_ws, w_dim] to the modulation of one image."""
        return self.network.apply(_variables(params), ws, method="modulation")

    def render(self, params: Params, modulation: Modulation, viewport: Viewport) -> Array:
        """Draws one image: [viewport.height, viewport.width, channels], in [-1, 1]."""
        return self.network.apply(_variables(params), modulation, viewport, method="render")

    def grids(self, viewport: Viewport) -> tuple[BlockGrid, ...]:
        """The lattices of a viewport, as arrays: `render_grids` then moves without compiling again."""
        return self.network.grids(viewport)

    def render_grids(self, params: Params, modulation: Modulation, grids: tuple[BlockGrid, ...]) -> Array:
        """Draws one image on given lattices, as `render`."""
        return self.network.apply(_variables(params), modulation, grids, method="render_grids")

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


def _variables(params: Params) -> Variables:
    return {"params": params}
