"""The generator as the rest of the project sees it: mapping, modulation, render, one sample at a time or a batch."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, PRNGKey, Variables
from inr_gan_jax.models.paper.modulation import PaperModulation
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.models.release.coordinates import ReleaseGrid
from inr_gan_jax.models.release.network import ReleaseModulation, ReleaseNetwork
from inr_gan_jax.ops.viewport import BlockGrid, Layout, Viewport, common_layout

# One image as an INR: a pytree that can be kept, interpolated and rendered anywhere.
Modulation = PaperModulation | ReleaseModulation
Grids = tuple[BlockGrid, ...] | tuple[ReleaseGrid, ...]


@dataclasses.dataclass(frozen=True)
class Generator:
    """A network with what its callers need to know of it.

    Variables are `{"params": trained, "constants": fixed}`; the `paper` network has no constants.

    Attributes:
        network: Flax module with `mapping`, `modulation`, `render`, `grids` and `render_grids`, for one sample.
        z_dim: size of the latent code.
        c_dim: size of the label, 0 for unconditional.
        w_dim: size of an intermediate latent code.
        num_ws: number of intermediate latent codes of an image.
        native_viewport: the trained picture.
        channels: of the picture.
        uses_noise: whether training draws noise for each image.
        w_avg_decay: share of the running mean of w that one batch leaves.
        is_continuous: whether the network draws other viewports than its trained picture.
    """

    network: PaperNetwork | ReleaseNetwork
    z_dim: int
    c_dim: int
    w_dim: int
    num_ws: int
    native_viewport: Viewport
    channels: int
    uses_noise: bool = False
    w_avg_decay: float = 0.995
    is_continuous: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the trained picture, in pixels."""
        return self.native_viewport.height, self.native_viewport.width

    def init(self, key: PRNGKey) -> dict[str, Any]:
        """Draws initial variables."""
        z, c = jnp.zeros(self.z_dim), jnp.zeros(self.c_dim)
        return {"constants": {}, **self.network.init(key, z, c if self.c_dim else None)}

    def mapping(self, variables: Variables, z: Array, c: Array | None = None) -> Array:
        """Maps z [z_dim] (and c [c_dim], one-hot) to ws [num_ws, w_dim]."""
        return self._apply("mapping", variables, z, c)

    def modulation(self, variables: Variables, ws: Array) -> Modulation:
        """Maps ws [num_ws, w_dim] to the modulation of one image."""
        return self._apply("modulation", variables, ws)

    def render(
        self, variables: Variables, modulation: Modulation, viewport: Viewport, noise_key: PRNGKey | None = None
    ) -> Array:
        """Draws one image.

        Args:
            variables: of the network.
            modulation: of the image.
            viewport: where, how dense and by which rule.
            noise_key: for fresh noise where the network uses noise; None for its stored noise.

        Returns:
            [viewport.height, viewport.width, channels], about [-1, 1].

        Raises:
            ValueError: if the network can draw its trained picture only and another viewport is asked for.
        """
        if noise_key is None or not self.uses_noise:
            return self._apply("render", variables, modulation, viewport)
        arguments = (modulation, viewport, "random")
        image = self.network.apply(variables, *arguments, method="render", rngs={"noise": noise_key})
        assert isinstance(image, jax.Array), "render returns one array"
        return image

    def grids(self, viewport: Viewport) -> Grids:
        """The lattices of a viewport, as arrays: `render_grids` then moves without compiling again.

        Raises:
            ValueError: if the network can draw its trained picture only and another viewport is asked for.
        """
        return self.network.grids(viewport)

    def grids_of_tiles(self, viewports: Sequence[Viewport]) -> Iterator[Grids]:
        """Yields the lattices of several viewports of one size, laid out alike: one compiled program draws them all.

        Args:
            viewports: of equal height, width, density and rule.

        Raises:
            ValueError: if the network can draw its trained picture only and another viewport is asked for.
        """
        layouts = common_layout({tuple(grid.layout for grid in self.grids(viewport)) for viewport in viewports})
        for viewport in viewports:
            yield self._laid_out(self.grids(viewport), layouts)

    def _laid_out(self, grids: Any, layouts: tuple[Layout, ...]) -> Grids:
        pairs = zip(grids, layouts, strict=True)
        return tuple(grid if grid.layout == layout else grid.laid_out(layout) for grid, layout in pairs)

    def render_grids(self, variables: Variables, modulation: Modulation, grids: Grids) -> Array:
        """Draws one image on given lattices, as `render`."""
        return self._apply("render_grids", variables, modulation, grids)

    def images(self, variables: Variables, z: Array, c: Array | None = None, viewport: Viewport | None = None) -> Array:
        """Draws a batch.

        Args:
            variables: of the network.
            z: [batch, z_dim], standard normal.
            c: [batch, c_dim], one-hot, for a conditional generator.
            viewport: where to sample; None for the trained picture.

        Returns:
            [batch, height, width, channels], about [-1, 1].
        """
        ws = self.batch_mapping(variables, z, c)
        return self.batch_synthesis(variables, ws, viewport=viewport)

    def batch_mapping(self, variables: Variables, z: Array, c: Array | None = None) -> Array:
        """Maps z [batch, z_dim] (and c [batch, c_dim]) to ws [batch, num_ws, w_dim]."""
        return jax.vmap(lambda z, c: self.mapping(variables, z, c))(z, c)

    def batch_synthesis(
        self, variables: Variables, ws: Array, noise_keys: PRNGKey | None = None, viewport: Viewport | None = None
    ) -> Array:
        """Draws ws [batch, num_ws, w_dim] as images [batch, height, width, channels].

        Arguments are as in `render`, with one key of noise an image: [batch].
        """
        view = viewport or self.native_viewport

        def one(ws: Array, key: PRNGKey | None) -> Array:
            return self.render(variables, self.modulation(variables, ws), view, key)

        return jax.vmap(one)(ws, noise_keys)

    def latents(self, key: PRNGKey, count: int) -> Array:
        """Draws [count, z_dim] standard normal latent codes."""
        return jax.random.normal(key, (count, self.z_dim))

    def _apply(self, method: str, variables: Variables, *arguments: Any) -> Any:
        return self.network.apply(variables, *arguments, method=method)
