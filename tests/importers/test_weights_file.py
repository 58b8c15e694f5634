"""Weights survive a file, with their settings, and damaged files are refused in one sentence."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import Settings, load_weights, save_weights
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.paper.architecture import PaperArchitecture
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.settings import CoordinateSettings

RELEASE = ReleaseArchitecture(
    resolution=8,
    z_dim=3,
    w_dim=4,
    channel_base=16,
    channel_max=4,
    input_resolution=4,
    coordinates=(
        CoordinateSettings(4, max_num_log_features=8, use_diagonals=True),
        CoordinateSettings(8, num_random_features=2, fourier_scale=3.0),
    ),
    rank=2,
    num_extra_layers=((8, 1),),
    use_noise=True,
)
PAPER = PaperArchitecture(
    z_dim=3, mapping_dim=4, rank=2, features=(4,), num_layers=(1,), num_fourier_features=(3,), fourier_scale=(10.0,),
    max_num_fixed_features=(0,), to_rgb=(True,), height=4, width=4,
)  # fmt: skip


def variables_of(settings: Settings) -> dict[str, Any]:
    random = np.random.default_rng(0)
    shapes = {name: part for name, part in generator_of(settings).variable_shapes.items() if part}
    return jax.tree.map(lambda leaf: random.standard_normal(leaf.shape, np.float32), shapes)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("settings", [RELEASE, PAPER], ids=["release", "paper"])
def test_settings_and_variables_survive_a_file(tmp_path: Path, settings: Settings, suffix: str) -> None:
    variables = variables_of(settings) | {"statistics": {"w_avg": np.arange(4.0)}}
    path = tmp_path / f"weights{suffix}"
    save_weights(path, settings, variables)
    loaded, arrays = load_weights(path)
    assert loaded == settings
    assert jax.tree.structure(arrays) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, arrays, variables)


def test_transposed_arrays_survive_a_file(tmp_path: Path) -> None:
    variables = variables_of(RELEASE)
    kernel = variables["params"]["blocks_4"]["to_rgb"]["kernel"]
    turned = np.asfortranarray(kernel)
    variables["params"]["blocks_4"]["to_rgb"]["kernel"] = turned
    save_weights(tmp_path / "weights.safetensors", RELEASE, variables)
    _, arrays = load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(arrays["params"]["blocks_4"]["to_rgb"]["kernel"], kernel)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_damaged_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_weights(path, RELEASE, variables_of(RELEASE))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a file of generator weights"):
        load_weights(path)


def test_absent_file_and_other_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(tmp_path / "absent.npz")
    with pytest.raises(UserError, match=r"ends in '.pkl', expected"):
        load_weights(tmp_path / "weights.pkl")


def test_array_that_does_not_fit_the_settings_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    variables = variables_of(RELEASE)
    save_weights(path, dataclasses.replace(RELEASE, z_dim=5), variables)
    with pytest.raises(UserError, match="'params/mapping_network/fc_0/kernel' has shape"):
        load_weights(path)
    variables["params"]["surplus"] = np.zeros(3)
    save_weights(path, RELEASE, variables)
    with pytest.raises(UserError, match="'params/surplus' does not belong"):
        load_weights(path)


def test_file_of_other_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(UserError, match="not a file of generator weights"):
        load_weights(tmp_path / "other.npz")
