"""Two real processes save one state together, are both killed, and a single process takes it up."""

import json
import re
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from inr_gan_jax.checkpoint.manager import Checkpointer, latest_step
from tests.training.multiprocess.adding import add, fresh, make_data
from tests.training.multiprocess.groups import finish, meet, wait_until

pytestmark = pytest.mark.slow

# Each step adds the labels of its batch to all rows, so that the state tells which images were shown, and how often.
PROGRAM = """
import jax
from inr_gan_jax.checkpoint.manager import Checkpointer
from inr_gan_jax.data.read.prefetch import DevicePrefetch, rows_of_process
from tests.training.multiprocess.adding import add, fresh, make_data, shardings
rows, whole = shardings()
iterator = DevicePrefetch(make_data(rows_of_process(rows, 8)), rows)
checkpoints = Checkpointer(FOLDER, 2, processes=group)
state, step = checkpoints.restore(fresh(), iterator) or (fresh(), 0)
print("from", step, flush=True)
for step in range(step + 1, LAST + 1):
    state = jax.block_until_ready(jax.jit(add)(state, next(iterator)["label"]))
    checkpoints.save(step, state, iterator)
checkpoints.close()
"""


def expected(step: int) -> dict[str, np.ndarray]:
    iterator = make_data()
    labels = np.sum([next(iterator)["label"] for _ in range(step)], axis=0)
    return {"total": labels.sum(), "spread": np.repeat(labels, 8)}


def program(folder: Path, last: int) -> str:
    return PROGRAM.replace("FOLDER", repr(str(folder))).replace("LAST", str(last))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of two processes that were killed at once, while they were writing."""
    folder = tmp_path_factory.mktemp("killed") / "checkpoints"
    processes = meet(program(folder, 10**6))
    wait_until(lambda: (latest_step(folder) or 0) >= 4, processes)
    for process in processes:
        process.send_signal(signal.SIGKILL)
    for process in processes:
        process.communicate()
    return folder


def test_what_two_killed_processes_saved_goes_on_in_one(folder: Path) -> None:
    iterator = make_data()
    checkpoints = Checkpointer(folder, 2)
    restored = checkpoints.restore(fresh(), iterator)
    checkpoints.close()
    assert restored is not None
    state, step = restored
    assert step >= 4
    jax.tree.map(np.testing.assert_array_equal, state, expected(step))
    state = add(state, next(iterator)["label"])
    jax.tree.map(np.testing.assert_array_equal, state, expected(step + 1))


def test_two_processes_agree_to_take_an_older_one_when_the_newest_is_damaged(folder: Path) -> None:
    steps = Checkpointer(folder, 2).steps()
    # Damage that only the process that checks the files can see: the library reads on over it.
    file = folder / str(steps[-1]) / "state" / "_METADATA"
    file.write_bytes(file.read_bytes() + b" ")
    ended = [finish(process) for process in meet(program(folder, steps[-1] + 1))]
    assert [end.code for end in ended] == [0, 0], ended
    assert [f"from {steps[-2]}" in end.out for end in ended] == [True, True]
    assert [re.findall("checkpoint .* is damaged", end.out) != [] for end in ended] == [True, False]
    position: dict[str, Any] = json.loads((folder / str(steps[-1] + 1) / "data" / "process_0-of-1.json").read_text())
    assert position["next_batch"] == steps[-1] + 1
