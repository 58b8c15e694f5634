"""The `paper` model: a hypernetwork that emits the modulation of a multi-scale INR, and the INR itself.

Source of this module: arXiv 2011.12026v2. Everything is written for one sample; map it with `jax.vmap`.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Params, along_last, check_shape, in_precision
from inr_gan_jax.models.layers import NEUTRAL_ACTIVATION, numbers_like
from inr_gan_jax.models.paper.architecture import CONNECTOR_GAIN, HIDDEN_GAIN, PaperArchitecture
from inr_gan_jax.models.paper.modulation import (
    EmittedLayer,
    FactorisedLayer,
    LayerModulation,
    PaperBlockModulation,
    PaperModulation,
    emitted_weights,
    image_weight,
    num_emitted,
    unflatten_modulation,
)
from inr_gan_jax.ops.fourier_features import box_average, centred_coordinates, fourier_features
from inr_gan_jax.ops.resample import gather_features
from inr_gan_jax.ops.viewport import BlockGrid, Viewport, block_grids

# Emitted biases of hidden layers and of ToRGB are scaled by this on top of their layer's weight scale.
_BIAS_SCALE = 0.2


def _uniform_fan_in(fan_in: int) -> Callable[..., Array]:
    """Initialiser U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)) for kernel and bias alike."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def _emitted_bias(settings: PaperArchitecture) -> Callable[..., Array]:
    """Initialiser of the bias of the connector, the part of the emitted vector that all images share.

    Fully emitted layers start like their shared counterparts, with standard normal weights before scaling.
    """
    small = _uniform_fan_in(settings.mapping_dim**2)
    if settings.modulation != "full":
        return small

    def initialise(key: Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> Array:
        weights = jax.random.normal(jax.random.fold_in(key, 1), shape, dtype)
        return jnp.where(emitted_weights(settings), weights, small(key, shape, dtype))

    return initialise


class Hypernetwork(nn.Module):
    """Residual MLP from a latent code to all parameters that one image does not share with the others.

    Attributes:
        settings: of the generator.
    """

    settings: PaperArchitecture

    def setup(self) -> None:
        settings = self.settings
        if settings.c_dim:
            self.class_embedding = nn.Dense(
                settings.class_embedding_dim, use_bias=False, kernel_init=nn.initializers.normal(1.0)
            )
        in_dims = [settings.z_dim + (settings.class_embedding_dim if settings.c_dim else 0)]
        in_dims += [settings.mapping_dim] * (settings.num_mapping_layers - 1)
        self.mapping = [
            nn.Dense(settings.mapping_dim, kernel_init=_uniform_fan_in(dim), bias_init=_uniform_fan_in(dim))
            for dim in in_dims
        ]
        self.branch_weights = [
            self.param(f"branch_weight_{index}", nn.initializers.constant(0.1), ())
            for index in range(1, settings.num_mapping_layers)
        ]
        dim = settings.mapping_dim
        self.connector = nn.Dense(
            num_emitted(settings), kernel_init=_uniform_fan_in(dim), bias_init=_emitted_bias(settings)
        )

    def latent(self, z: Array, c: Array | None = None) -> Array:
        """Maps z [z_dim] (and c [c_dim], one-hot) to the hidden code [mapping_dim]."""
        settings = self.settings
        check_shape("z", z, (settings.z_dim,))
        if settings.c_dim:
            if c is None:
                raise ValueError("the generator is conditional but got no label")
            check_shape("c", c, (settings.c_dim,))
            z = jnp.concatenate([z, self.class_embedding(c)])
        hidden = jax.nn.relu(self.mapping[0](z))
        for layer, weight in zip(self.mapping[1:], self.branch_weights, strict=True):
            hidden = hidden + weight * jax.nn.relu(layer(hidden))
        return hidden

    def emit(self, hidden: Array) -> Array:
        """Maps the hidden code [mapping_dim] to the emitted vector [num_emitted]."""
        return self.connector(hidden)


class ModulatedDense(nn.Module):
    """Dense layer with a weight per image, usually a modulated shared weight, and an emitted bias.

    Attributes:
        settings: of the generator.
        in_features, out_features: widths.
        gain: the weight is initialised with standard deviation gain / sqrt(in_features).
        bias_gain: additional factor of the emitted bias.
    """

    settings: PaperArchitecture
    in_features: int
    out_features: int
    gain: float
    bias_gain: float

    @nn.compact
    def __call__(self, modulation: LayerModulation, *parts: Array) -> Array:
        """Applies the weight of one image, in the precision of the input.

        Args:
            modulation: of this layer.
            parts: [..., features], whose features together are `in_features`. Each gets its rows of the weight: joined,
                they would be copied, and coordinates that XLA joins to features are embedded again in every layer.

        Returns:
            [..., out_features].
        """
        scale = self.gain / math.sqrt(self.in_features)
        kernel = None
        if not isinstance(modulation, EmittedLayer):
            stddev = 1.0 if self.settings.equalised_lr else scale
            kernel = self.param("kernel", nn.initializers.normal(stddev), (self.in_features, self.out_features))
        weight = image_weight(self.settings, kernel, modulation, self.gain)
        weight = weight.astype(parts[0].dtype)
        bias = along_last(scale * self.bias_gain * modulation.bias, parts[0].ndim)
        ends = list(itertools.accumulate(part.shape[-1] for part in parts))
        products = [part @ rows for part, rows in zip(parts, jnp.split(weight, ends[:-1]), strict=True)]
        return functools.reduce(jnp.add, products) + bias.astype(weight.dtype)


class PaperINRBlock(nn.Module):
    """One scale of the INR: coordinates enter at every layer.

    Attributes:
        settings: of the generator.
        index: which block.
    """

    settings: PaperArchitecture
    index: int

    def _dense(self, in_features: int, out_features: int, gain: float, bias_gain: float, name: str) -> ModulatedDense:
        return ModulatedDense(self.settings, in_features, out_features, gain, bias_gain, name=name)

    @nn.compact
    def __call__(self, features: Array | None, grid: BlockGrid, modulation: PaperBlockModulation) -> Array:
        """Evaluates the block on its grid.

        Args:
            features: [height, width, features] of the previous block, on its grid; None for a block without input.
            grid: the grid to evaluate on.
            modulation: of this block.

        Returns:
            [*grid.size, features].
        """
        settings, block = self.settings, self.settings.blocks[self.index]
        # Phases reach hundreds of radians, so waves are computed before the precision is lowered.
        embedding = in_precision(self._embed(grid, modulation.fourier), settings.precision)
        x = None
        if features is not None and modulation.connector is not None:
            low = self._dense(features.shape[-1], block.features, CONNECTOR_GAIN, 1.0, "connector_low")
            high = self._dense(embedding.shape[-1], block.features, CONNECTOR_GAIN, 1.0, "connector_high")
            # A pointwise layer commutes with nearest upsampling, so it is applied at the low resolution.
            carried = gather_features(low(modulation.connector.low, features), grid)
            x = settings.activate(carried + high(modulation.connector.high, embedding))
        for number, (in_features, out_features) in enumerate(settings.layer_widths(self.index)):
            parts = (embedding,) if x is None else (x, embedding)
            dense = self._dense(in_features, out_features, HIDDEN_GAIN, _BIAS_SCALE, f"layer_{number}")
            x = settings.activate(dense(modulation.layers[number], *parts))
        assert x is not None, "a first block has at least one layer"
        return x

    def _embed(self, grid: BlockGrid, emitted: Array) -> Array:
        """[*grid.size, embedding_dim]: waves of emitted or learned frequencies, then of fixed ones; raw coordinates."""
        settings, block = self.settings, self.settings.blocks[self.index]
        dtype, basis = emitted.dtype, emitted
        if settings.fourier_source == "learned":
            basis = self.param("basis", nn.initializers.normal(1.0), (block.num_fourier_features, 2)).astype(dtype)
        basis = basis * block.fourier_scale
        basis = jnp.concatenate([basis, jnp.asarray(settings.fixed_basis(self.index), dtype)])
        x, y = jnp.asarray(grid.x, dtype), jnp.asarray(grid.y, dtype)
        embedding = fourier_features(basis, x, y)
        if grid.footprint is not None:
            kept = box_average(basis, jnp.asarray(grid.footprint, dtype))
            embedding = embedding * along_last(jnp.concatenate([kept, kept]), 3)
        if settings.use_raw_coordinates:
            # A box around a point has the point as its mean, so there is nothing to average.
            embedding = jnp.concatenate([embedding, centred_coordinates(x, y)], axis=-1)
        return embedding


class PaperNetwork(nn.Module):
    """Hypernetwork and INR of the `paper` model, for one sample.

    Attributes:
        settings: of the generator.
    """

    settings: PaperArchitecture

    def setup(self) -> None:
        self.hypernetwork = Hypernetwork(self.settings)
        block_type = nn.remat(PaperINRBlock) if self.settings.remat else PaperINRBlock
        self.blocks = [block_type(self.settings, index) for index in range(len(self.settings.blocks))]

    def mapping(self, z: Array, c: Array | None = None) -> Array:
        """Maps z [z_dim] (and c [c_dim]) to ws [1, mapping_dim]: the paper has one code for all layers."""
        return self.hypernetwork.latent(z, c)[None]

    def modulation(self, ws: Array) -> PaperModulation:
        """Maps ws [1, mapping_dim] to the modulation of one image."""
        check_shape("ws", ws, (1, self.settings.mapping_dim))
        return unflatten_modulation(self.hypernetwork.emit(ws[0]), self.settings)

    def render(self, modulation: PaperModulation, viewport: Viewport) -> Array:
        """Renders one image.

        Args:
            modulation: of the image.
            viewport: region, density and densification rule.

        Returns:
            [viewport.height, viewport.width, channels], in (-1, 1).
        """
        return self.render_grids(modulation, self.grids(viewport))

    def grids(self, viewport: Viewport) -> tuple[BlockGrid, ...]:
        """The grids of the blocks for a viewport; pass them to `render_grids` to move without recompiling."""
        sizes = [block.size for block in self.settings.blocks]
        return block_grids(viewport, sizes, self.settings.first_dense_block, self.settings.upsampling)

    def render_grids(self, modulation: PaperModulation, grids: tuple[BlockGrid, ...]) -> Array:
        """Renders one image on given grids, as `render`."""
        return (
            self._staged(modulation, grids) if self.settings.scales == "staged" else self._averaged(modulation, grids)
        )

    def _staged(self, modulation: PaperModulation, grids: tuple[BlockGrid, ...]) -> Array:
        """One network: each block refines the features of the previous one, and the ToRGB outputs are summed."""
        features, image = None, None
        for index, (block, grid) in enumerate(zip(self.blocks, grids, strict=True)):
            features = block(features, grid, modulation[index])
            if image is not None:
                image = gather_features(image, grid)
            rgb = modulation[index].to_rgb
            if rgb is not None:
                own = _to_rgb(features, rgb, self.settings.num_pictures)
                image = own if image is None else own + image
        assert image is not None, "the last block always adds a picture"
        return jnp.tanh(image)

    def _averaged(self, modulation: PaperModulation, grids: tuple[BlockGrid, ...]) -> Array:
        """One independent network per scale: the mean of their images on the finest grid."""
        total = None
        for block, grid, own in zip(self.blocks, grids, modulation, strict=True):
            assert own.to_rgb is not None, "every block has a picture"
            picture = jnp.tanh(_to_rgb(block(None, grid, own), own.to_rgb, num_pictures=1))
            # Interpolating twice on nested grids is interpolating once.
            total = picture if total is None else picture + gather_features(total, grid)
        assert total is not None, "there is at least one block"
        return total / len(grids)

    # What the rest of the package needs to know of the network; none of it touches variables.
    has_tables = False
    is_pointwise = True

    @nn.nowrap
    def parameter_groups(self, params: Params) -> dict[str, Any]:
        """Learning-rate group of each parameter, as a prefix of their tree."""
        groups: dict[str, Any] = dict.fromkeys(params, "inr")
        names = params["hypernetwork"]
        groups["hypernetwork"] = {key: key if key in ("class_embedding", "connector") else "mapping" for key in names}
        return groups

    @nn.nowrap
    def layer_numbers(self, shapes: PaperModulation) -> PaperModulation:
        """A modulation with the layer number in place of each array; see `Generator.layer_numbers`."""
        numbered, first = [], 0
        for block in shapes:
            start = first + (block.connector is not None)
            last = start + len(block.layers) - 1
            layers = tuple(numbers_like(layer, start + index) for index, layer in enumerate(block.layers))
            numbered.append(
                PaperBlockModulation(
                    fourier=numbers_like(block.fourier, first),
                    connector=numbers_like(block.connector, first),
                    layers=layers,
                    to_rgb=numbers_like(block.to_rgb, last),
                )
            )
            first = last + 1
        return tuple(numbered)

    @property
    def baked_settings(self) -> PaperArchitecture:
        """Settings of the network that renders baked weights."""
        if self.settings.modulation != "factorised":
            return self.settings
        return dataclasses.replace(self.settings, modulation_activation=NEUTRAL_ACTIVATION, equalised_lr=False)

    @nn.nowrap
    def bake(self, params: Params, modulation: PaperModulation) -> tuple[dict[str, Any], PaperModulation]:
        """Computes the weights of one image, and the modulation that leaves them unchanged."""
        kernels = {
            f"blocks_{index}": {
                name: image_weight(self.settings, params[f"blocks_{index}"][name]["kernel"], layer, gain)
                for name, gain, layer in _layers_of(block)
                if isinstance(layer, FactorisedLayer)
            }
            for index, block in enumerate(modulation)
        }
        neutral = jax.tree.map(_without_factors, modulation, is_leaf=lambda part: isinstance(part, FactorisedLayer))
        return kernels, neutral

    @nn.nowrap
    def pointwise_grids(self, x: Array, y: Array) -> tuple[BlockGrid, ...]:
        """See `Generator.pointwise_grids`."""
        return (BlockGrid(x=x, y=y), *[BlockGrid(x=x, y=y, repeats=(1, 1))] * self.settings.last)

    @nn.nowrap
    def grids_from_arrays(self, arrays: Sequence[Mapping[str, Array]]) -> tuple[BlockGrid, ...]:
        """See `Generator.grids_from_arrays`."""
        return tuple(BlockGrid.from_arrays(entry) for entry in arrays)

    def __call__(self, z: Array, c: Array | None = None) -> Array:
        """Renders the trained picture of one latent code; also initialises every parameter."""
        return self.render(self.modulation(self.mapping(z, c)), self.settings.native_viewport)


def _layers_of(block: PaperBlockModulation) -> Iterator[tuple[str, float, LayerModulation]]:
    """Name, gain and modulation of the connectors and hidden layers of a block."""
    if block.connector is not None:
        yield "connector_low", CONNECTOR_GAIN, block.connector.low
        yield "connector_high", CONNECTOR_GAIN, block.connector.high
    for number, layer in enumerate(block.layers):
        yield f"layer_{number}", HIDDEN_GAIN, layer


def _without_factors(part: Any) -> Any:
    if not isinstance(part, FactorisedLayer):
        return part
    return part.replace(left=jnp.zeros_like(part.left), right=jnp.zeros_like(part.right))


def _to_rgb(features: Array, modulation: EmittedLayer, num_pictures: int) -> Array:
    """[..., features] to [..., channels] by the emitted layer, scaled down by the number of summed outputs."""
    scale = math.sqrt(2 / features.shape[-1]) / math.sqrt(num_pictures)
    colours = features @ (scale * modulation.kernel.T).astype(features.dtype)
    colours = colours.astype(modulation.bias.dtype)
    return colours + along_last(_BIAS_SCALE * scale * modulation.bias, colours.ndim)
