"""Lists of runs that are compared at an equal number of real images shown; `benchmarks/quality.py` trains them.

A row is a configuration, its overrides and a label; each is trained once a seed.
"""

import dataclasses
from collections.abc import Mapping

from configs import ablations

Value = str | int | float | bool

# In a comparison nothing is gone back on; alarms are in the record of the run.
_NO_GOING_BACK: dict[str, Value] = {"guard.action": "log"}


@dataclasses.dataclass(frozen=True)
class Row:
    """What one line of a comparison trains.

    Attributes:
        label: its name in tables and plots, and of its run folders.
        config: file and argument of the configuration.
        overrides: keys without the leading `config.`, and their values.
    """

    label: str
    config: str
    overrides: Mapping[str, Value] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Rows that are compared.

    Attributes:
        about: what the comparison shows, one sentence.
        rows: with distinct labels.
        kimg: thousands of real images that every run is shown.
        seeds: of each row.
        overrides: of all rows; those of a row take precedence.
    """

    about: str
    rows: tuple[Row, ...]
    kimg: float
    seeds: tuple[int, ...]
    overrides: Mapping[str, Value] = dataclasses.field(default_factory=dict)


def _recipe_rows(config: str) -> tuple[Row, ...]:
    """Recipes of one configuration whose argument ends with its network."""
    recipes = ("", "relativistic", "ada", "relativistic+ada")
    network = config.rpartition(":")[2].rpartition(",")[2]
    return tuple(Row(f"{network} {name}".strip().replace(" ", ","), f"{config},{name}".rstrip(",")) for name in recipes)


def _main_rows(config: str) -> tuple[Row, ...]:
    """The networks of the published code and of the paper, with their own loss and with relativistic pairs."""
    names = ("release", "release,relativistic", "paper", "paper,relativistic")
    return tuple(Row(name, config.format(name)) for name in names)


def _network_rows(config: str) -> tuple[Row, ...]:
    """The five networks, each at its own settings."""
    return tuple(Row(name, config.format(name)) for name in ("paper", "release", "bilinear", "cips", "stylegan2"))


_DIGITS = "configs/digits.py"
_FLOWERS = "configs/flowers.py:cpu"
# FSD of as few images as its features bear: on a CPU SqueezeNet takes longer than the generator.
_FSD: dict[str, Value] = {**_NO_GOING_BACK, "evaluation.metric": "fsd1k_full", "training.evaluate_kimg": 10}
# What the demo of configs/digits.py has otherwise than the published code.
_SMALL_BATCH: dict[str, Value] = {"training.batch_size": 8}
_FAST_D: dict[str, Value] = {"optimizer.discriminator_lr": 0.01}
_DECAY: dict[str, Value] = {"optimizer.decay_kimg": 80.0, "optimizer.final_lr_fraction": 0.05}

SWEEPS: dict[str, Sweep] = {
    "parity": Sweep(
        "the `release` network at the settings of the official code, beside which its recorded distances stand",
        (Row("release", f"{_DIGITS}:release"),),
        kimg=250,
        seeds=(0, 1, 2),
        overrides=_NO_GOING_BACK,
    ),
    "digits": Sweep(
        "the main rows on digits of 8x8",
        _main_rows(_DIGITS + ":{}"),
        kimg=80,
        seeds=(0, 1),
        overrides=_NO_GOING_BACK,
    ),
    "networks": Sweep(
        "the five networks on digits of 8x8, each at its own settings",
        _network_rows(_DIGITS + ":{}"),
        kimg=80,
        seeds=(0, 1),
        overrides=_NO_GOING_BACK,
    ),
    "recipes": Sweep(
        "losses, penalties and augmentation on digits of 8x8",
        (*_recipe_rows(f"{_DIGITS}:release"), *_recipe_rows(f"{_DIGITS}:paper")),
        kimg=80,
        seeds=(0, 1),
        overrides=_NO_GOING_BACK,
    ),
    "settings": Sweep(
        "what the demo's settings do to the `release` network on digits of 8x8, one more in each row",
        (
            Row("release", f"{_DIGITS}:release"),
            Row("batch of 8", f"{_DIGITS}:release", _SMALL_BATCH),
            Row("batch of 8, fast D", f"{_DIGITS}:release", {**_SMALL_BATCH, **_FAST_D}),
            Row("batch of 8, fast D, decay", f"{_DIGITS}:release", {**_SMALL_BATCH, **_FAST_D, **_DECAY}),
        ),
        kimg=80,
        seeds=(0,),
        overrides=_NO_GOING_BACK,
    ),
    "flowers": Sweep(
        "the main rows on photographs of 32x32; FSD needs a file of weights, docs/metrics.md",
        _main_rows(_FLOWERS + ",{}"),
        kimg=20,
        seeds=(0, 1),
        overrides=_FSD,
    ),
    "flowers-recipes": Sweep(
        "the five networks, and augmentation, on photographs of 32x32",
        (*_network_rows(_FLOWERS + ",{}"), *_recipe_rows(f"{_FLOWERS},release")[2:]),
        kimg=20,
        seeds=(0, 1),
        overrides=_FSD,
    ),
    "ablations": Sweep(
        "the paper's choices one at a time on digits of 8x8",
        tuple(Row(name, f"configs/ablations.py:digits,{name}") for name in ablations.distinct_names("digits")),
        kimg=80,
        seeds=(0,),
        overrides=_NO_GOING_BACK,
    ),
    "flowers-ablations": Sweep(
        "the same on photographs of 32x32, without the perceptual term, which needs VGG16",
        tuple(
            Row(name, f"configs/ablations.py:flowers,{name}")
            for name in ablations.distinct_names("flowers")
            if name != "perceptual"
        ),
        kimg=20,
        seeds=(0,),
        overrides=_FSD,
    ),
}
