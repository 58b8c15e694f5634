"""Which tests run in the fast suite, and which by `make test-all` only."""

from collections.abc import Container, Iterable
from typing import Any

import pytest

slow = pytest.mark.slow


def mostly_slow(values: Iterable[Any], fast: Container[Any]) -> list[Any]:
    """Parameters of a test of which those in `fast` are run by `make test`, and all by `make test-all`."""
    return [value if value in fast else pytest.param(value, marks=slow) for value in values]
