"""Whole runs through real processes: kill and resume, --dry_run, and what a user's mistake looks like."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.checkpoint import latest_step
from inr_gan_jax.training.metric_writers import read_metrics

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    "--config.paper.z_dim=8",
    "--config.paper.mapping_dim=16",
    "--config.paper.rank=2",
    "--config.paper.features=(8,8)",
    "--config.paper.num_layers=(1,1)",
    "--config.paper.num_fourier_features=(4,4)",
    "--config.discriminator.channel_base=64",
    "--config.discriminator.channel_max=8",
    "--config.evaluation.num_samples=128",
    "--config.evaluation.batch_size=64",
    "--config.training.batch_size=8",
    "--config.training.log_kimg=0.08",
    "--config.training.sample_kimg=0.4",
    "--config.training.evaluate_kimg=0.4",
    "--config.training.checkpoint_kimg=0.4",
    "--config.compilation_cache_dir=",
]


def command(workdir: Path, *overrides: str, config: str = "configs/digits.py") -> list[str]:
    return [sys.executable, "-m", "inr_gan_jax.main", f"--config={config}", f"--workdir={workdir}", *overrides]


def environment(data_root: Path) -> dict[str, str]:
    # One device, as a user has; the tests' eight are for sharding.
    return {**os.environ, "TFDS_DATA_DIR": str(data_root), "XLA_FLAGS": ""}


def run(arguments: list[str], data_root: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=ROOT, env=environment(data_root), check=False, timeout=300
    )


def arrays_of(workdir: Path) -> dict[str, np.ndarray]:
    program = (
        "import sys, numpy, jax, orbax.checkpoint as ocp\n"
        "tree = ocp.PyTreeCheckpointer().restore(sys.argv[1])\n"
        "leaves = jax.tree_util.tree_flatten_with_path(tree)[0]\n"
        "numpy.savez(sys.argv[2], **{jax.tree_util.keystr(path): leaf for path, leaf in leaves})\n"
    )
    step = latest_step(workdir / "checkpoints")
    source, target = workdir.absolute() / "checkpoints" / str(step) / "state", workdir / "arrays.npz"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, source, target], check=True, capture_output=True)
    return dict(np.load(target))


def test_killed_run_goes_on_and_ends_bit_equal(tmp_path: Path, digits_root: Path) -> None:
    length = ["--config.training.total_kimg=6.4", "--config.optimizer.decay_kimg=6.4"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    done = run(command(undisturbed, *TINY, *length), digits_root)
    assert done.returncode == 0, done.stderr
    assert "pixel Fréchet distance" in done.stdout

    process = subprocess.Popen(
        command(killed, *TINY, *length), cwd=ROOT, env=environment(digits_root),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while (latest_step(killed / "checkpoints") or 0) < 150 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"

    again = run(command(killed, *TINY, *length), digits_root)
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stdout
    first, second = arrays_of(undisturbed), arrays_of(killed)
    assert first.keys() == second.keys()
    assert len(first) > 50
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    numbers = [
        [{k: v for k, v in line.items() if "time" not in k} for line in read_metrics(d)] for d in (undisturbed, killed)
    ]
    assert numbers[0] == numbers[1]

    evaluations = [line for line in read_metrics(undisturbed) if "metric/pixel_fd" in line]
    assert len(evaluations) == 16
    assert all(line["metric/pixel_fd_floor_halves"] > 0 for line in evaluations)

    # A damaged checkpoint is one sentence, and the run goes on from the one before it.
    damaged = tmp_path / "damaged"
    shutil.copytree(killed, damaged)
    for file in (damaged / "checkpoints" / str(latest_step(damaged / "checkpoints")) / "state").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    repaired = run(command(damaged, *TINY, *length), digits_root)
    assert repaired.returncode == 0, repaired.stderr
    assert "is damaged (state/" in repaired.stdout
    np.testing.assert_equal(arrays_of(damaged), second)

    # The finished run, asked again, only reports; asked for more, it goes on.
    other = run(command(killed, *TINY, *length, "--config.paper.rank=3"), digits_root)
    assert other.returncode == 2
    assert "config.paper.rank is 2 there and 3 here" in other.stderr
    pictures = [sys.executable, "-m", "inr_gan_jax.inference.gallery", f"--workdir={killed}"]
    assert run(pictures, digits_root).returncode == 0
    assert {"samples.png", "super_resolution.png", "zoom_out.png", "training.png"} <= {p.name for p in killed.iterdir()}


def test_dry_run_describes_and_touches_no_disk(tmp_path: Path) -> None:
    workdir, data = tmp_path / "run", tmp_path / "no-data"
    done = run(command(workdir, "--dry_run", config="configs/lsun.py"), data)
    assert done.returncode == 0, done.stderr
    for text in (
        "generator: 114,344,968 parameters",
        "discriminator: 24,001,089",
        "MiB",
        "1,562,500 of 16",
        "NOT THERE",
    ):
        assert text in done.stdout
    assert list(tmp_path.iterdir()) == []


MISTAKES = {
    "missing config": (["--config=configs/digit.py"], "configs/digit.py does not exist; nearest: digits.py"),
    "unknown key": (["--config.training.batchsize=4"], "unknown key config.training.batchsize; nearest: batch_size"),
    "wrong type": (["--config.training.batch_size=many"], "config.training.batch_size is 'many'"),
    "batch 0": (["--config.training.batch_size=0"], "batch_size is 0, expected at least 1"),
    "batch over devices": (["--config.num_devices=3"], "expected a multiple of config.num_devices = 3"),
    "resolution": (["--config.data.height=6"], "data.height is 6, expected 4, 8, 16"),
    "impossible network": (["--config.model=release"], "config.release makes no network: input_resolution is 32"),
    "missing data": (["--config.data.name=digit"], "data set 'digit' is not prepared"),
    "argument": (["stray"], "unexpected argument 'stray'"),
    "unknown flag": (["--wrkdir=x"], "Unknown command line flag 'wrkdir'"),
}


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_mistakes_end_with_one_sentence_and_write_nothing(name: str, tmp_path: Path, digits_root: Path) -> None:
    arguments, sentence = MISTAKES[name]
    workdir = tmp_path / "run"
    base = command(workdir) if not arguments[0].startswith("--config=") else command(workdir, config=arguments[0][9:])
    done = run([*base, *(a for a in arguments if not a.startswith("--config="))], digits_root)
    assert done.returncode == 2, done.stdout + done.stderr
    assert sentence in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not workdir.exists()


def test_foreign_workdirs_are_refused(tmp_path: Path, digits_root: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    for workdir, sentence in (
        (file, "is a file"),
        (folder, "holds files but no config.json"),
        (file / "x", "is a file"),
    ):
        done = run(command(workdir), digits_root)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "thesis.tex"]


def test_divergence_stops_and_keeps_only_finite_checkpoints(tmp_path: Path, digits_root: Path) -> None:
    wild = [
        "--config.optimizer.inr_lr=1e30",
        "--config.training.checkpoint_kimg=0.04",
        "--config.training.log_kimg=1.6",
    ]
    done = run(command(tmp_path / "run", *TINY, *wild, "--config.training.total_kimg=3.2"), digits_root)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "stopped being finite" in done.stderr
    assert latest_step(tmp_path / "run" / "checkpoints") is None


def test_gallery_of_no_run_is_one_sentence(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "inr_gan_jax.inference.gallery", f"--workdir={tmp_path / 'none'}"], tmp_path)
    assert done.returncode == 2
    assert "is no run folder" in done.stderr
    (tmp_path / "config.json").write_text(json.dumps({"name": 3}))
    done = run([sys.executable, "-m", "inr_gan_jax.inference.gallery", f"--workdir={tmp_path}"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
