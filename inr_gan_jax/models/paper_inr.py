"""The `paper` model: a hypernetwork that emits the modulation of a multi-scale INR, and the INR itself.

Source of this module: arXiv 2011.12026v2. Everything is written for one sample; map it with `jax.vmap`.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from inr_gan_jax.array_types import Array, Precision, along_last, check_shape, in_precision
from inr_gan_jax.ops.fourier_features import box_average, fixed_basis, fourier_features
from inr_gan_jax.ops.modulation import modulate_sigmoid
from inr_gan_jax.ops.resample import take_cells
from inr_gan_jax.ops.viewport import BlockGrid, DensifyRule, Viewport, block_grids

# Emitted biases of hidden layers and of ToRGB are scaled by this on top of their layer's weight scale.
_BIAS_SCALE = 0.2


@dataclasses.dataclass(frozen=True)
class PaperBlock:
    """Settings of one block of the INR.

    Attributes:
        size: (height, width) that the block is trained at.
        features: hidden width.
        num_layers: hidden layers, the connector not counted.
        num_fourier_features: frequencies emitted for each image; each gives a sine and a cosine.
        fourier_scale: factor from the emitted numbers to radians a unit length.
        max_num_fixed_features: upper bound of the frequencies of a fixed logarithmic basis; 0 for none.
        to_rgb: add this block's own picture to the sum. The last block always does.
    """

    size: tuple[int, int]
    features: int
    num_layers: int
    num_fourier_features: int
    fourier_scale: float = 10.0
    max_num_fixed_features: int = 0
    to_rgb: bool = True


@dataclasses.dataclass(frozen=True)
class PaperSettings:
    """Settings of the `paper` generator.

    Attributes:
        blocks: coarse to fine; each size is a multiple of the one before.
        channels: channels of the picture.
        z_dim: size of the latent code.
        c_dim: size of the label, 0 for unconditional.
        class_embedding_dim: size that a label is embedded to, beside z.
        mapping_dim: width of the hypernetwork.
        num_mapping_layers: layers of the hypernetwork before its linear output.
        rank: rank of the factorised modulation.
        first_dense_block: the block from which super-resolution by the rule `paper` runs denser.
        training_rule: which lattices the blocks run on in training.
        activation: of the INR's layers.
        leaky_slope: slope of `leaky_relu` below 0.
        equalised_lr: store the shared weights at unit variance and scale them at run time.
        use_diagonal_features: keep diagonals in the fixed basis even at the cost of its high frequencies.
        precision: of the INR's layers; the hypernetwork, coordinates and colours stay float32.
        remat: compute each block again in the backward pass instead of keeping its activations.
    """

    blocks: tuple[PaperBlock, ...]
    channels: int = 3
    z_dim: int = 512
    c_dim: int = 0
    class_embedding_dim: int = 512
    mapping_dim: int = 1024
    num_mapping_layers: int = 3
    rank: int = 10
    first_dense_block: int = 1
    training_rule: DensifyRule = "paper"
    activation: Literal["relu", "leaky_relu"] = "relu"
    leaky_slope: float = 0.2
    equalised_lr: bool = False
    use_diagonal_features: bool = False
    precision: Precision = "float32"
    remat: bool = False

    @property
    def native_viewport(self) -> Viewport:
        """The trained picture, on the lattices of training."""
        return Viewport(*self.blocks[-1].size, rule=self.training_rule)

    @property
    def last(self) -> int:
        """Index of the last block."""
        return len(self.blocks) - 1

    def has_rgb(self, index: int) -> bool:
        """Whether a block adds a picture of its own."""
        return self.blocks[index].to_rgb or index == self.last

    def fixed_basis(self, index: int) -> np.ndarray:
        """[num_features, 2], the fixed basis of a block; no rows when it has none."""
        block = self.blocks[index]
        if not block.max_num_fixed_features:
            return np.zeros((0, 2))
        return fixed_basis(max(block.size), block.max_num_fixed_features, self.use_diagonal_features)

    def embedding_dim(self, index: int) -> int:
        """Width of the coordinate embedding of a block."""
        return 2 * (self.blocks[index].num_fourier_features + len(self.fixed_basis(index)))

    def layer_widths(self, index: int) -> list[tuple[int, int]]:
        """(in_features, out_features) of the hidden layers of a block."""
        block, embedding = self.blocks[index], self.embedding_dim(index)
        widths = [(block.features + embedding, block.features)] * block.num_layers
        if index == 0:
            widths[0] = (embedding, block.features)
        return widths

    def activate(self, x: Array) -> Array:
        """Applies the activation of the INR's layers."""
        if self.activation == "relu":
            return jax.nn.relu(x)
        if self.activation == "leaky_relu":
            return jax.nn.leaky_relu(x, self.leaky_slope)
        raise ValueError(f"activation is {self.activation!r}, expected 'relu' or 'leaky_relu'")


class LayerModulation(struct.PyTreeNode):
    """What the hypernetwork emits for one modulated layer.

    Attributes:
        left: [out_features, rank].
        right: [rank, in_features].
        bias: [out_features].
    """

    left: Array
    right: Array
    bias: Array


class ConnectorModulation(struct.PyTreeNode):
    """What is emitted for the layer between two blocks.

    Attributes:
        low: of the features of the block before.
        high: of the coordinate embedding of this block.
    """

    low: LayerModulation
    high: LayerModulation


class RGBModulation(struct.PyTreeNode):
    """A fully emitted linear layer to colours.

    Attributes:
        kernel: [channels, features].
        bias: [channels].
    """

    kernel: Array
    bias: Array


class BlockModulation(struct.PyTreeNode):
    """What is emitted for one block. The order of the fields is the order of the emitted vector.

    Attributes:
        fourier: [num_fourier_features, 2], before scaling.
        connector: None in the first block.
        layers: one entry a hidden layer.
        to_rgb: None where the block adds no picture.
    """

    fourier: Array
    connector: ConnectorModulation | None
    layers: tuple[LayerModulation, ...]
    to_rgb: RGBModulation | None


# One image as an INR: together with the shared weights it is all that `render` needs.
PaperModulation = tuple[BlockModulation, ...]


def modulation_shapes(settings: PaperSettings) -> PaperModulation:
    """The modulation of one image as a pytree of `jax.ShapeDtypeStruct`."""

    def shape(*sizes: int) -> Any:
        return jax.ShapeDtypeStruct(sizes, jnp.float32)

    def layer(in_features: int, out_features: int) -> LayerModulation:
        rank = settings.rank
        return LayerModulation(shape(out_features, rank), shape(rank, in_features), shape(out_features))

    blocks = []
    for index, block in enumerate(settings.blocks):
        connector = None
        if index > 0:
            connector = ConnectorModulation(
                low=layer(settings.blocks[index - 1].features, block.features),
                high=layer(settings.embedding_dim(index), block.features),
            )
        rgb = RGBModulation(shape(settings.channels, block.features), shape(settings.channels))
        blocks.append(
            BlockModulation(
                fourier=shape(block.num_fourier_features, 2),
                connector=connector,
                layers=tuple(layer(*widths) for widths in settings.layer_widths(index)),
                to_rgb=rgb if settings.has_rgb(index) else None,
            )
        )
    return tuple(blocks)


def num_emitted(settings: PaperSettings) -> int:
    """How many numbers the hypernetwork emits for one image."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(modulation_shapes(settings)))


def unflatten_modulation(emitted: Array, settings: PaperSettings) -> PaperModulation:
    """Cuts the emitted vector into the modulation of the layers.

    Args:
        emitted: [num_emitted].
        settings: of the generator.

    Returns:
        The modulation of one image.

    Raises:
        ValueError: if the vector has another length.
    """
    leaves, structure = jax.tree.flatten(modulation_shapes(settings))
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    check_shape("emitted parameters", emitted, (sum(sizes),))
    parts = jnp.split(emitted, np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])


def _uniform_fan_in(fan_in: int) -> Callable[..., Array]:
    """Initialiser U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)) for kernel and bias alike."""
    bound = 1 / math.sqrt(fan_in)
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


class Hypernetwork(nn.Module):
    """Residual MLP from a latent code to all parameters that one image does not share with the others.

    Attributes:
        settings: of the generator.
    """

    settings: PaperSettings

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
            num_emitted(settings), kernel_init=_uniform_fan_in(dim), bias_init=_uniform_fan_in(dim**2)
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
    """Dense layer whose shared weight is modulated and whose bias is emitted.

    Attributes:
        in_features, out_features: widths.
        weight_scale: standard deviation of the shared weight.
        bias_scale: factor of the emitted bias.
        equalised_lr: store the weight at unit variance and scale it at run time.
    """

    in_features: int
    out_features: int
    weight_scale: float
    bias_scale: float
    equalised_lr: bool

    @nn.compact
    def __call__(self, x: Array, modulation: LayerModulation) -> Array:
        """Maps [..., in_features] to [..., out_features] with the weight of one image, in the precision of `x`."""
        stddev = 1.0 if self.equalised_lr else self.weight_scale
        kernel = self.param("kernel", nn.initializers.normal(stddev), (self.in_features, self.out_features))
        if self.equalised_lr:
            kernel = kernel * self.weight_scale
        weight = modulate_sigmoid(kernel, modulation.left, modulation.right)
        bias = along_last(self.bias_scale * modulation.bias, x.ndim)
        return x @ weight.astype(x.dtype) + bias.astype(x.dtype)


class PaperINRBlock(nn.Module):
    """One scale of the INR: coordinates enter at every layer.

    Attributes:
        settings: of the generator.
        index: which block.
    """

    settings: PaperSettings
    index: int

    def _dense(self, in_features: int, out_features: int, gain: float, bias_gain: float, name: str) -> ModulatedDense:
        scale = gain / math.sqrt(in_features)
        return ModulatedDense(
            in_features, out_features, scale, scale * bias_gain, self.settings.equalised_lr, name=name
        )

    @nn.compact
    def __call__(self, features: Array | None, grid: BlockGrid, modulation: BlockModulation) -> Array:
        """Evaluates the block on its lattice.

        Args:
            features: [height, width, features] of the block before, on its own lattice; None in the first block.
            grid: the lattice to evaluate on.
            modulation: of this block.

        Returns:
            [*grid.size, features].
        """
        settings, block = self.settings, self.settings.blocks[self.index]
        # Phases reach hundreds of radians, so waves are computed before the precision is lowered.
        embedding = in_precision(self._embed(grid, modulation.fourier), settings.precision)
        x = None
        if features is not None and modulation.connector is not None:
            low = self._dense(features.shape[-1], block.features, 1.0, 1.0, "connector_low")
            high = self._dense(embedding.shape[-1], block.features, 1.0, 1.0, "connector_high")
            # A pointwise layer commutes with nearest upsampling, so it is applied at the low resolution.
            carried = take_cells(low(features, modulation.connector.low), grid)
            x = settings.activate(carried + high(embedding, modulation.connector.high))
        for number, (in_features, out_features) in enumerate(settings.layer_widths(self.index)):
            inputs = embedding if x is None else jnp.concatenate([x, embedding], axis=-1)
            dense = self._dense(in_features, out_features, math.sqrt(2), _BIAS_SCALE, f"layer_{number}")
            x = settings.activate(dense(inputs, modulation.layers[number]))
        assert x is not None, "a first block has at least one layer"
        return x

    def _embed(self, grid: BlockGrid, emitted: Array) -> Array:
        """[*grid.size, embedding_dim], emitted frequencies first, then the fixed ones."""
        dtype = emitted.dtype
        basis = emitted * self.settings.blocks[self.index].fourier_scale
        basis = jnp.concatenate([basis, jnp.asarray(self.settings.fixed_basis(self.index), dtype)])
        waves = fourier_features(basis, jnp.asarray(grid.x, dtype), jnp.asarray(grid.y, dtype))
        if grid.footprint is None:
            return waves
        kept = box_average(basis, jnp.asarray(grid.footprint, dtype))
        return waves * along_last(jnp.concatenate([kept, kept]), 3)


class PaperNetwork(nn.Module):
    """Hypernetwork and INR of the `paper` model, for one sample.

    Attributes:
        settings: of the generator.
    """

    settings: PaperSettings

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
        """Draws one image.

        Args:
            modulation: of the image.
            viewport: where, how dense and by which rule.

        Returns:
            [viewport.height, viewport.width, channels], in (-1, 1).
        """
        return self.render_grids(modulation, self.grids(viewport))

    def grids(self, viewport: Viewport) -> tuple[BlockGrid, ...]:
        """The lattices of the blocks for a viewport; pass them to `render_grids` to move without compiling again."""
        sizes = [block.size for block in self.settings.blocks]
        return block_grids(viewport, sizes, self.settings.first_dense_block)

    def render_grids(self, modulation: PaperModulation, grids: tuple[BlockGrid, ...]) -> Array:
        """Draws one image on given lattices, as `render`."""
        features, image = None, None
        for index, (block, grid) in enumerate(zip(self.blocks, grids, strict=True)):
            features = block(features, grid, modulation[index])
            if image is not None:
                image = take_cells(image, grid)
            rgb = modulation[index].to_rgb
            if rgb is not None:
                own = self._to_rgb(features, rgb)
                image = own if image is None else own + image
        assert image is not None, "the last block always adds a picture"
        return jnp.tanh(image)

    def _to_rgb(self, features: Array, modulation: RGBModulation) -> Array:
        """[..., features] to [..., channels] by the emitted layer; the more blocks add pictures, the less each."""
        num_pictures = max(1, sum(block.to_rgb for block in self.settings.blocks))
        scale = math.sqrt(2 / features.shape[-1]) / math.sqrt(num_pictures)
        colours = features @ (scale * modulation.kernel.T).astype(features.dtype)
        colours = colours.astype(modulation.bias.dtype)
        return colours + along_last(_BIAS_SCALE * scale * modulation.bias, colours.ndim)

    def __call__(self, z: Array, c: Array | None = None) -> Array:
        """Draws the trained picture of one latent code; also initialises every parameter."""
        return self.render(self.modulation(self.mapping(z, c)), self.settings.native_viewport)
