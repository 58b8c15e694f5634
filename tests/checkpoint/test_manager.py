"""Checkpoints at a small size: what is kept, every kind of damage, and what inference reads."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.checkpoint.manager import (
    DAMAGED,
    Checkpointer,
    CheckpointNotWrittenError,
    DamagedCheckpointError,
    latest_step,
    restore_entries,
    restore_newest_entries,
    save_entries,
)
from inr_gan_jax.errors import UserError
from tests.small_checkpoints import assert_holds, files_in, make_iterator, make_state, restored_step, save


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
    "nothing in it": (lambda path: replace(path, path / "none"), "checksums.json is missing"),
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


def test_messages_name_the_folder_as_it_was_given(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(directory.parents[1])
    flip(array_file(directory / "3"))
    given = Path("run") / "checkpoints"
    assert restored_step(given) == 2
    said = capfd.readouterr().out
    assert f"moved to {given.parent / DAMAGED / '3'} and" in said
    for step in "12":
        flip(array_file(directory / step))
    with pytest.raises(UserError, match=r"^all checkpoints in run/checkpoints are damaged"):
        restored_step(given)
    checkpoints = Checkpointer(given, 3)
    shutil.rmtree(directory)
    directory.write_text("a file")
    with pytest.raises(CheckpointNotWrittenError, match=r" to run/checkpoints \("):
        save(checkpoints, 4)
    checkpoints.close()


def test_nothing_is_moved_when_all_are_damaged(directory: Path, capfd: pytest.CaptureFixture) -> None:
    for step in "123":
        flip(array_file(directory / step))
    before = files_in(directory.parent)
    with pytest.raises(UserError, match=r"^all checkpoints in .* are damaged: 3 \(state/.*\), 2 \(.*\), 1 \(.*\); put"):
        restored_step(directory)
    assert files_in(directory.parent) == before
    assert capfd.readouterr().out == ""


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
