"""Images as INRs from seeds, paths and styles, cached."""

import dataclasses
import functools
import threading
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Variables
from inr_gan_jax.inference.baked_weights import bake, baked_generator
from inr_gan_jax.inference.inr_file import image_shapes
from inr_gan_jax.inference.latent_paths import LatentPath
from inr_gan_jax.inference.latents import (
    intermediate_codes,
    labels,
    latents,
    modulations_of,
    sample_modulations,
    select,
)
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.inference.style_mixing import mix_styles
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.sampling import Truncation
from inr_gan_jax.viewer.byte_cache import ByteCache, bytes_of
from inr_gan_jax.viewer.scene import ImageChoice

_IMAGE_BYTES = 2**28
_PATH_BYTES = 2**27


@dataclasses.dataclass(frozen=True)
class Shown:
    """One image, ready to render.

    Attributes:
        loaded: a generator with only the variables that rendering needs; for a mean of two images' baked weights, one
            with these weights.
        modulation: of the image, without a leading axis.
        native: [height, width, channels], about [-1, 1], the image at its trained size.
    """

    loaded: LoadedGenerator
    modulation: Modulation
    native: np.ndarray

    @property
    def num_bytes(self) -> int:
        """Bytes that caching it takes, including weights shared with others."""
        return bytes_of((self.loaded.variables, self.modulation)) + self.native.nbytes


class Images:
    """Makes images, one at a time, and caches them.

    Args:
        loaded: the generator.
    """

    def __init__(self, loaded: LoadedGenerator) -> None:
        self._loaded = dataclasses.replace(loaded, variables=jax.device_put(dict(loaded.variables)))
        self._shown: ByteCache[Shown] = ByteCache(_IMAGE_BYTES, lambda shown: shown.num_bytes)
        self._paths: ByteCache[LatentPath] = ByteCache(_PATH_BYTES, lambda path: bytes_of(list(path.keys)))
        self._lock = threading.Lock()

    def get(self, choice: ImageChoice) -> Shown:
        """The image of a choice."""
        shown = self._shown.get(choice)
        if shown is None:
            # Two threads that need the same image make it once; it takes milliseconds.
            with self._lock:
                shown = self._shown.get(choice) or self._made(choice)
                self._shown.put(choice, shown)
        return shown

    def _made(self, choice: ImageChoice) -> Shown:
        loaded, modulation = self._at(choice)
        loaded, modulation = with_rendering_variables(loaded), jax.device_put(modulation)
        return Shown(loaded, modulation, render(loaded, modulation, loaded.generator.native_viewport))

    def _at(self, choice: ImageChoice) -> tuple[LoadedGenerator, Modulation]:
        if choice.other is None:
            return self._loaded, self._styled(choice, self._ends(choice, [choice.seed]))
        ends = dataclasses.replace(choice, share=0.0)
        path = self._paths.get(ends) or self._path(ends)
        self._paths.put(ends, path)
        point = path.at(0, choice.share)
        if choice.space == "image":
            return baked_generator(self._loaded, jax.device_put(point)), point.modulation
        ws = self._codes(point, choice) if choice.space == "z" else jnp.asarray(point)[None]
        return self._loaded, self._styled(choice, modulations_of(self._loaded, ws))

    def _path(self, choice: ImageChoice) -> LatentPath:
        seeds = [choice.seed, choice.other or 0]
        if choice.space == "image":
            both = self._ends(choice, seeds)
            ends = (self._styled(choice, select(both, slice(index, index + 1))) for index in range(2))
            return LatentPath([jax.device_get(bake(self._loaded, end)) for end in ends], "image")
        z, c = np.asarray(latents(self._loaded, seeds)), labels(self._loaded, 2, choice.class_index)
        points: list[Any] = [{"z": z[index], "c": None if c is None else np.asarray(c[index])} for index in range(2)]
        if choice.space == "w":
            points = [np.asarray(self._codes(point, choice)[0]) for point in points]
        return LatentPath(points, choice.space)

    def _ends(self, choice: ImageChoice, seeds: list[int]) -> Modulation:
        return sample_modulations(self._loaded, seeds, choice.class_index, Truncation(choice.psi))

    def _codes(self, point: dict[str, Any], choice: ImageChoice) -> jax.Array:
        """Intermediate codes [1, num_ws, w_dim] of a latent code and a label."""
        c = None if point["c"] is None else jnp.asarray(point["c"])[None]
        return jnp.asarray(intermediate_codes(self._loaded, jnp.asarray(point["z"])[None], c, Truncation(choice.psi)))

    def _styled(self, choice: ImageChoice, modulations: Modulation) -> Modulation:
        """One image of a modulation with a leading axis [1], with some layers of the style image."""
        if choice.style is not None and choice.layers:
            style = self._ends(choice, [choice.style])
            modulations = mix_styles(self._loaded.generator, modulations, style, choice.layers)
        return select(modulations, 0)


def with_rendering_variables(loaded: LoadedGenerator) -> LoadedGenerator:
    """Drops the variables that rendering does not need, so that the variables of all images have one structure."""
    needed = _needed_variables(loaded.generator.settings)

    def part(variables: Any, names: Any) -> Any:
        if not isinstance(names, Mapping):
            return variables
        return {name: part(variables[name], names[name]) for name in names}

    return dataclasses.replace(loaded, variables={"params": {}, "constants": {}, **part(loaded.variables, needed)})


@functools.cache
def _needed_variables(settings: Any) -> Variables:
    return image_shapes(settings).variables
