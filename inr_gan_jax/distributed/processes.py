"""Several processes that train one network together: how they find each other, agree, and end."""

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax

from inr_gan_jax.distributed.watch import EXIT_LOST, Board, Watch, say_last_words
from inr_gan_jax.errors import MachineError, UserError

EXIT_MISTAKE = 2

# Seconds that the others may take to come to where they meet, where nothing long is expected. Opening a data set in a
# bucket or reading a large checkpoint on one host may take minutes longer than on another.
MEETING_SECONDS = 900.0
# Seconds that a process that is finished waits for the others.
_SHUTDOWN_SECONDS = 60
_POLL_SECONDS = 10.0
# Meetings whose notes are kept; nobody is further behind, because all take part in the steps between them.
_KEPT_MEETINGS = 100
_LONGEST_REASON = 500
_SPACE = "inr_gan_jax/meetings"
# What may be raised in one process and is raised in all of them.
_SHARED_ERRORS = {kind.__name__: kind for kind in (UserError, MachineError, FloatingPointError)}

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Membership:
    """How a process finds the others; what is None is taken from the environment: TPU, Slurm, Open MPI or Kubernetes.

    Attributes:
        coordinator: host:port on which process 0 listens.
        count: how many processes there are.
        index: number of this one, from 0.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None

    def check(self) -> None:
        """Checks what was given by hand.

        Raises:
            UserError: if it cannot be.
        """
        given = (self.coordinator, self.count, self.index)
        if all(value is None for value in given):
            return
        if any(value is None for value in given):
            raise UserError("--coordinator, --num_processes and --process_id belong together, expected all or none")
        assert self.coordinator is not None, "checked above"
        assert self.count is not None, "checked above"
        assert self.index is not None, "checked above"
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise UserError(f"--coordinator is {self.coordinator!r}, expected HOST:PORT such as 10.0.0.2:8476")
        if not 0 <= self.index < self.count:
            raise UserError(f"--process_id is {self.index}, expected 0 to {self.count - 1} as --num_processes says")


class Processes:
    """All processes of a run, seen from one; on its own by default.

    Args:
        board: that all can read; None for a process on its own.
        index: number of this process.
        count: how many there are.
    """

    def __init__(self, board: Board | None = None, index: int = 0, count: int = 1) -> None:
        self.index, self.count = index, count
        self._board = board
        self._num_meetings = 0
        self.watch = Watch(board, index, count) if board is not None and count > 1 else None

    @property
    def is_primary(self) -> bool:
        """Whether this process writes what is written once."""
        return self.index == 0

    def leave(self, error: BaseException | None = None) -> None:
        """Tells the others that this process is finished, or why it ends."""
        if self.watch is None:
            return
        if error is None:
            self.watch.leave()
            return
        text = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, (UserError, MachineError)):
            self.watch.leave(text, EXIT_MISTAKE if isinstance(error, UserError) else EXIT_LOST)
        else:
            self.watch.leave(f"{type(error).__name__}: {text}"[:_LONGEST_REASON], EXIT_LOST)

    def broadcast_from_primary(self, what: str, work: Callable[[], _T], seconds: float | None = MEETING_SECONDS) -> _T:
        """Does something in process 0 alone and returns its result in all of them.

        Args:
            what: names the work in a sentence about process 0 that "did not" do it.
            work: returns what JSON can hold.
            seconds: that the others wait; None for as long as process 0 lives.

        Raises:
            UserError, MachineError, FloatingPointError: as `work` did, in all processes.
            MachineError: if process 0 does not answer.
        """
        if self.count == 1:
            return work()
        key = self._next_key()
        if self.is_primary:
            return self._tell(key, work)
        return self._hear(f"{key}/0", 0, what, seconds)

    def gather_from_all(self, what: str, work: Callable[[], _T], seconds: float | None = MEETING_SECONDS) -> list[_T]:
        """Does something in all processes and returns all results, in their order, once all are done.

        Args:
            what: names the work in a sentence about a process that "did not" do it.
            work: returns what JSON can hold.
            seconds: that a process waits for the others; None for as long as they live.

        Raises:
            UserError, MachineError, FloatingPointError: if `work` did so in any process, in all of them.
            MachineError: if a process does not come.
        """
        if self.count == 1:
            return [work()]
        key = self._next_key()
        self._tell(key, work)
        return [self._hear(f"{key}/{index}", index, what, seconds) for index in range(self.count)]

    def check_equal(self, values: Mapping[str, Any]) -> None:
        """Checks that all processes were started with the same values.

        Args:
            values: name -> value of this process, as JSON can hold it.

        Raises:
            UserError: in all processes, if one differs; it names the first name whose values differ.
        """
        first, *others = self.gather_from_all("say what it was started with", lambda: dict(values))
        for index, other in enumerate(others, 1):
            for name in sorted({*first, *other}):
                ours, theirs = (each.get(name, "not there") for each in (first, other))
                if ours != theirs:
                    raise UserError(
                        f"{name} is {ours!r} in process 0 and {theirs!r} in process {index} of {self.count}; give all "
                        "processes the same flags"
                    )

    def _next_key(self) -> str:
        assert self._board is not None, "several processes have a board"
        self._num_meetings += 1
        if self._num_meetings > _KEPT_MEETINGS:
            with contextlib.suppress(RuntimeError):  # it may never have been written
                self._board.key_value_delete(f"{_SPACE}/{self._num_meetings - _KEPT_MEETINGS}/{self.index}")
        return f"{_SPACE}/{self._num_meetings}"

    def _tell(self, key: str, work: Callable[[], _T]) -> _T:
        """Does the work and writes down what came of it."""
        assert self._board is not None, "several processes have a board"
        try:
            value = work()
        except tuple(_SHARED_ERRORS.values()) as error:
            kind = next(name for name, shared in _SHARED_ERRORS.items() if isinstance(error, shared))
            self._board.key_value_set(f"{key}/{self.index}", json.dumps({"error": kind, "text": str(error)}))
            raise
        self._board.key_value_set(f"{key}/{self.index}", json.dumps({"value": value}))
        return value

    def _hear(self, key: str, index: int, what: str, seconds: float | None) -> Any:
        """Waits for what another process wrote down."""
        assert self._board is not None, "several processes have a board"
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline - time.monotonic())
            try:
                outcome = json.loads(self._board.blocking_key_value_get(key, max(1, round(left * 1000))))
                break
            except RuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise MachineError(f"process {index} of {self.count} cannot be asked: {error}") from error
            if deadline is not None and time.monotonic() >= deadline:
                raise MachineError(f"process {index} of {self.count} did not {what} within {seconds:.0f} s")
        if "error" in outcome:
            raise _SHARED_ERRORS[outcome["error"]](outcome["text"])
        return outcome["value"]


@contextlib.contextmanager
def joined(membership: Membership | None, join_seconds: int = 300) -> Iterator[Processes]:
    """Joins the processes of a run; call it before JAX looks for devices.

    An error that leaves the block ends the program, after the others have been told: JAX itself would wait for them.

    Args:
        membership: how to find the others; None for a process on its own.
        join_seconds: until all must have come. Hosts that are created together may start minutes apart.

    Raises:
        UserError: if the environment tells of no other processes.
    """
    if membership is None:
        yield Processes()
        return
    membership.check()
    began = time.monotonic()
    state = ["has not heard of all others", membership.coordinator]

    def last_words() -> str:
        me = "this process" if membership.index is None else f"process {membership.index} of {membership.count}"
        if state[0] == "joined":
            return _why_aborted(processes, str(state[1]))
        where = f" at {state[1]}" if state[1] else ""
        return (
            f"{me} did not find all others within {time.monotonic() - began:.0f} s: the coordinator, process 0{where}, "
            "cannot be reached, or another process did not start"
        )

    say_last_words(last_words)
    # Its own handler of SIGTERM would take the place of ours.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            membership.coordinator,
            membership.count,
            membership.index,
            initialization_timeout=join_seconds,
            shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
        )
    except ValueError as error:
        raise UserError(
            "--multiprocess finds neither a TPU slice nor Slurm, Open MPI or Kubernetes in the environment; give "
            f"--coordinator=HOST:PORT, --num_processes and --process_id ({error})"
        ) from error
    # No other way is open to the board of the coordination service.
    from jax._src.distributed import global_state

    assert global_state.client is not None
    processes = Processes(global_state.client, global_state.process_id, global_state.num_processes)
    state[:] = ["joined", global_state.coordinator_address]
    if processes.watch:
        processes.watch.start()
    try:
        yield processes
    except BaseException as error:
        if processes.watch and isinstance(error, jax.errors.JaxRuntimeError):
            # The devices of a lost process are missed before the process itself.
            processes.watch.wait_for_a_loss()
        processes.leave(error)
        raise
    processes.leave()


def _why_aborted(processes: Processes, coordinator: str) -> str:
    me = f"process {processes.index} of {processes.count}"
    host, _, port = coordinator.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return f"process 0 of {processes.count}, which coordinates at {coordinator}, is gone, so {me} ends"
    if processes.watch:
        # Collectives on a CPU may abort when their peer is gone.
        processes.watch.wait_for_a_loss()
    return f"{me} was aborted by its runtime, whose message stands above"
