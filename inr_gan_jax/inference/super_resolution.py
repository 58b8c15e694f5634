"""Images denser than trained, by the usual filters and by the INR itself, and measures of each method."""

import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image

from inr_gan_jax.inference.latents import select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render, render_all, render_each
from inr_gan_jax.inference.set_distance import SetDistance
from inr_gan_jax.inference.sheets import labelled_sheet
from inr_gan_jax.inference.viewports import fit_viewport
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.rules import DensifyRule
from inr_gan_jax.ops.table_lookup import TableRule
from inr_gan_jax.progress import Progress
from inr_gan_jax.sampling import count_of

Filter = Literal["nearest", "bilinear", "bicubic", "lanczos", "box"]
# From a modulation and its trained image to the dense one.
Upscaler = Callable[[Modulation, np.ndarray], np.ndarray]

UPSCALING_FILTERS: tuple[Filter, ...] = ("nearest", "bilinear", "bicubic", "lanczos")
# A gradient that one pixel in a hundred exceeds lies on an edge.
_EDGE_PERCENTILE = 99


def resize(
    image: np.ndarray, size: tuple[int, int], name: Filter, box: tuple[float, float, float, float] | None = None
) -> np.ndarray:
    """Resizes an image in floating point; the filters widen when downscaling, as in Pillow.

    Args:
        image: [height, width, channels].
        size: (height, width) of the result.
        name: of the filter.
        box: (left, top, right, bottom) of the part to resize, in pixels of the image; None for all of it. Filters see
            the surroundings of the part, so that it equals the same part of the resized image.

    Returns:
        [*size, channels], float32; bicubic and Lanczos may exceed the range of the image.
    """
    planes = [
        np.asarray(Image.fromarray(plane).resize((size[1], size[0]), Image.Resampling[name.upper()], box))
        for plane in np.moveaxis(np.asarray(image, np.float32), -1, 0)
    ]
    return np.stack(planes, axis=-1)


def resize_all(images: np.ndarray, size: tuple[int, int], name: Filter) -> np.ndarray:
    """Resizes images [count, height, width, channels] as `resize`."""
    return np.stack([resize(image, size, name) for image in images])


def dense_size(native: tuple[int, int], factor: float) -> tuple[int, int]:
    """(height, width) of an image `factor` times denser, rounded to whole pixels."""
    return round(native[0] * factor), round(native[1] * factor)


def super_resolved(
    loaded: LoadedGenerator, modulations: Modulation, factor: float, **choices: Any
) -> Iterator[np.ndarray]:
    """Renders images `factor` times denser than trained.

    Args:
        loaded: the generator.
        modulations: of the images, with a leading axis.
        factor: any positive number, also 1.7; the size is rounded to whole pixels.
        choices: `rule` (`Generator.default_rule` by default), `tables` and `antialias` of the viewport.

    Yields:
        [height, width, channels], about [-1, 1], covering the same area as the trained image.
    """
    size = dense_size(loaded.generator.size, factor)
    yield from render_each(loaded, modulations, fit_viewport(loaded.generator, size, "stretch", **choices))


def upscalers(loaded: LoadedGenerator, size: tuple[int, int], tables: TableRule | None = None) -> dict[str, Upscaler]:
    """The upscaling methods by name: filters, and the INR by each densification rule.

    Args:
        loaded: the generator.
        size: (height, width) of the dense image.
        tables: values of learned tables between pixels.
    """

    def by_filter(name: Filter) -> Upscaler:
        return lambda modulation, native: resize(native, size, name)

    def by_rule(rule: DensifyRule) -> Upscaler:
        view = fit_viewport(loaded.generator, size, "stretch", rule=rule, tables=tables or TableRule())
        return lambda modulation, native: render(loaded, modulation, view)

    rules: tuple[DensifyRule, ...] = typing.get_args(DensifyRule)
    return {name: by_filter(name) for name in UPSCALING_FILTERS} | {f"INR {rule}": by_rule(rule) for rule in rules}


def comparison_sheet(
    loaded: LoadedGenerator, modulations: Modulation, factor: float, tables: TableRule | None = None
) -> np.ndarray:
    """One row per image: the trained image by every filter (nearest shows its pixels), then the INR by every rule."""
    methods = upscalers(loaded, dense_size(loaded.generator.size, factor), tables)
    native = render_each(loaded, modulations, loaded.generator.native_viewport)
    rows = [
        [to_uint8(method(select(modulations, index), image)) for method in methods.values()]
        for index, image in enumerate(native)
    ]
    return labelled_sheet(rows, list(methods))


def edge_sharpness(images: np.ndarray, native: tuple[int, int]) -> float:
    """Steepness of edges: the 99th percentile of the gradient, in full grey ranges per trained pixel.

    Args:
        images: [count, height, width, channels], in [-1, 1].
        native: (height, width) of the trained image, whose pixels are the unit of length.

    Returns:
        The mean over the images. An edge from black to white within one trained pixel has 1.
    """
    grey = (np.clip(images, -1, 1).mean(axis=-1) + 1) / 2
    height, width = grey.shape[1:]
    vertical = np.diff(grey, axis=1)[:, :, :-1] * (height / native[0])
    horizontal = np.diff(grey, axis=2)[:, :-1] * (width / native[1])
    steepness = np.hypot(vertical, horizontal).reshape(len(grey), -1)
    return float(np.percentile(steepness, _EDGE_PERCENTILE, axis=1).mean())


def measure_upscalers(
    loaded: LoadedGenerator,
    methods: Mapping[str, Upscaler],
    modulations: Modulation,
    distances: Mapping[str, SetDistance],
) -> dict[str, dict[str, float]]:
    """Measures every upscaling method over many images.

    Args:
        loaded: the generator.
        methods: see `upscalers`.
        modulations: of the images, with a leading axis.
        distances: by name. Dense images are reduced to the size of its reference by averaging before they are compared.

    Returns:
        Method -> measure -> value; `edge_sharpness` is always there.
    """
    native = render_all(loaded, modulations, loaded.generator.native_viewport)
    table = {}
    with Progress("dense images", len(methods) * count_of(modulations)) as progress:
        for name, method in methods.items():

            def dense(method: Upscaler = method) -> Iterator[np.ndarray]:
                for index, image in enumerate(native):
                    yield method(select(modulations, index), image)
                    progress.add(1)

            table[name] = _measure(dense(), loaded.generator.size, distances)
    return table


def _measure(
    images: Iterator[np.ndarray], native: tuple[int, int], distances: Mapping[str, SetDistance]
) -> dict[str, float]:
    """Edge sharpness and distances of a stream of dense images, of which only the reduced ones are kept."""
    sharpness: list[float] = []
    kept: dict[str, list[np.ndarray]] = {name: [] for name in distances}
    for image in images:
        sharpness.append(edge_sharpness(image[None], native))
        for name, distance in distances.items():
            size = distance.reference.shape[1:3]
            kept[name].append(image if image.shape[:2] == size else resize_all(image[None], size, "box")[0])
    values = {"edge_sharpness": float(np.mean(sharpness))}
    return values | {name: distance(np.stack(kept[name])) for name, distance in distances.items()}
