"""Samples and their grid."""

import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import save_weights
from inr_gan_jax.inference.latents import sample_modulations
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.sheets import sample_grid
from inr_gan_jax.tools import sample
from tests.closeness import assert_bytes_close
from tests.conftest import tiny_config
from tests.golden.official_pickles import official_pickle
from tests.inference.tools import record_of, run_tool, small_generator, write_run


def test_grid_is_about_as_high_as_wide() -> None:
    assert sample_grid([np.zeros((64, 64, 1), np.uint8)] * 16).shape[:2] == (4 * 66 + 2, 4 * 66 + 2)
    assert sample_grid([np.zeros((64, 64, 1), np.uint8)] * 3, columns=8).shape[:2] == (68, 3 * 66 + 2)


def test_small_pictures_show_their_pixels() -> None:
    grid = sample_grid([np.zeros((8, 8, 1), np.uint8)])
    assert grid.shape == (8 * 8 + 4, 8 * 8 + 4, 1)


def test_command_draws_each_seed(tmp_path) -> None:
    run = write_run(tmp_path / "run", tiny_config())
    output = tmp_path / "out"
    arguments = ["--seeds=5,2", "--height=12", "--width=20", "--truncation_psi=0.7"]
    run_tool(sample, f"--checkpoint={run}", f"--output={output}", *arguments)
    assert record_of(output)["files"] == ["seed0005.png", "seed0002.png"]
    with Image.open(output / "seed0005.png") as picture:
        assert (picture.size, picture.mode) == ((20, 12), "L")


def test_official_pickles_are_drawn_at_their_size(tmp_path) -> None:
    pickle = official_pickle("tiny-inr-gan-32")
    run_tool(sample, f"--checkpoint={pickle}", f"--output={tmp_path}", "--seeds=0-1")
    loaded = load_generator(pickle)
    expected = render_bytes(loaded, sample_modulations(loaded, [0, 1]), loaded.generator.native_viewport)
    with Image.open(tmp_path / "seed0001.png") as picture:
        assert_bytes_close(np.asarray(picture), expected[1])


def test_weights_alone_draw_the_same_pictures(tmp_path) -> None:
    loaded = small_generator()
    path = tmp_path / "weights.safetensors"
    save_weights(
        path, loaded.generator.settings, {**loaded.variables, "statistics": {"w_avg": np.asarray(loaded.w_avg)}}
    )
    again = load_generator(path)
    view = loaded.generator.native_viewport
    ours, theirs = (render_bytes(each, sample_modulations(each, [0]), view) for each in (again, loaded))
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.w_avg, loaded.w_avg)


def test_unwritable_folder_is_one_sentence(tmp_path) -> None:
    run = write_run(tmp_path / "run", tiny_config())
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(UserError, match=r"output folder .*file/out cannot be written"):
        run_tool(sample, f"--checkpoint={run}", f"--output={blocked / 'out'}")
