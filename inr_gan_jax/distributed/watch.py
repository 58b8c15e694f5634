"""Heartbeats between processes: a lost process is named and ends the others, and all agree on the step to stop at.

Every second each process writes a notice to the key-value store of JAX's coordination service, and reads those of the
others. No device is involved. JAX watches its processes too, but waits longer, names none and then aborts the program;
see `on_abort`.
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

# Exit code of a process that lost another one, or its storage; launchers start the run again.
EXIT_LOST = 3
BEAT_SECONDS = 1.0
# Missed beats after which a process counts as lost. Half a minute of swapping or of a blocked network is tolerated, and
# the exit of all within a minute still possible.
LOST_BEATS = 30
# Beats that process 0, which serves the store, waits before it exits, so that all can read why.
LAST_BEATS = 3
# Missed beats after which a process is suspected to be lost.
_DOUBTFUL_BEATS = 4

_SPACE = "inr_gan_jax/alive"


class Board(Protocol):
    """The used part of the client of JAX's coordination service."""

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None: ...
    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]: ...
    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...
    def key_value_delete(self, key: str) -> None: ...


@dataclasses.dataclass(frozen=True)
class Notice:
    """What a process tells the others.

    Attributes:
        beat: increases while the process lives.
        turn: the turn it does not begin before all agree on where to stop; None if no process wants to stop.
        has_progress: whether it has done anything worth a checkpoint.
        left: why it exits, in one sentence; empty if it is finished; None while it runs.
        code: exit code of this process and of the others.
    """

    beat: int = 0
    turn: int | None = None
    has_progress: bool = False
    left: str | None = None
    code: int = 0


class TurnGate:
    """Lets the main thread begin turn after turn, until all processes agree on the turn to stop before.

    A turn is a training step; turns are counted separately, because a run may be rolled back to an earlier step.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next, self._proposed, self._last = 0, None, None

    def may_begin(self) -> bool:
        """Whether another turn may begin; waits while the processes agree."""
        with self._changed:
            while self._last is None and self._proposed is not None and self._next >= self._proposed:
                self._changed.wait()
            if self._last is not None and self._next >= self._last:
                return False
            self._next += 1
            return True

    def propose(self) -> int:
        """The first turn that has not begun; it does not begin before `agree` is called."""
        with self._changed:
            if self._proposed is None:
                self._proposed = self._next
            return self._proposed

    def agree(self, turn: int) -> None:
        """Sets the first turn that no process begins."""
        with self._changed:
            self._last = turn
            self._changed.notify_all()


class Watch:
    """A thread that exchanges notices and a second one that watches the first.

    Args:
        board: key-value store of all processes.
        index: of this process.
        count: how many there are.

    Attributes:
        gate: of the training steps.
        on_stop: called once, in the thread, when any process wants to stop.
        on_agreement: called once, in the thread, when all agree, with whether any has progress worth a checkpoint.
    """

    def __init__(self, board: Board, index: int, count: int) -> None:
        self._board, self._index, self._count = board, index, count
        self._own = Notice()
        self._own_changes = threading.Lock()
        self._others: dict[int, Notice] = {}
        self._silent_beats = dict.fromkeys(range(count), 0)
        self._wake, self._ended = threading.Event(), threading.Event()
        self._is_stopping = self._is_agreed = False
        self.gate = TurnGate()
        self.on_stop: Callable[[], None] = lambda: None
        self.on_agreement: Callable[[bool], None] = lambda has_progress: None

    def start(self) -> None:
        """Starts both threads; they end with the program."""
        for work in (self._exchange, self._watch_exchange):
            threading.Thread(target=work, daemon=True).start()

    def ask_to_stop(self) -> None:
        """Makes all processes stop before the same turn."""
        self._is_stopping = True
        self._wake.set()

    def note_progress(self) -> None:
        """Tells the others that there is something worth a checkpoint."""
        self._change(has_progress=True)

    def leave(self, reason: str = "", code: int = 0) -> None:
        """Tells the others that this process exits, and waits until they have had time to read it.

        Args:
            reason: one sentence, which ends the others too; empty if this process is finished.
            code: exit code of this process.
        """
        self._change(left=reason, code=code)
        with contextlib.suppress(RuntimeError):  # the others notice
            self._tell()
        if self._index == 0 and reason:
            time.sleep(LAST_BEATS * BEAT_SECONDS)
        self._ended.set()
        self._wake.set()

    def wait_for_a_loss(self) -> None:
        """Waits, so that the threads can end the program with the name of a lost process, the likely cause of an error.

        Returns soon if all others live.
        """
        for beat in range(LOST_BEATS + _DOUBTFUL_BEATS):
            time.sleep(BEAT_SECONDS)
            silent = [beats for index, beats in self._silent_beats.items() if index != self._index]
            if beat > _DOUBTFUL_BEATS and max(silent) < _DOUBTFUL_BEATS:
                return

    def _change(self, **fields: Any) -> None:
        with self._own_changes:
            self._own = dataclasses.replace(self._own, **fields)

    def _exchange(self) -> None:
        while not self._ended.is_set():
            self._change(beat=self._own.beat + 1)
            try:
                self._tell()
                self._look_at(self._read())
            except RuntimeError as error:  # what the runtime raises when process 0 is gone, or this one goes
                self._end(f"process 0 of {self._count}, which coordinates, cannot be reached ({_first_line(error)})")
                return
            self._silent_beats[self._index] = 0
            self._wake.wait(BEAT_SECONDS)
            self._wake.clear()

    def _watch_exchange(self) -> None:
        """Notices when the store itself does not answer."""
        while not self._ended.wait(BEAT_SECONDS):
            self._silent_beats[self._index] += 1
            if self._silent_beats[self._index] > LOST_BEATS:
                self._end(f"process 0 of {self._count}, which coordinates, has not answered for {LOST_BEATS} s")

    def _tell(self) -> None:
        # Under the lock, because an older notice of the other thread could replace the last one.
        with self._own_changes:
            text = json.dumps(dataclasses.asdict(self._own))
            self._board.key_value_set(f"{_SPACE}/{self._index}", text, allow_overwrite=True)

    def _read(self) -> dict[int, Notice]:
        entries = self._board.key_value_dir_get(_SPACE)
        return {int(key.rsplit("/", 1)[1]): Notice(**json.loads(text)) for key, text in entries}

    def _look_at(self, notices: dict[int, Notice]) -> None:
        for index, notice in notices.items():
            if index == self._index:
                continue
            if notice.left:
                self._end(f"process {index} of {self._count} ended: {notice.left}", notice.code)
            is_silent = notice.left is None and notice == self._others.get(index)
            self._silent_beats[index] = self._silent_beats[index] + 1 if is_silent else 0
            if self._silent_beats[index] > LOST_BEATS:
                self._end(f"process {index} of {self._count} has given no sign of life for {LOST_BEATS} s")
        self._others = {index: notice for index, notice in notices.items() if index != self._index}
        self._stop_where_asked(notices)

    def _stop_where_asked(self, notices: dict[int, Notice]) -> None:
        if not self._is_stopping and all(notice.turn is None for notice in notices.values()):
            return
        if self._own.turn is None:
            self._is_stopping = True
            self.on_stop()
            self._change(turn=self.gate.propose())
            self._wake.set()
            return
        turns = [notice.turn for notice in notices.values() if notice.turn is not None]
        if len(turns) == self._count and not self._is_agreed:
            self._is_agreed = True
            self.gate.agree(max(turns))
            self.on_agreement(any(notice.has_progress for notice in notices.values()))

    def _end(self, sentence: str, code: int = EXIT_LOST) -> None:
        """Ends the program, unless this process is already exiting."""
        if self._own.left is None:
            _end(sentence, code)


_words = threading.Lock()
_kept: list[Any] = []


def on_abort(sentence: Callable[[], str]) -> None:
    """Makes the program print a sentence and exit with `EXIT_LOST` when the runtime aborts it.

    The coordination service of JAX aborts a process that cannot be reached, or that cannot reach process 0, from a
    thread of its own: no exception is raised, no handler of Python's `signal` is called, and the callback of its client
    does not work (jaxlib 0.10.2 and 0.12.0.1: `std::bad_cast`). A C handler of SIGABRT does.

    Args:
        sentence: returns the sentence.
    """

    def handle(number: int) -> None:
        del number
        _end(sentence())

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)
    # Kept alive as long as the program runs.
    _kept.append(handler)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)


def _end(sentence: str, code: int = EXIT_LOST) -> None:
    """Ends the program immediately, even if its main thread is blocked."""
    # Never released: the first sentence is the cause of the others.
    _words.acquire()
    sys.stdout.flush()
    # One write, so that the lines of several processes are not mixed.
    hint = "; the same command resumes from the newest checkpoint" if code == EXIT_LOST else ""
    os.write(2, f"error: {sentence}{hint}\n".encode())
    os._exit(code)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
