"""Flags that are checked while the command line is read, in the same way for every command.

A number has bounds and is finite; a list is read by the function that the command uses later. A mistake is one sentence
(`errors.UserError`), before anything is loaded.
"""

import math
from collections.abc import Callable
from typing import Any

from absl import flags

from inr_gan_jax.errors import UserError

# So that --help of a command lists the flags that it has from here.
flags.disclaim_key_flags()


class NumberParser(flags.ArgumentParser[Any]):
    """Reads a number within bounds.

    Args:
        name: of the flag.
        is_whole: whether it is an integer.
        lowest: smallest value allowed.
        highest: largest value allowed.
        advice: follows what is expected in the message.
    """

    def __init__(self, name: str, is_whole: bool, lowest: float, highest: float, advice: str = "") -> None:
        super().__init__()
        self.name, self.is_whole, self.lowest, self.highest = name, is_whole, lowest, highest
        form = "{:,}" if is_whole else "{:g}"
        kind = "a whole number" if is_whole else "a number"
        self.syntactic_help = f"{kind} from {form.format(lowest)} to {form.format(highest)}{advice}"

    def parse(self, argument: Any) -> Any:
        """Converts the text of a flag, or its default.

        Raises:
            UserError: if it is not a number, not finite, or out of bounds.
        """
        value = self._converted(argument)
        if value is None or not self.lowest <= value <= self.highest:
            raise UserError(f"--{self.name} is {argument}, expected {self.syntactic_help}")
        return value

    def flag_type(self) -> str:
        """Name of the type, for --helpxml."""
        return "int" if self.is_whole else "float"

    def _converted(self, argument: Any) -> Any:
        try:
            value = int(argument) if self.is_whole else float(argument)
        except (TypeError, ValueError):
            return None
        return value if math.isfinite(value) else None


class TextParser(flags.ArgumentParser[str]):
    """Accepts a text that a function can read, and the default as it is."""

    def __init__(self, default: str, read: Callable[[str], object]) -> None:
        super().__init__()
        self._default, self._read = default, read

    def parse(self, argument: Any) -> str:
        if argument != self._default:
            self._read(argument)
        return argument


def define_integer(name: str, default: int | None, meaning: str, lowest: int, highest: int, advice: str = "") -> None:
    """Defines a flag of a whole number from `lowest` to `highest`; None as the default stands for "not given"."""
    flags.DEFINE(NumberParser(name, True, lowest, highest, advice), name, default, meaning)


def define_float(name: str, default: float | None, meaning: str, lowest: float, highest: float) -> None:
    """Defines a flag of a finite number from `lowest` to `highest`; None as the default stands for "not given"."""
    flags.DEFINE(NumberParser(name, False, lowest, highest), name, default, meaning)


def define_text(name: str, default: str, meaning: str, read: Callable[[str], object]) -> None:
    """Defines a flag of a text such as a list of numbers.

    Args:
        name: of the flag.
        default: accepted unread, so that '' can stand for "not given".
        meaning: for --help.
        read: raises `UserError` for a text that it cannot read.
    """
    flags.DEFINE(TextParser(default, read), name, default, meaning)
