"""The paper's choices one at a time: a small base with one part of its network exchanged.

    python -m inr_gan_jax.main --config=configs/ablations.py:rank_1                   # the digits (8x8, grey)
    python -m inr_gan_jax.main --config=configs/ablations.py:flowers,scales_4         # configs/flowers.py:cpu (32x32)
    python -m inr_gan_jax.main --config=configs/ablations.py:flowers,base,hinge       # recipes behind a second comma

- `base`: the base itself, a `paper` network.
- `modulation_none`, `rank_1`, `rank_3`, `rank_10`, `rank_30`, `modulation_full`: how much of an INR's weights is its
  image's own: nothing but biases, frequencies and colours; factors of a rank; every weight.
- `sigmoid`, `tanh`, `demod`: how the factors act.
- `scales_1`, `scales_2`, `scales_4`, `scales_all` (from 4 pixels on), staged as in the paper; `scales_averaged`: those
  of `scales_all` as INRs of their own, whose pictures are averaged. All of them on nested grids, of the widths of
  the base's finest blocks, and as deep as the base as far as each scale has a layer.
- `fourier_emitted`, `fourier_learned`, `fourier_fixed` (logarithmic), `fourier_none` (x and y alone), as many
  frequencies as the base has, or what the logarithmic basis has up to that.
- `perceptual`: features of VGG16 in the loss; needs --config.loss.vgg16_file.
- `nearest`, `bilinear`: not the base but the `release` network as the base's data has it, with nearest upsampling, or
  with bilinear upsampling and instance norm.

The digits have room for two scales, so that `scales_all` is `scales_2` and `scales_4` is refused, and they are too
small for `perceptual`; their base has rank 4 and the sigmoid, runs every block at every pixel, and emits its
frequencies. The flowers have room for four scales, so that `scales_all` is `scales_4`; their base has rank 10 and two
nested scales. A row that repeats the base or an earlier row is a valid configuration; `distinct_names` leaves it out.
docs/models.md says what each part computes.
"""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from configs import digits, flowers, recipes

BASES: dict[str, Callable[[str], ConfigDict]] = {
    "digits": digits.get_config,
    "flowers": lambda network: flowers.get_config(f"cpu,{network}"),
}
NAMES = (
    "base",
    "modulation_none",
    "rank_1",
    "rank_3",
    "rank_10",
    "rank_30",
    "modulation_full",
    "sigmoid",
    "tanh",
    "demod",
    "scales_1",
    "scales_2",
    "scales_4",
    "scales_all",
    "scales_averaged",
    "fourier_emitted",
    "fourier_learned",
    "fourier_fixed",
    "fourier_none",
    "perceptual",
    "nearest",
    "bilinear",
)
# Rows that are another network, as configs/networks.py names it.
_NETWORKS = {"nearest": "release", "bilinear": "bilinear"}
# What a row changes in the section `paper`; the others depend on what is there.
_CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "modulation_none": {"modulation": "none"},
    **{f"rank_{rank}": {"rank": rank} for rank in (1, 3, 10, 30)},
    "modulation_full": {"modulation": "full"},
    **{activation: {"modulation_activation": activation} for activation in ("sigmoid", "tanh", "demod")},
    "fourier_emitted": {"fourier_source": "emitted"},
    "fourier_learned": {"fourier_source": "learned"},
}
_COARSEST_SIDE = 4
# What `perceptual` needs at least.
_PERCEPTUAL_SIDE = 16
# The settings of a block but for its number of layers.
_OF_A_BLOCK = ("features", "num_fourier_features", "fourier_scale", "max_num_fixed_features", "to_rgb")


def get_config(argument: str = "base") -> ConfigDict:
    """Returns the configuration of NAME, of BASE,NAME, or of either with ,RECIPES behind it."""
    first, _, rest = argument.partition(",")
    base, rest = (first, rest) if first in BASES else ("digits", argument)
    name, _, recipe_names = rest.partition(",")
    name = name or "base"
    _check(name, NAMES)
    config = BASES[base](_NETWORKS.get(name, "paper"))
    if name not in _NETWORKS:
        apply_alternative(config, name)
    config.update({"name": f"ablation-{base}-{name}"})
    recipes.apply_recipes(config, recipe_names)
    return config


def distinct_names(base: str) -> tuple[str, ...]:
    """The rows that a base can have, without those whose configuration an earlier one has already."""
    names, seen = [], []
    for name in NAMES:
        try:
            values = get_config(f"{base},{name}").to_dict()
        except ValueError:
            continue
        values.pop("name")
        if values not in seen:
            seen.append(values)
            names.append(name)
    return tuple(names)


def apply_alternative(config: ConfigDict, name: str) -> None:
    """Exchanges one part of any `paper` network.

    Args:
        config: changed in place; of the model `paper`.
        name: one of NAMES, but for those that are another network.

    Raises:
        ValueError: for another name, or a row that pictures of this size cannot have.
    """
    _check(name, [each for each in NAMES if each not in _NETWORKS])
    if name == "perceptual":
        _check_side(config, _PERCEPTUAL_SIDE, name)
        recipes.perceptual(config)
    elif name.startswith("scales_"):
        _apply_scales(config, name.removeprefix("scales_"))
    elif name in ("fourier_fixed", "fourier_none"):
        _apply_constant_coordinates(config, with_waves=name == "fourier_fixed")
    else:
        config.update({"paper": _CHANGES[name]})


def _apply_scales(config: ConfigDict, wanted: str) -> None:
    """Writes `wanted` scales, or all that there are for `all` and `averaged`, each half as dense as the next."""
    paper = config.to_dict()["paper"]
    num_blocks = len(paper["features"])
    count = int(wanted) if wanted.isdecimal() else (_side(config) // _COARSEST_SIDE).bit_length()
    _check_side(config, _COARSEST_SIDE << (count - 1), f"scales_{wanted}")
    changes: dict[str, Any] = {key: _finest(paper[key], count) for key in _OF_A_BLOCK}
    # A connector counts as a layer of its block, so that the depth stays as it was.
    depth = sum(paper["num_layers"]) + num_blocks - 1
    layers = paper["num_layers"] if count == num_blocks else _spread(depth - (count - 1), count)
    if wanted == "averaged":
        layers = tuple(number + (index > 0) for index, number in enumerate(layers))
        changes.update(scales="averaged", to_rgb=(True,) * count)
    config.update({"paper": {**changes, "num_layers": layers, "training_rule": "paper"}})


def _apply_constant_coordinates(config: ConfigDict, with_waves: bool) -> None:
    """Writes coordinates that neither an image nor training has a say in: logarithmic waves, or x and y themselves."""
    counts = config.to_dict()["paper"]["num_fourier_features"]
    none = (0,) * len(counts)
    fixed = counts if with_waves else none
    changes = {"num_fourier_features": none, "max_num_fixed_features": fixed, "use_raw_coordinates": not with_waves}
    config.update({"paper": changes})


def _finest(values: tuple[Any, ...], count: int) -> tuple[Any, ...]:
    """The settings of the `count` finest blocks; what is coarser than all that there are is as the coarsest."""
    return (values[0],) * (count - len(values)) + values[max(0, len(values) - count) :]


def _spread(total: int, count: int) -> tuple[int, ...]:
    """`total` layers over `count` blocks, at least one each, the finer ones having what is left over."""
    share, left_over = divmod(max(total, count), count)
    return tuple(share + (index >= count - left_over) for index in range(count))


def _side(config: ConfigDict) -> int:
    data = config.to_dict()["data"]
    return min(data["height"], data["width"])


def _check(name: str, names: Any) -> None:
    if name not in names:
        raise ValueError(f"configs/ablations.py has no {name!r}, expected one of {', '.join(names)}")


def _check_side(config: ConfigDict, least: int, name: str) -> None:
    side = _side(config)
    if side < least:
        raise ValueError(f"{name} needs pictures of at least {least} pixels a side, these have {side}")
