"""Checkpoints on disks that run full, on other numbers of devices, and under kill -9."""

import errno
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from inr_gan_jax.checkpoint.manager import Checkpointer, CheckpointNotWrittenError, latest_step
from inr_gan_jax.checkpoint.record import CheckpointRecord
from tests.small_checkpoints import assert_holds, files_in, make_iterator, make_state, restored_step, save

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=512k", "none", disk], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no command mount")
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, leave: int) -> Path:
    file = disk / "of-somebody-else"
    file.write_bytes(bytes(shutil.disk_usage(disk).free - leave))
    return file


def test_disk_without_space_is_not_filled(small_disk: Path) -> None:
    checkpoints = Checkpointer(small_disk / "checkpoints", 2)
    save(checkpoints, 1)
    file = fill(small_disk, leave=8192)
    with pytest.raises(
        CheckpointNotWrittenError, match=r"^checkpoint 2 .*\(it needs 0.0 MiB and 0.0 MiB are free\); the"
    ):
        save(checkpoints, 2)
    assert shutil.disk_usage(small_disk).free == 8192
    file.unlink()
    save(checkpoints, 2)
    checkpoints.close()
    assert restored_step(small_disk / "checkpoints") == 2


@pytest.mark.parametrize("share", [0, 0.1, 0.3, 0.7])
def test_disk_that_runs_full_meanwhile_costs_only_that_checkpoint(
    share: float, small_disk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    checkpoints = Checkpointer(small_disk / "checkpoints", 2)
    save(checkpoints, 1)
    older = files_in(small_disk / "checkpoints")
    file = fill(small_disk, leave=int(share * shutil.disk_usage(small_disk).used))
    monkeypatch.setattr(Checkpointer, "_check_space", lambda *_: None)
    with pytest.raises(CheckpointNotWrittenError) as raised:
        save(checkpoints, 2)
    assert "checkpoint 2 could not be written to" in str(raised.value)
    assert str(raised.value).endswith("(No space left on device); the older ones are intact: 1")
    assert files_in(small_disk / "checkpoints") == older
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["1"]
    assert capfd.readouterr().err == ""
    file.unlink()
    save(checkpoints, 2, 3)
    checkpoints.close()
    assert restored_step(small_disk / "checkpoints") == 3


def test_disk_that_becomes_read_only_costs_only_that_checkpoint(small_disk: Path) -> None:
    checkpoints = Checkpointer(small_disk / "checkpoints", 2)
    save(checkpoints, 1)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(CheckpointNotWrittenError, match="Read-only file system"):
        save(checkpoints, 2)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    save(checkpoints, 2)
    checkpoints.close()
    assert restored_step(small_disk / "checkpoints") == 2


def test_older_one_that_cannot_be_deleted_is_no_failure(tmp_path: Path, small_disk: Path) -> None:
    checkpoints = Checkpointer(tmp_path / "checkpoints", 1)
    save(checkpoints, 1)
    # Nobody can delete the place where a disk is mounted.
    busy = tmp_path / "checkpoints" / "1" / "busy"
    busy.mkdir()
    subprocess.run(["mount", "--bind", small_disk, busy], check=True)
    try:
        save(checkpoints, 2)
    finally:
        subprocess.run(["umount", "--lazy", busy], check=True)
    assert checkpoints.steps() == [1, 2]
    checkpoints.close()
    assert restored_step(tmp_path / "checkpoints") == 2


def test_tracebacks_of_orbax_stay_off_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("absl")
    monkeypatch.setattr(logger, "filters", [])
    Checkpointer(tmp_path, 1).close()
    shown = {path: logger.filter(logging.makeLogRecord({"pathname": path})) for path in ("orbax/a.py", "ours/a.py")}
    assert [path for path, is_shown in shown.items() if is_shown] == ["ours/a.py"]


def test_next_save_reports_a_failure_and_is_done_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = CheckpointRecord.write

    def write_only_the_second(record: CheckpointRecord, path: Path) -> None:
        if record.step == 1:
            raise OSError(errno.EIO, "Input/output error")
        write(record, path)

    monkeypatch.setattr(CheckpointRecord, "write", write_only_the_second)
    checkpoints = Checkpointer(tmp_path, 2)
    checkpoints.save(1, make_state(1), make_iterator())
    with pytest.raises(
        CheckpointNotWrittenError, match=r"^checkpoint 1 .*\(Input/output error\); there is no older one"
    ):
        checkpoints.save(2, make_state(2), make_iterator())
    checkpoints.wait()
    assert checkpoints.steps() == [2]
    checkpoints.close()


def test_closing_reports_a_failure(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file of that name")
    checkpoints = Checkpointer(tmp_path / "checkpoints", 2)
    with pytest.raises(CheckpointNotWrittenError, match="checkpoint 1 could not be written"):
        save(checkpoints, 1)
    checkpoints.close()


def test_folder_that_is_removed_is_made_again(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path / "checkpoints", 1)
    save(checkpoints, 1)
    shutil.rmtree(tmp_path / "checkpoints")
    save(checkpoints, 2, 3)
    assert checkpoints.steps() == [3]
    checkpoints.close()


# Other devices, and no end at all


def spread(state: dict[str, Any], num_devices: int, axis: str | None) -> dict[str, Any]:
    mesh = jax.make_mesh((num_devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:num_devices])
    kernel, whole = NamedSharding(mesh, PartitionSpec(axis)), NamedSharding(mesh, PartitionSpec())
    shardings = jax.tree.map(lambda leaf: kernel if leaf.shape == (64, 64) else whole, state)
    return jax.device_put(state, shardings)


@pytest.mark.parametrize("axis", [None, "data"])
def test_state_of_eight_devices_comes_back_on_two_and_on_one(axis: str | None, tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path, 2)
    checkpoints.save(5, spread(make_state(5), 8, axis), make_iterator())
    for num_devices in (8, 2, 1):
        target = spread(make_state(0), num_devices, axis)
        state, _ = checkpoints.restore(target, make_iterator()) or (None, 0)
        assert_holds(state, 5)
        assert jax.tree.all(jax.tree.map(lambda a, b: a.sharding == b.sharding, state, target))
    checkpoints.close()


CHILD = """
import sys, pathlib, itertools, jax, numpy
sys.path.insert(0, sys.argv[2])
from inr_gan_jax.checkpoint.manager import Checkpointer
from tests.small_checkpoints import make_iterator, make_state
checkpoints = Checkpointer(pathlib.Path(sys.argv[1]), 2)
checkpoints.save(1, make_state(1), make_iterator())
checkpoints.wait()
big = make_state(2) | {"big": jax.numpy.asarray(numpy.random.default_rng(0).standard_normal((2000, 1000)))}
for step in itertools.count(2):
    checkpoints.save(step, big, make_iterator())
"""


def stopped_while_saving(child: subprocess.Popen, directory: Path) -> Path:
    """Stops the child at a moment when it has a checkpoint and is writing another; returns the unfinished one."""
    while child.poll() is None:
        if list(directory.glob("*.orbax-checkpoint-tmp")) and latest_step(directory):
            child.send_signal(signal.SIGSTOP)
            unfinished = list(directory.glob("*.orbax-checkpoint-tmp"))
            if unfinished:
                return unfinished[0]
            child.send_signal(signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError("the child ended")


def test_run_killed_while_saving_goes_on_from_what_is_complete(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    child = subprocess.Popen([sys.executable, "-c", CHILD, directory, ROOT])
    try:
        unfinished = stopped_while_saving(child, directory)
    finally:
        child.kill()
        assert child.wait() == -signal.SIGKILL
    newest = latest_step(directory)
    assert newest is not None
    assert int(unfinished.name.split(".")[0]) == newest + 1
    checkpoints = Checkpointer(directory, 2)
    assert not unfinished.exists()
    target = make_state(0) if newest == 1 else make_state(0) | {"big": jnp.zeros((2000, 1000))}
    state, step = checkpoints.restore(target, make_iterator()) or ({}, 0)
    assert step == newest
    assert_holds({name: state[name] for name in make_state(0)}, min(newest, 2))
    save(checkpoints, newest + 1)
    assert checkpoints.steps()[-1] == newest + 1
    checkpoints.close()
