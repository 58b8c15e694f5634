"""A batch in parts: gradients of more images than fit at a time."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

_T = TypeVar("_T")


def cut(batch: Any, rounds: int, group_size: int) -> Any:
    """Cuts a batch into parts that hold whole groups of the minibatch standard deviation.

    Member m of group n is sample m * num_groups + n, in the batch and in each part.

    Args:
        batch: pytree of arrays [batch, ...].
        rounds: number of parts.
        group_size: samples a group; a batch is a multiple of `rounds * group_size`.

    Returns:
        The pytree with arrays [rounds, batch / rounds, ...].
    """

    def cut_one(array: Any) -> Any:
        groups = array.reshape(group_size, rounds, -1, *array.shape[1:])
        return jnp.swapaxes(groups, 0, 1).reshape(rounds, -1, *array.shape[1:])

    return jax.tree.map(cut_one, batch)


def mean_over_parts(function: Callable[[Any], _T], batch: Any, rounds: int, group_size: int) -> _T:
    """Averages what a function makes of the parts of a batch, one after the other.

    Args:
        function: maps a batch (or a part of it) to a pytree of arrays, such as gradients.
        batch: pytree of arrays [batch, ...].
        rounds: number of parts; with 1 the function is called on the whole.
        group_size: see `cut`.
    """
    if rounds == 1:
        return function(batch)
    parts = cut(batch, rounds, group_size)
    shapes = jax.eval_shape(function, jax.tree.map(lambda array: array[0], parts))
    zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

    def add(total: _T, part: Any) -> tuple[_T, None]:
        return jax.tree.map(jnp.add, total, function(part)), None

    total, _ = jax.lax.scan(add, zeros, parts)
    return jax.tree.map(lambda leaf: leaf / rounds, total)
