"""Waiting work is bounded, shared, ordered, given up when nobody wants it, and taken together."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from inr_gan_jax.viewer.refusal import RefusalError
from inr_gan_jax.viewer.work_queue import WorkQueue


class Doing:
    """Work that a test lets go on; notes what was done together."""

    def __init__(self) -> None:
        self.done: list[list[Any]] = []
        self.started, self.may_go_on = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        self.started.release()
        assert self.may_go_on.acquire(timeout=10)
        self.done.append(list(items))
        if "broken" in items:
            raise ValueError("broken")
        return [f"{item} done" for item in items]

    def go_on(self, times: int = 1) -> None:
        self.may_go_on.release(times)


@pytest.fixture
def doing() -> Doing:
    return Doing()


@pytest.fixture
def queue(doing: Doing) -> Iterator[WorkQueue]:
    """One thread that does something else already, and room for three."""
    queue = WorkQueue(doing, num_threads=1, most_waiting=3, most_together=2)
    queue.put("first", "other", "first", 0)
    assert doing.started.acquire(timeout=10)
    yield queue
    doing.go_on(100)
    queue.close()


def test_result_arrives(queue: WorkQueue, doing: Doing) -> None:
    work = queue.put("a", "kind", "a", 0)
    doing.go_on(2)
    assert work.future.result(10) == "a done"


def test_equal_work_is_done_once(queue: WorkQueue, doing: Doing) -> None:
    first, second = queue.put("a", "kind", "a", 0), queue.put("a", "kind", "a", 0)
    doing.go_on(2)
    assert first.future.result(10) == second.future.result(10)
    assert doing.done == [["first"], ["a"]]


def test_most_urgent_is_first(queue: WorkQueue, doing: Doing) -> None:
    works = [queue.put(name, name, name, urgency) for name, urgency in (("b", 2), ("a", 1))]
    doing.go_on(3)
    for work in works:
        work.future.result(10)
    assert doing.done == [["first"], ["a"], ["b"]]


def test_work_of_one_kind_is_taken_together_up_to_the_bound(queue: WorkQueue, doing: Doing) -> None:
    works = [queue.put(name, name[0], name, place) for place, name in enumerate(["a1", "b1", "a2"])]
    doing.go_on(4)
    for work in works:
        work.future.result(10)
    assert doing.done == [["first"], ["a1", "a2"], ["b1"]]


def test_unwanted_work_is_never_done(queue: WorkQueue, doing: Doing) -> None:
    queue.leave(queue.put("a", "kind", "a", 0))
    last = queue.put("b", "kind", "b", 1)
    doing.go_on(3)
    last.future.result(10)
    assert doing.done == [["first"], ["b"]]


def test_work_that_another_wants_goes_on(queue: WorkQueue, doing: Doing) -> None:
    work = queue.put("a", "kind", "a", 0)
    queue.put("a", "kind", "a", 0)
    queue.leave(work)
    doing.go_on(2)
    assert work.future.result(10) == "a done"


def test_too_much_is_refused_until_some_is_given_up(queue: WorkQueue) -> None:
    works = [queue.put(index, index, index, 0) for index in range(3)]
    with pytest.raises(RefusalError, match="3 tiles are waiting") as caught:
        queue.put("more", "kind", "more", 0)
    assert caught.value.status == 503
    queue.leave(works[0])
    queue.put("more", "kind", "more", 0)


def test_given_up_work_does_not_pile_up(queue: WorkQueue) -> None:
    for index in range(1000):
        queue.leave(queue.put(index, "kind", index, -index))
    assert queue.num_waiting == 0
    assert queue.num_remembered < 10


def test_errors_reach_those_who_wait_and_the_thread_goes_on(queue: WorkQueue, doing: Doing) -> None:
    broken = queue.put("a", "a", "broken", 0)
    doing.go_on(2)
    with pytest.raises(ValueError, match="broken"):
        broken.future.result(10)
    doing.go_on(1)
    assert queue.put("b", "b", "b", 0).future.result(10) == "b done"


def test_closed_queue_refuses_and_cancels() -> None:
    doing = Doing()
    queue = WorkQueue(doing, num_threads=1, most_waiting=3)
    queue.put("first", "other", "first", 0)
    assert doing.started.acquire(timeout=10)
    waiting = queue.put("a", "kind", "a", 0)
    doing.go_on(10)
    queue.close()
    assert waiting.future.done()
    with pytest.raises(RefusalError):
        queue.put("b", "kind", "b", 0)
