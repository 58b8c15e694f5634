"""Pictures coarser than trained."""

from fractions import Fraction

import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.inference.low_resolution import (
    coarse_view,
    compare_coarse,
    labelled_parts,
    measure_seconds,
    parse_fractions,
    part_label,
    set_psnr,
)
from inr_gan_jax.inference.pictures import render, render_all
from inr_gan_jax.metrics.settings import MetricSettings
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.sampling import Truncation
from inr_gan_jax.tools import low_res
from tests.conftest import tiny_config
from tests.inference.tools import record_of, run_tool, small_generator, write_run


def test_fractions_are_parts_of_the_side() -> None:
    assert parse_fractions("1/2, 0.25") == (Fraction(1, 2), Fraction(1, 4))


@pytest.mark.parametrize("text", ["", "a", "1/0", "2", "0", "-1/2", "1/2;1/4"])
def test_other_fractions_are_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match=r"^fractions are "):
        parse_fractions(text)


def test_nothing_is_no_picture() -> None:
    with pytest.raises(UserError, match="0 x 0 pixels"):
        coarse_view(small_generator(), Fraction(1, 100), antialias=True)


@pytest.mark.parametrize("model", ["paper", "release"])
def test_antialiasing_changes_coarse_pictures_and_no_others(model: str) -> None:
    loaded = small_generator(model)
    image = select(sample_modulations(loaded, [0]), 0)
    for size, is_equal in (((4, 4), False), ((8, 8), True), ((16, 16), True)):
        views = [Viewport(*size, rule="all", antialias=antialias) for antialias in (False, True)]
        plain, faded = (render(loaded, image, view) for view in views)
        assert (np.abs(plain - faded).max() < 1e-3 * np.abs(plain).max()) == is_equal


def test_antialiasing_a_linear_wave_is_the_mean_over_its_pixels() -> None:
    # Slow waves, whose mean over two points is their value in the middle but for second order.
    x, step = np.arange(32) / 32, 1 / 32
    frequency = 20.0
    pairs = np.sin(frequency * x).reshape(-1, 2).mean(axis=1)
    middles = np.sin(frequency * (x[::2] + step / 2))
    footprint = np.sqrt((2 * step) ** 2 - step**2)
    faded = middles * np.exp(-((frequency * footprint) ** 2) / 24)
    assert np.abs(middles - pairs).max() > 20 * np.abs(faded - pairs).max()


def test_psnr_of_a_known_error() -> None:
    images = np.zeros((1, 2, 2, 1))
    assert set_psnr(images, images) == float("inf")
    assert set_psnr(images, images + 0.2) == pytest.approx(20.0)


def test_comparison_has_both_ways_for_every_part() -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, range(6))
    table = compare_coarse(loaded, images, [Fraction(1, 2)], "pixel_fd", MetricSettings())
    assert set(table) == {"1/2 points", "1/2 antialias"}
    full = render_all(loaded, images, loaded.generator.native_viewport)
    reduced = full.reshape(6, 4, 2, 4, 2, 1).mean(axis=(2, 4))
    coarse = render_all(loaded, images, coarse_view(loaded, Fraction(1, 2), antialias=False))
    assert table["1/2 points"]["psnr"] == pytest.approx(set_psnr(coarse, reduced), rel=1e-4)


def test_seconds_are_measured_for_every_view() -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, range(2))
    views = {"full": loaded.generator.native_viewport, "large": Viewport(128, 128)}
    seconds = measure_seconds(loaded, images, views, 3)
    assert seconds["large"] > seconds["full"] > 0


def test_part_is_labelled_by_what_is_rendered() -> None:
    assert labelled_parts((8, 8), [Fraction("0.37"), Fraction(3, 8), Fraction(1, 2)]) == {
        "3/8": Fraction("0.37"),
        "1/2": Fraction(1, 2),
    }
    assert part_label((8, 12), Fraction("0.4")) == "3x5 of 8x12"
    assert part_label((8, 12), Fraction(1, 4)) == "1/4"


def test_all_pixels_are_not_coarser() -> None:
    with pytest.raises(UserError, match="all 8 x 8 pixels"):
        coarse_view(small_generator(), Fraction(99, 100), antialias=True)


def test_table_is_of_the_images_that_were_asked_for(tmp_path) -> None:
    config = tiny_config(data={"num_classes": 3}, paper={"class_embedding_dim": 4})
    run, output = write_run(tmp_path / "run", config), tmp_path / "out"
    chosen = ["--seeds=100-103", "--class_index=2", "--truncation_psi=0.5", "--fractions=0.37"]
    fast = ["--repetitions=1", "--batch_size=2"]
    run_tool(low_res, f"--checkpoint={run}", f"--output={output}", *chosen, *fast)
    loaded = load_generator(run)
    images = sample_modulations(loaded, range(100, 104), 2, Truncation(0.5))
    expected = compare_coarse(loaded, images, [Fraction(3, 8)], "pixel_fd", MetricSettings())
    record = record_of(output)
    assert set(expected) == {"3/8 points", "3/8 antialias"}
    # Bit-equal: the same programs on the same images.
    assert record["table"] == expected
    assert record["parts"] == {"3/8": {"asked": "37/100", "size": [3, 3]}}
    sampling = {"class_index": 2, "truncation_psi": 0.5, "num_measured": 4}
    assert sampling.items() <= record.items()


def test_command_writes_sheet_tables_and_record(tmp_path) -> None:
    run = write_run(tmp_path / "run", tiny_config())
    arguments = ["--seeds=0", "--fractions=1/2", "--num_measured=5", "--repetitions=1", "--batch_size=2"]
    run_tool(low_res, f"--checkpoint={run}", f"--output={tmp_path / 'out'}", *arguments)
    record = record_of(tmp_path / "out")
    assert set(record["seconds_per_image"]) == {"full", "1/2"}
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| 1/2 antialias |" in text
    assert "speed-up" in text
