"""Ways through several points of a space, straight or on great circles, with corners or without."""

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

Space = Literal["z", "w", "image"]
SPACES = typing.get_args(Space)
# Of the sine between two codes; closer ones lie on a line.
_PARALLEL = 1e-6


@dataclasses.dataclass(frozen=True)
class LatentPath:
    """A way through several images.

    Attributes:
        keys: one entry an image: pytrees of arrays, in the space of the way.
        space: `z`: latent codes and labels, along great circles; `w`: intermediate codes; `image`: the INR's weights.
        is_closed: the way leads back from the last image to the first.
        is_smooth: without corners at the images.
    """

    keys: Sequence[Any]
    space: Space
    is_closed: bool = False
    is_smooth: bool = False

    @property
    def num_segments(self) -> int:
        """Ways between two neighbouring images."""
        return len(self.keys) if self.is_closed else len(self.keys) - 1

    def at(self, segment: int, t: float) -> Any:
        """The point at a share t, in [0, 1], of the way from one image to the next; t = 0 and 1 are the images."""
        if not self.is_smooth:
            return mix(self._key(segment), self._key(segment + 1), t, self.space)
        before, start, end, after = (self._key(segment + offset) for offset in (-1, 0, 1, 2))
        # Catmull-Rom as repeated mixing, so that it holds on the sphere, too: Barry and Goldman, SIGGRAPH 1988.
        first = mix(mix(before, start, t + 1, self.space), mix(start, end, t, self.space), (t + 1) / 2, self.space)
        second = mix(mix(start, end, t, self.space), mix(end, after, t - 1, self.space), t / 2, self.space)
        return mix(first, second, t, self.space)

    def points(self, num_frames: int) -> Iterator[Any]:
        """Points of all segments, `num_frames` each; the end of an open way is one more."""
        for segment in range(self.num_segments):
            for frame in range(num_frames):
                yield self.at(segment, frame / num_frames)
        if not self.is_closed:
            yield self._key(self.num_segments)

    def _key(self, index: int) -> Any:
        count = len(self.keys)
        return self.keys[index % count if self.is_closed else min(max(index, 0), count - 1)]


def mix(start: Any, end: Any, t: float, space: Space) -> Any:
    """Mixes two points of a space; exact at t = 0 and t = 1.

    Args:
        start: pytree of arrays.
        end: likewise.
        t: share of `end`; beyond [0, 1] the way goes on.
        space: in `z` latent codes turn on a great circle; labels, and all in the other spaces, go straight.
    """
    import jax

    if space == "z":
        return {"z": slerp(start["z"], end["z"], t), "c": lerp(start["c"], end["c"], t)}
    return jax.tree.map(lambda left, right: lerp(left, right, t), start, end)


def lerp(start: Any, end: Any, t: float) -> Any:
    """Linear interpolation in float32; None stays None."""
    if start is None:
        return None
    if t in (0, 1):
        # Not by arithmetic: 0 times a number that is not finite is none.
        return end if t else start
    return np.float32(1 - t) * np.asarray(start) + np.float32(t) * np.asarray(end)


def slerp(start: Any, end: Any, t: float) -> Any:
    """Interpolates on the great circle through two codes [z_dim], their lengths along with it.

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
