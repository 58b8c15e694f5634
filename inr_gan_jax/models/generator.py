"""The generator as the rest of the package sees it: mapping, modulation and rendering of one sample or a batch.

Nothing outside of `models` knows the classes, settings or parameter names of a network; it asks the generator.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from inr_gan_jax.array_types import Array, Params, PRNGKey, Variables
from inr_gan_jax.models.paper.architecture import PaperArchitecture
from inr_gan_jax.models.paper.modulation import PaperModulation
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.coordinates import ReleaseGrid
from inr_gan_jax.models.release.network import ReleaseModulation, ReleaseNetwork
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.viewport import BlockGrid, Layout, Viewport, common_layout

Settings = PaperArchitecture | ReleaseArchitecture
# One image as an INR: a pytree that can be stored, interpolated and rendered anywhere.
Modulation = PaperModulation | ReleaseModulation
Grids = tuple[BlockGrid, ...] | tuple[ReleaseGrid, ...]

# By the names that files and configurations use.
MODELS: Mapping[str, type[Settings]] = {"paper": PaperArchitecture, "release": ReleaseArchitecture}


class BakedWeights(struct.PyTreeNode):
    """The weights of one image's INR after modulation.

    Attributes:
        kernels: block -> layer -> [in_features, out_features].
        modulation: the rest (biases, frequencies, ToRGB), with factors of 0.
    """

    kernels: Params
    modulation: Modulation


@dataclasses.dataclass(frozen=True)
class Generator:
    """A network with what its callers need to know of it.

    Variables are `{"params": trained, "constants": fixed}`; the `paper` network has no constants.

    Attributes:
        network: Flax module of one sample; callers use the methods of the generator instead.
        z_dim: size of the latent code.
        c_dim: size of the label, 0 for unconditional.
        w_dim: size of an intermediate latent code.
        num_ws: number of intermediate latent codes per image.
        native_viewport: the trained picture.
        channels: of the picture.
        uses_noise: whether training samples noise for each image.
        w_avg_decay: fraction of the running mean of w kept per batch.
        is_continuous: whether the network can render viewports other than its trained picture.
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

    @property
    def settings(self) -> Settings:
        """Everything that defines the network, for files and as a key of caches."""
        return self.network.settings

    @property
    def default_rule(self) -> DensifyRule:
        """The rule to render denser with, unless another is asked for.

        `pointwise` for networks trained with it; `all` for those trained on nested grids, because it gives each block
        the neighbourhood that it was trained with (docs/continuous.md has the pictures).
        """
        return "pointwise" if self.native_viewport.rule == "pointwise" else "all"

    @property
    def has_tables(self) -> bool:
        """Whether the network reads learned or stored arrays with one entry per trained pixel."""
        return self.network.has_tables

    @property
    def is_pointwise(self) -> bool:
        """Whether all layers act on each point alone, which makes the image an INR with weights of its own."""
        return self.network.is_pointwise

    @functools.cached_property
    def variable_shapes(self) -> dict[str, Any]:
        """The variables, with `jax.ShapeDtypeStruct` as leaves."""
        return jax.eval_shape(self.init, jax.random.key(0))

    @functools.cached_property
    def modulation_shapes(self) -> Modulation:
        """The modulation of one image, with `jax.ShapeDtypeStruct` as leaves."""
        ws = jax.ShapeDtypeStruct((self.num_ws, self.w_dim), jnp.result_type(float))
        return jax.eval_shape(self.modulation, self.variable_shapes, ws)

    @functools.cached_property
    def layer_numbers(self) -> Modulation:
        """A modulation with, in place of each array, the number of the layer that it belongs to, coarse to fine.

        `release`: one layer per intermediate latent code. `paper`: the connectors and hidden layers of the blocks.
        Coordinates belong to the first layer of their block; ToRGB to the first layer of the next block (`release`) or
        the last of its own (`paper`).
        """
        shapes: Any = self.modulation_shapes
        return self.network.layer_numbers(shapes)

    @property
    def num_layers(self) -> int:
        """Number of layers that `layer_numbers` counts."""
        return 1 + max(jax.tree.leaves(self.layer_numbers))

    def parameter_groups(self, params: Params) -> dict[str, Any]:
        """Learning-rate group of each parameter, as a prefix of their tree.

        Groups: `class_embedding`, `mapping`, `connector`, `inr`.
        """
        return self.network.parameter_groups(params)

    def bake(self, variables: Variables, modulation: Modulation) -> BakedWeights:
        """Computes the weights that the INR of one image has after modulation.

        Raises:
            ValueError: for a network that is not pointwise.
        """
        if not self.is_pointwise:
            raise ValueError("the generator has 3x3 kernels, expected pointwise layers")
        return _bake(self, variables, modulation)

    def init(self, key: PRNGKey) -> dict[str, Any]:
        """Initialises the variables."""
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
        """Renders one image.

        Args:
            variables: of the network.
            modulation: of the image.
            viewport: region, density and densification rule.
            noise_key: for fresh noise where the network uses noise; None for its stored noise.

        Returns:
            [viewport.height, viewport.width, channels], about [-1, 1].

        Raises:
            ValueError: if the network can only render its trained picture and another viewport is given.
        """
        if noise_key is None or not self.uses_noise:
            return self._apply("render", variables, modulation, viewport)
        arguments = (modulation, viewport, "random")
        image = self.network.apply(variables, *arguments, method="render", rngs={"noise": noise_key})
        assert isinstance(image, jax.Array), "render returns one array"
        return image

    def grids(self, viewport: Viewport) -> Grids:
        """The grids of a viewport, as arrays: `render_grids` then moves without compiling again.

        Raises:
            ValueError: if the network can only render its trained picture and another viewport is given.
        """
        return self.network.grids(viewport)

    def grids_of_tiles(self, viewports: Sequence[Viewport]) -> Iterator[Grids]:
        """Yields the grids of several viewports of one size, all of one layout: one compiled program renders them all.

        Args:
            viewports: of equal height, width, density and rule.

        Raises:
            ValueError: if the network can only render its trained picture and another viewport is given.
        """
        layouts = common_layout({tuple(grid.layout for grid in self.grids(viewport)) for viewport in viewports})
        for viewport in viewports:
            yield _with_layouts(self.grids(viewport), layouts)

    def render_grids(self, variables: Variables, modulation: Modulation, grids: Grids) -> Array:
        """Renders one image on given grids, as `render`."""
        return self._apply("render_grids", variables, modulation, grids)

    def pointwise_grids(self, x: Array, y: Array) -> Grids:
        """The grids of the rule `pointwise` at positions known only inside a compiled program.

        Args:
            x: [width], columns; 0 and 1 are the borders of the trained picture.
            y: [height], rows, downwards.

        Returns:
            Every block at every point. Tables are read at the nearest entry, mirrored beyond their borders.
        """
        return self.network.pointwise_grids(x, y)

    def grid_arrays(self, viewport: Viewport) -> list[dict[str, np.ndarray]]:
        """The grids of a viewport in plain arrays, one mapping per grid, coarse to fine.

        Positions x [width] and y [height]; after the first grid, the row and column of the grid before that each row
        and column reads, and where features are interpolated its share of the next; for learned tables the indices.

        Raises:
            ValueError: for a viewport with anti-aliasing, which these arrays cannot express.
        """
        if viewport.antialias:
            raise ValueError("the viewport has anti-aliasing, expected none")
        return [grid.to_arrays() for grid in self.grids(viewport)]

    def grids_from_arrays(self, arrays: Sequence[Mapping[str, Array]]) -> Grids:
        """The inverse of `grid_arrays`."""
        return self.network.grids_from_arrays(arrays)

    def images(self, variables: Variables, z: Array, c: Array | None = None, viewport: Viewport | None = None) -> Array:
        """Renders a batch.

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
        """Renders ws [batch, num_ws, w_dim] as images [batch, height, width, channels].

        Arguments are as in `render`, with one noise key per image: [batch].
        """
        view = viewport or self.native_viewport

        def one(ws: Array, key: PRNGKey | None) -> Array:
            return self.render(variables, self.modulation(variables, ws), view, key)

        return jax.vmap(one)(ws, noise_keys)

    def latents(self, key: PRNGKey, count: int) -> Array:
        """Samples [count, z_dim] standard normal latent codes."""
        return jax.random.normal(key, (count, self.z_dim))

    def _apply(self, method: str, variables: Variables, *arguments: Any) -> Any:
        return self.network.apply(variables, *arguments, method=method)


def model_name(settings: Settings) -> str:
    """The name of the model that settings describe, a key of `MODELS`."""
    (name,) = [name for name, kind in MODELS.items() if isinstance(settings, kind)]
    return name


def with_kernels(variables: Variables, kernels: Params) -> dict[str, Any]:
    """The variables of the blocks that `kernels` lists, with these kernels (see `BakedWeights`)."""
    params = {block: dict(variables["params"].get(block, {})) for block in kernels}
    for block, layers in kernels.items():
        for layer, kernel in layers.items():
            params[block][layer] = {**params[block][layer], "kernel": kernel}
    return {**variables, "params": params}


@functools.partial(jax.jit, static_argnums=0)
def _bake(generator: Generator, variables: Variables, modulation: Any) -> BakedWeights:
    kernels, neutral = generator.network.bake(variables["params"], modulation)
    return BakedWeights(kernels, neutral)


def _with_layouts(grids: Any, layouts: tuple[Layout, ...]) -> Grids:
    pairs = zip(grids, layouts, strict=True)
    return tuple(grid if grid.layout == layout else grid.with_layout(layout) for grid, layout in pairs)
