"""A least-recently-used cache bounded in bytes."""

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
from cachetools import LRUCache

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """A thread-safe mapping that holds at most `most_bytes`.

    Args:
        most_bytes: bound.
        size_of: bytes of a value.
    """

    def __init__(self, most_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._values: LRUCache[Any, Value] = LRUCache(most_bytes, getsizeof=size_of)
        self._lock = threading.Lock()

    def get(self, key: Any) -> Value | None:
        """The value; None if it is not cached."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Any, value: Value) -> None:
        """Caches a value, unless it is larger than the bound."""
        with self._lock:
            try:
                self._values[key] = value
            except ValueError:
                self._values.pop(key, None)

    @property
    def num_bytes(self) -> int:
        """Bytes cached."""
        return int(self._values.currsize)


def bytes_of(tree: Any) -> int:
    """Bytes of the arrays of a pytree."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
