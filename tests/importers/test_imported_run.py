"""An official checkpoint through the command line to a run folder, and back to the very pictures."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.importers.weights_file import load_weights
from inr_gan_jax.inference.loading import load_run
from inr_gan_jax.models.build import generator_of
from tests.golden.official_pickles import official_pickle
from tests.golden.records import channels_last, load, relative_error
from tests.golden_release import float32_bar, noise_floors
from tests.permissions import permissions, umask

ROOT = Path(__file__).resolve().parents[2]
VARIANT = "tiny-inr-gan-32"


def convert(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "inr_gan_jax.importers.torch_inr_gan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    pickle = official_pickle(f"{VARIANT}-aug")
    folder = tmp_path_factory.mktemp("imported")
    run, weights = folder / "churches", folder / "churches.safetensors"
    with umask(0o027):
        done = convert(pickle, f"--output={run}", f"--weights={weights}")
    assert done.returncode == 0, done.stderr
    return run, weights, done.stdout


def recorded() -> tuple[np.ndarray, np.ndarray]:
    return load(VARIANT)["z"], channels_last(load(VARIANT)["img"])


def test_run_folder_draws_the_recorded_images(imported: tuple) -> None:
    loaded = load_run(imported[0])
    z, images = recorded()
    ours = jax.jit(loaded.generator.images)(loaded.variables, jnp.asarray(z))
    assert relative_error(ours, images) <= float32_bar(noise_floors(VARIANT)["img"])
    assert loaded.w_avg.shape == (16,)
    assert np.abs(loaded.w_avg).max() > 0


def test_weights_file_draws_the_recorded_images(imported: tuple) -> None:
    settings, variables = load_weights(imported[1])
    z, images = recorded()
    network = generator_of(settings).network
    collections = {name: variables[name] for name in ("params", "constants")}
    ours = jax.jit(jax.vmap(lambda z: network.apply(collections, z)))(jnp.asarray(z))
    assert relative_error(ours, images) <= float32_bar(noise_floors(VARIANT)["img"])


def test_permissions_are_those_that_the_umask_leaves(imported: tuple) -> None:
    run, weights, _ = imported
    assert (permissions(run), permissions(run / "config.json"), permissions(weights)) == (0o750, 0o640, 0o640)


def test_source_and_table_say_what_was_read(imported: tuple) -> None:
    run, _, output = imported
    source = json.loads((run / "source.json").read_text())
    assert source["augment_p"] == 0.125
    assert len(source["sha256"]) == 64
    assert source["sha256"] in output
    assert "params/mapping_network/fc_0/kernel" in output


@pytest.mark.slow
def test_an_existing_folder_and_a_wrong_file_are_one_sentence(imported: tuple, tmp_path: Path) -> None:
    again = convert(official_pickle(VARIANT), f"--output={imported[0]}")
    page = tmp_path / "churches.pkl"
    page.write_text("<!DOCTYPE html><html>404</html>")
    wrong = convert(page, f"--output={tmp_path / 'new'}")
    for done, sentence in (
        (again, "exists already"),
        (wrong, "not an official network pickle"),
        (convert(), "missing"),
    ):
        assert done.returncode == 2
        assert sentence in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()
