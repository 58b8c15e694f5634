"""Settings of the `paper` model: those of arXiv 2011.12026v2, and the alternatives to each of its parts."""

import dataclasses
import typing
from typing import Literal

from inr_gan_jax.ops.rules import DensifyRule, FactorActivation
from inr_gan_jax.setting import ONE_OR_MORE, ZERO_OR_MORE, setting

ModulationKind = Literal["factorised", "full", "none"]
Scales = Literal["staged", "averaged"]
FourierSource = Literal["emitted", "learned"]
Activation = Literal["relu", "leaky_relu"]


@dataclasses.dataclass(frozen=True)
class PaperSettings:
    """The generator when `model` is `paper`. The tuples have one entry per block, coarse to fine."""

    z_dim: int = setting(512, "size of the latent code", ONE_OR_MORE)
    class_embedding_dim: int = setting(
        512, "size that a label is embedded to; used when data.num_classes is above 0", ONE_OR_MORE
    )
    mapping_dim: int = setting(1024, "width of the hypernetwork", ONE_OR_MORE)
    num_mapping_layers: int = setting(3, "layers of the hypernetwork before its linear output", ONE_OR_MORE)
    modulation: ModulationKind = setting(
        "factorised",
        "weights of an image's INR; factorised: shared weights times a low-rank modulation; full: all emitted by the "
        "hypernetwork; none: the same for all images, which differ in biases, frequencies and ToRGB only",
    )
    modulation_activation: FactorActivation = setting(
        "sigmoid",
        "of the product AB of the factors; sigmoid: W * 2 sigmoid(AB); tanh: W * (1 + tanh(AB)); demod: W * (1 + AB), "
        "the weights of each output rescaled to the norm that they have on average at initialisation",
    )
    rank: int = setting(10, "rank of the factorised modulation", ONE_OR_MORE)
    scales: Scales = setting(
        "staged",
        "staged: one network, each block refines the features of the previous one; averaged: each block is an INR of "
        "its own, whose image is interpolated to the finest grid and averaged with the others",
    )
    features: tuple[int, ...] = setting(
        (512, 256), "hidden width of each block; the number of entries is the number of blocks"
    )
    num_layers: tuple[int, ...] = setting((4, 4), "hidden layers of each block, the connector not counted")
    num_fourier_features: tuple[int, ...] = setting(
        (256, 128), "frequencies of each block, from fourier_source; each gives a sine and a cosine"
    )
    fourier_source: FourierSource = setting(
        "emitted", "emitted: frequencies of each image; learned: trained, the same for all images"
    )
    fourier_scale: tuple[float, ...] = setting(
        (10.0, 10.0), "factor from emitted or learned numbers to radians per unit length"
    )
    max_num_fixed_features: tuple[int, ...] = setting(
        (0, 0), "upper bound of the frequencies of a fixed logarithmic basis; 0: none"
    )
    to_rgb: tuple[bool, ...] = setting(
        (True, True), "whether a block adds an image of its own to the sum; the last block always does"
    )
    use_raw_coordinates: bool = setting(False, "add x and y themselves, in [-1, 1), to the embedding")
    use_diagonal_features: bool = setting(
        False, "keep diagonals in the fixed basis at the cost of its high frequencies"
    )
    first_dense_block: int = setting(
        1, "with the viewport rule `paper`, super-resolution evaluates a denser grid from this block on", ZERO_OR_MORE
    )
    training_rule: Literal["paper", "pointwise"] = setting(
        "paper",
        "grids of the blocks in training; paper: nested, each coarser block feeds the next by nearest upsampling; "
        "pointwise: every block is evaluated at every pixel, which is slower, and continuous between pixels",
    )
    activation: Activation = setting("relu", "of the INR's layers")
    leaky_slope: float = setting(0.2, "slope of leaky_relu below 0", ZERO_OR_MORE)
    equalised_lr: bool = setting(False, "store the shared weights at unit variance and scale them at run time")

    def __post_init__(self) -> None:
        for name, choices in (
            ("modulation", ModulationKind),
            ("modulation_activation", FactorActivation),
            ("scales", Scales),
            ("fourier_source", FourierSource),
            ("training_rule", DensifyRule),
            ("activation", Activation),
        ):
            value, allowed = getattr(self, name), typing.get_args(choices)
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, allowed))}")
