"""Ways to a denser picture, by the usual filters and by the INR itself, and what each of them gives."""

import typing
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from inr_gan_jax.inference.latents import select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import count_of, render, render_all
from inr_gan_jax.inference.resampling import Filter, resize, resize_all
from inr_gan_jax.inference.set_distance import SetDistance
from inr_gan_jax.inference.viewports import fit_viewport
from inr_gan_jax.metrics.progress import Progress
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.table_lookup import TableRule

# From a modulation and its trained picture to the dense one.
Upscaler = Callable[[Modulation, np.ndarray], np.ndarray]

FILTERS: tuple[Filter, ...] = ("nearest", "bilinear", "bicubic", "lanczos")
RULES: tuple[DensifyRule, ...] = typing.get_args(DensifyRule)
# A gradient that one pixel in a hundred exceeds lies on an edge.
_EDGE_PERCENTILE = 99


def upscalers(loaded: LoadedGenerator, size: tuple[int, int], tables: TableRule | None = None) -> dict[str, Upscaler]:
    """The ways, by name.

    Args:
        loaded: the generator.
        size: (height, width) of the dense picture.
        tables: what learned tables hold between the pixels.
    """

    def by_filter(name: Filter) -> Upscaler:
        return lambda modulation, native: resize(native, size, name)

    def by_rule(rule: DensifyRule) -> Upscaler:
        view = fit_viewport(loaded.generator, size, "stretch", rule=rule, tables=tables or TableRule())
        return lambda modulation, native: render(loaded, modulation, view)

    return {name: by_filter(name) for name in FILTERS} | {f"INR {rule}": by_rule(rule) for rule in RULES}


def edge_sharpness(images: np.ndarray, native: tuple[int, int]) -> float:
    """How steep edges are: the 99th percentile of the gradient, in whole ranges of grey a trained pixel.

    Args:
        images: [count, height, width, channels], in [-1, 1].
        native: (height, width) of the trained picture, whose pixels are the unit of length.

    Returns:
        The mean over the images. An edge that goes evenly from black to white within one trained pixel has 1.
    """
    grey = (np.clip(images, -1, 1).mean(axis=-1) + 1) / 2
    height, width = grey.shape[1:]
    vertical = np.diff(grey, axis=1)[:, :, :-1] * (height / native[0])
    horizontal = np.diff(grey, axis=2)[:, :-1] * (width / native[1])
    steepness = np.hypot(vertical, horizontal).reshape(len(grey), -1)
    return float(np.percentile(steepness, _EDGE_PERCENTILE, axis=1).mean())


def measure_upscalers(
    loaded: LoadedGenerator, ways: Mapping[str, Upscaler], modulations: Modulation, distances: Mapping[str, SetDistance]
) -> dict[str, dict[str, float]]:
    """Measures every way over many images.

    Args:
        loaded: the generator.
        ways: see `upscalers`.
        modulations: of the images, with a leading axis.
        distances: name -> distance. Dense pictures are reduced to the size of its reference, each pixel the mean over
            its area, before they are compared.

    Returns:
        Name of the way -> name of the measure -> value; `edge_sharpness` is always there.
    """
    native = render_all(loaded, modulations, loaded.generator.native_viewport)
    table = {}
    with Progress("dense pictures", len(ways) * count_of(modulations)) as progress:
        for name, way in ways.items():

            def dense(way: Upscaler = way) -> Iterator[np.ndarray]:
                for place, picture in enumerate(native):
                    yield way(select(modulations, place), picture)
                    progress.add(1)

            table[name] = _measure(dense(), loaded.generator.size, distances)
    return table


def _measure(
    images: Iterator[np.ndarray], native: tuple[int, int], distances: Mapping[str, SetDistance]
) -> dict[str, float]:
    """Edge sharpness and distances of one stream of dense pictures, of which only the reduced ones are kept."""
    sharpness: list[float] = []
    kept: dict[str, list[np.ndarray]] = {name: [] for name in distances}
    for image in images:
        sharpness.append(edge_sharpness(image[None], native))
        for name, distance in distances.items():
            size = distance.reference.shape[1:3]
            kept[name].append(image if image.shape[:2] == size else resize_all(image[None], size, "box")[0])
    values = {"edge_sharpness": float(np.mean(sharpness))}
    return values | {name: distance(np.stack(kept[name])) for name, distance in distances.items()}
