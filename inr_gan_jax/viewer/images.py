"""From a choice of seeds, way and styles to one image as an INR, with what was made lately kept."""

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
from inr_gan_jax.inference.latent_paths import Route
from inr_gan_jax.inference.latents import (
    Truncation,
    draw_modulations,
    intermediate_codes,
    labels,
    latents,
    modulations_of,
    take,
)
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.tools.style_mix import mix
from inr_gan_jax.viewer.kept import Kept, bytes_of
from inr_gan_jax.viewer.scene import ImageChoice

_IMAGE_BYTES = 2**28
_ROUTE_BYTES = 2**27


@dataclasses.dataclass(frozen=True)
class Shown:
    """One image, ready to be drawn.

    Attributes:
        loaded: a generator that draws it and holds nothing else; for a mean of two images' own weights one that has
            these weights.
        modulation: of the image, without a leading axis.
        native: [height, width, channels], about [-1, 1], its trained picture.
    """

    loaded: LoadedGenerator
    modulation: Modulation
    native: np.ndarray

    @property
    def num_bytes(self) -> int:
        """Bytes that keeping it takes; weights that it shares with others are counted, too."""
        return bytes_of((self.loaded.variables, self.modulation)) + self.native.nbytes


class Images:
    """Makes images, one at a time, and keeps them.

    Args:
        loaded: the generator.
    """

    def __init__(self, loaded: LoadedGenerator) -> None:
        self._loaded = dataclasses.replace(loaded, variables=jax.device_put(dict(loaded.variables)))
        self._shown: Kept[Shown] = Kept(_IMAGE_BYTES, lambda shown: shown.num_bytes)
        self._routes: Kept[Route] = Kept(_ROUTE_BYTES, lambda route: bytes_of(list(route.keys)))
        self._lock = threading.Lock()

    def get(self, choice: ImageChoice) -> Shown:
        """The image of a choice."""
        shown = self._shown.get(choice)
        if shown is None:
            # Two threads that want the same image make it once; it takes milliseconds.
            with self._lock:
                shown = self._shown.get(choice) or self._made(choice)
                self._shown.put(choice, shown)
        return shown

    def _made(self, choice: ImageChoice) -> Shown:
        loaded, modulation = self._at(choice)
        loaded, modulation = with_drawing_variables(loaded), jax.device_put(modulation)
        return Shown(loaded, modulation, render(loaded, modulation, loaded.generator.native_viewport))

    def _at(self, choice: ImageChoice) -> tuple[LoadedGenerator, Modulation]:
        if choice.other is None:
            return self._loaded, self._styled(choice, self._ends(choice, [choice.seed]))
        ends = dataclasses.replace(choice, share=0.0)
        route = self._routes.get(ends) or self._route(ends)
        self._routes.put(ends, route)
        point = route.at(0, choice.share)
        if choice.space == "image":
            return baked_generator(self._loaded, jax.device_put(point)), point.modulation
        ws = self._codes(point, choice) if choice.space == "z" else jnp.asarray(point)[None]
        return self._loaded, self._styled(choice, modulations_of(self._loaded, ws))

    def _route(self, choice: ImageChoice) -> Route:
        seeds = [choice.seed, choice.other or 0]
        if choice.space == "image":
            both = self._ends(choice, seeds)
            ends = (self._styled(choice, take(both, slice(index, index + 1))) for index in range(2))
            return Route([jax.device_get(bake(self._loaded, end)) for end in ends], "image")
        z, c = np.asarray(latents(self._loaded, seeds)), labels(self._loaded, 2, choice.class_index)
        points: list[Any] = [{"z": z[index], "c": None if c is None else np.asarray(c[index])} for index in range(2)]
        if choice.space == "w":
            points = [np.asarray(self._codes(point, choice)[0]) for point in points]
        return Route(points, choice.space)

    def _ends(self, choice: ImageChoice, seeds: list[int]) -> Modulation:
        return draw_modulations(self._loaded, seeds, choice.class_index, Truncation(choice.psi))

    def _codes(self, point: dict[str, Any], choice: ImageChoice) -> jax.Array:
        """[1, num_ws, w_dim], of a latent code and a label."""
        c = None if point["c"] is None else jnp.asarray(point["c"])[None]
        return jnp.asarray(intermediate_codes(self._loaded, jnp.asarray(point["z"])[None], c, Truncation(choice.psi)))

    def _styled(self, choice: ImageChoice, modulations: Modulation) -> Modulation:
        """One image, of a modulation with a leading axis [1], some of its layers from the image of the style."""
        if choice.style is not None and choice.layers:
            style = self._ends(choice, [choice.style])
            modulations = mix(self._loaded.generator, modulations, style, choice.layers)
        return take(modulations, 0)


def with_drawing_variables(loaded: LoadedGenerator) -> LoadedGenerator:
    """Leaves out the variables that drawing does not need, so that all that draw have variables of one structure."""
    needed = _needed_variables(loaded.generator.settings)

    def part(variables: Any, names: Any) -> Any:
        if not isinstance(names, Mapping):
            return variables
        return {name: part(variables[name], names[name]) for name in names}

    return dataclasses.replace(loaded, variables={"params": {}, "constants": {}, **part(loaded.variables, needed)})


@functools.cache
def _needed_variables(settings: Any) -> Variables:
    return image_shapes(settings).variables
