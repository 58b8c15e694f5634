"""Checkpoints at a small size: what is kept, every kind of damage, full disks, other devices and kill -9."""

import errno
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from inr_gan_jax.checkpoint import (
    DAMAGED,
    Checkpointer,
    CheckpointNotWrittenError,
    DamagedCheckpointError,
    latest_step,
    restore_entries,
    restore_newest_entries,
    save_entries,
)
from inr_gan_jax.checkpoint_record import CheckpointRecord
from inr_gan_jax.checksum import array_checksums
from inr_gan_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def make_state(step: int) -> dict[str, Any]:
    """A state whose arrays all depend on the step; the kernel fills several pages of a file."""
    values = np.random.default_rng(step)
    return {
        "params": {"kernel": jnp.asarray(values.standard_normal((64, 64)), jnp.float32)},
        "moments": (jnp.asarray(values.standard_normal(5), jnp.bfloat16), {}),
        "mask": jnp.asarray([step % 2 == 0, True]),
        "key": jnp.asarray([0, 2**32 - 1 - step], jnp.uint32),
        "step": jnp.int32(step),
    }


def make_iterator() -> grain.DatasetIterator:
    data = grain.MapDataset.source(list(range(20))).seed(0).shuffle().repeat()
    return iter(data.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)).batch(3))


def save(checkpoints: Checkpointer, *steps: int, **metric: float) -> None:
    """Saves states with the data position that belongs to each."""
    for step in steps:
        iterator = make_iterator()
        for _ in range(step):
            next(iterator)
        checkpoints.save(step, make_state(step), iterator, **metric)
    checkpoints.wait()


def assert_holds(state: Any, step: int) -> None:
    jax.tree.map(np.testing.assert_array_equal, state, make_state(step))


def restored_step(directory: Path, **options: int) -> int:
    """Restores, checks state and position against those of the step, and returns it."""
    checkpoints, iterator = Checkpointer(directory, 3), make_iterator()
    restored = checkpoints.restore(make_state(0), iterator, **options)
    checkpoints.close()
    assert restored is not None
    assert_holds(*restored)
    expected = make_iterator()
    batches = [next(expected) for _ in range(restored[1] + 1)]
    np.testing.assert_array_equal(next(iterator), batches[-1])
    return restored[1]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the checkpoints 1, 2 and 3; to be copied, not changed."""
    run = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpointer(run / "checkpoints", 3)
    save(checkpoints, 1, 2, 3)
    checkpoints.close()
    return run


@pytest.fixture
def directory(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoints 1, 2 and 3."""
    return Path(shutil.copytree(saved / "checkpoints", tmp_path / "run" / "checkpoints"))


# What is kept


def test_newest_best_and_every_fourth_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path / "checkpoints", 2, keep_every=4, metric="fid")
    for step, value in enumerate([5.0, 1.0, 3.0, 2.0, 2.0, 4.0, 3.0, 9.0, 8.0, 7.0], start=1):
        save(checkpoints, step, metric=value)
    assert checkpoints.steps() == [2, 4, 8, 9, 10]
    assert checkpoints.best_step() == 2
    checkpoints.close()


def test_best_survives_a_restart_until_a_better_one_comes(tmp_path: Path) -> None:
    for step, value in ((1, 3.0), (2, 1.0), (3, 4.0), (4, 4.0)):
        checkpoints = Checkpointer(tmp_path, 1, metric="fid")
        save(checkpoints, step, metric=value)
        checkpoints.close()
    assert checkpoints.steps() == [2, 4]
    checkpoints = Checkpointer(tmp_path, 1, metric="fid")
    save(checkpoints, 5, metric=0.5)
    save(checkpoints, 6)
    assert checkpoints.steps() == [5, 6]
    checkpoints.close()


def test_values_of_another_metric_or_not_finite_are_never_best(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path, 3, metric="pixel_fd")
    save(checkpoints, 1, metric=0.1)
    checkpoints.close()
    checkpoints = Checkpointer(tmp_path, 3, metric="fid")
    assert checkpoints.best_step() is None
    save(checkpoints, 2, metric=float("nan"))
    save(checkpoints, 3, metric=20.0)
    assert checkpoints.best_step() == 3
    checkpoints.close()


def test_values_without_a_name_are_refused(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path, 1)
    with pytest.raises(ValueError, match=r"metric is 1\.0, expected None"):
        checkpoints.save(1, make_state(1), make_iterator(), metric=1.0)
    checkpoints.close()


def test_state_and_data_position_come_back(directory: Path) -> None:
    assert restored_step(directory) == 3


def test_going_back_takes_the_newest_step_allowed(directory: Path) -> None:
    assert restored_step(directory, at_most=2) == 2
    checkpoints = Checkpointer(directory, 3)
    assert checkpoints.restore(make_state(0), make_iterator(), at_most=0) is None
    checkpoints.close()


def test_steps_deleted_after_going_back_are_saved_anew(directory: Path) -> None:
    checkpoints = Checkpointer(directory, 3)
    checkpoints.delete_after(1)
    assert checkpoints.steps() == [1]
    checkpoints.save(2, make_state(7), make_iterator())
    state, step = checkpoints.restore(make_state(0), make_iterator()) or (None, 0)
    assert step == 2
    assert_holds(state, 7)
    checkpoints.close()


def test_folder_is_made_on_the_first_save(tmp_path: Path) -> None:
    checkpoints = Checkpointer(tmp_path / "checkpoints", 1)
    assert checkpoints.restore(make_state(0), make_iterator()) is None
    assert list(tmp_path.iterdir()) == []
    save(checkpoints, 1)
    assert latest_step(tmp_path / "checkpoints") == 1
    checkpoints.close()


# Damage


def array_file(checkpoint: Path) -> Path:
    """The file that holds the kernel."""
    return max((checkpoint / "state" / "ocdbt.process_0" / "d").iterdir(), key=lambda path: path.stat().st_size)


def change(file: Path, start: int, content: bytes) -> None:
    old = file.read_bytes()
    assert old[start : start + len(content)] not in (b"", content)
    file.write_bytes(old[:start] + content + old[start + len(content) :])


def flip(file: Path) -> None:
    middle = file.stat().st_size // 2
    change(file, middle, bytes([file.read_bytes()[middle] ^ 0x10]))


def halve(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "flipped byte of an array": (lambda path: flip(array_file(path)), "is not what was written"),
    "4 KB of zeros in an array": (lambda path: change(array_file(path), 4096, bytes(4096)), "is not what was written"),
    "truncated array": (lambda path: halve(array_file(path)), "is not what was written"),
    "deleted array": (lambda path: array_file(path).unlink(), "is missing"),
    "missing directory of arrays": (lambda path: shutil.rmtree(path / "state" / "d"), "state/d/"),
    "missing state": (lambda path: shutil.rmtree(path / "state"), "state/"),
    "flipped byte of the metadata": (lambda path: flip(path / "state" / "_METADATA"), "state/_METADATA is not"),
    "truncated manifest": (lambda path: halve(path / "state" / "manifest.ocdbt"), "state/manifest.ocdbt is not"),
    "flipped byte of the position": (lambda path: flip(path / "data" / "process_0-of-1.json"), "data/process_0-of-1"),
    "missing position": (lambda path: shutil.rmtree(path / "data"), "is missing"),
    "flipped byte of the checksums": (lambda path: flip(path / "checksums.json"), "checksums.json"),
    "emptied checksums": (lambda path: (path / "checksums.json").write_bytes(b""), "checksums.json cannot be read"),
    "deleted checksums": (lambda path: (path / "checksums.json").unlink(), "checksums.json is missing"),
    "another step": (lambda path: replace(path, path.with_name("2")), "it is that of step 2"),
    "nothing in it": (lambda path: replace(path, path / "none"), "cannot be read"),
}  # fmt: skip


def replace(path: Path, source: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(source, path) if source.exists() else path.mkdir()


@pytest.mark.parametrize("kind", DAMAGES)
def test_checkpoint_before_a_damaged_one_is_used(kind: str, directory: Path, capfd: pytest.CaptureFixture) -> None:
    damage, reason = DAMAGES[kind]
    damage(directory / "3")
    damaged = files_in(directory / "3")
    assert restored_step(directory) == 2
    said = capfd.readouterr()
    assert (said.out.count("\n"), said.err) == (1, "")
    assert said.out.startswith("checkpoint 3 is damaged (")
    assert reason in said.out
    assert said.out.endswith(f"so it was moved to {directory.parent / DAMAGED / '3'} and checkpoint 2 is used\n")
    assert files_in(directory.parent / DAMAGED / "3") == damaged


def test_times_that_orbax_keeps_matter_to_nothing(directory: Path) -> None:
    for step, content in (("1", b""), ("2", b"{}"), ("3", b'{"commit_timestamp_nsecs": 1' + 30 * b"0" + b"}")):
        (directory / step / "_CHECKPOINT_METADATA").write_bytes(content)
    assert restored_step(directory) == 3


def test_bits_that_changed_on_their_way_are_noticed(directory: Path, capfd: pytest.CaptureFixture) -> None:
    # Files that are as they were written, of an array that was not written as it was.
    state = make_state(3)
    state["params"]["kernel"] = state["params"]["kernel"].at[5, 6].multiply(1 + 2**-23)
    (directory / "3" / "checksums.json").unlink()
    CheckpointRecord(3, array_checksums(state)).write(directory / "3")
    assert restored_step(directory) == 2
    assert "array params/kernel does not have its checksum" in capfd.readouterr().out


def test_several_damaged_ones_are_moved_and_their_steps_saved_again(
    directory: Path, capfd: pytest.CaptureFixture
) -> None:
    taken = directory.parent / DAMAGED / "3"
    taken.mkdir(parents=True)
    flip(array_file(directory / "3"))
    flip(array_file(directory / "2"))
    checkpoints = Checkpointer(directory, 3)
    state, step = checkpoints.restore(make_state(0), make_iterator()) or (None, 0)
    assert step == 1
    assert_holds(state, 1)
    assert sorted(path.name for path in taken.parent.iterdir()) == ["2", "3", "3-1"]
    assert list(taken.iterdir()) == []
    assert capfd.readouterr().out.count("is damaged (state/") == 2
    save(checkpoints, 2, 3)
    checkpoints.close()
    assert restored_step(directory) == 3


def test_nothing_is_moved_when_all_are_damaged(directory: Path, capfd: pytest.CaptureFixture) -> None:
    for step in "123":
        flip(array_file(directory / step))
    before = files_in(directory.parent)
    with pytest.raises(UserError, match=r"^all checkpoints in .* are damaged: 3 \(state/.*\), 2 \(.*\), 1 \(.*\); put"):
        restored_step(directory)
    assert files_in(directory.parent) == before
    assert capfd.readouterr().out == ""


def test_checkpoint_of_an_earlier_version_is_read_with_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    iterator = make_iterator()
    next(iterator)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        items = {"state": ocp.args.StandardSave(make_state(1)), "data": grain.checkpoint.CheckpointSave(iterator)}
        manager.save(1, args=ocp.args.Composite(**items))
    capfd.readouterr()
    assert restored_step(tmp_path / "checkpoints") == 1
    assert "1 is of an earlier version: it carries no checksums" in capfd.readouterr().out


def test_checkpoint_of_another_network_is_not_called_damaged(directory: Path) -> None:
    before = files_in(directory.parent)
    checkpoints = Checkpointer(directory, 3)
    for change_state, sentence in (
        (
            {"params": {"kernel": jnp.zeros((64, 32))}},
            r"params/kernel is float32 \(64, 64\) there and float32 \(64, 32\)",
        ),
        ({"step": jnp.float32(0)}, r"step is int32 \(\) there and float32 \(\) here"),
        ({"more": jnp.zeros(1)}, r"more is missing there and float32 \(1,\) here"),
        ({"params": {}}, r"params/kernel is float32 \(64, 64\) there and missing here"),
    ):
        with pytest.raises(UserError, match=sentence):
            checkpoints.restore(make_state(0) | change_state, make_iterator())
    checkpoints.close()
    assert files_in(directory.parent) == before


# Entries, as inference reads them

ENTRIES = {"params": {"kernel": jax.ShapeDtypeStruct((64, 64), jnp.float32)}}


def test_entries_come_from_the_newest_sound_checkpoint_and_nothing_is_moved(
    directory: Path, capfd: pytest.CaptureFixture
) -> None:
    flip(array_file(directory / "3"))
    before = files_in(directory.parent)
    entries, step = restore_newest_entries(directory, ENTRIES)
    assert step == 2
    np.testing.assert_array_equal(entries["params"]["kernel"], make_state(2)["params"]["kernel"])
    assert files_in(directory.parent) == before
    assert "3 is damaged (state/" in capfd.readouterr().out


def test_entries_of_damaged_checkpoints_are_refused(directory: Path) -> None:
    for step in "123":
        halve(array_file(directory / step))
    with pytest.raises(DamagedCheckpointError, match=r"checkpoint .*2 is damaged"):
        restore_entries(directory, 2, ENTRIES)
    with pytest.raises(UserError, match=r"all checkpoints in .* are damaged"):
        restore_newest_entries(directory, ENTRIES)


def test_entries_do_not_need_the_data_position(directory: Path) -> None:
    shutil.rmtree(directory / "3" / "data")
    assert restore_newest_entries(directory, ENTRIES)[1] == 3


def test_saved_entries_carry_checksums(tmp_path: Path) -> None:
    entries = {"params": {"kernel": np.asarray(make_state(4)["params"]["kernel"])}}
    save_entries(tmp_path, 0, entries)
    np.testing.assert_array_equal(
        restore_entries(tmp_path, 0, ENTRIES)["params"]["kernel"], entries["params"]["kernel"]
    )
    flip(array_file(tmp_path / "0"))
    with pytest.raises(DamagedCheckpointError, match="is not what was written"):
        restore_entries(tmp_path, 0, ENTRIES)


# Checkpoints that cannot be written


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
from inr_gan_jax.checkpoint import Checkpointer
from tests.test_checkpoint import make_iterator, make_state
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
