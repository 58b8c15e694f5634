"""What stands in for the classes and functions that a pickle names: plain data without behaviour."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


class Inert(abc.ABC):
    """Base of the stand-ins that BUILD may give a state to."""

    __slots__ = ()

    @abc.abstractmethod
    def set_state(self, state: Any) -> None:
        """Receives the state that the file stores for this object."""


class InertDict(dict[Any, Any], Inert):
    """Stand-in of OrderedDict, defaultdict and EasyDict."""

    __slots__ = ()

    def set_state(self, state: Any) -> None:
        """Drops the state: attributes of a dict, such as the `_metadata` of a state_dict, carry no weights."""


class StandIn(Inert):
    """An object of a class that is known by name only.

    Attributes:
        class_name: Name of the class in the file.
        state: What the file stores as its state, mostly its `__dict__`.
    """

    __slots__ = ("class_name", "state")

    def __init__(self, class_name: str, state: Any = None) -> None:
        self.class_name = class_name
        self.state = state

    def set_state(self, state: Any) -> None:
        """Keeps the state as data."""
        self.state = state


@dataclasses.dataclass(frozen=True)
class Constant:
    """A global that may be mentioned, and neither called nor instantiated."""

    name: str


@dataclasses.dataclass(frozen=True)
class OpaqueClass:
    """A class that NEWOBJ may instantiate without arguments; `create` makes the stand-in."""

    name: str
    create: Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Constructor:
    """A global that REDUCE may call; `build` is ours and gets the budget, then the arguments found in the file."""

    name: str
    build: Callable[..., Any]


# (module, name) of each permitted global, with what takes its place.
Globals = Mapping[tuple[str, str], Any]


def named(kind: Callable[..., Any], path: str, *arguments: Any) -> tuple[tuple[str, str], Any]:
    """One entry of a `Globals` table, from the dotted path of the global."""
    module, _, name = path.rpartition(".")
    return (module, name), kind(path, *arguments)
