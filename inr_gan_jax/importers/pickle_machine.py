"""An interpreter of pickle opcodes that builds inert data only.

The standard unpicklers are not used, because there the file decides what is allocated: a memo index of two billion
grows a table, a length field preallocates a buffer, and nested tuples used as keys overflow the C stack. Here every
opcode has a handler of a few lines, an opcode without a handler is refused, and the cost of a stream is bounded:

- objects: `MAX_OPERATIONS` opcodes, each of which makes at most one small object;
- text: `MAX_TEXT_BYTES` over the whole file;
- byte strings: not read, only remembered as a `ByteSpan` of the file;
- look-ups: keys of dicts and sets are short strings, 64-bit integers, booleans or None, so that neither hashing nor
  comparing nor crafted hash collisions make them slow.

Source: the opcode list of CPython's Lib/pickletools.py.
"""

import pickle  # The opcode constants; nothing of it is called.
import pickletools
import struct
from collections.abc import Callable
from typing import Any, ClassVar

from inr_gan_jax.importers.byte_source import ByteSource, ByteSpan, CheckpointFormatError, shown
from inr_gan_jax.importers.inert_objects import Constant, Constructor, Globals, Inert, OpaqueClass

# Recorded checkpoints take 25,000 to 115,000, full-width ones, judging by their number of tensors, at most 150,000.
# A million opcodes run in about a second and make less than 0.5 GB.
MAX_OPERATIONS = 1_000_000
# The source text stored in a checkpoint is below 1 MB. In memory a character takes up to four bytes.
MAX_TEXT_BYTES = 64 * 2**20
MAX_KEY_LENGTH = 1024
MAX_GLOBAL_LENGTH = 256
# The longest integer in use is the magic number of torch, 10 bytes.
MAX_INTEGER_BYTES = 16
MAX_PROTOCOL = 5

# What a handler raises on operands of the wrong kind or number.
_OPERAND_ERRORS = (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error)
_OPCODE_NAMES = {opcode.code.encode("latin-1"): opcode.name for opcode in pickletools.opcodes}


class Budget:
    """What the streams of one file may still cost; the nested streams of its storages share it."""

    def __init__(self) -> None:
        self.operations = MAX_OPERATIONS
        self.text_bytes = MAX_TEXT_BYTES

    def spend_operations(self, count: int) -> None:
        """Takes `count` opcodes, or work of that size, off the budget."""
        self.operations -= count
        if self.operations < 0:
            raise CheckpointFormatError(f"the file takes more than {MAX_OPERATIONS} pickle operations")

    def spend_text(self, count: int) -> None:
        """Takes `count` bytes of text off the budget."""
        self.text_bytes -= count
        if self.text_bytes < 0:
            raise CheckpointFormatError(f"the file holds more than {MAX_TEXT_BYTES} bytes of text in its pickle stream")


def _described(value: object) -> str:
    return value.name if isinstance(value, Constant | Constructor | OpaqueClass) else f"a {type(value).__name__}"


def check_keys(keys: list[Any]) -> None:
    """Refuses keys of a dict or elements of a set whose hashing or comparing could be made slow or recursive."""
    for key in keys:
        kind = type(key)
        if kind is str:
            allowed = len(key) <= MAX_KEY_LENGTH
        elif kind is int:
            allowed = -(2**63) <= key < 2**63
        else:
            allowed = key is None or kind is bool
        if not allowed:
            raise CheckpointFormatError(f"a dict or set has the key {shown(key)}, which is too long or of a wrong type")


class PickleMachine:
    """Runs one pickle stream from the current position of a source.

    Args:
        source: Where the stream lies; afterwards its position is behind the STOP opcode.
        allowed: The permitted globals.
        budget: What the stream may cost.
        load_persistent: Turns a persistent id into a value; without it persistent ids are refused.
    """

    def __init__(
        self,
        source: ByteSource,
        allowed: Globals,
        budget: Budget,
        load_persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._source = source
        self._file = source.file
        self._allowed = allowed
        self._budget = budget
        self._load_persistent = load_persistent
        self._stack: list[Any] = []
        self._outer_stacks: list[list[Any]] = []
        # Not a list: an index costs one entry, however large it is.
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Decodes the stream.

        Returns:
            Its value: None, bool, int, float, str, `ByteSpan`, containers of these, and values made from `allowed`.

        Raises:
            CheckpointFormatError: The stream is malformed, too costly, or names something that is not allowed.
        """
        count, limit = 0, self._budget.operations
        try:
            while count < limit:
                count += 1
                code = self._file.read(1)
                if code == pickle.STOP:
                    return self._finish()
                handler = self._HANDLERS.get(code)
                if handler is None:
                    raise self._refusal(code)
                handler(self)
        except CheckpointFormatError:
            raise
        except _OPERAND_ERRORS as error:
            kind, position = type(error).__name__, self._file.tell()
            raise CheckpointFormatError(f"the pickle stream is malformed before byte {position} ({kind})") from error
        finally:
            self._budget.operations -= count
        raise CheckpointFormatError(f"the file takes more than {MAX_OPERATIONS} pickle operations")

    def _finish(self) -> Any:
        if self._outer_stacks or len(self._stack) != 1:
            raise CheckpointFormatError("the pickle stream ends within an unfinished object")
        return self._stack.pop()

    def _refusal(self, code: bytes) -> CheckpointFormatError:
        if not code:
            return self._truncation()
        name = _OPCODE_NAMES.get(code)
        found = f"the opcode {name}" if name else f"the byte 0x{code.hex()}"
        return CheckpointFormatError(f"{found} at byte {self._file.tell() - 1} has no place in a checkpoint")

    def _truncation(self) -> CheckpointFormatError:
        return CheckpointFormatError(f"the pickle stream is truncated, it breaks off at byte {self._source.size}")

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise self._truncation()
        return data

    def _take_unsigned(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _take_length(self, width: int) -> int:
        length = self._take_unsigned(width)
        left = self._source.size - self._file.tell()
        if length > left:
            raise CheckpointFormatError(
                f"the file is truncated, or a length at byte {self._file.tell() - width} is wrong: "
                f"it claims {length} bytes where {left} are left"
            )
        return length

    def _pop_to_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._outer_stacks.pop()
        return items

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _push_text(self, width: int) -> None:
        length = self._take_length(width)
        self._budget.spend_text(length)
        # 'surrogatepass' as in CPython: stored file names may hold undecodable bytes.
        self._push(self._take(length).decode("utf-8", "surrogatepass"))

    def _push_bytes(self, width: int) -> None:
        length = self._take_length(width)
        position = self._file.tell()
        self._file.seek(position + length)
        self._push(ByteSpan(self._source, position, length))

    def _push_long(self) -> None:
        length = self._take_unsigned(1)
        if length > MAX_INTEGER_BYTES:
            raise CheckpointFormatError(f"the pickle stream holds an integer of {length} bytes")
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _mark(self) -> None:
        self._outer_stacks.append(self._stack)
        self._stack = []

    def _tuple(self) -> None:
        items = tuple(self._pop_to_mark())
        self._push(items)

    def _short_tuple(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) != count:
            raise IndexError
        self._stack[-count:] = [tuple(items)]

    def _extend_list(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is not list:
            raise CheckpointFormatError(f"the pickle stream appends to {_described(target)}")
        target.extend(items)

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointFormatError(f"the pickle stream sets {len(items)} keys and values on {_described(target)}")
        keys = items[::2]
        check_keys(keys)
        target.update(zip(keys, items[1::2], strict=True))

    def _set_item(self) -> None:
        value = self._stack.pop()
        self._set_items([self._stack.pop(), value])

    def _add_items(self) -> None:
        items = self._pop_to_mark()
        target = self._stack[-1]
        if type(target) is not set:
            raise CheckpointFormatError(f"the pickle stream adds items to {_described(target)}")
        check_keys(items)
        target.update(items)

    def _frozenset(self) -> None:
        items = self._pop_to_mark()
        check_keys(items)
        self._push(frozenset(items))

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, width: int) -> None:
        self._memo[self._take_unsigned(width)] = self._stack[-1]

    def _get(self, width: int) -> None:
        self._push(self._memo[self._take_unsigned(width)])

    def _check_protocol(self) -> None:
        version = self._take_unsigned(1)
        if version > MAX_PROTOCOL:
            raise CheckpointFormatError(f"pickle protocol {version} is claimed, {MAX_PROTOCOL} is the newest known")

    def _global_of_lines(self) -> None:
        lines = [self._file.readline(MAX_GLOBAL_LENGTH) for _ in range(2)]
        if not all(line.endswith(b"\n") for line in lines):
            raise CheckpointFormatError("the name of a class or function is truncated or too long")
        self._push_global(*(line[:-1].decode("utf-8") for line in lines))

    def _global_of_stack(self) -> None:
        name = self._stack.pop()
        self._push_global(self._stack.pop(), name)

    def _push_global(self, module: Any, name: Any) -> None:
        found = self._allowed.get((module, name)) if type(module) is str and type(name) is str else None
        if found is None:
            raise CheckpointFormatError(f"the file refers to {shown(module)}.{shown(name)}, which is not allowed")
        self._push(found)

    def _reduce(self) -> None:
        arguments = self._stack.pop()
        target = self._stack[-1]
        if type(target) is not Constructor or type(arguments) is not tuple:
            raise CheckpointFormatError(f"the pickle stream calls {_described(target)}, which is not allowed")
        self._stack[-1] = target.build(self._budget, *arguments)

    def _new_object(self) -> None:
        arguments = self._stack.pop()
        target = self._stack[-1]
        if type(target) is not OpaqueClass or type(arguments) is not tuple or arguments:
            raise CheckpointFormatError(f"the pickle stream instantiates {_described(target)}, which is not allowed")
        self._stack[-1] = target.create()

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if not isinstance(target, Inert):
            raise CheckpointFormatError(f"the pickle stream sets the state of {_described(target)}")
        target.set_state(state)

    def _persistent(self) -> None:
        if self._load_persistent is None:
            raise CheckpointFormatError("the pickle stream holds a persistent id outside of a storage")
        self._stack[-1] = self._load_persistent(self._stack[-1])

    _HANDLERS: ClassVar[dict[bytes, Callable[["PickleMachine"], object]]] = {
        pickle.PROTO: _check_protocol,
        pickle.FRAME: lambda self: self._take_length(8),
        pickle.MARK: _mark,
        pickle.POP: lambda self: self._stack.pop(),
        pickle.POP_MARK: _pop_to_mark,
        pickle.NONE: lambda self: self._push(None),
        pickle.NEWTRUE: lambda self: self._push(True),
        pickle.NEWFALSE: lambda self: self._push(False),
        pickle.BININT: lambda self: self._push(int.from_bytes(self._take(4), "little", signed=True)),
        pickle.BININT1: lambda self: self._push(self._take_unsigned(1)),
        pickle.BININT2: lambda self: self._push(self._take_unsigned(2)),
        pickle.LONG1: _push_long,
        pickle.BINFLOAT: lambda self: self._push(struct.unpack(">d", self._take(8))[0]),
        pickle.SHORT_BINUNICODE: lambda self: self._push_text(1),
        pickle.BINUNICODE: lambda self: self._push_text(4),
        pickle.BINUNICODE8: lambda self: self._push_text(8),
        # With these two Python 2 wrote its str, which is text wherever checkpoints have it.
        pickle.SHORT_BINSTRING: lambda self: self._push_text(1),
        pickle.BINSTRING: lambda self: self._push_text(4),
        pickle.SHORT_BINBYTES: lambda self: self._push_bytes(1),
        pickle.BINBYTES: lambda self: self._push_bytes(4),
        pickle.BINBYTES8: lambda self: self._push_bytes(8),
        pickle.EMPTY_TUPLE: lambda self: self._push(()),
        pickle.TUPLE: _tuple,
        pickle.TUPLE1: lambda self: self._short_tuple(1),
        pickle.TUPLE2: lambda self: self._short_tuple(2),
        pickle.TUPLE3: lambda self: self._short_tuple(3),
        pickle.EMPTY_LIST: lambda self: self._push([]),
        pickle.APPEND: lambda self: self._extend_list([self._stack.pop()]),
        pickle.APPENDS: lambda self: self._extend_list(self._pop_to_mark()),
        pickle.EMPTY_DICT: lambda self: self._push({}),
        pickle.SETITEM: _set_item,
        pickle.SETITEMS: lambda self: self._set_items(self._pop_to_mark()),
        pickle.EMPTY_SET: lambda self: self._push(set()),
        pickle.ADDITEMS: _add_items,
        pickle.FROZENSET: _frozenset,
        pickle.MEMOIZE: _memoize,
        pickle.BINPUT: lambda self: self._put(1),
        pickle.LONG_BINPUT: lambda self: self._put(4),
        pickle.BINGET: lambda self: self._get(1),
        pickle.LONG_BINGET: lambda self: self._get(4),
        pickle.GLOBAL: _global_of_lines,
        pickle.STACK_GLOBAL: _global_of_stack,
        pickle.REDUCE: _reduce,
        pickle.NEWOBJ: _new_object,
        pickle.BUILD: _build,
        pickle.BINPERSID: _persistent,
    }
