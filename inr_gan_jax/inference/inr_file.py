"""One image as a file: the weights that draw it, without the generator that made them.

    python -m inr_gan_jax.tools.export --checkpoint=runs/digits --seeds=3 --inr=image.inr.safetensors
    python -m inr_gan_jax.inference.inr_file image.inr.safetensors --height=1024

The file holds the modulation of the image and, of the shared variables, those that drawing needs: no mapping, no
hypernetwork, no affine layers. The settings of the network stand beside them as JSON.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags
from safetensors import SafetensorError

from inr_gan_jax.cli.command import run
from inr_gan_jax.cli.flags import define_output_flag, output_folder, save_picture, save_record
from inr_gan_jax.cli.viewport_flags import chosen_viewport, define_viewport_flags
from inr_gan_jax.errors import UserError
from inr_gan_jax.ops.image_grid import to_uint8

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Variables
    from inr_gan_jax.importers.weights_file import Settings
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation

SUFFIX = ".inr.safetensors"
_FORMAT = "inr_gan_jax image 1"
_MODULATION = "modulation"


@dataclasses.dataclass(frozen=True)
class ImageShapes:
    """What a file of one image holds, as `jax.ShapeDtypeStruct`.

    Attributes:
        modulation: of the image.
        variables: that drawing needs.
    """

    modulation: Modulation
    variables: Variables


@dataclasses.dataclass(frozen=True)
class FileSizes:
    """Bytes of the arrays in files, float32.

    Attributes:
        generator: all variables.
        image: the modulation and the variables that drawing needs.
        modulation: the modulation alone.
    """

    generator: int
    image: int
    modulation: int


def image_shapes(settings: Settings) -> ImageShapes:
    """Works out what one image needs, without computing anything."""
    import jax

    from inr_gan_jax.models.build import generator_of

    generator, key = generator_of(settings), jax.random.key(0)

    def init(modulation: Modulation) -> Any:
        # Only what drawing touches is initialised.
        return generator.network.init(key, modulation, generator.native_viewport, method="render")

    return ImageShapes(generator.modulation_shapes, jax.eval_shape(init, generator.modulation_shapes))


def file_sizes(settings: Settings) -> FileSizes:
    """Sizes of the file of a generator and of one of its images, worked out from shapes."""
    import jax

    from inr_gan_jax.models.build import generator_of

    def size(tree: Any) -> int:
        return sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    shapes = image_shapes(settings)
    modulation = size(shapes.modulation)
    return FileSizes(size(generator_of(settings).variable_shapes), modulation + size(shapes.variables), modulation)


def save_inr(path: str | os.PathLike[str], loaded: LoadedGenerator, modulation: Modulation) -> None:
    """Writes one image as the network that draws it.

    Args:
        path: ends in .inr.safetensors.
        loaded: the generator that it comes from.
        modulation: of the image, without a leading axis; a projected or interpolated one will do.

    Raises:
        UserError: if the path ends otherwise or cannot be written.
        ValueError: if the modulation is not one of this generator.
    """
    from inr_gan_jax.importers.weights_file import flattened, settings_metadata, write_arrays

    path, settings = _checked(path), loaded.generator.settings
    shapes = image_shapes(settings)
    expected = _named(shapes.modulation)
    arrays = _named(modulation)
    for name, leaf in expected.items():
        if name not in arrays or arrays[name].shape != leaf.shape:
            raise ValueError(f"the modulation has no {name!r} of shape {leaf.shape}, expected that of one image")
    held = flattened(loaded.variables)
    arrays |= {name: held[name] for name in flattened(shapes.variables)}
    metadata = {"format": _FORMAT, "source": loaded.source, **settings_metadata(settings)}
    write_arrays(path, metadata, {name: np.asarray(array, order="C") for name, array in arrays.items()})


def load_inr(path: str | os.PathLike[str]) -> tuple[LoadedGenerator, Modulation]:
    """Reads what `save_inr` wrote.

    Returns:
        A generator that draws but cannot sample, for the functions of `pictures`; and the modulation of the image.

    Raises:
        UserError: one sentence, if the file is missing, damaged or of another kind.
    """
    import jax

    from inr_gan_jax.importers.weights_file import check_arrays, flattened, nested, read_safetensors, read_settings
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.build import generator_of

    path = _checked(path)
    try:
        metadata, arrays = read_safetensors(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: there is no such file, expected one that export --inr wrote") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a file of one image ({error})") from error
    settings = read_settings(path, metadata, _FORMAT)
    shapes = image_shapes(settings)
    expected = _named(shapes.modulation)
    check_arrays(path, {**expected, **flattened(shapes.variables)}, arrays)
    modulation = jax.tree.unflatten(jax.tree.structure(shapes.modulation), [arrays.pop(name) for name in expected])
    variables = {"params": {}, "constants": {}, **nested(path, arrays)}
    source = metadata.get("source", path.name)
    return LoadedGenerator(generator_of(settings), variables, None, None, 0.0, source), modulation


def _named(modulation: Modulation) -> dict[str, Any]:
    """Arrays of a modulation by their paths, in the order of its leaves."""
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(modulation)
    return {f"{_MODULATION}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path).expanduser()
    if not path.name.endswith(SUFFIX):
        raise UserError(f"{path}: is no name for a file of one image, expected it to end in {SUFFIX}")
    return path


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    from inr_gan_jax.inference.pictures import render

    path = Path(arguments[1])
    loaded, modulation = load_inr(path)
    viewport = chosen_viewport(loaded)
    folder = output_folder(flags.FLAGS.output)
    picture = folder / f"{path.name.removesuffix(SUFFIX)}.png"
    save_picture(picture, to_uint8(render(loaded, modulation, viewport)))
    save_record(folder, "inr_file", loaded, {"file": str(path), "viewport": dataclasses.asdict(viewport)})
    print(f"{picture}: {viewport.height} x {viewport.width} pixels of {path.stat().st_size:,} bytes of weights")


def define_flags() -> None:
    """Defines the flags of the command."""
    define_output_flag("pictures/inr_file")
    define_viewport_flags()


if __name__ == "__main__":
    define_flags()
    run(main, argument="the file of one image (such as image.inr.safetensors)")
