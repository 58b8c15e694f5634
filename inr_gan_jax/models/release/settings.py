"""Settings of the `release` family: inr-gan, inr-gan-bil, cips and stylegan2 are values of one dataclass."""

import dataclasses
import math
import typing
from typing import Literal

from inr_gan_jax.array_types import Precision
from inr_gan_jax.ops.fourier_features import logarithmic_basis
from inr_gan_jax.ops.modulation import FactorActivation
from inr_gan_jax.ops.viewport import Viewport

Upsampling = Literal["nearest", "bilinear", "fir"]
InputType = Literal["coordinates", "const"]
CoordinateBlocks = Literal["none", "upsampling", "every"]
InitDistribution = Literal["normal", "uniform"]

FIRST_SIDE = 4


@dataclasses.dataclass(frozen=True)
class CoordinateSettings:
    """What a block learns about positions at one resolution.

    Attributes:
        resolution: side of the grid.
        max_num_log_features: upper bound of the fixed logarithmic frequencies, their number follows from the
            resolution; 0 for none.
        use_diagonals: give the logarithmic frequencies diagonal directions too.
        num_random_features: frequencies drawn once and kept.
        num_shared_features: frequencies trained, the same for all images.
        num_predicted_features: frequencies and phase offsets predicted for each image.
        table_channels: values per pixel of a trained table.
        use_raw_coordinates: pass x and y on as they are.
        use_cosine: add the cosines of all phases to their sines.
        fourier_scale: of the random, shared and predicted frequencies.
        init_distribution: of the random and shared frequencies before scaling, N(0, 1) or U(-1, 1).
    """

    resolution: int
    max_num_log_features: int = 0
    use_diagonals: bool = False
    num_random_features: int = 0
    num_shared_features: int = 0
    num_predicted_features: int = 0
    table_channels: int = 0
    use_raw_coordinates: bool = False
    use_cosine: bool = False
    fourier_scale: float = math.sqrt(10)
    init_distribution: InitDistribution = "normal"

    def __post_init__(self) -> None:
        _check_choice("init_distribution", self.init_distribution, InitDistribution)
        if self.max_num_log_features and self.num_log_features > self.max_num_log_features:
            raise ValueError(
                f"coordinates at {self.resolution} have max_num_log_features {self.max_num_log_features}, expected at "
                f"least the {self.num_log_features} of this resolution"
            )

    @property
    def num_log_features(self) -> int:
        """Number of fixed logarithmic frequencies."""
        if not self.max_num_log_features:
            return 0
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
class BlockPlan:
    """What follows from the settings for one block.

    Attributes:
        side: nominal side, 4, 8, 16, …, which names the block and gives its width.
        resolution: side of the grid that it runs on.
        grid_index: index of that grid among the distinct ones.
        in_features: width of the features of the block before; 0 in the first block.
        out_features: width of the block.
        upsamples: the block runs at twice the resolution of the one before.
        coordinates: embedding that joins the features; None for none.
        num_layers: modulated layers, ToRGB not counted.
        first_ws: index of the intermediate latent code of the first layer.
    """

    side: int
    resolution: int
    grid_index: int
    in_features: int
    out_features: int
    upsamples: bool
    coordinates: CoordinateSettings | None
    num_layers: int
    first_ws: int


@dataclasses.dataclass(frozen=True)
class ReleaseSettings:
    """Settings of a generator of the `release` family.

    Attributes:
        resolution: side of the picture, a power of two from 4 on.
        channels: of the picture.
        z_dim: size of the latent code.
        c_dim: size of the label, 0 for unconditional.
        w_dim: size of the intermediate latent code.
        num_mapping_layers: layers of the mapping network.
        mapping_lr_multiplier: relative learning rate of these layers.
        label_features: width of the linear embedding of the label; None for `w_dim`.
        mapping_features: width of the mapping layers but the last; None for `w_dim`.
        w_avg_decay: share of the running mean of w that one batch leaves.
        channel_base: a block of nominal side r has channel_base // r channels, at most `channel_max`.
        channel_max: upper bound of the widths.
        input_type: what the first block starts from, `coordinates` or a trained `const`.
        input_resolution: side of the grid of the first block, a power of two; blocks of smaller nominal side run
            on it too.
        upsampling: between the blocks: `nearest`, `bilinear` (corners aligned), or `fir` (inside the convolution).
        kernel_size: of the convolutions, 1 or 3.
        coordinate_blocks: which blocks behind the first take coordinates in.
        coordinates: one entry a resolution at which coordinates enter.
        factor_activation: of factorised multiplicative modulation; None for weight demodulation as in StyleGAN2.
        rank: of the factors.
        instance_norm: divide the inputs of all but the first layer of a block by their standard deviation.
        num_extra_layers: (resolution of the grid, number of further layers of each block on it).
        use_noise: add noise to the features.
        conv_clamp: bound of the activations, None for none.
        first_dense_lattice: for the viewport rule `paper`, the first grid that gets denser; one that matches no
            grid means all.
        precision: of the layers; mapping, modulation, coordinates, statistics and colours stay float32.
        remat: compute each block again in the backward pass instead of keeping its activations.
    """

    resolution: int = 256
    channels: int = 3
    z_dim: int = 512
    c_dim: int = 0
    w_dim: int = 512
    num_mapping_layers: int = 2
    mapping_lr_multiplier: float = 0.01
    label_features: int | None = None
    mapping_features: int | None = None
    w_avg_decay: float = 0.995
    channel_base: int = 32768
    channel_max: int = 512
    input_type: InputType = "coordinates"
    input_resolution: int = 32
    upsampling: Upsampling = "nearest"
    kernel_size: int = 1
    coordinate_blocks: CoordinateBlocks = "upsampling"
    coordinates: tuple[CoordinateSettings, ...] = ()
    factor_activation: FactorActivation | None = "demod"
    rank: int = 10
    instance_norm: bool = False
    num_extra_layers: tuple[tuple[int, int], ...] = ()
    use_noise: bool = False
    conv_clamp: float | None = None
    first_dense_lattice: int = 1
    precision: Precision = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        for name, choices in (
            ("input_type", InputType),
            ("upsampling", Upsampling),
            ("coordinate_blocks", CoordinateBlocks),
        ):
            _check_choice(name, getattr(self, name), choices)
        if self.factor_activation is not None:
            _check_choice("factor_activation", self.factor_activation, FactorActivation)
        for name in ("resolution", "input_resolution"):
            side = getattr(self, name)
            if side < FIRST_SIDE or side & (side - 1):
                raise ValueError(f"{name} is {side}, expected a power of two from {FIRST_SIDE} on")
        if self.input_resolution > self.resolution:
            raise ValueError(f"input_resolution is {self.input_resolution}, expected at most {self.resolution}")
        if self.kernel_size not in (1, 3):
            raise ValueError(f"kernel_size is {self.kernel_size}, expected 1 or 3")
        self._check_pairs()

    def _check_pairs(self) -> None:
        if self.kernel_size == 3 and self.factor_activation is not None:
            raise ValueError("kernel_size is 3 with factorised modulation, expected 1")
        if self.input_type == "coordinates":
            self.coordinates_at(self.input_resolution)
        for block in self.blocks():
            if block.upsamples and block.coordinates is not None and self.upsampling == "fir":
                raise ValueError("upsampling is 'fir' where coordinates join the features, expected another one")

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

    def features_at(self, side: int) -> int:
        """Width of the block of a nominal side."""
        return min(self.channel_base // side, self.channel_max)

    def blocks(self) -> tuple[BlockPlan, ...]:
        """The blocks, coarse to fine."""
        plans: list[BlockPlan] = []
        side, first_ws, grid_index = FIRST_SIDE, 0, 0
        extra = dict(self.num_extra_layers)
        while side <= self.resolution:
            first, upsamples = side == FIRST_SIDE, side > self.input_resolution
            takes = not first and (self.coordinate_blocks == "every" or (self._on_upsampling and upsamples))
            resolution = max(side, self.input_resolution)
            grid_index += upsamples
            num_layers = (1 if first else 2) + extra.get(resolution, 0)
            plan = BlockPlan(
                side=side,
                resolution=resolution,
                grid_index=grid_index,
                in_features=0 if first else self.features_at(side // 2),
                out_features=self.features_at(side),
                upsamples=upsamples,
                coordinates=self.coordinates_at(resolution) if takes else None,
                num_layers=num_layers,
                first_ws=first_ws,
            )
            plans.append(plan)
            first_ws += num_layers
            side *= 2
        return tuple(plans)

    @property
    def _on_upsampling(self) -> bool:
        return self.coordinate_blocks == "upsampling"

    @property
    def num_ws(self) -> int:
        """Number of intermediate latent codes: one per layer, and one for the last ToRGB."""
        last = self.blocks()[-1]
        return last.first_ws + last.num_layers + 1

    @property
    def native_sizes(self) -> list[tuple[int, int]]:
        """(height, width) of the distinct grids, coarse to fine."""
        sides = sorted({block.resolution for block in self.blocks()})
        return [(side, side) for side in sides]

    @property
    def native_viewport(self) -> Viewport:
        """The trained picture."""
        return Viewport(self.resolution, self.resolution)

    @property
    def is_continuous(self) -> bool:
        """Whether a pixel depends on its own position alone, so that other viewports make sense."""
        pointwise = self.kernel_size == 1 and not self.instance_norm
        return pointwise and (self.upsampling == "nearest" or len(self.native_sizes) == 1)


def _check_choice(name: str, value: object, choices: object) -> None:
    allowed = typing.get_args(choices)
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")
