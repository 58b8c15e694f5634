"""Denser pictures by filters and by the INR, and measures of them."""

import numpy as np
import pytest

from inr_gan_jax.cli import flags as options
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference import set_distance
from inr_gan_jax.inference.latents import sample_modulations, select
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.inference.pictures import render, render_all
from inr_gan_jax.inference.set_distance import SetDistance
from inr_gan_jax.inference.super_resolution import (
    comparison_sheet,
    dense_size,
    edge_sharpness,
    measure_upscalers,
    resize,
    super_resolved,
    upscalers,
)
from inr_gan_jax.metrics.protocols import parse_protocol
from inr_gan_jax.metrics.real_images import RealImages
from inr_gan_jax.sampling import Truncation
from inr_gan_jax.tools import super_resolve
from tests.closeness import assert_close
from tests.conftest import tiny_config
from tests.inference.tools import flags_of, record_of, run_tool, small_generator, write_run


def test_resized_pictures_keep_their_mean_and_their_range() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (8, 6, 3)).astype(np.float32)
    half = resize(image, (4, 3), "box")
    assert_close(half, image.reshape(4, 2, 3, 2, 3).mean(axis=(1, 3)))
    np.testing.assert_array_equal(resize(image, (16, 12), "nearest"), image.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(("factor", "size"), [(1.7, (14, 14)), (2, (16, 16)), (0.4, (3, 3))])
def test_any_factor_can_be_drawn(factor: float, size: tuple[int, int]) -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, [0])
    (image,) = super_resolved(loaded, images, factor)
    assert dense_size((8, 8), factor) == size == image.shape[:2]


def test_odd_factors_hold_the_trained_pixels_in_the_middle_of_theirs() -> None:
    loaded = small_generator(paper={"training_rule": "pointwise"})
    images = sample_modulations(loaded, [0])
    native = render_all(loaded, images, loaded.generator.native_viewport)[0]
    (dense,) = super_resolved(loaded, images, 3)
    assert_close(dense[1::3, 1::3], native)


@pytest.mark.parametrize("factor", [1, 2, 5])
def test_edge_sharpness_of_a_ramp_is_its_slope_at_any_density(factor: int) -> None:
    ramp = np.clip((np.arange(8 * factor) / factor - 4) / 2, -1, 1)  # from black to white within four trained pixels
    image = np.broadcast_to(ramp[None, None, :, None], (1, 8 * factor, 8 * factor, 1))
    assert edge_sharpness(image, (8, 8)) == pytest.approx(0.25)
    assert edge_sharpness(image.transpose(0, 2, 1, 3), (8, 8)) == pytest.approx(0.25)


def test_measures_of_the_trained_pixels_repeated_are_those_of_the_trained_pictures() -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, range(20))
    reference = np.random.default_rng(1).uniform(-1, 1, (30, 8, 8, 1)).astype(np.float32)
    distance = SetDistance("pixel_fd", reference)
    ways = upscalers(loaded, (16, 16))
    table = measure_upscalers(loaded, {name: ways[name] for name in ("nearest", "INR all")}, images, {"fd": distance})
    native = render_all(loaded, images, loaded.generator.native_viewport)
    assert table["nearest"]["fd"] == pytest.approx(distance(native), rel=1e-6)
    assert table["INR all"]["fd"] != pytest.approx(distance(native), rel=1e-3)


def test_distance_of_a_set_to_itself_is_nothing() -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (80, 8, 8, 1)).astype(np.float32)
    assert abs(SetDistance("pixel_fd", images)(images)) < 1e-6 * np.var(images, axis=0).sum()


def test_pixels_of_large_pictures_are_no_features() -> None:
    with pytest.raises(UserError, match="pixel_fd compares images of at most 4096 values, these have 4225; use "):
        SetDistance("pixel_fd", np.zeros((2, 65, 65, 1)))


def test_sheet_has_a_column_for_every_filter_and_rule() -> None:
    loaded = small_generator()
    sheet = comparison_sheet(loaded, sample_modulations(loaded, [0, 1]), 8)
    assert sheet.shape[1] > 7 * 64
    assert sheet.shape[0] > 2 * 64
    assert sheet.shape[2] == 3


def test_command_writes_pictures_table_and_record(tmp_path, digits_root) -> None:
    run = write_run(tmp_path / "run", tiny_config(data={"data_dir": str(digits_root)}))
    output = tmp_path / "pictures"
    arguments = ["--seeds=0,3", "--factor=1.7", "--num_measured=12"]
    run_tool(super_resolve, f"--checkpoint={run}", f"--output={output}", *arguments)
    names = {"sheet.png", "table.md", "record.json", "seed0000.png", "seed0003.png"}
    assert {path.name for path in output.iterdir()} == names
    record = record_of(output)
    assert record["size"] == [14, 14]
    assert set(record["table"]["INR pointwise"]) == {"edge_sharpness", "pixel_fd, reduced to 8x8"}
    assert record["flags"]["factor"] == 1.7
    assert record["checkpoint"]["source"] == "run"


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        (["--seeds=100-105"], (100, 101, 102, 103, 104, 105)),
        (["--seeds=7,3", "--num_measured=4"], (7, 3, 8, 9)),
        (["--seeds=7,3", "--num_measured=1"], (7,)),
    ],
)
def test_measured_images_begin_with_those_that_are_shown(arguments: list[str], seeds: tuple[int, ...]) -> None:
    with flags_of(super_resolve, "--checkpoint=x", *arguments):
        assert options.measured_seeds() == seeds


def test_more_measured_images_than_there_are_seeds_is_one_sentence() -> None:
    arguments = ["--checkpoint=x", f"--seeds={2**32 - 3}", "--num_measured=4"]
    with flags_of(super_resolve, *arguments), pytest.raises(UserError, match="is 4, expected at most 3"):
        options.measured_seeds()


def test_table_is_of_the_images_that_were_asked_for(tmp_path) -> None:
    run = write_run(tmp_path / "run", tiny_config(data={"num_classes": 3}, paper={"class_embedding_dim": 4}))
    chosen = ["--seeds=100-105", "--class_index=2", "--truncation_psi=0.5", "--factor=2"]
    run_tool(super_resolve, f"--checkpoint={run}", f"--output={tmp_path / 'out'}", *chosen)
    loaded = load_generator(run)
    images = sample_modulations(loaded, range(100, 106), 2, Truncation(0.5))
    expected = measure_upscalers(loaded, upscalers(loaded, (16, 16)), images, {})
    record = record_of(tmp_path / "out")
    # Bit-equal: the same programs on the same images.
    for way, values in expected.items():
        assert values.items() <= record["table"][way].items()
    sampling = {"class_index": 2, "truncation_psi": 0.5, "measured_seeds": "100-105", "num_measured": 6}
    assert sampling.items() <= record.items()


def test_dense_pictures_of_the_tool_are_those_of_the_function() -> None:
    loaded = small_generator()
    images = sample_modulations(loaded, [2])
    way = upscalers(loaded, (16, 16))["INR all"]
    native = render(loaded, select(images, 0), loaded.generator.native_viewport)
    assert_close(way(select(images, 0), native), next(super_resolved(loaded, images, 2, rule="all")))


def test_reference_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    looks: list[int] = []
    batches = RealImages.batches
    monkeypatch.setattr(RealImages, "batches", lambda self, size: looks.append(1) or batches(self, size))
    protocols = {"fsd12_full": parse_protocol("frechet_digits12_full")}
    monkeypatch.setattr(set_distance, "parse_protocol", protocols.__getitem__)
    distance = SetDistance("fsd", rng.uniform(-1, 1, (20, 8, 8, 1)).astype(np.float32))
    first, second = (distance(rng.uniform(-1, 1, (12, 8, 8, 1)).astype(np.float32)) for _ in range(2))
    assert first != second
    assert len(looks) == 1
