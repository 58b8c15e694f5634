"""Settings of the `release` family: inr-gan, inr-gan-bil, cips and stylegan2 are values of one dataclass."""

import dataclasses
import math
import typing
from typing import Literal

from inr_gan_jax.ops.rules import FactorActivation
from inr_gan_jax.setting import ABOVE_ZERO, ONE_OR_MORE, ZERO_OR_MORE, setting

Upsampling = Literal["nearest", "bilinear", "fir"]
InputType = Literal["coordinates", "const"]
CoordinateBlocks = Literal["none", "upsampling", "every"]
InitDistribution = Literal["normal", "uniform"]


@dataclasses.dataclass(frozen=True)
class CoordinateSettings:
    """An entry of `release.coordinates`: the embedding of coordinates at one resolution."""

    resolution: int = dataclasses.field(metadata={"meaning": "side of the grid"})
    max_num_log_features: int = setting(
        0, "upper bound of the fixed logarithmic frequencies, whose number follows from the resolution; 0: none"
    )
    use_diagonals: bool = setting(False, "give the logarithmic frequencies diagonal directions too")
    num_random_features: int = setting(0, "frequencies sampled at initialisation and never trained")
    num_shared_features: int = setting(0, "trained frequencies, the same for all images")
    num_predicted_features: int = setting(0, "frequencies and phase offsets predicted for each image")
    table_channels: int = setting(0, "channels of a learned table with one entry per grid point")
    use_raw_coordinates: bool = setting(False, "add x and y themselves")
    use_cosine: bool = setting(False, "add the cosines of all phases to their sines")
    fourier_scale: float = setting(math.sqrt(10), "of the random, shared and predicted frequencies")
    init_distribution: InitDistribution = setting(
        "normal", "of the random and shared frequencies before scaling; normal: N(0, 1); uniform: U(-1, 1)"
    )

    def __post_init__(self) -> None:
        _check_choice("init_distribution", self.init_distribution, InitDistribution)

    @property
    def num_log_features(self) -> int:
        """Number of fixed logarithmic frequencies."""
        if not self.max_num_log_features:
            return 0
        # Imported here: settings are read before JAX is loaded.
        from inr_gan_jax.ops.fourier_features import logarithmic_basis

        return len(logarithmic_basis(self.resolution, self.use_diagonals))

    @property
    def num_phases(self) -> int:
        """Number of all frequencies."""
        fixed = self.num_log_features + self.num_random_features
        return fixed + self.num_shared_features + self.num_predicted_features

    @property
    def features(self) -> int:
        """Width of the embedding."""
        waves = self.num_phases * (2 if self.use_cosine else 1)
        return waves + self.table_channels + (2 if self.use_raw_coordinates else 0)


@dataclasses.dataclass(frozen=True)
class ReleaseSettings:
    """The generator when `model` is `release`; inr-gan, inr-gan-bil, cips and stylegan2 differ in these values."""

    z_dim: int = setting(512, "size of the latent code", ONE_OR_MORE)
    w_dim: int = setting(512, "size of the intermediate latent code", ONE_OR_MORE)
    num_mapping_layers: int = setting(2, "layers of the mapping network", ONE_OR_MORE)
    mapping_lr_multiplier: float = setting(0.01, "relative learning rate of the mapping layers", ABOVE_ZERO)
    label_features: int | None = setting(None, "width of the linear embedding of a label; None: w_dim")
    mapping_features: int | None = setting(None, "width of the mapping layers but the last; None: w_dim")
    w_avg_decay: float = setting(0.995, "share of the running mean of w that remains after a batch", ZERO_OR_MORE)
    channel_base: int = setting(
        32768, "the block of nominal side r has channel_base / r channels, at most channel_max", ONE_OR_MORE
    )
    channel_max: int = setting(512, "upper bound of the widths", ONE_OR_MORE)
    input_type: InputType = setting("coordinates", "input of the first block: coordinates or a trained constant")
    input_resolution: int = setting(
        32,
        "side of the grid of the first block, a power of two; blocks of smaller nominal side use it too",
    )
    upsampling: Upsampling = setting(
        "nearest", "between the blocks: nearest, bilinear (corners aligned), or fir (inside the convolution)"
    )
    kernel_size: int = setting(1, "of the convolutions: 1 or 3")
    coordinate_blocks: CoordinateBlocks = setting(
        "upsampling",
        "blocks after the first with coordinates as an input: none, those that upsample, or every one",
    )
    coordinates: tuple[CoordinateSettings, ...] = setting(
        (), "one entry per resolution at which coordinates are an input"
    )
    factor_activation: FactorActivation | None = setting(
        "demod", "of factorised multiplicative modulation; None: weight demodulation as in StyleGAN2"
    )
    rank: int = setting(10, "rank of the factors", ONE_OR_MORE)
    instance_norm: bool = setting(
        False, "divide the inputs of all but the first layer of a block by their standard deviation"
    )
    num_extra_layers: tuple[tuple[int, int], ...] = setting(
        (), "(resolution of the grid, number of further layers of each block on it)"
    )
    use_noise: bool = setting(False, "add noise to the features")
    conv_clamp: float | None = setting(None, "bound of the activations; None: none", ABOVE_ZERO)
    first_dense_lattice: int = setting(
        1,
        "with the viewport rule `paper`, super-resolution evaluates denser grids from this one on, counting the "
        "distinct grids; a number beyond them means all",
        ZERO_OR_MORE,
    )

    def __post_init__(self) -> None:
        _check_choice("input_type", self.input_type, InputType)
        _check_choice("upsampling", self.upsampling, Upsampling)
        _check_choice("coordinate_blocks", self.coordinate_blocks, CoordinateBlocks)
        if self.factor_activation is not None:
            _check_choice("factor_activation", self.factor_activation, FactorActivation)

    def features_at(self, side: int) -> int:
        """Width of the block of a nominal side."""
        return min(self.channel_base // side, self.channel_max)

    def coordinates_at(self, resolution: int) -> CoordinateSettings:
        """The coordinate settings at one resolution.

        Raises:
            ValueError: if there are none.
        """
        for entry in self.coordinates:
            if entry.resolution == resolution:
                return entry
        present = ", ".join(str(entry.resolution) for entry in self.coordinates) or "none"
        raise ValueError(f"coordinates have no entry for the resolution {resolution}, they have {present}")


def _check_choice(name: str, value: object, choices: object) -> None:
    allowed = typing.get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")
