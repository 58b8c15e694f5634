"""The unpickler of the standard library, restricted: a file can neither run code nor cost much.

It builds on `pickle._Unpickler`, the implementation in Python, because that can be restricted opcode by opcode; in the
one in C a file decides what is allocated and how deep the stack grows. What a hostile file can try, and what stops it:

- Run code. `find_class` looks names up in a table of ours and imports nothing. REDUCE calls functions of that table,
  NEWOBJ makes `Inert` objects without arguments, BUILD gives them a state, which they keep as data or drop.
- Use opcodes that checkpoints do not need (EXT1, INST, OBJ, NEWOBJ_EX, LONG4, DUP, out-of-band buffers, protocol 0).
  They have no handler.
- Claim long byte strings. A length beyond the end of the data is refused before anything is allocated; byte strings
  are views of the file and are not copied.
- Make many objects, or much text. All streams of a file together have one `Budget`.
- Make a memo index of two billion. The memo is a dict, in which every index costs the same.
- Make look-ups slow by nested tuples or crafted integers as keys. Keys are short strings, 64-bit integers, booleans or
  None.
- Double a list by naming it twice within the next one, over and over. Decoded, this is small, as references are shared.
  Whoever walks over the result has to bound the number of entries (`safe_pickle.EntryCounter`).
"""

import itertools
import pickle
import pickletools
import struct
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import CheckpointFormatError, shown

# An opcode costs one to three units. Recorded checkpoints have 25,000 to 115,000 opcodes, full-width ones, judging by
# their number of tensors, at most 150,000. Two million units run in seconds and make less than 0.5 GB.
MAX_UNITS = 2_000_000
# The source text in a checkpoint is below 1 MB. A byte of text uses up to four bytes in memory.
TEXT_BYTES_PER_UNIT = 32
MAX_KEY_LENGTH = 1024
MAX_NAME_LENGTH = 256

# Dotted path of each permitted global -> a function that REDUCE may call with the budget and the arguments of the file,
# a subclass of `Inert`, or a value that may only be mentioned.
Globals = Mapping[str, Any]

_HARMLESS = (
    "PROTO STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINUNICODE "
    "BINUNICODE BINUNICODE8 SHORT_BINSTRING BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND APPENDS "
    "SETITEM SETITEMS ADDITEMS MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL STACK_GLOBAL BINPERSID"
)
# What the handlers raise on operands of the wrong kind or number.
_OPERAND_ERRORS = (
    AttributeError,
    LookupError,
    OverflowError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


class Inert:
    """Base of what stands in for the objects of a file."""

    def set_state(self, state: Any) -> None:
        """Drops the state: attributes of a dict, such as the `_metadata` of a state_dict, hold no weights."""


class InertDict(dict[Any, Any], Inert):
    """Stand-in of dict, OrderedDict, defaultdict and EasyDict."""

    def __setitem__(self, key: Any, value: Any) -> None:
        check_key(key)
        super().__setitem__(key, value)


class InertSet(set[Any]):
    """Stand-in of set."""

    def update(self, *others: Any) -> None:
        for key in itertools.chain(*others):
            check_key(key)
            self.add(key)


class StandIn(Inert):
    """An object of any class.

    Attributes:
        class_name: Name of the class, where the file tells it as data.
        state: What the file stores as its state, mostly its `__dict__`.
    """

    def __init__(self, class_name: str = "", state: Any = None) -> None:
        self.class_name = class_name
        self.state = state

    def set_state(self, state: Any) -> None:
        self.state = state


class Budget:
    """Remaining budget of the streams of one file, shared with the nested streams of its storages."""

    def __init__(self) -> None:
        self._units_left = MAX_UNITS

    def spend(self, units: int) -> None:
        """Takes work off the budget.

        Raises:
            CheckpointFormatError: Nothing is left.
        """
        self._units_left -= units
        if self._units_left < 0:
            raise CheckpointFormatError(f"its pickle stream costs more than {MAX_UNITS} units of work and text")


class Stream:
    """Bytes with a position, as an unpickler reads them."""

    def __init__(self, data: bytes | memoryview, budget: Budget) -> None:
        self.rest = memoryview(data)
        self.budget = budget

    def view(self, count: int) -> memoryview:
        """The next bytes, without a copy."""
        if count > len(self.rest):
            raise CheckpointFormatError(
                f"it is truncated or damaged: it claims {count} bytes where {len(self.rest)} are left"
            )
        start, self.rest = self.rest[:count], self.rest[count:]
        return start

    def read(self, count: int) -> bytes:
        """The next bytes, at the cost of the budget."""
        self.budget.spend(1 + count // TEXT_BYTES_PER_UNIT)
        return bytes(self.view(count))

    def readline(self) -> bytes:
        """The rest of the line, which holds part of the name of a global."""
        length = bytes(self.rest[:MAX_NAME_LENGTH]).find(b"\n") + 1
        if not length:
            raise CheckpointFormatError("the name of a class or function is truncated or too long")
        return self.read(length)


def load(stream: Stream, allowed: Globals, load_persistent: Callable[[Any], Any] | None = None) -> Any:
    """Decodes one pickle from the position of a stream, and leaves the position behind it.

    Args:
        stream: What to read.
        allowed: The permitted globals.
        load_persistent: Turns a persistent id into a value; without it persistent ids are refused.

    Returns:
        None, bool, int, float, str, memoryview (of byte strings), containers of these, and values made from `allowed`.

    Raises:
        CheckpointFormatError: The stream is malformed, too costly, or names something that is not allowed.
    """
    try:
        return _RestrictedUnpickler(stream, allowed, load_persistent).load()
    except _OPERAND_ERRORS as error:
        raise CheckpointFormatError(f"its pickle stream is malformed ({type(error).__name__})") from error


def check_key(key: Any) -> None:
    """Refuses keys of a dict or elements of a set whose hashing or comparing could be made slow or recursive."""
    if type(key) is str:
        allowed = len(key) <= MAX_KEY_LENGTH
    else:
        allowed = key is None or type(key) is bool or (type(key) is int and -(2**63) <= key < 2**63)
    if not allowed:
        raise CheckpointFormatError(f"a dict or set has the key {shown(key)}, which is too long or of a wrong type")


class _Handlers(dict[int, Callable[[Any], None]]):
    """Handlers by opcode; an opcode without one is refused by name."""

    def __missing__(self, code: int) -> Callable[[Any], None]:
        name = next((opcode.name for opcode in pickletools.opcodes if opcode.code == chr(code)), f"0x{code:02x}")
        raise CheckpointFormatError(f"its pickle stream has the opcode {name}, which has no place in a checkpoint")


class _RestrictedUnpickler(pickle._Unpickler):
    """Keeps the handlers of the standard library that are harmless and replaces those that could do harm."""

    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(self, stream: Stream, allowed: Globals, load_persistent: Callable[[Any], Any] | None) -> None:
        super().__init__(stream, encoding="utf-8")
        self._stream, self._allowed, self._load_persistent = stream, allowed, load_persistent

    def find_class(self, module: str, name: str) -> Any:
        """Looks up the stand-in of a class or function."""
        found = self._allowed.get(f"{module}.{name}")
        if found is None:
            raise CheckpointFormatError(f"it refers to {shown(module)}.{shown(name)}, which is not allowed")
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Looks up the storage of a persistent id."""
        if self._load_persistent is None:
            raise CheckpointFormatError("the pickle stream holds a persistent id outside of a storage")
        return self._load_persistent(pid)

    def _load_bytes(self, width: int) -> None:
        self.append(self._stream.view(int.from_bytes(self.read(width), "little")))

    def _reduce(self) -> None:
        arguments, target = self.stack.pop(), self.stack[-1]
        self._check(type(target) is types.FunctionType and type(arguments) is tuple, "calls", target)
        self._stream.budget.spend(len(arguments))
        self.stack[-1] = target(self._stream.budget, *arguments)

    def _new_object(self) -> None:
        arguments, target = self.stack.pop(), self.stack[-1]
        self._check(type(target) is type and issubclass(target, Inert) and arguments == (), "instantiates", target)
        self.stack[-1] = target()

    def _build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        # Parameters of torch 0.1 store requires_grad and hooks this way.
        if type(target) is not np.ndarray:
            self._check(isinstance(target, Inert), "sets the state of", target)
            target.set_state(state)

    def _check(self, is_allowed: bool, action: str, target: Any) -> None:
        if not is_allowed:
            raise CheckpointFormatError(f"its pickle stream {action} a {type(target).__name__}, which is not allowed")

    dispatch = _Handlers(
        {getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in _HARMLESS.split()}
    )
    dispatch |= {
        pickle.EMPTY_DICT[0]: lambda self: self.append(InertDict()),
        pickle.EMPTY_SET[0]: lambda self: self.append(InertSet()),
        # A frame only tells how much to read ahead.
        pickle.FRAME[0]: lambda self: self.read(8),
        pickle.SHORT_BINBYTES[0]: lambda self: self._load_bytes(1),
        pickle.BINBYTES[0]: lambda self: self._load_bytes(4),
        pickle.BINBYTES8[0]: lambda self: self._load_bytes(8),
        pickle.REDUCE[0]: _reduce,
        pickle.NEWOBJ[0]: _new_object,
        pickle.BUILD[0]: _build,
    }
