"""A bounded priority queue of work for a few threads; what nobody waits for any more is dropped.

Requests with equal keys share one piece of work. A thread takes the most urgent piece together with others of the same
kind, as many as one call of a compiled program renders.
"""

import dataclasses
import heapq
import itertools
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Any

from inr_gan_jax.viewer.refusal import RefusalError


@dataclasses.dataclass
class Work:
    """A piece of work.

    Attributes:
        key: pieces with equal keys are the same.
        kind: pieces of equal kinds can run together.
        item: input of the work.
        future: of the result.
        num_waiting: number of requests for it.
    """

    key: Hashable
    kind: Hashable
    item: Any
    future: "Future[Any]" = dataclasses.field(default_factory=Future)
    num_waiting: int = 1


class WorkQueue:
    """The queue and its threads.

    Args:
        do: executes several pieces of one kind: items to results.
        num_threads: number of threads.
        most_waiting: maximum number of waiting pieces.
        most_together: maximum number of pieces of one kind that run together.
    """

    def __init__(
        self, do: Callable[[Sequence[Any]], Sequence[Any]], num_threads: int, most_waiting: int, most_together: int = 1
    ) -> None:
        self._do = do
        self._most_waiting, self._most_together = most_waiting, most_together
        self._heap: list[tuple[float, int, Work]] = []
        self._known: dict[Hashable, Work] = {}
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._num_waiting = 0
        self._is_open = True
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(num_threads)]
        for thread in self._threads:
            thread.start()

    @property
    def num_waiting(self) -> int:
        """Number of pieces that no thread has started."""
        return self._num_waiting

    @property
    def num_remembered(self) -> int:
        """Number of pieces in the heap, including cancelled ones."""
        return len(self._heap)

    def put(self, key: Hashable, kind: Hashable, item: Any, urgency: float) -> Work:
        """Adds a piece of work, or joins one with the same key.

        Args:
            key: pieces with equal keys are the same.
            kind: pieces of equal kinds can run together.
            item: input of the work.
            urgency: the smallest runs first.

        Raises:
            RefusalError: if the queue is full.
        """
        with self._changed:
            work = self._known.get(key)
            if work is not None:
                work.num_waiting += 1
                return work
            if not self._is_open or self._num_waiting >= self._most_waiting:
                raise RefusalError(503, f"{self._num_waiting} tiles are waiting; ask again in a moment")
            work = self._known[key] = Work(key, kind, item)
            heapq.heappush(self._heap, (urgency, next(self._order), work))
            self._num_waiting += 1
            self._changed.notify()
            return work

    def leave(self, work: Work) -> None:
        """Withdraws one request; a piece without requests is cancelled unless a thread has started it."""
        with self._changed:
            work.num_waiting -= 1
            if work.num_waiting == 0 and not work.future.done() and work.future.cancel():
                self._known.pop(work.key, None)
                self._num_waiting -= 1
                # Cancelled entries must not pile up behind more urgent ones.
                if len(self._heap) > 2 * self._num_waiting + self._most_together:
                    self._heap = [entry for entry in self._heap if not entry[2].future.cancelled()]
                    heapq.heapify(self._heap)

    def close(self) -> None:
        """Lets the threads finish their current work and stop."""
        with self._changed:
            self._is_open = False
            for _, _, work in self._heap:
                work.future.cancel()
            self._heap, self._num_waiting = [], 0
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._heap or not self._is_open)
                if not self._is_open:
                    return
                together = self._taken()
            if together:
                self._finish(together)

    def _taken(self) -> list[Work]:
        """The most urgent piece and others of its kind."""
        taken: list[Work] = []
        left = []
        while self._heap and len(taken) < self._most_together:
            entry = heapq.heappop(self._heap)
            work = entry[2]
            if work.future.cancelled():
                continue
            if taken and work.kind != taken[0].kind:
                left.append(entry)
                continue
            work.future.set_running_or_notify_cancel()
            self._num_waiting -= 1
            taken.append(work)
        for entry in left:
            heapq.heappush(self._heap, entry)
        return taken

    def _finish(self, together: list[Work]) -> None:
        results: Sequence[Any] = []
        error: BaseException | None = None
        try:
            results = self._do([work.item for work in together])
        except Exception as caught:  # passed on to whoever waits
            error = caught
        with self._changed:
            for work in together:
                self._known.pop(work.key, None)
        for index, work in enumerate(together):
            if error is None:
                work.future.set_result(results[index])
            else:
                work.future.set_exception(error)
