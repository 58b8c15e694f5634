"""The pictures of a run: samples, super-resolution, densification rules and zoom-out of the very same images.

python -m inr_gan_jax.inference.gallery --workdir=runs/digits
"""

import typing
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from PIL import Image

from inr_gan_jax.array_types import Array
from inr_gan_jax.command_line import run
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.loading import LoadedGenerator, load_run
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import draw_border, magnify, tile, to_uint8
from inr_gan_jax.ops.viewport import DensifyRule, Viewport

_WORKDIR = flags.DEFINE_string("workdir", None, "Run folder of a training run.", required=True)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the latent codes.")

_NUM_SAMPLES, _SAMPLE_COLUMNS, _SAMPLE_SIDE = 100, 10, 64
_NUM_LARGE, _PAIRS_A_ROW, _LARGE_SIDE = 16, 4, 256
_RULE_COLUMNS, _RULE_SIDE = 8, 128
_ZOOM_OUT, _BORDER_COLOUR = 2.0, (230, 60, 60)
_GAP = 8


def draw_modulations(loaded: LoadedGenerator, seed: int, count: int) -> Modulation:
    """Draws `count` images as INRs: a modulation whose arrays have a leading axis of that size."""
    generator = loaded.generator
    z = generator.latents(jax.random.key(seed), count)
    c = jax.nn.one_hot(jnp.arange(count) % generator.c_dim, generator.c_dim) if generator.c_dim else None

    def one(z: Array, c: Array | None) -> Modulation:
        return generator.modulation(loaded.variables, generator.mapping(loaded.variables, z, c))

    return jax.jit(jax.vmap(one))(z, c)


def render_all(loaded: LoadedGenerator, modulations: Modulation, viewport: Viewport) -> np.ndarray:
    """Renders every modulation, one after the other: [count, height, width, channels], uint8."""
    grids = loaded.generator.grids(viewport)
    render = jax.jit(lambda modulation: loaded.generator.render_grids(loaded.variables, modulation, grids))
    count = jax.tree.leaves(modulations)[0].shape[0]
    images = [np.asarray(render(jax.tree.map(lambda leaf, i=i: leaf[i], modulations))) for i in range(count)]
    return to_uint8(np.stack(images))


def sample_sheet(loaded: LoadedGenerator, modulations: Modulation) -> np.ndarray:
    """A grid of pictures at the trained size, their pixels drawn as squares when they are small."""
    native = render_all(loaded, modulations, loaded.generator.native_viewport)
    factor = max(1, _SAMPLE_SIDE // max(native.shape[1:3]))
    return tile(magnify(native, factor), _SAMPLE_COLUMNS, gap=2)


def super_resolution_sheet(loaded: LoadedGenerator, modulations: Modulation, rule: DensifyRule) -> np.ndarray:
    """Pairs of the trained picture, its pixels as squares, and the same INR drawn densely over the same area."""
    native_size = loaded.generator.size
    factor = max(1, _LARGE_SIDE // max(native_size))
    dense_size = (native_size[0] * factor, native_size[1] * factor)
    viewport = Viewport(*dense_size, rule=rule).centred_on(native_size)
    native = magnify(render_all(loaded, modulations, loaded.generator.native_viewport), factor)
    dense = render_all(loaded, modulations, viewport)
    pairs = [tile([left, right], columns=2, gap=1, background=128) for left, right in zip(native, dense, strict=True)]
    return tile(pairs, _PAIRS_A_ROW, gap=_GAP)


def rules_sheet(loaded: LoadedGenerator, modulations: Modulation) -> np.ndarray:
    """One column an image: its trained pixels as squares, then the densification rules `paper`, `all`, `pointwise`."""
    native_size = loaded.generator.size
    factor = max(1, _RULE_SIDE // max(native_size))
    rows = list(magnify(render_all(loaded, modulations, loaded.generator.native_viewport), factor))
    for rule in typing.get_args(DensifyRule):
        viewport = Viewport(native_size[0] * factor, native_size[1] * factor, rule=rule).centred_on(native_size)
        rows.extend(render_all(loaded, modulations, viewport))
    return tile(rows, _RULE_COLUMNS, gap=_GAP)


def zoom_out_sheet(loaded: LoadedGenerator, modulations: Modulation, rule: DensifyRule) -> np.ndarray:
    """The INRs drawn over twice the trained square each way, its border marked."""
    native_size = loaded.generator.size
    scale = max(1, _LARGE_SIDE // max(native_size))
    viewport = Viewport(native_size[0] * scale, native_size[1] * scale, rule=rule).centred_on(native_size)
    images = render_all(loaded, modulations, viewport.zoom_out(_ZOOM_OUT))
    height, width = images.shape[1:3]
    margin = (1 - 1 / _ZOOM_OUT) / 2
    box = (round(margin * height), round(margin * width), round((1 - margin) * height), round((1 - margin) * width))
    framed = [draw_border(image, box, _BORDER_COLOUR) for image in images]
    return tile(framed, 2 * _PAIRS_A_ROW, gap=_GAP)


def write_gallery(loaded: LoadedGenerator, workdir: Path, seed: int, rule: DensifyRule = "pointwise") -> None:
    """Writes `samples.png`, `super_resolution.png`, `rules.png` and `zoom_out.png` into a run folder.

    Raises:
        UserError: if the folder cannot be written.
    """
    modulations = draw_modulations(loaded, seed, _NUM_SAMPLES)
    first = jax.tree.map(lambda leaf: leaf[:_NUM_LARGE], modulations)
    sheets = {
        "samples.png": sample_sheet(loaded, modulations),
        "super_resolution.png": super_resolution_sheet(loaded, first, rule),
        "rules.png": rules_sheet(loaded, jax.tree.map(lambda leaf: leaf[:_RULE_COLUMNS], modulations)),
        "zoom_out.png": zoom_out_sheet(loaded, first, rule),
    }
    for name, sheet in sheets.items():
        try:
            Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(workdir / name)
        except OSError as error:
            raise UserError(f"{workdir / name} cannot be written ({error.strerror})") from error


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    workdir = Path(_WORKDIR.value).expanduser()
    loaded = load_run(workdir)
    write_gallery(loaded, workdir, _SEED.value)
    factor = _LARGE_SIDE // max(loaded.generator.size)
    double = f"{2 * loaded.config.training.total_kimg:g}"
    print(
        f"Look at super_resolution.png in {workdir}: each pair is one set of weights, at the trained size and on a "
        f"grid {factor} times denser.\n"
        "Then at zoom_out.png (the same networks beyond the trained border, in red), samples.png and training.png.\n"
        f"Try next: --seed=1 here for other images; --config.training.total_kimg={double} on the training command to "
        "go on; a copy of its configuration with another data.name."
    )


if __name__ == "__main__":
    run(main)
