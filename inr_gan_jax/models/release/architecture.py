"""What a network of the `release` family is made of, given its settings and the size of the images."""

import dataclasses

from inr_gan_jax.array_types import Precision
from inr_gan_jax.models.release.settings import CoordinateSettings, ReleaseSettings
from inr_gan_jax.ops.viewport import Viewport

FIRST_SIDE = 4


@dataclasses.dataclass(frozen=True)
class BlockPlan:
    """What follows from the settings for one block.

    Attributes:
        side: nominal side, 4, 8, 16, …, which names the block and gives its width.
        resolution: side of the grid that it is evaluated on.
        grid_index: index of that grid among the distinct ones.
        in_features: width of the features of the previous block; 0 in the first block.
        out_features: width of the block.
        upsamples: the block is evaluated at twice the resolution of the previous one.
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
class ReleaseArchitecture(ReleaseSettings):
    """The settings of a `release` generator, and what the rest of a configuration decides.

    Attributes:
        resolution: side of the image, a power of two, at least 4.
        channels: of the image.
        c_dim: size of the label, 0 for unconditional.
        precision: of the layers; mapping, modulation, coordinates, statistics and colours stay float32.
        remat: compute each block again in the backward pass instead of keeping its activations.
    """

    resolution: int = 256
    channels: int = 3
    c_dim: int = 0
    precision: Precision = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("resolution", "input_resolution"):
            side = getattr(self, name)
            if side < FIRST_SIDE or side & (side - 1):
                raise ValueError(f"{name} is {side}, expected a power of two from {FIRST_SIDE} on")
        if self.input_resolution > self.resolution:
            raise ValueError(f"input_resolution is {self.input_resolution}, expected at most {self.resolution}")
        if self.kernel_size not in (1, 3):
            raise ValueError(f"kernel_size is {self.kernel_size}, expected 1 or 3")
        for entry in self.coordinates:
            if entry.max_num_log_features and entry.num_log_features > entry.max_num_log_features:
                raise ValueError(
                    f"coordinates at {entry.resolution} have max_num_log_features {entry.max_num_log_features}, "
                    f"expected at least the {entry.num_log_features} of this resolution"
                )
        self._check_pairs()

    def _check_pairs(self) -> None:
        if self.kernel_size == 3 and self.factor_activation is not None:
            raise ValueError("kernel_size is 3 with factorised modulation, expected 1")
        if self.input_type == "coordinates":
            self.coordinates_at(self.input_resolution)
        for block in self.blocks():
            if block.upsamples and block.coordinates is not None and self.upsampling == "fir":
                raise ValueError("upsampling is 'fir' where coordinates join the features, expected another one")

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
        """The trained image."""
        return Viewport(self.resolution, self.resolution)

    @property
    def is_continuous(self) -> bool:
        """Whether a pixel depends on its own position alone, so that other viewports make sense."""
        pointwise = self.kernel_size == 1 and not self.instance_norm
        return pointwise and (self.upsampling == "nearest" or len(self.native_sizes) == 1)
