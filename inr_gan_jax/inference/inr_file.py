"""One image as a file: the weights that render it, without the generator that produced them.

The file holds the modulation of the image and the shared variables that rendering needs: no mapping, no hypernetwork,
no affine layers. Its metadata holds the settings of the network as JSON.
"""

import dataclasses
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError

from inr_gan_jax.array_types import Variables
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import (
    Settings,
    check_arrays,
    flattened,
    nested,
    read_safetensors,
    read_settings,
    settings_metadata,
    write_arrays,
)
from inr_gan_jax.inference.choices import INR_SUFFIX
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.generator import Modulation

_FORMAT = "inr_gan_jax image 1"
_MODULATION = "modulation"


@dataclasses.dataclass(frozen=True)
class ImageShapes:
    """The contents of a file of one image, as `jax.ShapeDtypeStruct`.

    Attributes:
        modulation: of the image.
        variables: that rendering needs.
    """

    modulation: Modulation
    variables: Variables


@dataclasses.dataclass(frozen=True)
class FileSizes:
    """Bytes of the arrays in files, float32.

    Attributes:
        generator: all variables.
        image: the modulation and the variables that rendering needs.
        modulation: the modulation alone.
    """

    generator: int
    image: int
    modulation: int


def image_shapes(settings: Settings) -> ImageShapes:
    """Shapes of the arrays that one image needs."""
    generator, key = generator_of(settings), jax.random.key(0)

    def init(modulation: Modulation) -> Any:
        # Only what rendering uses is initialised.
        return generator.network.init(key, modulation, generator.native_viewport, method="render")

    return ImageShapes(generator.modulation_shapes, jax.eval_shape(init, generator.modulation_shapes))


def file_sizes(settings: Settings) -> FileSizes:
    """Sizes of the file of a generator and of one of its images."""

    def size(tree: Any) -> int:
        return sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))

    shapes = image_shapes(settings)
    modulation = size(shapes.modulation)
    return FileSizes(size(generator_of(settings).variable_shapes), modulation + size(shapes.variables), modulation)


def save_inr(path: str | os.PathLike[str], loaded: LoadedGenerator, modulation: Modulation) -> None:
    """Writes one image as the network that renders it.

    Args:
        path: ends in .inr.safetensors.
        loaded: the generator that it comes from.
        modulation: of the image, without a leading axis; also a projected or interpolated one.

    Raises:
        UserError: if the path has another suffix or cannot be written.
        ValueError: if the modulation is not one of this generator.
    """
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
        A generator that renders but cannot sample, for the functions of `pictures`; and the modulation of the image.

    Raises:
        UserError: if the file is missing, damaged or of another kind.
    """
    path = _checked(path)
    try:
        metadata, arrays = read_safetensors(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: file does not exist, expected one that export --inr wrote") from error
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
    leaves = jax.tree_util.tree_leaves_with_path(modulation)
    return {f"{_MODULATION}/{jax.tree_util.keystr(path, simple=True, separator='/')}": leaf for path, leaf in leaves}


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path).expanduser()
    if not path.name.endswith(INR_SUFFIX):
        raise UserError(f"{path}: not a name for a file of one image, expected it to end in {INR_SUFFIX}")
    return path
