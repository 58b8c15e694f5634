"""Protocols by name: the name fixes the network, the counts and the convention, so that a number says what it is.

Those of StyleGAN keep its names and conventions. Distances in another network than Inception never have `fid` in their
name. Any number of generated images may stand in a name: fid50k_full, fid10k_full, fsd640_full.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.options import NetworkName

Kind = Literal["frechet", "kernel", "precision_recall", "inception_score", "path_length", "pixel_frechet"]

# Of torch-fidelity; StyleGAN leaves it to chance.
_SUBSET_SEED = 2020
_PATHS = 50_000


@dataclasses.dataclass(frozen=True)
class PathProtocol:
    """Which paths are measured.

    Attributes:
        space: of the interpolation: `z`, spherical, or `w`, linear.
        sampling: where on the path: `full`, uniform over it, or `end`, at its first end.
        crops: whether to compare the middle of faces only.
        epsilon: length of a step.
    """

    space: Literal["z", "w"]
    sampling: Literal["full", "end"]
    crops: bool
    epsilon: float = 1e-4


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What a name stands for.

    Attributes:
        name: of the protocol.
        kind: of the measure.
        network: whose features are compared; path lengths are measured by LPIPS (vgg).
        num_generated: generated images, or paths.
        max_real: largest number of real images, sampled from larger sets; None: all.
        ddof: Frechet: covariances are divided by count - ddof.
        num_neighbours: precision and recall: k.
        num_subsets, subset_size, subset_seed: kernel distance.
        num_splits: Inception score.
        path: path length.
    """

    name: str
    kind: Kind
    network: NetworkName | None
    num_generated: int
    max_real: int | None = None
    ddof: int | None = None
    num_neighbours: int | None = None
    num_subsets: int | None = None
    subset_size: int | None = None
    subset_seed: int | None = None
    num_splits: int | None = None
    path: PathProtocol | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether smaller values are better ones."""
        return self.kind in ("frechet", "kernel", "path_length", "pixel_frechet")

    @property
    def value_names(self) -> tuple[str, ...]:
        """Names of the numbers that the protocol gives; the first is the value of the metric."""
        match self.kind:
            case "precision_recall":
                return f"{self.name}_precision", f"{self.name}_recall"
            case "inception_score":
                return f"{self.name}_mean", f"{self.name}_std"
            case "kernel":
                return self.name, f"{self.name}_std"
            case "pixel_frechet":
                return self.name, f"{self.name}_bytes"
        return (self.name,)

    @property
    def least_generated(self) -> int:
        """Generated images that the measure needs at least."""
        if self.kind == "precision_recall":
            assert self.num_neighbours is not None, "of precision and recall"
            return self.num_neighbours + 1
        return self.num_splits or 2

    @property
    def least_real(self) -> int:
        """Real images that the measure needs at least: halves of a set have moments from 4 images on."""
        match self.kind:
            case "frechet":
                return 4
            case "kernel":
                return 2
            case "precision_recall":
                return self.least_generated
        return 0

    def record(self) -> dict[str, Any]:
        """The protocol as plain data, without what does not apply."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


def _frechet(name: str, network: NetworkName, count: int, ddof: int = 1) -> Protocol:
    return Protocol(name, "frechet", network, count, ddof=ddof)


def _kernel(name: str, network: NetworkName, count: int) -> Protocol:
    return Protocol(
        name, "kernel", network, count, max_real=1_000_000, num_subsets=100, subset_size=1000, subset_seed=_SUBSET_SEED
    )


def _precision_recall(name: str, network: NetworkName, count: int, num_neighbours: int) -> Protocol:
    return Protocol(name, "precision_recall", network, count, max_real=200_000, num_neighbours=num_neighbours)


# Patterns with the number of generated images, and of neighbours where there are any.
_COUNTED: Mapping[str, Callable[..., Protocol]] = {
    r"fid(\d+k?)_full": lambda name, count: _frechet(name, "inception", count, ddof=0),
    r"kid(\d+k?)_full": lambda name, count: _kernel(name, "inception", count),
    r"pr(\d+k)(\d)_full": lambda name, count, k: _precision_recall(name, "vgg16", count, k),
    r"is(\d+k?)": lambda name, count: Protocol(name, "inception_score", "inception", count, num_splits=10),
    r"fsd(\d+k?)_full": lambda name, count: _frechet(name, "squeezenet", count),
    r"ksd(\d+k?)_full": lambda name, count: _kernel(name, "squeezenet", count),
    r"pr_squeezenet(\d+k)(\d)_full": lambda name, count, k: _precision_recall(name, "squeezenet", count, k),
    r"frechet_digits(\d+k?)_full": lambda name, count: _frechet(name, "digits", count),
    r"kernel_digits(\d+k?)_full": lambda name, count: _kernel(name, "digits", count),
    r"pr_digits(\d+k)(\d)_full": lambda name, count, k: _precision_recall(name, "digits", count, k),
    r"frechet_vgg16_(\d+k?)_full": lambda name, count: _frechet(name, "vgg16", count),
}
_PATH_LENGTHS: Mapping[str, PathProtocol] = {
    "ppl_zfull": PathProtocol("z", "full", crops=True),
    "ppl_zend": PathProtocol("z", "end", crops=True),
    "ppl_wfull": PathProtocol("w", "full", crops=True),
    "ppl_wend": PathProtocol("w", "end", crops=True),
    "ppl2_wend": PathProtocol("w", "end", crops=False),
}
# By the pixels, as many generated images as the configuration of the run says.
PIXEL_FD = "pixel_fd"
# What an error message suggests.
EXAMPLES = (
    PIXEL_FD,
    "fid50k_full",
    "kid50k_full",
    "pr50k3_full",
    "is50k",
    *_PATH_LENGTHS,
    "fsd10k_full",
    "ksd10k_full",
    "pr_squeezenet10k3_full",
    "frechet_digits10k_full",
    "kernel_digits10k_full",
    "pr_digits10k3_full",
    "frechet_vgg16_10k_full",
)


def parse_protocol(name: str, num_samples: int = 0) -> Protocol:
    """Looks a protocol up by name.

    Args:
        name: of the protocol.
        num_samples: generated images of protocols whose name holds no number.

    Raises:
        UserError: for an unknown name, with the nearest ones; for a number of images or neighbours that is too small.
    """
    if name == PIXEL_FD:
        return Protocol(name, "pixel_frechet", None, num_samples)
    if name in _PATH_LENGTHS:
        return Protocol(name, "path_length", None, _PATHS, path=_PATH_LENGTHS[name])
    for pattern, build in _COUNTED.items():
        found = re.fullmatch(pattern, name)
        if found:
            count, *others = found.groups()
            return _checked(build(name, _number(count), *map(int, others)))
    similar = difflib.get_close_matches(name, EXAMPLES, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(similar)}" if similar else f"known, with any numbers: {', '.join(EXAMPLES)}"
    raise UserError(f"metric {name!r} is unknown; {hint}")


def _checked(protocol: Protocol) -> Protocol:
    """Refuses numbers in a known name that measure nothing."""
    count, least = protocol.num_generated, protocol.least_generated
    if protocol.num_neighbours == 0:
        raise UserError(f"metric {protocol.name!r} has 0 neighbours, expected 1 to 9")
    if count < least:
        images = "1 image" if count == 1 else f"{count} images"
        raise UserError(f"metric {protocol.name!r} is of {images}, expected at least {least}; choose a larger number")
    return protocol


def _number(text: str) -> int:
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)
