"""Sweeps: which runs there are, what is skipped, what fails, and the arithmetic of means and times."""

import dataclasses
import importlib
import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks import digit_classes, sweep_report, sweep_runs
from benchmarks.sweep_plot import write_plot, write_sheet
from benchmarks.sweep_runs import Run, runs_of, train_all
from benchmarks.sweeps import SWEEPS, Row, Sweep
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.errors import UserError
from inr_gan_jax.training.metric_writers import read_metrics
from inr_gan_jax.training.run_folder import STARTS_FILE

TINY = {
    "paper.z_dim": 8, "paper.mapping_dim": 16, "paper.rank": 2, "paper.features": "(8,8)", "paper.num_layers": "(1,1)",
    "paper.num_fourier_features": "(4,4)", "discriminator.channel_base": 64, "discriminator.channel_max": 8,
    "evaluation.num_samples": 64, "evaluation.batch_size": 32,
}  # fmt: skip

# ml_collections loads configuration files so.
LOADS_CONFIGURATIONS = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def written_run(folder: Path, kimg: float, batch: int = 8, every: float = 0.5) -> Path:
    """A run folder as a run of so many images would have left it, its metric falling as 1 / kimg."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"training": {"batch_size": batch}}))
    lines = []
    for count in range(1, round(kimg / every) + 1):
        shown = every * count
        step = round(shown * 1000 / batch)
        lines += [
            {"step": step, "kimg": shown, "unix_time": 1000 + 20 * shown},
            {"step": step, "kimg": shown, "metric/pixel_fd": 1 / shown, "metric/pixel_fd_floor_halves": 0.1},
        ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (folder / "checkpoints" / str(round(kimg * 1000 / batch))).mkdir(parents=True)
    return folder


def run_at(parent: Path, kimg: float = 2.0, label: str = "a", **overrides: Any) -> Run:
    return Run(Row(label, "configs/digits.py"), 0, kimg, overrides, parent)


def test_interval_of_one_seed_is_its_value() -> None:
    assert sweep_report.interval([3.0]) == sweep_report.Interval(3.0, 3.0, 3.0, "one")


def test_interval_of_two_seeds_is_their_range() -> None:
    assert sweep_report.interval([4.0, 2.0]) == sweep_report.Interval(3.0, 2.0, 4.0, "range")


def test_interval_of_three_seeds_is_that_of_student() -> None:
    found = sweep_report.interval([1.0, 2.0, 3.0])
    # 4.302653 is the 97.5 % quantile of Student's t with two degrees of freedom.
    assert (found.mean, found.kind) == (2.0, "t")
    assert found.high - 2 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert 2 - found.low == pytest.approx(found.high - 2)


def test_pace_is_that_of_the_median_tick() -> None:
    times = [0.0, 2.0, 4.0, 104.0, 106.0]  # an evaluation or a pause between the third tick and the fourth
    lines = [{"kimg": float(index), "unix_time": time} for index, time in enumerate(times)]
    lines.insert(2, {"kimg": 1.0, "metric/pixel_fd": 1.0})
    assert sweep_report.seconds_per_kimg(lines) == 2.0


def test_metric_at_a_time_lies_on_a_line_through_logarithms() -> None:
    curve = [{"seconds": 10.0, "value": 4.0}, {"seconds": 20.0, "value": 1.0}]
    assert sweep_report.at_seconds(curve, 15.0) == pytest.approx(2.0)
    assert sweep_report.at_seconds(curve, 9.0) is None
    assert sweep_report.at_seconds(curve, 21.0) is None


def test_rows_are_compared_at_the_time_at_which_the_fastest_ends() -> None:
    def record(label: str, seconds: float, value: float) -> dict[str, Any]:
        curve = [{"kimg": 1.0, "seconds": seconds / 2, "value": value * 4}]
        curve.append({"kimg": 2.0, "seconds": seconds, "value": value})
        pace = {"seconds_per_kimg": seconds / 2, "final": value}
        return {"label": label, "status": "finished", "curve": curve, **pace}

    rows = sweep_report.summary([record("fast", 10.0, 3.0), record("slow", 20.0, 1.0)])
    assert rows["fast"]["at_equal_time"] == pytest.approx(3.0)
    assert rows["slow"]["at_equal_time"] == pytest.approx(4.0)
    assert rows["slow"]["metric"] == 1.0


def test_unfinished_runs_are_in_no_mean() -> None:
    assert sweep_report.summary([{"label": "a", "status": "unfinished"}]) == {}


def test_record_holds_what_repeats_a_run(tmp_path: Path) -> None:
    run = run_at(tmp_path, 2.0)
    written_run(run.folder, 2.0)
    record = sweep_report.record_of(run, None)
    assert (record["status"], record["final"], record["final_kimg"]) == ("finished", 0.5, 2.0)
    assert (record["seconds_per_kimg"], record["floors"]) == (20.0, {"halves": 0.1})
    assert record["curve"][0] == {"kimg": 0.5, "value": 2.0, "seconds": 10.0}
    assert record["resolved_config"] == {"training": {"batch_size": 8}}
    assert "--config.training.total_kimg=2.0" in record["command"]


def test_record_of_a_longer_run_ends_where_the_row_ends(tmp_path: Path) -> None:
    run = run_at(tmp_path, 2.0)
    written_run(run.folder, 4.0)
    record = sweep_report.record_of(run, None)
    assert (record["status"], record["final_kimg"]) == ("finished", 2.0)


def test_sweep_gives_every_row_every_seed_and_the_nearest_override(tmp_path: Path) -> None:
    rows = (Row("a", "configs/digits.py"), Row("b", "configs/digits.py:hinge", {"loss.r1_gamma": 2.0}))
    sweep = Sweep("", rows, kimg=1.0, seeds=(3, 4), overrides={"loss.r1_gamma": 1.0, "guard.action": "log"})
    runs = runs_of(sweep, tmp_path, {"guard.action": "stop"})
    assert [(run.row.label, run.seed, run.overrides["loss.r1_gamma"]) for run in runs] == [
        ("a", 3, 1.0), ("b", 3, 2.0), ("a", 4, 1.0), ("b", 4, 2.0),
    ]  # fmt: skip
    assert {run.overrides["guard.action"] for run in runs} == {"stop"}
    assert [run.row.label for run in runs_of(sweep, tmp_path, {}, only=("b",))] == ["b", "b"]


def test_run_folder_depends_on_what_is_trained_and_not_on_its_label(tmp_path: Path) -> None:
    first = run_at(tmp_path, loss=1)
    assert first.folder == run_at(tmp_path, label="b", kimg=9.0, loss=1).folder
    assert first.folder != run_at(tmp_path, loss=2).folder
    assert first.folder != dataclasses.replace(first, seed=1).folder


def test_finished_runs_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_at(tmp_path)
    written_run(run.folder, 2.0)
    monkeypatch.setattr(sweep_runs, "_start", lambda run: pytest.fail("it was started"))
    assert train_all([run], jobs=1) == {}


def test_run_without_its_last_evaluation_is_not_finished(tmp_path: Path) -> None:
    run = run_at(tmp_path, 2.0)
    assert not run.is_finished()
    written_run(run.folder, 1.5)
    assert not run.is_finished()
    assert run.shown() == 1.5


def test_run_that_was_stopped_between_its_last_evaluation_and_its_checkpoint_is_not_finished(tmp_path: Path) -> None:
    run = run_at(tmp_path, 2.0)
    written_run(run.folder, 2.0)
    assert run.is_finished()
    (run.folder / "checkpoints" / "250").rename(run.folder / "checkpoints" / "125")
    assert not run.is_finished()


def test_failing_row_is_reported_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_runs, "_POLL_SECONDS", 0.05)
    code = "import json, pathlib, sys; folder = pathlib.Path(sys.argv[1]); folder.mkdir();"
    code += " (folder / 'config.json').write_text('{\"training\": {\"batch_size\": 8}}');"
    code += " (folder / 'checkpoints' / '250').mkdir(parents=True);"
    code += ' (folder / \'metrics.jsonl\').write_text(\'{"step": 250, "kimg": 2.0, "metric/pixel_fd": 1.0}\')'
    bad, good = run_at(tmp_path, label="bad", a=1), run_at(tmp_path, label="good", a=2)
    scripts = {
        bad: ["-c", "import sys; print('error: no such key'); sys.exit(2)"],
        good: ["-c", code, str(good.folder)],
    }
    monkeypatch.setattr(Run, "arguments", property(lambda self: scripts[self]))
    said: list[str] = []
    failures = train_all([bad, good], jobs=1, say=said.append)
    assert failures == {bad: "exit code 2: no such key"}
    assert good.is_finished()
    assert said == ["bad, seed 0 failed: exit code 2: no such key"]
    assert sweep_report.record_of(bad, failures[bad])["status"] == "failed"


def test_ctrl_c_reaches_no_run_but_through_the_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "arguments", property(lambda self: ["-c", "import os; print(os.getpgid(0), os.getpid())"]))
    run = run_at(tmp_path)
    assert sweep_runs._start(run).wait() == 0
    group, process = run.log_file.read_text().split()
    assert group == process


@LOADS_CONFIGURATIONS
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"data.nme": "x"}, "a, seed 0: unknown key config.data.nme; nearest: name"),
        ({"data.name": "nowhere"}, "a, seed 0: data set 'nowhere' is not prepared"),
        ({"training.batch_size": "three"}, "a, seed 0: config.training.batch_size is 'three'"),
        ({"training.batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"evaluation.metric": "fsd1_ful"}, "metric 'fsd1_ful' is unknown"),
        ({"evaluation.metric": "fsd1k_full"}, "fsd1k_full needs weights: set config.evaluation.weights_file or"),
        ({"evaluation.metric": "none"}, "config.evaluation.metric is none"),
    ],
)
def test_row_that_cannot_be_trained_is_refused_before_any_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict, sentence: str
) -> None:
    monkeypatch.delenv("INR_GAN_SQUEEZENET_WEIGHTS", raising=False)
    with pytest.raises(UserError) as refused:
        run_at(tmp_path, **overrides).check()
    assert sentence in str(refused.value)
    assert list(tmp_path.iterdir()) == []


@LOADS_CONFIGURATIONS
def test_row_that_can_be_trained_is_not_refused(tmp_path: Path) -> None:
    run_at(tmp_path, **TINY).check()


# Each in turn as a command line, in one process: flags live once a process.
COMMAND_LINES = """
import json, sys
from absl import flags
from benchmarks import quality
quality.train_all = lambda runs, *rest: print("training") or {}
for arguments in json.loads(sys.argv[1]):
    for flag in flags.FLAGS.get_key_flags_for_module(quality):
        flag.unparse()
    flags.FLAGS(["quality", *arguments])
    try:
        quality.main([])
        print("ended")
    except UserError as error:
        print(error)
"""


@pytest.mark.slow
def test_mistakes_on_the_command_line_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    sweep = ["--sweep=digits", f"--workdir={tmp_path / 'runs'}"]
    wrong = {
        "--seeds=0,0": "--seeds is '0,0', expected different whole numbers",
        "--seeds=": "--seeds is '', expected different whole numbers",
        "--kimg=0": "--kimg is 0, expected a number above 0",
        "--only=none": "--only is 'none', the sweep has",
        "--set=seed=3": "--set is seed=3, which --seeds says",
        "--set=training.total_kimg=1": "which --kimg says",
        "--set=data.nme=x": "release, seed 0: unknown key config.data.nme; nearest: name",
        f"--output={tmp_path / 'none' / 'x.json'}": "expected a file in a folder that is there and can be written",
        f"--output={tmp_path / 'folder'}": "expected a file in a folder that is there and can be written",
        f"--plot={tmp_path / 'x.txt'}": "expected a picture such as x.png",
        f"--sheet={tmp_path / 'x'}": "expected a picture such as x.png",
        f"--beside={tmp_path / 'x.json'}": "cannot be read",
    }
    right = [f"--output={tmp_path / 'x.json'}", f"--plot={tmp_path / 'x.png'}", f"--sheet={tmp_path / 'x.jpg'}"]
    lines = [[*sweep, flag] for flag in wrong] + [[*sweep, *right]]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND_LINES, json.dumps(lines)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    for sentence, told in zip(wrong.values(), said, strict=False):
        assert sentence in told
    assert said[len(wrong) :][0] == "training"
    assert "no run has a number yet, so no file is written" in said
    assert said[-1] == "ended"
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_run_that_ends_without_a_metric_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_runs, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(Run, "arguments", property(lambda self: ["-c", "pass"]))
    (reason,) = train_all([run_at(tmp_path)], jobs=1).values()
    assert "config.evaluation.metric must be set" in reason


@pytest.mark.slow
def test_interrupted_run_goes_on_from_its_checkpoint(
    tmp_path: Path, digits_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_runs, "_POLL_SECONDS", 0.2)
    overrides = {**TINY, "data.data_dir": str(digits_root), "compilation_cache_dir": str(tmp_path / "xla")}
    overrides |= {"training.checkpoint_kimg": 0.016, "training.evaluate_kimg": 0.016}
    short = run_at(tmp_path, 0.016, **overrides)
    assert train_all([short], jobs=1) == {}
    whole = dataclasses.replace(short, kimg=0.032)
    assert not whole.is_finished()
    assert train_all([whole], jobs=1) == {}
    assert whole.is_finished()
    assert "resuming from 0.0 kimg" in whole.log_file.read_text()
    assert len((whole.folder / STARTS_FILE).read_text().splitlines()) == 2
    assert [line["step"] for line in read_metrics(whole.folder) if "metric/pixel_fd" in line] == [2, 4]


def test_second_signal_at_once_does_not_interrupt_again(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    try:
        sweep_runs.interrupt_once()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        for number in numbers:
            signal.raise_signal(number)
        monkeypatch.setattr(sweep_runs, "_SECONDS_OF_ONE_WISH", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def test_plot_of_rows_with_and_without_numbers_is_drawn(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    written_run(run.folder, 2.0)
    records = [sweep_report.record_of(run, None), sweep_report.record_of(run_at(tmp_path, label="b", a=1), None)]
    write_plot(records, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width > 1000
    for point in records[0]["curve"]:
        del point["seconds"]
    write_plot(records, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.width < 800, "without times there is no plot against time"


def test_curves_of_another_program_are_drawn_beside(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    written_run(run.folder, 2.0)
    file = tmp_path / "official.json"
    file.write_text(json.dumps({"label": "official", "kimg": [1, 2], "seeds": {"0": [3.0, 1.0], "1": [2.0, 0.5]}}))
    others = sweep_report.curves_beside(file)
    assert [each["curve"][1] for each in others] == [{"kimg": 2.0, "value": 1.0}, {"kimg": 2.0, "value": 0.5}]
    records = [sweep_report.record_of(run, None)]
    assert sweep_report.summary([*records, *others]) == sweep_report.summary(records)
    pictures = []
    for drawn in (records, [*records, *others]):
        write_plot(drawn, tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            pictures.append(np.asarray(picture.convert("RGB")))
    orange = [np.all(np.abs(picture.astype(int) - (255, 127, 14)) < 40, axis=-1).sum() for picture in pictures]
    assert orange[0] == 0
    assert orange[1] > 20


@pytest.mark.parametrize("text", ["[]", '{"label": "a", "kimg": [1, 2], "seeds": {"0": [1]}}', "nothing"])
def test_file_without_curves_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "official.json"
    file.write_text(text)
    with pytest.raises(UserError, match="holds no curves: label, kimg"):
        sweep_report.curves_beside(file)
    with pytest.raises(UserError, match="cannot be read"):
        sweep_report.curves_beside(tmp_path / "none.json")


def test_records_hold_null_for_what_is_not_known() -> None:
    assert sweep_report.strict({"a": [math.nan, 1.0], "b": (math.inf, "x", None)}) == {
        "a": [None, 1.0],
        "b": [None, "x", None],
    }


def test_pace_that_was_measured_apart_counts(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    written_run(run.folder, 2.0)
    own, measured = sweep_report.record_of(run, None), sweep_report.record_of(run, None, pace=5.0)
    assert (own["seconds_per_kimg"], own["curve"][-1]["seconds"]) == (20.0, 40.0)
    assert (measured["seconds_per_kimg"], measured["curve"][-1]["seconds"]) == (5.0, 10.0)


def test_plot_of_many_rows_grows_with_them(tmp_path: Path) -> None:
    run = run_at(tmp_path)
    written_run(run.folder, 2.0)
    record = sweep_report.record_of(run, None)
    heights = []
    for count in (9, 18):
        write_plot([{**record, "label": f"row {index}"} for index in range(count)], tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as picture:
            heights.append(picture.height)
    assert heights[1] > heights[0] + 200


def test_sheet_shows_samples_of_the_images_that_are_compared(tmp_path: Path) -> None:
    run = run_at(tmp_path, kimg=2.0)
    (run.folder / "samples").mkdir(parents=True)
    for shown, grey in ((1000, 0), (2000, 100), (4000, 200)):
        Image.new("L", (40, 20), grey).save(run.folder / "samples" / f"{shown:010}.png")
    without = run_at(tmp_path, label="without samples", a=1)
    assert not write_sheet([without], tmp_path / "none.png")
    assert write_sheet([run, without], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > 1.5 * picture.height
        assert picture.convert("L").getpixel((picture.width // 2, picture.height * 2 // 3)) == 100


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_names_configurations_and_keys_that_exist(name: str, tmp_path: Path) -> None:
    labels = [row.label for row in SWEEPS[name].rows]
    assert len({*labels}) == len(labels)
    for run in runs_of(SWEEPS[name], tmp_path, {}):
        file, _, argument = run.row.config.partition(":")
        values = importlib.import_module(file.removesuffix(".py").replace("/", ".")).get_config(argument)
        values.update_from_flattened_dict(dict(run.overrides))
        assert parse_config(values).evaluation.metric != "none"


def test_real_digits_are_recognised_and_their_classes_counted() -> None:
    classifier = digit_classes.DigitClassifier()
    assert 0.95 < classifier.accuracy < 1
    digits: Any = load_digits()
    images = (digits.images[:500, ..., None] / 8 - 1).astype(np.float32)
    assert np.mean(classifier.classes(images) == digits.target[:500]) > 0.98
    assert digit_classes.entropy(np.arange(10)) == pytest.approx(math.log(10))
    assert digit_classes.entropy(np.zeros(7, int)) == 0
