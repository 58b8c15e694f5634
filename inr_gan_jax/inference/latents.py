"""Seeds and labels of a loaded generator, as latent codes and as modulations. Importing this loads no JAX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from inr_gan_jax.errors import UserError

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Array
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Modulation
    from inr_gan_jax.sampling import Sampler, Truncation

MAX_SEED = 2**32 - 1
MAX_SEEDS = 10**6
# Beyond it, either way, pictures are far from anything that was trained.
MAX_PSI = 2.0


def parse_seeds(text: str, name: str = "seeds") -> tuple[int, ...]:
    """Reads a list of seeds such as "0-63" or "1,5,8-11", in the order written.

    Args:
        text: the list.
        name: what the list is called in an error.

    Raises:
        UserError: one sentence, for anything else.
    """
    expected = f"expected numbers and ranges from 0 to {MAX_SEED}, such as 0-63 or 1,5,8-11"
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?", part)
        if not match:
            raise UserError(f"{name} are {text!r}, {expected}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last > MAX_SEED:
            raise UserError(f"{name} are {text!r} and {part.strip()} is not a range, {expected}")
        if len(seeds) + last - first >= MAX_SEEDS:
            raise UserError(f"{name} are {text!r}, expected at most {MAX_SEEDS:,} of them")
        seeds.extend(range(first, last + 1))
    return tuple(seeds)


def seeds_text(seeds: Sequence[int]) -> str:
    """The shortest list that `parse_seeds` reads as these seeds."""
    starts = [place for place, seed in enumerate(seeds) if place == 0 or seed != seeds[place - 1] + 1]
    ranges = [(seeds[start], seeds[end - 1]) for start, end in zip(starts, [*starts[1:], len(seeds)], strict=True)]
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def sampler_of(loaded: LoadedGenerator, truncation: Truncation | None = None) -> Sampler:
    """The sampler of a loaded generator, on the default device.

    Raises:
        UserError: if truncation is asked for and the file holds no mean of w.
    """
    from inr_gan_jax import sampling

    return sampling.Sampler(
        loaded.generator,
        loaded.variables,
        loaded.w_avg,
        truncation or sampling.Truncation(),
        source=loaded.source,
    )


def latents(loaded: LoadedGenerator, seeds: Sequence[int]) -> Array:
    """Samples a standard normal latent code for each seed: [len(seeds), z_dim].

    A seed gives the same code whatever its neighbours are.
    """
    import jax.numpy as jnp

    from inr_gan_jax.sampling import keys_of_seeds, latents_of_keys

    return latents_of_keys(keys_of_seeds(jnp.asarray(np.asarray(seeds, np.uint32))), loaded.generator.z_dim)


def labels(loaded: LoadedGenerator, count: int, class_index: int | None = None) -> Array | None:
    """One-hot labels [count, c_dim] of one class, or of all in turn; None for an unconditional generator.

    Raises:
        UserError: if there is no such class.
    """
    from inr_gan_jax.sampling import class_labels

    c_dim = loaded.generator.c_dim
    if class_index is not None and not c_dim:
        raise UserError(f"class {class_index} was asked for, but {loaded.source} has no classes")
    if class_index is not None and not 0 <= class_index < c_dim:
        raise UserError(f"class is {class_index}, but {loaded.source} has the classes 0 to {c_dim - 1}")
    return class_labels(c_dim, count, class_index)


def intermediate_codes(
    loaded: LoadedGenerator, z: Array, c: Array | None = None, truncation: Truncation | None = None
) -> Array:
    """Maps z [count, z_dim] and labels [count, c_dim] to ws [count, num_ws, w_dim], truncated.

    Raises:
        UserError: if truncation is asked for and the file holds no mean of w.
    """
    return sampler_of(loaded, truncation).codes(z, c)


def modulations_of(loaded: LoadedGenerator, ws: Array) -> Modulation:
    """Maps ws [count, num_ws, w_dim] to images as INRs: a modulation whose arrays have a leading axis [count]."""
    return sampler_of(loaded).modulations(ws)


def sample_modulations(
    loaded: LoadedGenerator,
    seeds: Sequence[int],
    class_index: int | None = None,
    truncation: Truncation | None = None,
) -> Modulation:
    """Samples an image for each seed, as INRs: a modulation whose arrays have a leading axis [len(seeds)].

    Args:
        loaded: the generator.
        seeds: see `parse_seeds`.
        class_index: of a conditional generator; None for all classes in turn.
        truncation: of the intermediate codes; None for none.
    """
    c = labels(loaded, len(seeds), class_index)
    return modulations_of(loaded, intermediate_codes(loaded, latents(loaded, seeds), c, truncation))


def select(modulations: Modulation, index: int | slice) -> Modulation:
    """One of several modulations, or a part of them."""
    import jax

    return jax.tree.map(lambda leaf: leaf[index], modulations)
