"""--dry_run --for_devices: a job is checked for the machines that it is meant for."""

import dataclasses
import threading
import types
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from inr_gan_jax import main
from inr_gan_jax.errors import UserError
from inr_gan_jax.planning import job_check
from inr_gan_jax.planning.job_check import Machines, check_job
from tests.conftest import tiny_config
from tests.training.fake_bucket import make_fake_bucket

RUN = epath.Path("gs://bucket/runs/x")


@pytest.fixture(autouse=True)
def _sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracing takes seconds and has a test of its own."""
    monkeypatch.setattr(job_check, "_size_rows", lambda config, num_devices: {})


def test_job_that_fits_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fake_bucket(tmp_path, monkeypatch)
    text = check_job(tiny_config(), RUN, Machines(4, 2, shares_disk=False))
    for words in ("fits 4 devices of 2 processes", str(RUN), "not checked"):
        assert (words in text) == (words != "not checked"), text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_job_tells_parameters_and_memory_of_each_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    config = tiny_config(training={"batch_size": 8, "num_microbatches": 2})
    text = check_job(config, epath.Path(tmp_path / "run"), Machines(8))
    assert "parameters" in text
    assert "MiB per device" in text
    # Parts of four images leave some of eight devices without work, which is no mistake.
    assert "2 of 4 images" in text


@pytest.mark.parametrize(
    ("config", "machines", "words"),
    [
        ({}, Machines(8, 3), ["--for_devices is 8", "--for_processes=3"]),
        ({"training": {"batch_size": 8}}, Machines(16, 4), ["batch_size is 8", "multiple of the 16 devices"]),
        ({"sharding": {"spatial": 4}}, Machines(2), ["sharding.spatial is 4", "2 devices"]),
        ({"num_devices": 4}, Machines(2), ["num_devices is 4", "at most 2"]),
        ({"num_devices": 2}, Machines(4, 2), ["num_devices is 2", "expected 0 (all)"]),
        ({"data": {"name": "phots"}}, Machines(1), ["'phots' is not prepared"]),
        ({"data": {"name": "photos"}}, Machines(1, shares_disk=False), ["'photos'", "do not see", "DATA_DIR"]),
        ({"evaluation": {"metric": "fid9k_ful"}}, Machines(1), ["fid9k_ful"]),
    ],
    ids=["hosts", "batch", "spatial", "too many", "too few", "missing set", "set on this disk", "metric"],
)
def test_job_that_does_not_fit_is_refused(
    config: dict[str, Any], machines: Machines, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make_fake_bucket(tmp_path, monkeypatch)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    num_devices = config.pop("num_devices", 0)
    job = dataclasses.replace(tiny_config(**{"data": {}, **config}), num_devices=num_devices)
    with pytest.raises(UserError) as refused:
        check_job(job, RUN, machines)
    assert [word for word in words if word not in str(refused.value)] == []


def test_job_whose_run_folder_lies_on_this_disk_is_refused_where_machines_do_not_see_it(tmp_path: Path) -> None:
    folder = epath.Path(tmp_path / "run")
    assert str(folder) in check_job(tiny_config(), folder, Machines(1))
    with pytest.raises(UserError, match="do not see"):
        check_job(tiny_config(), folder, Machines(1, shares_disk=False))


def test_weights_on_a_disk_are_named_where_machines_do_not_see_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_fake_bucket(tmp_path, monkeypatch)
    config = tiny_config(evaluation={"weights_file": "weights/inception.pt"})
    told = "weights/inception.pt, needed at this path on every machine"
    assert told in check_job(config, RUN, Machines(1, shares_disk=False))
    assert told not in check_job(config, RUN, Machines(1))


def test_bucket_that_is_reached_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fake_bucket(tmp_path, monkeypatch)
    other = tmp_path / "bucket/runs/x/stray"
    other.parent.mkdir(parents=True)
    other.write_text("not a run")
    with pytest.raises(UserError, match="gs://bucket/runs/x has files"):
        check_job(tiny_config(), RUN, Machines(1))
    config = tiny_config(data={"name": "photos", "data_dir": "gs://bucket/sets"})
    with pytest.raises(UserError, match=r"'photos' is not prepared: expected gs://bucket/sets/photos"):
        check_job(config, epath.Path("gs://bucket/runs/y"), Machines(1, shares_disk=False))


def test_bucket_that_cannot_be_reached_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(job_check, "check_run_folder", fail)
    monkeypatch.setattr(job_check, "check_available", fail)
    config = tiny_config(data={"name": "photos", "data_dir": "gs://bucket/sets"})
    text = check_job(config, RUN, Machines(1, shares_disk=False))
    assert text.count("not checked: no credentials") == 2


def test_bucket_that_does_not_answer_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    monkeypatch.setattr(job_check, "check_run_folder", lambda *_: may_end.wait(30))
    text = check_job(tiny_config(), RUN, Machines(1), seconds=0.05)
    may_end.set()
    assert "not checked: the bucket did not answer within 0.05 s" in text


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("_FOR_DEVICES", 4, ["--for_devices", "--dry_run"]),
        ("_FOR_PROCESSES", 2, ["--for_processes", "--for_devices"]),
        ("_SHARED_DISK", False, ["--noshared_disk", "--for_devices"]),
    ],
)
def test_flags_of_the_check_are_refused_without_those_they_belong_to(
    name: str, value: Any, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"_DRY_RUN": False, "_FOR_DEVICES": None, "_FOR_PROCESSES": None, "_SHARED_DISK": True, name: value}
    for flag, flag_value in given.items():
        monkeypatch.setattr(main, flag, types.SimpleNamespace(value=flag_value))
    with pytest.raises(UserError) as refused:
        main.main([])
    assert [word for word in words if word not in str(refused.value)] == []
