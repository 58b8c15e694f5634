"""The pictures of a run: samples, super-resolution, densification rules and zoom-out of the very same images.

python -m inr_gan_jax.tools.gallery --workdir=runs/digits     # or --checkpoint, as the other tools have it
"""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from inr_gan_jax.cli.checked_flags import define_integer
from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import save_picture
from inr_gan_jax.inference.latents import MAX_SEED, draw_modulations, take
from inr_gan_jax.ops.image_grid import TRAINED_BORDER_COLOUR, image_grid, magnify, with_border
from inr_gan_jax.ops.rules import DensifyRule

if TYPE_CHECKING:
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation


_NUM_SAMPLES, _SAMPLE_COLUMNS, _SAMPLE_SIDE = 100, 10, 64
_MAX_FIRST_SEED = MAX_SEED + 1 - _NUM_SAMPLES
_NUM_LARGE, _PAIRS_A_ROW, _LARGE_SIDE = 16, 4, 256
_RULE_COLUMNS, _RULE_SIDE = 8, 128
_ZOOM_OUT = 2.0
_GAP = 8


def sample_sheet(loaded: LoadedGenerator, modulations: Modulation) -> np.ndarray:
    """A grid of pictures at the trained size, their pixels drawn as squares when they are small."""
    from inr_gan_jax.inference.pictures import render_bytes

    native = render_bytes(loaded, modulations, loaded.generator.native_viewport)
    factor = max(1, _SAMPLE_SIDE // max(native.shape[1:3]))
    return image_grid(magnify(native, factor), _SAMPLE_COLUMNS, gap=2)


def super_resolution_sheet(loaded: LoadedGenerator, modulations: Modulation, rule: DensifyRule) -> np.ndarray:
    """Pairs of the trained picture, its pixels as squares, and the same INR drawn densely over the same area."""
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.ops.viewport import Viewport

    native_size = loaded.generator.size
    factor = max(1, _LARGE_SIDE // max(native_size))
    dense_size = (native_size[0] * factor, native_size[1] * factor)
    viewport = Viewport(*dense_size, rule=rule).centred_on(native_size)
    native = magnify(render_bytes(loaded, modulations, loaded.generator.native_viewport), factor)
    dense = render_bytes(loaded, modulations, viewport)
    pairs = [
        image_grid([left, right], columns=2, gap=1, background=128) for left, right in zip(native, dense, strict=True)
    ]
    return image_grid(pairs, _PAIRS_A_ROW, gap=_GAP)


def rules_sheet(loaded: LoadedGenerator, modulations: Modulation) -> np.ndarray:
    """One column an image: its trained pixels as squares, then the densification rules `paper`, `all`, `pointwise`."""
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.ops.viewport import Viewport

    native_size = loaded.generator.size
    factor = max(1, _RULE_SIDE // max(native_size))
    rows = list(magnify(render_bytes(loaded, modulations, loaded.generator.native_viewport), factor))
    for rule in typing.get_args(DensifyRule):
        viewport = Viewport(native_size[0] * factor, native_size[1] * factor, rule=rule).centred_on(native_size)
        rows.extend(render_bytes(loaded, modulations, viewport))
    return image_grid(rows, _RULE_COLUMNS, gap=_GAP)


def zoom_out_sheet(loaded: LoadedGenerator, modulations: Modulation, rule: DensifyRule) -> np.ndarray:
    """The INRs drawn over twice the trained square each way, its border marked."""
    from inr_gan_jax.inference.pictures import render_bytes
    from inr_gan_jax.ops.viewport import Viewport

    native_size = loaded.generator.size
    scale = max(1, _LARGE_SIDE // max(native_size))
    viewport = Viewport(native_size[0] * scale, native_size[1] * scale, rule=rule).centred_on(native_size)
    images = render_bytes(loaded, modulations, viewport.zoom_out(_ZOOM_OUT))
    height, width = images.shape[1:3]
    margin = (1 - 1 / _ZOOM_OUT) / 2
    box = (round(margin * height), round(margin * width), round((1 - margin) * height), round((1 - margin) * width))
    framed = [with_border(image, box, TRAINED_BORDER_COLOUR) for image in images]
    return image_grid(framed, 2 * _PAIRS_A_ROW, gap=_GAP)


def write_gallery(loaded: LoadedGenerator, workdir: Path, seed: int, rule: DensifyRule = "pointwise") -> list[str]:
    """Writes the sheets of a run into its folder and returns their names.

    A network that draws its trained picture only (`bilinear`, `stylegan2`) gets `samples.png` alone.

    Raises:
        UserError: if the folder cannot be written.
    """
    modulations = draw_modulations(loaded, range(seed, seed + _NUM_SAMPLES))
    first, few = take(modulations, slice(_NUM_LARGE)), take(modulations, slice(_RULE_COLUMNS))
    sheets = {"samples.png": lambda: sample_sheet(loaded, modulations)}
    if loaded.generator.is_continuous:
        sheets["super_resolution.png"] = lambda: super_resolution_sheet(loaded, first, rule)
        sheets["rules.png"] = lambda: rules_sheet(loaded, few)
        sheets["zoom_out.png"] = lambda: zoom_out_sheet(loaded, first, rule)
    for name, draw in sheets.items():
        save_picture(workdir / name, draw())
    return list(sheets)


def next_seed(seed: int) -> int:
    """The first seed whose images the sheets of `seed` do not show; 0 after the last ones."""
    return seed + _NUM_SAMPLES if seed + _NUM_SAMPLES <= _MAX_FIRST_SEED else 0


def closing_words(loaded: LoadedGenerator, workdir: Path, names: Sequence[str], seed: int) -> str:
    """Three lines on what to look at and what to try next."""
    lines = [f"{workdir}: look at {', '.join(names)}."]
    assert loaded.config is not None, "a run folder holds its configuration"
    if loaded.generator.is_continuous:
        factor = max(1, _LARGE_SIDE // max(loaded.generator.size))
        lines.append(
            f"Each pair of super_resolution.png is one set of weights, at the trained size and on a grid {factor} "
            "times denser; zoom_out.png shows the same networks beyond their trained border, in red."
        )
    else:
        lines.append("This network draws its trained picture only; super-resolution and zoom-out need another one.")
    advice = f"Try next: --seed={next_seed(seed)} here for other images"
    if (workdir / "training.png").exists():
        double = f"{2 * loaded.config.training.total_kimg:g}"
        advice += (
            f"; training.png for the curve; --config.training.total_kimg={double} on the training command to go on"
        )
    lines.append(f"{advice}.")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    from inr_gan_jax.inference.loading import load_run

    workdir = Path(flags.FLAGS.workdir).expanduser()
    loaded = load_run(workdir)
    names = write_gallery(loaded, workdir, flags.FLAGS.seed)
    print(closing_words(loaded, workdir, names, flags.FLAGS.seed))


def define_flags() -> None:
    """Defines the flags of the command."""
    flags.DEFINE_string("workdir", None, "Run folder of a training run.", required=True)
    flags.DEFINE_alias("checkpoint", "workdir")
    define_integer("seed", 0, "Seed of the first image.", 0, _MAX_FIRST_SEED)


if __name__ == "__main__":
    define_flags()
    run(main)
