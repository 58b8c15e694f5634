"""What processes agree on, as threads over a board in memory."""

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from inr_gan_jax.distributed.processes import Processes
from inr_gan_jax.errors import UserError
from inr_gan_jax.training.run_parts import PER_HOST_FOLDERS
from tests.conftest import tiny_config


class MemoryBoard:
    """The key-value store of the coordination service, for threads of one process."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._changed = threading.Condition()

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        del allow_overwrite
        with self._changed:
            self._values[key] = value
            self._changed.notify_all()

    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str:
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._values, timeout_in_ms / 1000):
                raise RuntimeError("DEADLINE_EXCEEDED")
            return self._values[key]

    def key_value_dir_get(self, key: str) -> list[tuple[str, str]]:
        raise NotImplementedError

    def key_value_delete(self, key: str) -> None:
        raise NotImplementedError


def errors_of(count: int, work: Callable[[Processes], Any]) -> list[BaseException | None]:
    """What the work raised in each process."""
    board = MemoryBoard()
    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(work, Processes(board, index, count)) for index in range(count)]
        return [future.exception(timeout=30) for future in futures]


def test_flag_that_differs_is_named_in_all_processes_with_both_values() -> None:
    def start(group: Processes) -> None:
        config = tiny_config(training={"batch_size": 16 if group.index == 2 else 8})
        group.check_equal({"--workdir": "runs/a", **config.overrides()})

    errors = errors_of(3, start)
    assert all(isinstance(error, UserError) for error in errors)
    assert {str(error) for error in errors} == {str(errors[0])}
    for part in ("config.training.batch_size", "8 in process 0", "16 in process 2"):
        assert part in str(errors[0])


def test_workdir_that_differs_is_named() -> None:
    errors = errors_of(2, lambda group: group.check_equal({"--workdir": f"runs/{group.index}"}))
    assert all("--workdir is 'runs/0' in process 0 and 'runs/1' in process 1" in str(error) for error in errors)


def test_hosts_may_keep_their_data_and_caches_elsewhere() -> None:
    def start(group: Processes) -> None:
        folder = f"/host{group.index}"
        config = tiny_config(data={"data_dir": folder}, evaluation={"cache_dir": folder})
        config = dataclasses.replace(config, compilation_cache_dir=folder)
        group.check_equal(config.overrides(without=PER_HOST_FOLDERS))

    assert errors_of(2, start) == [None, None]


@pytest.mark.parametrize("values", [{}, {"config.seed": 3}])
def test_equal_flags_pass(values: dict[str, int]) -> None:
    assert errors_of(2, lambda group: group.check_equal(values)) == [None, None]
    Processes().check_equal(values)
