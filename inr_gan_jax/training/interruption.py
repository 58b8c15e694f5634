"""SIGTERM, which preempted machines and job schedulers send: finish the step, save, leave."""

import os
import signal
import socket
import sys
import threading
from types import TracebackType
from typing import Any

_EXIT_AT_ONCE = 143


class RunInterruptedError(Exception):
    """Raised out of long work between two steps, such as an evaluation, when the run is asked to stop."""


class StopRequest:
    """Notices SIGTERM while it is entered.

    The first one asks the run to stop at the next step; before there is anything to save it ends the program at once,
    with exit code 0. The second one always ends it at once, with exit code 143.

    A thread waits for the signals, because Python's own handlers do not run while the compiler or a device is waited
    for.

    Attributes:
        is_requested: whether a SIGTERM came.
        has_progress: whether there is something to save; set it after the first step.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self.has_progress = False
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
            self.is_requested = True
            if not self.has_progress:
                print("stopped by SIGTERM before the first step; nothing is lost", flush=True)
                sys.stdout.flush()
                os._exit(0)
        self._reader.close()
