"""Batches on the device ahead of the steps, with an exact state."""

from pathlib import Path
from typing import Any

import grain
import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding

from inr_gan_jax.data.read.pipeline import make_iterator
from inr_gan_jax.data.read.prefetch import DevicePrefetch, rows_of_process
from inr_gan_jax.training.sharding import make_shardings
from tests.conftest import tiny_config
from tests.data.test_input_pipeline import assert_same, numbered


@pytest.fixture(scope="module")
def sharding() -> NamedSharding:
    return make_shardings(4, 8).batch


def host_iterator() -> Any:
    return make_iterator(numbered(13), tiny_config().data, 8, 0)


def on_device(sharding: NamedSharding) -> DevicePrefetch:
    return DevicePrefetch(host_iterator(), sharding, size=2)


def test_batches_are_those_of_the_host_spread_over_the_devices(sharding: NamedSharding) -> None:
    prefetched, host = on_device(sharding), host_iterator()
    batches = [next(prefetched) for _ in range(5)]
    assert_same(batches, [next(host) for _ in range(5)])
    assert batches[0]["image"].dtype == np.uint8
    assert batches[0]["image"].sharding.is_equivalent_to(sharding, 4)
    assert len(batches[0]["label"].sharding.device_set) == 4


def test_state_counts_the_batches_handed_out(sharding: NamedSharding) -> None:
    prefetched, host = on_device(sharding), host_iterator()
    assert prefetched.get_state() == host.get_state()
    for _ in range(3):
        next(prefetched)
        next(host)
        assert prefetched.get_state() == host.get_state()


def test_restored_state_drops_what_was_fetched_ahead(sharding: NamedSharding) -> None:
    prefetched = on_device(sharding)
    next(prefetched)
    state = prefetched.get_state()
    expected = [next(prefetched) for _ in range(4)]
    for other in (on_device(sharding), prefetched):
        other.set_state(state)
        assert other.get_state() == state
        assert_same([next(other) for _ in range(4)], expected)


def test_checkpoints_of_orbax_hold_the_state(sharding: NamedSharding, tmp_path: Path) -> None:
    saved, restored = on_device(sharding), on_device(sharding)
    for _ in range(3):
        next(saved)
    with ocp.CheckpointManager(tmp_path) as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(saved)))
        manager.wait_until_finished()
        manager.restore(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(restored)))
    assert_same([next(restored) for _ in range(2)], [next(saved) for _ in range(2)])


@pytest.mark.parametrize(
    ("parts", "rows"),
    [
        ([(4, 6), (6, 8)], [4, 5, 6, 7]),
        ([(6, 8), (0, 2)], [0, 1, 6, 7]),
        ([(2, 4), (2, 4)], [2, 3]),
        ([(None, None)], list(range(8))),
    ],
    ids=["half", "apart", "replicas", "whole"],
)
def test_rows_of_a_process_are_those_on_its_devices(parts: list[tuple[int, int]], rows: list[int]) -> None:
    class Part:
        def addressable_devices_indices_map(self, shape: tuple[int]) -> dict[int, tuple[slice]]:
            assert shape == (8,)
            return {number: (slice(*part),) for number, part in enumerate(parts)}

    sharding: Any = Part()
    assert rows_of_process(sharding, 8) == rows


def test_no_more_than_asked_for_is_fetched_ahead(sharding: NamedSharding) -> None:
    host = host_iterator()
    prefetched = DevicePrefetch(host, sharding, size=1)
    next(prefetched)
    assert host.get_state()["next_batch"] == 2
    jax.block_until_ready(next(prefetched))
    assert host.get_state()["next_batch"] == 3
