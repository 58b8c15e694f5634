"""Several processes that train one network together: how they join, communicate and exit."""

import contextlib
import dataclasses
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import jax

from inr_gan_jax.distributed.watch import EXIT_LOST, Board, Watch, on_abort
from inr_gan_jax.errors import MachineError, UserError

EXIT_MISTAKE = 2

# Longest wait for other processes where no long work is expected. Opening a data set in a bucket or reading a large
# checkpoint may take minutes longer on one host than on another.
MEETING_SECONDS = 900.0
# Longest wait of a finished process for the others.
_SHUTDOWN_SECONDS = 60
_POLL_SECONDS = 10.0
# Meetings whose messages are kept; no process is further behind, because all take part in the steps in between.
_KEPT_MEETINGS = 100
_LONGEST_REASON = 500
_SPACE = "inr_gan_jax/meetings"
# Errors of one process that are raised in all of them.
_SHARED_ERRORS = {kind.__name__: kind for kind in (UserError, MachineError, FloatingPointError)}

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Membership:
    """How a process finds the others; None is read from the environment: TPU, Slurm, Open MPI or Kubernetes.

    Attributes:
        coordinator: host:port on which process 0 listens.
        count: how many processes there are.
        index: of this process, from 0.
    """

    coordinator: str | None = None
    count: int | None = None
    index: int | None = None

    def check(self) -> None:
        """Checks the given values.

        Raises:
            UserError: if they are inconsistent.
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
    """The processes of a run, as seen from one of them; by default a single process.

    Args:
        board: key-value store of all processes; None for a single process.
        index: of this process.
        count: how many there are.
    """

    def __init__(self, board: Board | None = None, index: int = 0, count: int = 1) -> None:
        self.index, self.count = index, count
        self._board = board
        self._num_meetings = 0
        self.watch = Watch(board, index, count) if board is not None and count > 1 else None

    @property
    def is_primary(self) -> bool:
        """Whether this is process 0, which writes the files of which a run has one."""
        return self.index == 0

    def leave(self, error: BaseException | None = None) -> None:
        """Tells the others that this process is finished, or why it exits."""
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
        """Calls a function in the primary process only and returns its result in all processes.

        Args:
            what: describes the work in the error "process 0 did not <what>".
            work: returns a value that JSON can hold.
            seconds: longest wait of the others; None waits as long as process 0 lives.

        Raises:
            UserError, MachineError, FloatingPointError: as raised by `work`, in all processes.
            MachineError: if process 0 does not answer.
        """
        if self.count == 1:
            return work()
        key = self._next_key()
        if self.is_primary:
            return self._tell(key, work)
        return self._hear(f"{key}/0", 0, what, seconds)

    def gather_from_all(self, what: str, work: Callable[[], _T], seconds: float | None = MEETING_SECONDS) -> list[_T]:
        """Calls a function in all processes and returns the results of all, in order of index.

        Args:
            what: describes the work in the error "process 1 did not <what>".
            work: returns a value that JSON can hold.
            seconds: longest wait for the others; None waits as long as they live.

        Raises:
            UserError, MachineError, FloatingPointError: as raised by `work` in any process, in all processes.
            MachineError: if a process does not answer.
        """
        if self.count == 1:
            return [work()]
        key = self._next_key()
        self._tell(key, work)
        return [self._hear(f"{key}/{index}", index, what, seconds) for index in range(self.count)]

    def check_equal(self, values: Mapping[str, Any]) -> None:
        """Checks that all processes were started with the same values.

        Args:
            values: of this process by name; JSON can hold them.

        Raises:
            UserError: in all processes, if one differs; it names the first difference.
        """
        first, *others = self.gather_from_all("report its flags", lambda: dict(values))
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
            with contextlib.suppress(RuntimeError):  # it may not exist
                self._board.key_value_delete(f"{_SPACE}/{self._num_meetings - _KEPT_MEETINGS}/{self.index}")
        return f"{_SPACE}/{self._num_meetings}"

    def _tell(self, key: str, work: Callable[[], _T]) -> _T:
        """Calls a function and publishes its result or error."""
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
        """Waits for the result or error of another process."""
        assert self._board is not None, "several processes have a board"
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = _POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline - time.monotonic())
            try:
                outcome = json.loads(self._board.blocking_key_value_get(key, max(1, round(left * 1000))))
                break
            except RuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise MachineError(f"process {index} of {self.count} cannot be reached: {error}") from error
            if deadline is not None and time.monotonic() >= deadline:
                raise MachineError(f"process {index} of {self.count} did not {what} within {seconds:.0f} s")
        if "error" in outcome:
            raise _SHARED_ERRORS[outcome["error"]](outcome["text"])
        return outcome["value"]


@contextlib.contextmanager
def joined(membership: Membership | None, join_seconds: int = 300) -> Iterator[Processes]:
    """Joins the processes of a run, before JAX initialises its devices.

    An error in the block is reported to the others and then ends the program: JAX itself would wait for them.

    Args:
        membership: how to find the others; None for a single process.
        join_seconds: longest wait for all to join. Hosts that are created together may start minutes apart.

    Raises:
        UserError: if the environment does not describe the processes.
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

    on_abort(last_words)
    # Its handler of SIGTERM would replace ours.
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
    # There is no public access to the key-value store of the coordination service.
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
            # A lost process is noticed by its devices first.
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
        # Collectives on CPUs may abort when a peer is gone.
        processes.watch.wait_for_a_loss()
    return f"{me} was aborted by its runtime, see the message above"
