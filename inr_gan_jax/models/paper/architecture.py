"""What the `paper` network is made of, given its settings and the size of the images."""

import dataclasses
import functools
import math

import jax
import numpy as np

from inr_gan_jax.array_types import Array, Precision
from inr_gan_jax.models.paper.settings import PaperSettings
from inr_gan_jax.ops.fourier_features import fixed_basis
from inr_gan_jax.ops.rules import Between
from inr_gan_jax.ops.viewport import Viewport

# The weights of a layer start with the deviation gain / sqrt(in_features).
HIDDEN_GAIN = math.sqrt(2)
CONNECTOR_GAIN = 1.0


@dataclasses.dataclass(frozen=True)
class PaperBlock:
    """One block of the INR.

    Attributes:
        size: (height, width) that the block is trained at.
        features: hidden width.
        num_layers: hidden layers, the connector not counted.
        num_fourier_features: frequencies, emitted or learned; each gives a sine and a cosine.
        fourier_scale: factor from the emitted or learned numbers to radians per unit length.
        max_num_fixed_features: upper bound of the frequencies of a fixed logarithmic basis; 0 for none.
        to_rgb: add this block's own image to the sum. The last block always does.
    """

    size: tuple[int, int]
    features: int
    num_layers: int
    num_fourier_features: int
    fourier_scale: float
    max_num_fixed_features: int
    to_rgb: bool


@dataclasses.dataclass(frozen=True)
class PaperArchitecture(PaperSettings):
    """The settings of the `paper` generator, and what the rest of a configuration decides.

    Attributes:
        height: pixels of the image; halved from each block to the next coarser one.
        width: pixels of the image, likewise.
        channels: channels of the image.
        c_dim: size of the label, 0 for unconditional.
        precision: of the INR's layers; the hypernetwork, coordinates and colours stay float32.
        remat: compute each block again in the backward pass instead of keeping its activations.
    """

    height: int = 256
    width: int = 256
    channels: int = 3
    c_dim: int = 0
    precision: Precision = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("num_layers", "num_fourier_features", "fourier_scale", "max_num_fixed_features", "to_rgb"):
            if len(getattr(self, name)) != len(self.features):
                raise ValueError(f"{name} has {len(getattr(self, name))} entries, expected {len(self.features)}")

    @functools.cached_property
    def blocks(self) -> tuple[PaperBlock, ...]:
        """The blocks, coarse to fine; each is trained at half the size of the next."""
        return tuple(
            PaperBlock((self.height >> self.last - index, self.width >> self.last - index), *parts)
            for index, parts in enumerate(
                zip(
                    self.features,
                    self.num_layers,
                    self.num_fourier_features,
                    self.fourier_scale,
                    self.max_num_fixed_features,
                    self.to_rgb,
                    strict=True,
                )
            )
        )

    @property
    def native_viewport(self) -> Viewport:
        """The trained image, on the grids of training."""
        return Viewport(self.height, self.width, rule=self.training_rule)

    @property
    def last(self) -> int:
        """Index of the last block."""
        return len(self.features) - 1

    @property
    def upsampling(self) -> Between:
        """How the output of a block is upsampled to the grid of the next."""
        return "nearest" if self.scales == "staged" else "bilinear"

    @property
    def num_pictures(self) -> int:
        """How many images are summed; the more, the smaller the weight of each."""
        return max(1, sum(self.to_rgb))

    def has_rgb(self, index: int) -> bool:
        """Whether a block adds an image of its own."""
        return self.to_rgb[index] or index == self.last or self.scales == "averaged"

    def has_connector(self, index: int) -> bool:
        """Whether the features of the previous block are an input of a block."""
        return index > 0 and self.scales == "staged"

    def num_emitted_frequencies(self, index: int) -> int:
        """Frequencies of a block that are emitted for each image."""
        return self.num_fourier_features[index] if self.fourier_source == "emitted" else 0

    def fixed_basis(self, index: int) -> np.ndarray:
        """[num_features, 2], the fixed basis of a block; no rows when it has none."""
        block = self.blocks[index]
        if not block.max_num_fixed_features:
            return np.zeros((0, 2))
        return fixed_basis(max(block.size), block.max_num_fixed_features, self.use_diagonal_features)

    def embedding_dim(self, index: int) -> int:
        """Width of the coordinate embedding of a block."""
        num_waves = self.num_fourier_features[index] + len(self.fixed_basis(index))
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
        return jax.nn.relu(x) if self.activation == "relu" else jax.nn.leaky_relu(x, self.leaky_slope)
