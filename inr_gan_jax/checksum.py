"""Checksums of arrays, computed where the arrays lie and equal however they are spread over devices.

orbax restores a flipped byte of array data in silence, so a checkpoint of ours carries 64 bits for each array. An array
is read as 32-bit words `w[i]` in row-major order, whatever its type, and with `mix` a bijection of 32-bit words

    x[i] = mix(w[i] xor key * i)        first = sum x[i]        second = sum (2 i + 1) x[i]        modulo 2**32.

- One word that differs, by a flipped bit or byte, is always noticed: `mix` maps different words to different words, and
  neither sum can hide a single term that changed, because an odd weight is invertible modulo 2**32.
- Words that are swapped meet other positions, and 4 KB of zeros change up to 1024 words: the terms are then as good as
  random, so both sums stay the same with a probability of 2**-64.
- Without `mix` that would be false. The bits of a float that stand high in its word only reach the top of a sum: with
  weights alone, 1024 ones (0x3f800000) that become zeros change a sum by a multiple of 2**32, that is, not at all.
- Integer sums do not depend on their order, hence not on devices, shardings or versions of the compiler.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from inr_gan_jax.array_types import Array

# The golden ratio's bits, odd: multiplied by it, different positions stay different.
_KEY = np.uint32(0x9E3779B1)
# The unsigned type of the words of an item of so many bytes; eight bytes are two words.
_WORD_TYPES = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint32}


def array_checksums(tree: Any) -> dict[str, dict[str, Any]]:
    """Computes the checksum of every array of a pytree.

    Args:
        tree: any pytree of arrays, of booleans, integers or floats of 1, 2, 4 or 8 bytes.

    Returns:
        For each array, by its path joined with slashes: `dtype`, `shape` and `sums`, two integers in [0, 2**32); only
        types that JSON knows.
    """
    arrays = {name: jnp.asarray(leaf) for name, leaf in named_leaves(tree).items()}
    pairs = {}
    for name, array in arrays.items():
        pairs[name] = _sums(array)
        if jax.default_backend() == "cpu":
            # Programs for several CPU devices share a pool of threads and can starve each other: one at a time there.
            jax.block_until_ready(pairs[name])
    fetched = jax.device_get(pairs)
    return {
        name: {**describe(array), "sums": [int(total) for total in fetched[name]]} for name, array in arrays.items()
    }


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their paths, such as `ema_params/layer/kernel`; fields and keys read alike."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def describe(array: Any) -> dict[str, Any]:
    """The type and shape of an array (or a `jax.ShapeDtypeStruct`) in types that JSON knows."""
    return {"dtype": str(array.dtype), "shape": list(array.shape)}


@jax.jit
def _sums(array: Array) -> tuple[Array, Array]:
    """Both sums of an array of any shape, as uint32 scalars."""
    words = _words(array)
    # Positions are put together axis by axis: to flatten an array that is spread over devices would gather it.
    strides = [int(np.prod(words.shape[axis + 1 :], dtype=np.int64)) % 2**32 for axis in range(words.ndim)]
    positions = functools.reduce(
        lambda total, axis: total + lax.broadcasted_iota(jnp.uint32, words.shape, axis) * np.uint32(strides[axis]),
        range(words.ndim),
        jnp.zeros(words.shape, jnp.uint32),
    )
    terms = _mix(words ^ (positions * _KEY))
    # Both in one reduction, which compiles and runs several times faster than two.
    return lax.reduce(
        (terms, terms * (2 * positions + 1)),
        (np.uint32(0), np.uint32(0)),
        lambda totals, more: (totals[0] + more[0], totals[1] + more[1]),
        tuple(range(words.ndim)),
    )


def _words(array: Array) -> Array:
    """The bits of an array as uint32, of its own shape, or with two words along a last axis for eight bytes."""
    if array.dtype == jnp.bool_:
        return array.astype(jnp.uint32)
    return lax.bitcast_convert_type(array, _WORD_TYPES[array.dtype.itemsize]).astype(jnp.uint32)


def _mix(words: Array) -> Array:
    """Spreads every bit of a word over the whole word, one to one.

    Source: the finaliser of MurmurHash3 (32 bits), which is in the public domain.
    """
    words = (words ^ (words >> 16)) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * np.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
