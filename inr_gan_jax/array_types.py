"""Array aliases, the legend of dimension names, and the shape check of public entries.

Legend of the names used in docstrings:
    batch            samples in a batch
    height, width    pixels; rows run down the picture, columns to the right
    channels         values a pixel (3 for RGB, 1 for grey)
    features         hidden width of a layer
    rank             rank of the factorised modulation
    z_dim, c_dim     sizes of the latent code and of the (one-hot) label
    num_ws, w_dim    number and size of the intermediate latent codes
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

Array = jax.Array
PRNGKey = jax.Array
Params = Mapping[str, Any]
Variables = Mapping[str, Any]

# What the wide layers of a network compute in; parameters are float32 in either case.
Precision = Literal["float32", "bfloat16"]


def along_last(vector: Array, ndim: int) -> Array:
    """Reshapes [size] to rank `ndim` with the entries along the last axis, so that adding it promotes no rank."""
    return vector.reshape((1,) * (ndim - 1) + (-1,))


def in_precision(x: Array, precision: Precision) -> Array:
    """Casts activations to what wide layers compute in; `float32` leaves them, so that float64 stays float64."""
    return x.astype(jnp.bfloat16) if precision == "bfloat16" else x


def check_shape(name: str, array: Array, expected: Sequence[int | None]) -> None:
    """Checks that an array has the expected shape.

    Args:
        name: what the array is, for the message.
        array: any array (or `jax.ShapeDtypeStruct`).
        expected: one entry a dimension; None accepts any size.

    Raises:
        ValueError: with the shape got and the shape expected.
    """
    fits = len(array.shape) == len(expected) and all(
        want is None or want == got for got, want in zip(array.shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{name} has shape {tuple(array.shape)}, expected ({wanted})")
