"""A documented setting: default, meaning and allowed range stand at the field itself."""

import dataclasses
import typing
from typing import Any, TypeVar

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may have; None, where the type allows it, is always allowed.

    Attributes:
        text: the range in words, behind "expected".
        low: lower bound.
        high: upper bound.
        excludes_low: the lower bound itself is not allowed.
        excludes_high: the upper bound itself is not allowed.
    """

    text: str
    low: float
    high: float = float("inf")
    excludes_low: bool = False
    excludes_high: bool = True

    def holds(self, value: float) -> bool:
        """Whether a number lies in the range; NaN never does."""
        above = self.low < value if self.excludes_low else self.low <= value
        return above and (value < self.high if self.excludes_high else value <= self.high)


ONE_OR_MORE = Range("at least 1", 1)
TWO_OR_MORE = Range("at least 2", 2)
ZERO_OR_MORE = Range("0 or more", 0)
ABOVE_ZERO = Range("more than 0", 0, excludes_low=True)
ABOVE_ONE = Range("more than 1", 1, excludes_low=True)
FRACTION = Range("0 to 1", 0, 1, excludes_high=False)
BELOW_ONE = Range("0 to below 1", 0, 1)


def setting(default: _T, meaning: str, allowed: Range | None = None) -> _T:
    """A field of a frozen settings dataclass.

    Args:
        default: its value where a configuration does not say otherwise.
        meaning: what it does, with its unit.
        allowed: range of a number.
    """
    return typing.cast(_T, dataclasses.field(default=default, metadata={"meaning": meaning, "allowed": allowed}))


def meaning_of(field: dataclasses.Field[Any]) -> str:
    """What a field made by `setting` does; empty for another field."""
    return field.metadata.get("meaning", "")


def range_of(field: dataclasses.Field[Any]) -> Range | None:
    """The allowed range of a field made by `setting`."""
    return field.metadata.get("allowed")
