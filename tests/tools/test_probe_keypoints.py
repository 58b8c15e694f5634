"""The command of the probe: seeds, CSVs, projected files, a baseline."""

import json
from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.code_file import Codes, save_codes
from inr_gan_jax.inference.keypoints import Keypoints
from inr_gan_jax.inference.latents import intermediate_codes, latents, modulations_of, sample_modulations
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.probe import subjects_of_seeds
from inr_gan_jax.inference.probe_plots import landmark_sheet
from inr_gan_jax.tools import probe_keypoints
from tests.closeness import assert_bytes_close, assert_close
from tests.conftest import tiny_config
from tests.inference.tools import random_generator, run_tool, write_run

QUICK = ("--num_folds=2", "--num_resamples=20")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", tiny_config(), scale=0.6)


@pytest.fixture(scope="module")
def record(run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """Of the landmarks of 60 seeds, with the network itself as the baseline."""
    folder = tmp_path_factory.mktemp("probed")
    run_tool(probe_keypoints, f"--checkpoint={run}", f"--baseline={run}", f"--output={folder}", "--seeds=0-59", *QUICK)
    assert {path.name for path in folder.iterdir()} == {
        "record.json", "r2.png", "predicted_against_true.png", "landmarks.png",
    }  # fmt: skip
    return json.loads((folder / "record.json").read_text())


def test_record_has_all_spaces_and_their_controls(record: dict) -> None:
    spaces = ["z", "w", "modulation", "baseline z", "baseline w", "baseline modulation"]
    assert list(record["probes"]) == spaces
    modulation = record["probes"]["modulation"]
    assert set(modulation["true"]["r2"]) == {"centroid", "axis", "top", "bottom", "left", "right", "all"}
    assert modulation["true"]["r2"]["centroid"].keys() == {"value", "low", "high"}
    assert modulation["shuffled"]["r2"]["all"]["value"] < 0.2


def test_baseline_that_is_the_network_itself_scores_the_same(record: dict) -> None:
    assert record["probes"]["baseline modulation"] == record["probes"]["modulation"]


def test_subjects_have_the_codes_of_their_seeds() -> None:
    loaded = random_generator(tiny_config(), scale=0.6)
    subjects = subjects_of_seeds(loaded, (5, 2))
    np.testing.assert_array_equal(subjects.spaces["z"][0], latents(loaded, (5, 2)))
    assert_close(subjects.spaces["w"][0], intermediate_codes(loaded, latents(loaded, (5, 2)))[:, 0])
    expected = render_bytes(loaded, sample_modulations(loaded, (5, 2)), loaded.generator.native_viewport)
    assert_bytes_close(subjects.images, expected)


def test_images_without_keypoints_are_dropped() -> None:
    loaded = random_generator(tiny_config(), scale=0.6)
    keypoints = Keypoints(np.array([[0.1, 0.2], [np.nan, 0.5]]), {"1": (0, 1)})
    subjects = subjects_of_seeds(loaded, (5, 2), keypoints=keypoints)
    assert (subjects.num_dropped, len(subjects.images), len(subjects.spaces["modulation"][0])) == (1, 1, 1)


def test_files_are_probed_by_their_projected_codes(run: Path, tmp_path: Path) -> None:
    loaded = load_generator(run)
    ws = np.asarray(intermediate_codes(loaded, latents(loaded, range(30))))
    names = tuple(f"{index}.png" for index in range(30))
    save_codes(tmp_path / "codes.npz", Codes("w", names, modulations_of(loaded, ws), ws))
    # Places that are linear in the code, in another order than the codes.
    places = 0.5 + 0.4 * ws[:, 0, :2] / np.abs(ws[:, 0, :2]).max(axis=0)
    lines = [f"{names[index]},{places[index, 0]},{places[index, 1]}" for index in reversed(range(30))]
    (tmp_path / "points.csv").write_text("\n".join(["file,x1,y1", *lines]))
    files = (f"--keypoints={tmp_path / 'points.csv'}", f"--codes={tmp_path / 'codes.npz'}")
    run_tool(probe_keypoints, f"--checkpoint={run}", f"--output={tmp_path / 'out'}", *files, *QUICK)
    probes = json.loads((tmp_path / "out" / "record.json").read_text())["probes"]
    assert list(probes) == ["w", "modulation"]
    assert probes["w"]["true"]["r2"]["1"]["value"] > 0.8


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--seeds=many",), "seeds are 'many', expected numbers"),
        (("--seeds=0-5",), "6 images are too few, expected at least 10"),
        (("--resolution=0",), "--resolution is 0, expected"),
        (("--keypoints=absent.csv",), "absent.csv cannot be read"),
        (("--codes=codes.npz",), "--codes needs --keypoints"),
        (("--baseline=nowhere",), "nowhere does not exist"),
        (("--output=/proc/probed",), "output folder /proc/probed cannot be written"),
    ],
)
def test_mistake_is_one_sentence(run: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        run_tool(probe_keypoints, f"--checkpoint={run}", f"--output={tmp_path}", *arguments)
    assert not list(tmp_path.iterdir())


def test_marks_lie_on_their_places() -> None:
    images = np.zeros((1, 64, 64, 1), np.uint8)
    sheet = landmark_sheet(images, Keypoints(np.array([[0.25, 0.75]]), {"1": (0, 1)}), np.array([[0.75, 0.25]]))
    # A gap of 4 pixels around the picture, which is drawn twice as large.
    assert sheet[4 + 32, 4 + 96, 0] > 200
    green = np.argwhere((sheet[..., 1] > 150) & (sheet[..., 0] < 100)).mean(axis=0)
    np.testing.assert_allclose(green, [4 + 96, 4 + 32], atol=1)
