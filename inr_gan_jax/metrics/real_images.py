"""Real images as the metrics see them: bytes that can be read in any order, and a fingerprint of the set."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator

import numpy as np

# Sets up to this size are fingerprinted whole; of larger ones, this many images spread evenly over the set.
_MAX_FINGERPRINTED = 10_000
_READ_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class RealImages:
    """A set of real images.

    Attributes:
        name: of the set, for the record.
        count: images in it.
        read: from indices [n] to images [n, height, width, channels], uint8.
    """

    name: str
    count: int
    read: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of_array(cls, name: str, images: np.ndarray) -> "RealImages":
        """A set held in memory: [count, height, width, channels], uint8."""
        return cls(name, len(images), lambda indices: images[indices])

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """Yields every image once, in order, `size` at a time; the last batch may be smaller."""
        for start in range(0, self.count, size):
            yield self.read(np.arange(start, min(start + size, self.count)))

    def limited(self, most: int | None, seed: int = 0) -> "RealImages":
        """At most that many images, drawn without replacement; the set itself if it has no more."""
        if most is None or self.count <= most:
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(self.count, most, replace=False))
        return RealImages(f"{self.name}, {most} drawn", most, lambda indices: self.read(chosen[indices]))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hexadecimal digest of the name, the number, the size and the pixels.

        Of sets above 10,000 images, the pixels of that many evenly spread ones count.
        """
        digest = hashlib.sha256(f"{self.name}\n{self.count}\n".encode())
        step = max(1, -(-self.count // _MAX_FINGERPRINTED))
        indices = np.arange(0, self.count, step)
        for start in range(0, len(indices), _READ_AT_ONCE):
            images = self.read(indices[start : start + _READ_AT_ONCE])
            digest.update(f"{images.shape[1:]}".encode())
            digest.update(np.ascontiguousarray(images).data)
        return digest.hexdigest()
