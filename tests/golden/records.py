"""Recorded tensors of trusted implementations, and the comparison with them.

This folder holds them in brief: weights, inputs and short results as they are, of every longer result a `Summary`.
Where $INR_GAN_SHARED names a folder with the full recordings, those are used instead and compared entry by entry.
"""

import dataclasses
import functools
import json
import os
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent
# Files that cannot travel: weights of others, photographs. Also looked for beside the checkout.
SHARED = Path(os.environ.get("INR_GAN_SHARED", FOLDER.parents[2] / "shared"))
NUM_PRODUCTS = 8
# Arrays of no more entries are recorded as they are.
SHORT = 32

Relayout = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What is recorded of a long array, in float64.

    Attributes:
        name: of the array; seeds the vectors that it is multiplied with.
        shape: of the recorded array.
        norm: root of the sum of its squares.
        largest: its entry of the largest size.
        largest_at: index of that entry in the flat array.
        products: with the vectors of `probes`.
        relayouts: how the array is rearranged before it is compared; permutations of its entries.
    """

    name: str
    shape: tuple[int, ...]
    norm: float
    largest: float
    largest_at: int
    products: tuple[float, ...]
    relayouts: tuple[Relayout, ...] = ()

    @classmethod
    def of(cls, name: str, array: np.ndarray) -> "Summary":
        """Summarises an array."""
        flat = np.asarray(array, np.float64).reshape(-1)
        at = int(np.abs(flat).argmax())
        products = tuple((probes(name, flat.size) @ flat).tolist())
        return cls(name, array.shape, float(np.linalg.norm(flat)), float(flat[at]), at, products)

    def entries(self, array: np.ndarray) -> np.ndarray:
        """The entries of an array in our layout, flat in the recorded one."""
        places = np.arange(np.prod(self.shape, dtype=np.int64)).reshape(self.shape)
        for relayout in self.relayouts:
            places = relayout(places)
        assert array.shape == places.shape, f"{self.name} has the shape {array.shape}, expected {places.shape}"
        flat = np.empty(places.size)
        flat[places.reshape(-1)] = np.asarray(array, np.float64).reshape(-1)
        return flat

    def differences(self, array: np.ndarray) -> dict[str, float]:
        """How far an array in our layout is off, in units of the largest entry (the norm: of the norm)."""
        flat = self.entries(array)
        products = probes(self.name, flat.size) @ flat - np.array(self.products)
        size = abs(self.largest)
        return {
            "largest entry": _share(flat[self.largest_at] - self.largest, size),
            "size of the largest entry": _share(np.abs(flat).max() - size, size),
            "norm": _share(np.linalg.norm(flat) - self.norm, self.norm),
            **{f"product {index}": _share(product, size) for index, product in enumerate(products)},
        }


def probes(name: str, size: int) -> np.ndarray:
    """Vectors [8, size] whose entries have either sign and a size of 1/2 to 1, seeded by a name.

    A change of one entry by d moves every product by d/2 at least. Uniform doubles are the raw stream of PCG64, which
    does not depend on the version of NumPy.
    """
    uniform = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).random((NUM_PRODUCTS, size)) - 0.5
    return uniform + np.copysign(0.5, uniform)


def _share(difference: float, size: float) -> float:
    if size:
        return abs(float(difference)) / size
    return 0.0 if difference == 0 else float("inf")


def rearranged(recording: Any, relayout: Relayout) -> Any:
    """A recording laid out in another way; `relayout` reshapes and transposes."""
    if isinstance(recording, Summary):
        return dataclasses.replace(recording, relayouts=(*recording.relayouts, relayout))
    return relayout(recording)


def channels_last(recording: Any) -> Any:
    """A recording of channels in front, with channels at the end."""
    return rearranged(recording, lambda array: np.moveaxis(array, 1, -1))


def relative_error(ours: Any, theirs: Any) -> float:
    """Largest difference of two arrays, of the largest entry of the second."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    return _share(np.abs(ours - theirs).max(initial=0.0), float(np.abs(theirs).max(initial=0.0)))


def assert_matches(actual: Any, recording: Any, tolerance: float) -> None:
    """Compares with a recorded array or with its summary.

    Args:
        actual: our array.
        recording: an array, compared entry by entry, or a `Summary`.
        tolerance: of the largest recorded entry. A summary holds every product to it as well: rounding is far below
            and of either sign, so it does not add up to more, while one entry off by twice the tolerance shows.
    """
    actual = np.asarray(actual)
    if isinstance(recording, Summary):
        wrong = {name: share for name, share in recording.differences(actual).items() if not share <= tolerance}
        assert not wrong, f"{recording.name} differs by {wrong}, more than {tolerance}"
    else:
        error = relative_error(actual, recording)
        assert error <= tolerance, f"an entry differs by {error} of the largest, more than {tolerance}"


def full_recording(name: str) -> Path | None:
    """Path of a file of the full recordings, where $INR_GAN_SHARED has it."""
    if "INR_GAN_SHARED" not in os.environ:
        return None
    paths = (SHARED / folder / name for folder in ("golden", "golden_metrics"))
    return next((path for path in paths if path.exists()), None)


def recorded_file(name: str) -> Path:
    """Path of a text file of the recordings."""
    return full_recording(name) or FOLDER / name


@functools.cache
def load_json(name: str) -> dict[str, Any]:
    return json.loads(recorded_file(name).read_text())


@functools.cache
def load(name: str) -> Mapping[str, Any]:
    """Arrays and summaries of one recording, by their names; weights and inputs float32, results float64."""
    full = full_recording(f"{name}.npz")
    return load_compact(name) if full is None else load_full(full)


def load_full(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a full recording, overlaid by the results in float64 where a second file holds them."""
    double = path.with_name(path.name.replace(".npz", ".f64.npz"))
    if not double.exists():
        return np.load(path)
    return {**np.load(path), **np.load(double)}


def load_compact(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The arrays and summaries of a recording of this folder; long ones are in several files."""
    arrays: dict[str, Any] = {}
    for path in sorted(folder.glob(f"{name}.part*.npz")):
        with np.load(path) as part:
            arrays.update(part)
    table = [arrays.pop(f"summary/{column}", ()) for column in ("names", "shapes", "largest_at", "numbers")]
    for key, shape, at, (norm, largest, *products) in zip(*table, strict=True):
        sides = tuple(int(side) for side in shape if side >= 0)
        arrays[str(key)] = Summary(str(key), sides, float(norm), float(largest), int(at), tuple(map(float, products)))
    assert arrays, f"no recording {name} in {folder}"
    return arrays


def shared_file(name: str, what: str) -> Path:
    """Path of a file that is not in the repository; skips the test where it is absent."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{what} not in the repository: put them at {path}, or say by INR_GAN_SHARED where {name} is")
    return path
