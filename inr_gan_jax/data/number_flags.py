"""Flags that take a number within a range, and say what is expected when they are given anything else."""

from typing import Any

from absl import flags


class _NumberParser(flags.ArgumentParser):
    """Parses one number.

    Args:
        kind: int or float.
        low, high: the range, both included.
        advice: what to add to what is expected.
    """

    def __init__(self, kind: type[int] | type[float], low: float, high: float, advice: str) -> None:
        super().__init__()
        self._kind, self._low, self._high = kind, low, high
        name = "a whole number" if kind is int else "a number"
        self._expected = f"expected {name} from {low:,} to {high:,}{advice}"
        self.syntactic_help = self._expected

    def parse(self, argument: Any) -> int | float:
        try:
            value = self._kind(argument)
        except ValueError as error:
            raise ValueError(self._expected) from error
        # Not a number lies in no range.
        if not self._low <= value <= self._high:
            raise ValueError(self._expected)
        return value

    def flag_type(self) -> str:
        return self._kind.__name__


def define_whole_number(
    name: str, default: int | None, text: str, low: int, high: int, advice: str = ""
) -> flags.FlagHolder:
    """Defines a flag for a whole number from `low` to `high`; `advice` follows what is expected in its error."""
    return flags.DEFINE(
        _NumberParser(int, low, high, advice), name, default, text, serializer=flags.ArgumentSerializer()
    )


def define_number(name: str, default: float, text: str, low: float, high: float) -> flags.FlagHolder:
    """Defines a flag for a number from `low` to `high`."""
    return flags.DEFINE(_NumberParser(float, low, high, ""), name, default, text, serializer=flags.ArgumentSerializer())
