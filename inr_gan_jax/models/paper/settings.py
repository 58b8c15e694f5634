"""Settings of the `paper` model: those of arXiv 2011.12026v2, and the alternatives to each of its parts."""

import dataclasses
import math
import typing
from typing import Literal

import jax
import numpy as np

from inr_gan_jax.array_types import Array, Precision
from inr_gan_jax.ops.fourier_features import fixed_basis
from inr_gan_jax.ops.modulation import FactorActivation
from inr_gan_jax.ops.rules import Between, DensifyRule
from inr_gan_jax.ops.viewport import Viewport

ModulationKind = Literal["factorised", "full", "none"]
Scales = Literal["staged", "averaged"]
FourierSource = Literal["emitted", "learned"]

# The weights of a layer start with the deviation gain / sqrt(in_features).
HIDDEN_GAIN = math.sqrt(2)
CONNECTOR_GAIN = 1.0


@dataclasses.dataclass(frozen=True)
class PaperBlock:
    """Settings of one block of the INR.

    Attributes:
        size: (height, width) that the block is trained at.
        features: hidden width.
        num_layers: hidden layers, the connector not counted.
        num_fourier_features: frequencies, emitted or learned; each gives a sine and a cosine.
        fourier_scale: factor from the emitted or learned numbers to radians a unit length.
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
        modulation: how an image comes by the weights of its hidden layers and connectors. `factorised`: those that all
            images share, times a low-rank modulation; `full`: all of them are emitted, as those of ToRGB are; `none`:
            those that all images share, so that only biases, emitted frequencies and ToRGB tell images apart.
        modulation_activation: how the factors act, see `modulate_product`; `demod` gives the weights of each output the
            norm that they start with in the mean.
        rank: rank of the factorised modulation.
        scales: `staged`: each block refines the features of the one before; `averaged`: each block is an INR of its
            own, and their pictures are brought to the finest grid by bilinear interpolation and averaged.
        fourier_source: whether the frequencies of `num_fourier_features` are emitted for each image or learned, the
            same for all.
        use_raw_coordinates: add x and y themselves, in [-1, 1), to the embedding.
        first_dense_block: the block from which super-resolution by the rule `paper` runs denser.
        training_rule: which grids the blocks run on in training.
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
    modulation: ModulationKind = "factorised"
    modulation_activation: FactorActivation = "sigmoid"
    rank: int = 10
    scales: Scales = "staged"
    fourier_source: FourierSource = "emitted"
    use_raw_coordinates: bool = False
    first_dense_block: int = 1
    training_rule: DensifyRule = "paper"
    activation: Literal["relu", "leaky_relu"] = "relu"
    leaky_slope: float = 0.2
    equalised_lr: bool = False
    use_diagonal_features: bool = False
    precision: Precision = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        for name, choices in (
            ("modulation", ModulationKind),
            ("modulation_activation", FactorActivation),
            ("scales", Scales),
            ("fourier_source", FourierSource),
        ):
            value, allowed = getattr(self, name), typing.get_args(choices)
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")

    @property
    def native_viewport(self) -> Viewport:
        """The trained picture, on the grids of training."""
        return Viewport(*self.blocks[-1].size, rule=self.training_rule)

    @property
    def last(self) -> int:
        """Index of the last block."""
        return len(self.blocks) - 1

    @property
    def upsampling(self) -> Between:
        """How what a block passes on is brought to the grid of the next."""
        return "nearest" if self.scales == "staged" else "bilinear"

    @property
    def num_pictures(self) -> int:
        """How many pictures are added up; the more, the less each counts."""
        return max(1, sum(block.to_rgb for block in self.blocks))

    def has_rgb(self, index: int) -> bool:
        """Whether a block adds a picture of its own."""
        return self.blocks[index].to_rgb or index == self.last or self.scales == "averaged"

    def has_connector(self, index: int) -> bool:
        """Whether a block takes in the features of the block before."""
        return index > 0 and self.scales == "staged"

    def num_emitted_frequencies(self, index: int) -> int:
        """Frequencies of a block that are emitted for each image."""
        return self.blocks[index].num_fourier_features if self.fourier_source == "emitted" else 0

    def fixed_basis(self, index: int) -> np.ndarray:
        """[num_features, 2], the fixed basis of a block; no rows when it has none."""
        block = self.blocks[index]
        if not block.max_num_fixed_features:
            return np.zeros((0, 2))
        return fixed_basis(max(block.size), block.max_num_fixed_features, self.use_diagonal_features)

    def embedding_dim(self, index: int) -> int:
        """Width of the coordinate embedding of a block."""
        num_waves = self.blocks[index].num_fourier_features + len(self.fixed_basis(index))
        return 2 * num_waves + (2 if self.use_raw_coordinates else 0)

    def layer_widths(self, index: int) -> list[tuple[int, int]]:
        """(in_features, out_features) of the hidden layers of a block."""
        block, embedding = self.blocks[index], self.embedding_dim(index)
        widths = [(block.features + embedding, block.features)] * block.num_layers
        if not self.has_connector(index):
            widths[0] = (embedding, block.features)
        return widths

    def activate(self, x: Array) -> Array:
        """Applies the activation of the INR's layers."""
        if self.activation == "relu":
            return jax.nn.relu(x)
        if self.activation == "leaky_relu":
            return jax.nn.leaky_relu(x, self.leaky_slope)
        raise ValueError(f"activation is {self.activation!r}, expected 'relu' or 'leaky_relu'")
