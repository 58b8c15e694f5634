"""Handles SIGTERM, which preempted machines and schedulers send, and Ctrl-C: finish the step, save, exit."""

import os
import signal
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Any

from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.distributed.watch import BEAT_SECONDS, LAST_BEATS

# Exit codes of a stopped and saved run: schedulers expect 0 for a clean end, shells 130 for Ctrl-C.
_EXIT_SAVED = {signal.SIGTERM: 0, signal.SIGINT: 130}
# Exit codes of a run that is ended immediately.
_EXIT_AT_ONCE = {signal.SIGTERM: 143, signal.SIGINT: 130}
_NAMES = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Ctrl-C"}
# Signals within this time count as one: GNU `timeout` signals its child and then the group, a terminal the group while
# a script forwards its own signal.
_SECONDS_OF_ONE_REQUEST = 1.0


class RunInterruptedError(Exception):
    """Raised by long work between two steps, such as an evaluation, when the run is asked to stop."""


class StopRequest:
    """Handles SIGTERM and Ctrl-C (SIGINT) as a context manager.

    The first signal asks the run to stop at the next step; before the first step it ends the program immediately.
    A second signal, at least a second later, ends the program immediately. A process that was started with SIGINT
    ignored, such as in the background of a script, keeps ignoring it.

    Among several processes, a signal to any of them counts for all, and they agree on the step to stop before.

    A thread receives the signals, because Python's own handlers do not run while the main thread waits for the compiler
    or a device.

    Args:
        processes: of the run.

    Attributes:
        is_requested: whether any process received a signal.
    """

    def __init__(self, processes: Processes | None = None) -> None:
        self.is_requested = False
        self._has_progress = False
        # The first signal of this process, and its time.
        self._number: int | None = None
        self._came_at = 0.0
        self._processes = processes or Processes()
        self._watch = self._processes.watch
        if self._watch:
            self._watch.on_stop = self._note_request
            self._watch.on_agreement = self._end_without_progress
        self._is_installed = threading.current_thread() is threading.main_thread()

    @property
    def reason(self) -> str:
        """What asked the run to stop."""
        return "a signal to another process" if self._number is None else _NAMES[signal.Signals(self._number)]

    @property
    def exit_code(self) -> int:
        """The exit code of a run that was stopped and saved, or that was not stopped."""
        return 0 if self._number is None else _EXIT_SAVED[signal.Signals(self._number)]

    def __enter__(self) -> "StopRequest":
        if self._is_installed:
            self._reader, writer = socket.socketpair()
            self._writer = writer
            writer.setblocking(False)
            self._old_handlers: dict[int, Any] = {
                number: signal.signal(number, lambda number, frame: None)
                for number in _NAMES
                if signal.getsignal(number) != signal.SIG_IGN
            }
            self._old_descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_installed:
            signal.set_wakeup_fd(self._old_descriptor)
            for number, handler in self._old_handlers.items():
                signal.signal(number, handler)
            # This ends the thread.
            self._writer.close()

    def may_begin(self) -> bool:
        """Whether another step may begin; the same answer in all processes."""
        return self._watch.gate.may_begin() if self._watch else not self.is_requested

    def note_progress(self) -> None:
        """Notes that a step was done, so that there is something to save."""
        if not self._has_progress:
            self._has_progress = True
            if self._watch:
                self._watch.note_progress()

    def check(self) -> None:
        """Ends long work if the run is asked to stop.

        Raises:
            RunInterruptedError: if the run is asked to stop.
        """
        if self.is_requested:
            raise RunInterruptedError

    def _wait(self) -> None:
        while received := self._reader.recv(1):
            if received[0] not in self._old_handlers:
                continue
            if self._number is not None:
                if time.monotonic() - self._came_at >= _SECONDS_OF_ONE_REQUEST:
                    os._exit(_EXIT_AT_ONCE[signal.Signals(received[0])])
                continue
            self._number, self._came_at = received[0], time.monotonic()
            if self._watch:
                self._watch.ask_to_stop()
            self._note_request()
            if not self._watch:
                self._end_without_progress(self._has_progress)
        self._reader.close()

    def _note_request(self) -> None:
        self.is_requested = True

    def _end_without_progress(self, has_progress: bool) -> None:
        """Ends the program immediately if nothing would be lost: compiling the first step takes minutes."""
        if has_progress:
            if self._processes.is_primary:
                text = f"{self.reason}: saving after this step; a second signal ends the run immediately, unsaved"
                print(text, file=sys.stderr, flush=True)
            return
        if self._processes.is_primary:
            print(f"stopped by {self.reason} before the first step; nothing is lost", flush=True)
            if self._watch:
                # The others read the agreement from this process.
                time.sleep(LAST_BEATS * BEAT_SECONDS)
        sys.stdout.flush()
        os._exit(self.exit_code)
