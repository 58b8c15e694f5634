"""SIGTERM, which preempted machines and job schedulers send: finish the step, save, leave."""

import os
import signal
import socket
import sys
import threading
import time
from types import TracebackType
from typing import Any

from inr_gan_jax.process_watch import BEAT_SECONDS, LAST_BEATS
from inr_gan_jax.processes import Processes

_EXIT_AT_ONCE = 143


class RunInterruptedError(Exception):
    """Raised out of long work between two steps, such as an evaluation, when the run is asked to stop."""


class StopRequest:
    """Notices SIGTERM while it is entered.

    The first one asks the run to stop at the next step; before there is anything to save it ends the program at once,
    with exit code 0. The second one always ends it at once, with exit code 143.

    Among several processes, one that any of them got counts for all, and they agree on the step that they stop before.

    A thread waits for the signals, because Python's own handlers do not run while the compiler or a device is waited
    for.

    Args:
        processes: of the run.

    Attributes:
        is_requested: whether a SIGTERM came, to any process.
    """

    def __init__(self, processes: Processes | None = None) -> None:
        self.is_requested = False
        self._has_progress = False
        self._processes = processes or Processes()
        self._watch = self._processes.watch
        if self._watch:
            self._watch.on_stop = self._note_request
            self._watch.on_agreement = self._end_without_progress
        self._is_installed = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> "StopRequest":
        if self._is_installed:
            self._reader, writer = socket.socketpair()
            self._writer = writer
            writer.setblocking(False)
            self._old_handler: Any = signal.signal(signal.SIGTERM, lambda number, frame: None)
            self._old_descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_installed:
            signal.set_wakeup_fd(self._old_descriptor)
            signal.signal(signal.SIGTERM, self._old_handler)
            # Ends the thread.
            self._writer.close()

    def may_begin(self) -> bool:
        """Whether another step may begin; the same in all processes, whenever they ask."""
        return self._watch.gate.may_begin() if self._watch else not self.is_requested

    def note_progress(self) -> None:
        """Says that a step has been done: there is something to save."""
        if not self._has_progress:
            self._has_progress = True
            if self._watch:
                self._watch.note_progress()

    def check(self) -> None:
        """Stops long work.

        Raises:
            RunInterruptedError: if the run is asked to stop.
        """
        if self.is_requested:
            raise RunInterruptedError

    def _wait(self) -> None:
        while received := self._reader.recv(1):
            if received[0] != signal.SIGTERM:
                continue
            if self.is_requested:
                os._exit(_EXIT_AT_ONCE)
            if self._watch:
                self._watch.ask_to_stop()
            self._note_request()
            if not self._watch:
                self._end_without_progress(self._has_progress)
        self._reader.close()

    def _note_request(self) -> None:
        self.is_requested = True

    def _end_without_progress(self, has_progress: bool) -> None:
        """Ends the program at once where nothing would be lost: the first step is compiled for minutes."""
        if has_progress:
            return
        if self._processes.is_first:
            print("stopped by SIGTERM before the first step; nothing is lost", flush=True)
            if self._watch:
                # The others read here that all agree.
                time.sleep(LAST_BEATS * BEAT_SECONDS)
        sys.stdout.flush()
        os._exit(0)
