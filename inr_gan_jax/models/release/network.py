"""The `release` family: a StyleGAN2 mapping network, affine layers for the modulation, and a multi-scale INR.

The networks inr-gan, inr-gan-bil, cips and stylegan2 are settings of it. Everything is written for one sample; map it
with `jax.vmap`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import struct

from inr_gan_jax.array_types import Array, Params, check_shape, in_precision
from inr_gan_jax.models.layers import NEUTRAL_ACTIVATION, numbers_like
from inr_gan_jax.models.mapping import MappingNetwork
from inr_gan_jax.models.release.architecture import BlockPlan, ReleaseArchitecture
from inr_gan_jax.models.release.coordinates import (
    CoordinateEmbedding,
    CoordinateModulation,
    ReleaseGrid,
    pointwise_release_grids,
    release_grids,
)
from inr_gan_jax.models.release.layers import (
    FactorModulation,
    NoiseMode,
    StyleModulation,
    SynthesisLayer,
    ToRGBLayer,
    pointwise_weight,
    upsample,
)
from inr_gan_jax.ops.table_lookup import read_table
from inr_gan_jax.ops.viewport import Viewport


class ReleaseBlockModulation(struct.PyTreeNode):
    """Predicted per image for one block.

    Attributes:
        coordinates: None where no frequencies are predicted.
        layers: one entry per layer.
        to_rgb: of ToRGB.
    """

    coordinates: CoordinateModulation | None
    layers: tuple[StyleModulation | FactorModulation, ...]
    to_rgb: StyleModulation


# One image as an INR; one entry per block, coarse to fine.
ReleaseModulation = tuple[ReleaseBlockModulation, ...]


class SynthesisBlock(nn.Module):
    """The layers of one scale and its contribution to the image.

    Attributes:
        settings: of the generator.
        plan: layout of this block, derived from the settings.
    """

    settings: ReleaseArchitecture
    plan: BlockPlan

    def setup(self) -> None:
        settings, plan = self.settings, self.plan
        is_first = plan.in_features == 0
        coordinates = plan.coordinates
        in_features = plan.in_features
        if is_first and settings.input_type == "coordinates":
            coordinates = settings.coordinates_at(settings.input_resolution)
            in_features = coordinates.features
        elif is_first:
            in_features = plan.out_features
            side = settings.input_resolution
            self.const = self.param("const", nn.initializers.normal(1.0), (side, side, in_features))
        if coordinates is not None:
            self.coordinates = CoordinateEmbedding(coordinates, settings.w_dim)
        self.has_coordinates = coordinates is not None
        normed = settings.instance_norm
        if is_first:
            self.conv1 = self._layer(in_features, instance_norm=False)
        else:
            width = 0 if coordinates is None else coordinates.features
            self.conv0 = SynthesisLayer(
                settings, in_features, plan.out_features, plan.resolution, width, upsamples=plan.upsamples
            )
            self.conv1 = self._layer(plan.out_features, instance_norm=normed)
        num_extra = plan.num_layers - (1 if is_first else 2)
        self.extra_convs = [self._layer(plan.out_features, instance_norm=normed) for _ in range(num_extra)]
        self.to_rgb = ToRGBLayer(settings, plan.out_features)

    def _layer(self, in_features: int, instance_norm: bool) -> SynthesisLayer:
        plan = self.plan
        return SynthesisLayer(
            self.settings, in_features, plan.out_features, plan.resolution, instance_norm=instance_norm
        )

    def _layers(self) -> list[SynthesisLayer]:
        first = [] if self.plan.in_features == 0 else [self.conv0]
        return [*first, self.conv1, *self.extra_convs]

    def modulation(self, ws: Array) -> ReleaseBlockModulation:
        """Maps ws [num_layers + 1, w_dim], the last one for ToRGB, to the modulation of this block."""
        return ReleaseBlockModulation(
            coordinates=self.coordinates.modulation(ws[0]) if self.has_coordinates else None,
            layers=tuple(layer.modulation(w) for layer, w in zip(self._layers(), ws[:-1], strict=True)),
            to_rgb=self.to_rgb.modulation(ws[-1]),
        )

    def __call__(
        self,
        x: Array | None,
        image: Array | None,
        grid: ReleaseGrid,
        modulation: ReleaseBlockModulation,
        noise_mode: NoiseMode = "const",
    ) -> tuple[Array, Array]:
        """Evaluates the block on its grid.

        Args:
            x: [height, width, in_features] of the previous block; None in the first block.
            image: [height, width, channels], the picture so far; None in the first block.
            grid: the grid to evaluate on.
            modulation: of this block.
            noise_mode: see `SynthesisLayer`.

        Returns:
            Features [*grid.block_grid.size, out_features] and picture [*grid.block_grid.size, channels].
        """
        embedding = None
        if self.has_coordinates:
            # Phases reach hundreds of radians, so waves are computed before the precision is lowered.
            embedding = self.coordinates(grid, modulation.coordinates, self.to_rgb.bias.dtype)
            embedding = in_precision(embedding, self.settings.precision)
        if x is None:
            x = embedding
            if x is None:
                x = in_precision(read_table(self.const, grid.rows, grid.columns), self.settings.precision)
            embedding = None
        for layer, layer_modulation in zip(self._layers(), modulation.layers, strict=True):
            x = layer(x, embedding, layer_modulation, grid, noise_mode)
            embedding = None
        rgb = self.to_rgb(x, modulation.to_rgb)
        if image is None:
            return x, rgb
        carried = upsample(self.settings, image, grid) if self.plan.upsamples else image
        return x, carried + rgb


def _layer_names(plan: BlockPlan) -> list[str]:
    """Names of the parameters of a block's modulated layers, in order, ToRGB excluded."""
    first = ["conv1"] if plan.in_features == 0 else ["conv0", "conv1"]
    return first + [f"extra_convs_{index}" for index in range(plan.num_layers - len(first))]


class ReleaseNetwork(nn.Module):
    """Mapping network and INR of the `release` family, for one sample.

    Variables: `params` are trained; `constants` (fixed bases, stored noise) are not.

    Attributes:
        settings: of the generator.
    """

    settings: ReleaseArchitecture

    def setup(self) -> None:
        settings = self.settings
        self.mapping_network = MappingNetwork(
            settings.w_dim,
            settings.num_mapping_layers,
            settings.mapping_lr_multiplier,
            settings.label_features,
            settings.mapping_features,
        )
        block_type: Any = SynthesisBlock
        if settings.remat:
            # The last argument, the noise mode, is static.
            block_type = nn.remat(SynthesisBlock, static_argnums=(5,), methods=["__call__"])
        self.blocks = {str(plan.side): block_type(settings, plan) for plan in settings.blocks()}

    def mapping(self, z: Array, c: Array | None = None) -> Array:
        """Maps z [z_dim] (and c [c_dim], one-hot) to ws [num_ws, w_dim], all the same; see `truncate`.

        Raises:
            ValueError: if the inputs do not fit the settings.
        """
        settings = self.settings
        check_shape("z", z, (settings.z_dim,))
        if settings.c_dim:
            if c is None:
                raise ValueError("the generator is conditional but got no label")
            check_shape("c", c, (settings.c_dim,))
        w = self.mapping_network(z, c if settings.c_dim else None)
        return jnp.broadcast_to(w, (settings.num_ws, settings.w_dim))

    def modulation(self, ws: Array) -> ReleaseModulation:
        """Maps ws [num_ws, w_dim] to the modulation of one image: all that depends on the latent code."""
        settings = self.settings
        check_shape("ws", ws, (settings.num_ws, settings.w_dim))
        # ToRGB shares its code with the first layer of the next block.
        return tuple(
            self.blocks[str(plan.side)].modulation(ws[plan.first_ws : plan.first_ws + plan.num_layers + 1])
            for plan in settings.blocks()
        )

    def grids(self, viewport: Viewport) -> tuple[ReleaseGrid, ...]:
        """The grids for a viewport; pass them to `render_grids` to move without recompiling."""
        return release_grids(self.settings, viewport)

    def render(self, modulation: ReleaseModulation, viewport: Viewport, noise_mode: NoiseMode = "const") -> Array:
        """Renders one image.

        Args:
            modulation: of the image.
            viewport: region, density and densification rule.
            noise_mode: `const`, `none`, or `random`, which needs the stream `noise` (`rngs={"noise": key}`).

        Returns:
            [viewport.height, viewport.width, channels], about [-1, 1], unbounded.

        Raises:
            ValueError: if the network can only render its trained picture and another viewport is given.
        """
        return self.render_grids(modulation, self.grids(viewport), noise_mode)

    def render_grids(
        self, modulation: ReleaseModulation, grids: tuple[ReleaseGrid, ...], noise_mode: NoiseMode = "const"
    ) -> Array:
        """Renders one image on given grids, as `render`."""
        x, image = None, None
        for plan, block_modulation in zip(self.settings.blocks(), modulation, strict=True):
            block = self.blocks[str(plan.side)]
            x, image = block(x, image, grids[plan.grid_index], block_modulation, noise_mode)
        assert image is not None, "there is a block of side 4"
        return image

    # What the rest of the package needs to know of the network; none of it touches variables.
    @property
    def has_tables(self) -> bool:
        """Whether it reads arrays with an entry for each trained pixel."""
        settings = self.settings
        has_table = any(entry.table_channels for entry in settings.coordinates)
        return has_table or settings.input_type == "const" or settings.use_noise

    @property
    def is_pointwise(self) -> bool:
        """Whether all layers act on each point alone."""
        return self.settings.kernel_size == 1

    @nn.nowrap
    def parameter_groups(self, params: Params) -> dict[str, Any]:
        """Learning-rate group of each parameter, as a prefix of their tree."""
        return {name: "mapping" if name == "mapping_network" else "inr" for name in params}

    @nn.nowrap
    def layer_numbers(self, shapes: ReleaseModulation) -> ReleaseModulation:
        """A modulation with the layer number in place of each array; see `Generator.layer_numbers`."""
        return tuple(
            ReleaseBlockModulation(
                coordinates=numbers_like(block.coordinates, plan.first_ws),
                layers=tuple(numbers_like(layer, plan.first_ws + index) for index, layer in enumerate(block.layers)),
                to_rgb=numbers_like(block.to_rgb, plan.first_ws + plan.num_layers),
            )
            for block, plan in zip(shapes, self.settings.blocks(), strict=True)
        )

    @property
    def baked_settings(self) -> ReleaseArchitecture:
        """Settings of the network that renders baked weights."""
        return dataclasses.replace(self.settings, factor_activation=NEUTRAL_ACTIVATION)

    @nn.nowrap
    def bake(self, params: Params, modulation: ReleaseModulation) -> tuple[dict[str, Any], ReleaseModulation]:
        """Computes the weights of one image, and the modulation that leaves them unchanged."""
        kernels: dict[str, Any] = {}
        neutral = []
        for plan, block in zip(self.settings.blocks(), modulation, strict=True):
            name = f"blocks_{plan.side}"
            kernels[name] = {
                layer: pointwise_weight(self.settings, params[name][layer]["kernel"], part)
                for layer, part in zip(_layer_names(plan), block.layers, strict=True)
            }
            layers = tuple(FactorModulation.zeros(kernel, self.settings.rank) for kernel in kernels[name].values())
            neutral.append(block.replace(layers=layers))
        return kernels, tuple(neutral)

    @nn.nowrap
    def pointwise_grids(self, x: Array, y: Array) -> tuple[ReleaseGrid, ...]:
        """See `Generator.pointwise_grids`."""
        return pointwise_release_grids(self.settings, x, y)

    @nn.nowrap
    def grids_from_arrays(self, arrays: Sequence[Mapping[str, Array]]) -> tuple[ReleaseGrid, ...]:
        """See `Generator.grids_from_arrays`."""
        return tuple(ReleaseGrid.from_arrays(entry) for entry in arrays)

    def __call__(self, z: Array, c: Array | None = None) -> Array:
        """Renders the trained picture of one latent code; also initialises every variable."""
        return self.render(self.modulation(self.mapping(z, c)), self.settings.native_viewport)
