"""Whole runs through real processes: kill and resume, --dry_run, and what a user's mistake looks like."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.checkpoint.manager import latest_step
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
    flags = "--xla_backend_optimization_level=0"
    # All starts of one program share what was compiled, small functions too.
    cache = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return {**os.environ, "TFDS_DATA_DIR": str(data_root), "XLA_FLAGS": flags, **cache}


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


# Augmentation, path lengths and accumulation carry state of their own, and checkpoints lie in the middle of ticks.
EVERYTHING = [
    *TINY,
    "--config.training.log_kimg=0.096",
    "--config.augment.kind=ada",
    "--config.augment.kimg=2",
    "--config.loss.pl_weight=2",
    "--config.loss.pl_interval=4",
    "--config.training.num_microbatches=2",
    "--config.optimizer.decay_kimg=2.4",
]


def start(workdir: Path, data_root: Path, *overrides: str) -> subprocess.Popen:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # So it is for tests in the background, and a process would take over that it is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        command(workdir, *EVERYTHING, *overrides), cwd=ROOT, env=environment(data_root),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_until(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, f"the run ended before it could be stopped: {process.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def stop_gently(process: subprocess.Popen, number: signal.Signals = signal.SIGTERM) -> str:
    """Twice at once, as GNU `timeout` does it with its child and then the whole group."""
    process.send_signal(number)
    process.send_signal(number)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == (0 if number == signal.SIGTERM else 130), output
    assert f"stopped by {'SIGTERM' if number == signal.SIGTERM else 'Ctrl-C'}" in output
    return output


def newest(workdir: Path) -> int:
    return latest_step(workdir / "checkpoints") or 0


def numbers_of(workdir: Path) -> list[dict]:
    return [{k: v for k, v in line.items() if "time" not in k} for line in read_metrics(workdir)]


@pytest.mark.slow
def test_run_that_is_stopped_killed_and_damaged_ends_bit_equal(tmp_path: Path, digits_root: Path) -> None:
    length = "--config.training.total_kimg=2.4"
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    done = run(command(undisturbed, *EVERYTHING, length), digits_root)
    assert done.returncode == 0, done.stderr
    assert "pixel_fd" in done.stdout
    assert f"finished at 2.4 kimg, in {undisturbed}" in done.stdout

    process = start(disturbed, digits_root, length)
    wait_until(lambda: newest(disturbed) >= 50, process)
    stop_gently(process, signal.SIGINT)
    stopped_at = newest(disturbed)
    assert 50 <= stopped_at < 300

    process = start(disturbed, digits_root, length)
    wait_until(lambda: newest(disturbed) > stopped_at + 50, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"

    change_a_bit(disturbed / "checkpoints" / str(newest(disturbed)))
    again = run(command(disturbed, *EVERYTHING, length), digits_root)
    assert again.returncode == 0, again.stderr
    assert "is damaged" in again.stdout
    assert "resuming from" in again.stdout
    assert_same_end(undisturbed, disturbed)
    starts = [json.loads(line) for line in (disturbed / "starts.jsonl").read_text().splitlines()]
    assert len(starts) == 3
    assert {"command", "git_commit", "jax", "devices"} < set(starts[0])

    pictures = [sys.executable, "-m", "inr_gan_jax.tools.gallery", f"--workdir={disturbed}"]
    assert run(pictures, digits_root).returncode == 0
    names = {path.name for path in disturbed.iterdir()}
    assert {"samples.png", "super_resolution.png", "zoom_out.png", "training.png"} <= names

    # Another network is refused, and so is a folder in which nothing is sound; nothing is overwritten.
    for file in (disturbed / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    before = set(disturbed.rglob("*"))
    for override, words in (("rank=3", "config.paper.rank is 2 there and 3 here"), ("rank=2", "checkpoint")):
        refused = run(command(disturbed, *EVERYTHING, length, f"--config.paper.{override}"), digits_root)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
        assert words in refused.stderr
    assert before <= set(disturbed.rglob("*"))


def assert_same_end(one: Path, two: Path) -> None:
    """Two runs have equal checkpoints, bit by bit, and equal numbers on the way."""
    first, second = arrays_of(one), arrays_of(two)
    assert first.keys() == second.keys()
    assert len(first) > 50
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    assert first["['augment']['p']"] > 0
    assert first["['pl_mean']"] > 0
    assert numbers_of(one) == numbers_of(two)
    evaluations = [line for line in read_metrics(one) if "metric/pixel_fd" in line]
    assert len(evaluations) == 6
    assert all(line["metric/pixel_fd_floor_halves"] > 0 for line in evaluations)


def change_a_bit(checkpoint: Path) -> None:
    file = max((checkpoint / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
def test_sigterm_during_an_evaluation_and_while_a_checkpoint_is_written(tmp_path: Path, digits_root: Path) -> None:
    workdir = tmp_path / "run"
    long = ["--config.evaluation.num_samples=200000", "--config.training.checkpoint_kimg=4"]
    process = start(workdir, digits_root, *long, "--config.training.total_kimg=4")
    # The sample grid comes right before the evaluation of the same step.
    wait_until((workdir / "samples" / "0000000400.png").exists, process)
    time.sleep(0.5)
    began = time.monotonic()
    stop_gently(process)
    assert time.monotonic() - began < 30
    assert newest(workdir) == 50
    assert not any("metric/pixel_fd" in line for line in read_metrics(workdir))

    process = start(workdir, digits_root, "--config.training.total_kimg=80", "--config.training.checkpoint_kimg=0.008",
                    "--config.training.sample_kimg=0", "--config.training.evaluate_kimg=0.4")  # fmt: skip
    wait_until(lambda: newest(workdir) > 53 and any("tmp" in path.name for path in listing(workdir)), process)
    output = stop_gently(process)
    # The evaluation that was interrupted came first.
    assert next(line["step"] for line in read_metrics(workdir) if "metric/pixel_fd" in line) == 50
    steps = round(float(re.findall(r"SIGTERM at ([0-9.]+) kimg", output)[0]) * 1000 / 8)
    stopped_at = newest(workdir)
    assert abs(stopped_at - steps) <= 7  # printed to 0.1 kimg
    length = f"--config.training.total_kimg={(stopped_at + 1) * 8 / 1000}"
    again = run(command(workdir, *EVERYTHING, length), digits_root)
    assert again.returncode == 0, again.stderr
    assert "damaged" not in again.stdout
    assert newest(workdir) == stopped_at + 1


def listing(workdir: Path) -> list[Path]:
    try:
        return list((workdir / "checkpoints").iterdir())
    except OSError:
        return []


# What is sent after which seconds -> exit code and last word.
SIGNALS = {
    "progress": (0, "not requested"),
    "progress TERM": (0, "requested"),
    "progress TERM TERM": (0, "requested"),
    "progress INT": (130, "requested"),
    "progress INT INT TERM": (130, "requested"),
    "progress TERM INT": (0, "requested"),
    "progress TERM 1.1 TERM": (143, ""),
    "progress INT 1.1 INT": (130, ""),
    "nothing TERM": (0, "stopped by SIGTERM before the first step; nothing is lost"),
    "nothing INT": (130, "stopped by Ctrl-C before the first step; nothing is lost"),
    "ignored INT": (0, "not requested"),
    "ignored INT TERM": (0, "requested"),
}
# All cases at once, in children of one process that has loaded everything.
SENDER = """
import os, signal, sys, time
from inr_gan_jax.distributed.interruption import StopRequest
def send(mode, *steps):
    signal.signal(signal.SIGINT, signal.SIG_IGN if mode == "ignored" else signal.default_int_handler)
    with StopRequest() as stop:
        if mode != "nothing":
            stop.note_progress()
        for step in steps:
            if step in ("INT", "TERM"):
                os.kill(os.getpid(), getattr(signal, f"SIG{step}"))
            else:
                time.sleep(float(step))
        time.sleep(0.3)
        print("requested" if stop.is_requested else "not requested", flush=True)
    os._exit(stop.exit_code)
folder, *cases = sys.argv[1:]
children = []
for number, case in enumerate(cases):
    children.append(os.fork())
    if not children[-1]:
        os.dup2(os.open(f"{folder}/{number}", os.O_WRONLY | os.O_CREAT), 1)
        send(*case.split())
print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_only_a_later_second_signal_ends_the_program_and_one_before_the_first_step_too(tmp_path: Path) -> None:
    program = [sys.executable, "-c", SENDER, str(tmp_path), *SIGNALS]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)
    codes = map(int, done.stdout.split())
    words = [(tmp_path / str(number)).read_text().strip() for number in range(len(SIGNALS))]
    assert dict(zip(SIGNALS, zip(codes, words, strict=True), strict=True)) == SIGNALS, done.stderr


@pytest.mark.slow
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
    "unknown metric": (["--config.evaluation.metric=fid50_ful"], "metric 'fid50_ful' is unknown; nearest: fid50k_full"),
    "no Inception": (
        ["--config.evaluation.metric=fid1k_full", "--config.evaluation.weights_file=/nowhere"],
        "/nowhere",
    ),
    "no VGG16": (
        [
            "--config.loss.perceptual_weight=10",
            "--config.data.height=16",
            "--config.data.width=16",
            "--config.loss.vgg16_file=/nowhere/vgg16.pth",
        ],
        "/nowhere/vgg16.pth",
    ),
    "argument": (["stray"], "unexpected argument 'stray'"),
    "unknown flag": (["--wrkdir=x"], "unknown flag --wrkdir; nearest: --workdir"),
}


@pytest.mark.slow
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


@pytest.mark.slow
def test_foreign_workdirs_are_refused(tmp_path: Path, digits_root: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    for workdir, sentence in (
        (file, "is a file"),
        (folder, "has files but no config.json"),
        (file / "x", "is a file"),
    ):
        done = run(command(workdir), digits_root)
        assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "thesis.tex"]


@pytest.mark.slow
def test_divergence_stops_and_keeps_only_finite_checkpoints(tmp_path: Path, digits_root: Path) -> None:
    wild = [
        "--config.optimizer.inr_lr=1e30",
        "--config.training.checkpoint_kimg=0.04",
        "--config.training.log_kimg=1.6",
    ]
    done = run(command(tmp_path / "run", *TINY, *wild, "--config.training.total_kimg=3.2"), digits_root)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "stopped being finite" in done.stderr
    assert "after 2 rollbacks" in done.stderr
    assert latest_step(tmp_path / "run" / "checkpoints") is None
    report = [json.loads(line) for line in (tmp_path / "run" / "guard.jsonl").read_text().splitlines()]
    assert [line["action"] for line in report] == ["roll_back", "roll_back", "stop"]


@pytest.mark.slow
def test_gallery_of_no_run_is_one_sentence(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "inr_gan_jax.tools.gallery", f"--workdir={tmp_path / 'none'}"], tmp_path)
    assert done.returncode == 2
    assert "is not a run folder" in done.stderr
    (tmp_path / "config.json").write_text(json.dumps({"name": 3}))
    done = run([sys.executable, "-m", "inr_gan_jax.tools.gallery", f"--workdir={tmp_path}"], tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
