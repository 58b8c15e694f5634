"""Paths through images: straight or on great circles, with corners or smooth, in z, w or the weights of the INRs.

In image space every point is a mean of two plain networks; modulation is linear in w, so mixing it would be mixing w.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.inference.baked_weights import bake, baked_generator
from inr_gan_jax.inference.choices import SPACES, Space
from inr_gan_jax.inference.latents import intermediate_codes, labels, latents, modulations_of, select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.inference.sheets import labelled_sheet, magnification
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.ops.image_grid import magnify, to_uint8
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.sampling import Truncation

# Sine of the angle between two codes; closer ones are interpolated linearly.
_PARALLEL = 1e-6
FRAME_SIDE = 128
_ROW_NAMES = {"z": "z (slerp)", "w": "w", "image": "image"}


@dataclasses.dataclass(frozen=True)
class LatentPath:
    """A path through several images.

    Attributes:
        keys: one entry per image: pytrees of arrays, in the space of the path.
        space: `z`: latent codes and labels, along great circles; `w`: intermediate codes; `image`: the INR's weights.
        is_closed: whether the path returns from the last image to the first.
        is_smooth: whether the path has no corners at the images.
    """

    keys: Sequence[Any]
    space: Space
    is_closed: bool = False
    is_smooth: bool = False

    @property
    def num_segments(self) -> int:
        """Number of pairs of neighbouring images."""
        return len(self.keys) if self.is_closed else len(self.keys) - 1

    def at(self, segment: int, t: float) -> Any:
        """The point at t, in [0, 1], between an image and the next; t = 0 and 1 are the images."""
        if not self.is_smooth:
            return interpolate(self._key(segment), self._key(segment + 1), t, self.space)
        before, start, end, after = (self._key(segment + offset) for offset in (-1, 0, 1, 2))
        middle = interpolate(start, end, t, self.space)
        # Catmull-Rom as repeated interpolation, so that it also holds on the sphere: Barry and Goldman, SIGGRAPH 1988.
        first = interpolate(interpolate(before, start, t + 1, self.space), middle, (t + 1) / 2, self.space)
        second = interpolate(middle, interpolate(end, after, t - 1, self.space), t / 2, self.space)
        return interpolate(first, second, t, self.space)

    def points(self, num_frames: int) -> Iterator[Any]:
        """Points of all segments, `num_frames` each; the end of an open path is one more."""
        for segment in range(self.num_segments):
            for frame in range(num_frames):
                yield self.at(segment, frame / num_frames)
        if not self.is_closed:
            yield self._key(self.num_segments)

    def _key(self, index: int) -> Any:
        count = len(self.keys)
        return self.keys[index % count if self.is_closed else min(max(index, 0), count - 1)]


def interpolate(start: Any, end: Any, t: float, space: Space) -> Any:
    """Interpolates two points of a space; exact at t = 0 and t = 1.

    Args:
        start: pytree of arrays.
        end: likewise.
        t: share of `end`; outside [0, 1] the path is extrapolated.
        space: in `z` latent codes follow a great circle; labels, and everything in the other spaces, are linear.
    """
    if space == "z":
        return {"z": along_great_circle(start["z"], end["z"], t), "c": lerp(start["c"], end["c"], t)}
    return jax.tree.map(lambda left, right: lerp(left, right, t), start, end)


def lerp(start: Any, end: Any, t: float) -> Any:
    """Linear interpolation in float32; None stays None."""
    if start is None:
        return None
    if t in (0, 1):
        # Without arithmetic: 0 times a non-finite number is NaN.
        return end if t else start
    return np.float32(1 - t) * np.asarray(start) + np.float32(t) * np.asarray(end)


def along_great_circle(start: Any, end: Any, t: float) -> Any:
    """Spherical interpolation of two codes [z_dim] that keeps their lengths (`metrics.ppl.slerp` normalises them).

    Source: Shoemake, SIGGRAPH 1985.
    """
    if t in (0, 1):
        return end if t else start
    left, right = np.asarray(start, np.float64), np.asarray(end, np.float64)
    cosine = left @ right / max(np.linalg.norm(left) * np.linalg.norm(right), np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(cosine, -1, 1))
    if np.sin(angle) < _PARALLEL:
        return lerp(start, end, t)
    mixed = (np.sin((1 - t) * angle) * left + np.sin(t * angle) * right) / np.sin(angle)
    return mixed.astype(np.asarray(start).dtype)


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """Paths between images of one generator.

    Attributes:
        loaded: the generator.
        seeds: of the images.
        class_index: of a conditional generator; None for all classes in turn.
        truncation: of the intermediate codes; None for none.
    """

    loaded: LoadedGenerator
    seeds: Sequence[int]
    class_index: int | None = None
    truncation: Truncation | None = None

    def path(self, space: Space, is_closed: bool = False, is_smooth: bool = False) -> LatentPath:
        """The path through all images in one space."""
        z = np.asarray(latents(self.loaded, self.seeds))
        c = labels(self.loaded, len(self.seeds), self.class_index)
        points = [{"z": z[index], "c": None if c is None else np.asarray(c[index])} for index in range(len(z))]
        if space == "w":
            points = [self._ws(point) for point in points]
        elif space == "image":
            weights = (bake(self.loaded, self._modulation(self._ws(point))) for point in points)
            points = [jax.device_get(each) for each in weights]
        return LatentPath(points, space, is_closed, is_smooth)

    def image(self, point: Any, space: Space, viewport: Viewport) -> np.ndarray:
        """Renders a point of a space: [height, width, channels], about [-1, 1].

        One at a time, so that the pixels of an image do not depend on its neighbours.
        """
        if space == "image":
            return render(baked_generator(self.loaded, point), point.modulation, viewport)
        ws = self._ws(point) if space == "z" else point
        return render(self.loaded, self._modulation(ws), viewport)

    def images(self, path: LatentPath, num_frames: int, viewport: Viewport) -> Iterator[np.ndarray]:
        """Renders the points of a path, `num_frames` per segment."""
        for point in path.points(num_frames):
            yield self.image(point, path.space, viewport)

    def spaces(self) -> list[Space]:
        """The spaces of this network."""
        return spaces_of(self.loaded)

    def _modulation(self, ws: np.ndarray) -> Modulation:
        return select(modulations_of(self.loaded, jnp.asarray(ws)[None]), 0)

    def _ws(self, point: Mapping[str, Any]) -> np.ndarray:
        z = jnp.asarray(point["z"])[None]
        c = None if point["c"] is None else jnp.asarray(point["c"])[None]
        return np.asarray(intermediate_codes(self.loaded, z, c, self.truncation)[0])


def spaces_of(loaded: LoadedGenerator) -> list[Space]:
    """The spaces of a network; those with 3x3 kernels have no image space."""
    return [space for space in SPACES if space != "image" or loaded.generator.is_pointwise]


def interpolation_strip(
    interpolation: Interpolation, viewport: Viewport, columns: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Renders the path between the first two images in each space, one row per space.

    Returns:
        The sheet, and for each space the root mean square differences of neighbouring images in [-1, 1].
    """
    pair = dataclasses.replace(interpolation, seeds=interpolation.seeds[:2])
    rows: list[list[np.ndarray]] = []
    steps: dict[str, Any] = {}
    for space in interpolation.spaces():
        images = np.stack(list(pair.images(pair.path(space), columns - 1, viewport)))
        rms = np.sqrt(np.mean(np.square(np.diff(images, axis=0)), axis=(1, 2, 3)))
        steps[space] = {"length": float(rms.sum()), "largest": float(rms.max()), "mean": float(rms.mean())}
        rows.append(list(magnify(to_uint8(images), magnification(images.shape[1:3], FRAME_SIDE))))
    shares = [f"{index / (columns - 1):.3g}" for index in range(columns)]
    names = [f"t = {shares[0]}", *shares[1:]]
    return labelled_sheet(rows, names, [_ROW_NAMES[space] for space in steps]), steps
