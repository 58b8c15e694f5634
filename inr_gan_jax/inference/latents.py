"""Which images: seeds, labels and truncation, as latent codes and as modulations."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from inr_gan_jax.errors import UserError

if TYPE_CHECKING:
    from inr_gan_jax.array_types import Array, Variables
    from inr_gan_jax.inference.loading import LoadedGenerator
    from inr_gan_jax.models.generator import Generator, Modulation

MAX_SEED = 2**32 - 1
MAX_SEEDS = 10**6
# Beyond it, either way, pictures are far from anything that was trained.
MAX_PSI = 2.0


@dataclasses.dataclass(frozen=True)
class Truncation:
    """How far intermediate codes are drawn towards their mean.

    Attributes:
        psi: 1 leaves them, 0 gives the mean.
        cutoff: how many of the codes, from the first on; None for all.
    """

    psi: float = 1.0
    cutoff: int | None = None


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


def latents(loaded: LoadedGenerator, seeds: Sequence[int]) -> Array:
    """Draws a standard normal latent code for each seed: [len(seeds), z_dim].

    A seed gives the same code whatever its neighbours are.
    """
    import jax
    import jax.numpy as jnp

    keys = jax.vmap(jax.random.key)(jnp.asarray(np.asarray(seeds, np.uint32)))
    return jax.vmap(lambda key: jax.random.normal(key, (loaded.generator.z_dim,)))(keys)


def labels(loaded: LoadedGenerator, count: int, class_index: int | None = None) -> Array | None:
    """One-hot labels [count, c_dim] of one class, or of all in turn; None for an unconditional generator.

    Raises:
        UserError: if there is no such class.
    """
    import jax
    import jax.numpy as jnp

    c_dim = loaded.generator.c_dim
    if not c_dim:
        if class_index is not None:
            raise UserError(f"class {class_index} was asked for, but {loaded.source} has no classes")
        return None
    if class_index is not None and not 0 <= class_index < c_dim:
        raise UserError(f"class is {class_index}, but {loaded.source} has the classes 0 to {c_dim - 1}")
    indices = jnp.arange(count) % c_dim if class_index is None else jnp.full(count, class_index)
    return jax.nn.one_hot(indices, c_dim)


# Made once, so that a second call of equal shapes compiles nothing.
@functools.cache
def _mapping_program() -> Callable[[Generator, Variables, Array, Array | None], Array]:
    import jax

    def mapped(generator: Generator, variables: Variables, z: Array, c: Array | None) -> Array:
        return generator.batch_mapping(variables, z, c)

    return jax.jit(mapped, static_argnums=0)


@functools.cache
def _modulation_program() -> Callable[[Generator, Variables, Array], Modulation]:
    import jax

    def modulated(generator: Generator, variables: Variables, ws: Array) -> Modulation:
        return jax.vmap(lambda codes: generator.modulation(variables, codes))(ws)

    return jax.jit(modulated, static_argnums=0)


def intermediate_codes(
    loaded: LoadedGenerator, z: Array, c: Array | None = None, truncation: Truncation | None = None
) -> Array:
    """Maps z [count, z_dim] and labels [count, c_dim] to ws [count, num_ws, w_dim], truncated.

    Raises:
        UserError: if truncation is asked for and the file holds no mean of the codes.
    """
    from inr_gan_jax.models.mapping import truncate

    ws = _mapping_program()(loaded.generator, loaded.variables, z, c)
    if truncation is None or truncation.psi == 1:
        return ws
    if loaded.w_avg is None:
        raise UserError(f"{loaded.source} holds no mean of w, so truncation_psi must be 1")
    return truncate(ws, loaded.w_avg, truncation.psi, truncation.cutoff)


def modulations_of(loaded: LoadedGenerator, ws: Array) -> Modulation:
    """Maps ws [count, num_ws, w_dim] to images as INRs: a modulation whose arrays have a leading axis [count]."""
    return _modulation_program()(loaded.generator, loaded.variables, ws)


def draw_modulations(
    loaded: LoadedGenerator,
    seeds: Sequence[int],
    class_index: int | None = None,
    truncation: Truncation | None = None,
) -> Modulation:
    """Draws an image for each seed, as INRs: a modulation whose arrays have a leading axis [len(seeds)].

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
