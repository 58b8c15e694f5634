"""Images on the way in three spaces, frames and animations."""

import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference import animation
from inr_gan_jax.inference.animation import save_animation
from inr_gan_jax.inference.baked_weights import bake, baked_generator
from inr_gan_jax.inference.choices import SPACES
from inr_gan_jax.inference.latent_paths import Interpolation
from inr_gan_jax.inference.loading import LoadedGenerator, load_generator
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.tools import interpolate
from tests.closeness import assert_bytes_close, assert_close
from tests.golden.official_pickles import official_pickle
from tests.inference.tools import flags_of, image_of, loaded_paper, loaded_release, run_tool

GENERATORS = {"paper": loaded_paper, "release": loaded_release}
SEEDS = (5, 9)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_ends_are_the_images_in_all_spaces(make: Callable[[], LoadedGenerator]) -> None:
    loaded = make()
    native = loaded.generator.native_viewport
    ends = [render(loaded, image_of(loaded, seed), native) for seed in SEEDS]
    middles = []
    for space in SPACES:
        way = Interpolation(loaded, SEEDS)
        first, middle, last = way.images(way.path(space), 2, native)
        assert_close(first, ends[0])
        assert_close(last, ends[1])
        middles.append(middle)
    for left, right in itertools.combinations(middles, 2):
        assert np.abs(left - right).max() > 1e-3


def test_class_of_an_image_does_not_depend_on_its_space() -> None:
    loaded = loaded_paper(num_classes=3)
    native = loaded.generator.native_viewport
    way = Interpolation(loaded, SEEDS, class_index=2)
    drawn = [next(way.images(way.path(space), 2, native)) for space in SPACES]
    assert_close(drawn[1], drawn[0])
    assert_close(drawn[2], drawn[0])


def test_weights_after_style_modulation_draw_the_image() -> None:
    loaded = load_generator(official_pickle("tiny-cips-16"))
    weights = bake(loaded, image_of(loaded))
    native = loaded.generator.native_viewport
    expected = render(loaded, image_of(loaded), native)
    drawn = render(baked_generator(loaded, weights), weights.modulation, native)
    assert_close(drawn, expected)


def test_weights_after_modulation_carry_all_that_the_image_is() -> None:
    loaded = loaded_paper()
    first, second = (bake(loaded, image_of(loaded, seed)) for seed in SEEDS)
    # Nothing of the modulation but biases, frequencies and colours is left.
    factors = [leaf for block in first.modulation for layer in block.layers for leaf in (layer.left, layer.right)]
    assert not any(np.any(leaf) for leaf in factors)
    different = jax.tree.map(lambda left, right: bool(np.any(left != right)), first.kernels, second.kernels)
    assert all(jax.tree.leaves(different))


def test_network_of_large_kernels_has_no_image_space() -> None:
    loaded = load_generator(official_pickle("tiny-stylegan2-16"))
    assert Interpolation(loaded, SEEDS).spaces() == ["z", "w"]
    with pytest.raises(ValueError, match="expected pointwise layers"):
        bake(loaded, image_of(loaded))


def frames(height: int, width: int, channels: int) -> list[np.ndarray]:
    ramp = np.linspace(0, 255, height * width).reshape(height, width, 1)
    return [np.broadcast_to(np.roll(ramp, 3 * index), (height, width, channels)).astype(np.uint8) for index in range(4)]


@pytest.mark.parametrize(("name", "channels"), [("gif", 1), ("webp", 3), ("webp", 1)])
def test_animation_repeats_and_keeps_its_frames(tmp_path: Path, name: str, channels: int) -> None:
    path = tmp_path / f"a.{name}"
    save_animation(path, iter(frames(20, 30, channels)), 25)
    with Image.open(path) as picture:
        assert picture.n_frames == 4
        assert picture.info["loop"] == 0
        for index, frame in enumerate(frames(20, 30, 3)):
            picture.seek(index)
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), frame)


def test_video_holds_all_frames_even_of_odd_sides(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    save_animation(tmp_path / "a.mp4", frames(21, 31, 1), 25)
    with av.open(str(tmp_path / "a.mp4")) as container:
        rate = container.streams.video[0].average_rate
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert (len(decoded), rate) == (4, 25)
    for drawn, frame in zip(decoded, frames(21, 31, 3), strict=True):
        assert drawn.shape == (22, 32, 3)
        assert np.abs(drawn[:21, :31].astype(int) - frame).mean() < 8


def test_missing_video_library_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'inr_gan_jax\[video\]'"):
        animation.check_available("mp4")


def test_command_writes_strip_frames_and_loop(weights: str, tmp_path: Path) -> None:
    arguments = [f"--checkpoint={weights}", f"--output={tmp_path}", "--seeds=5,9", "--num_frames=2", "--space=w"]
    with flags_of(interpolate, *arguments, "--strip_columns=3", "--formats=gif,webp") as words:
        interpolate.main(words)
    with Image.open(tmp_path / "strip.png") as picture:
        # Three rows of three, 128 pixels each, with a gap, beside and below their labels.
        assert picture.size[0] > 3 * 128
        assert picture.size[1] > 3 * 128
    loaded = loaded_paper()
    native = loaded.generator.native_viewport
    with Image.open(tmp_path / "frames" / "frame_00002.png") as picture:
        drawn = np.asarray(picture)[::16, ::16]
    assert_bytes_close(drawn, to_uint8(render(loaded, image_of(loaded, 9), native))[..., 0])
    assert {path.name for path in tmp_path.iterdir()} == {"strip.png", "frames", "w.gif", "w.webp", "record.json"}
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["frames"] == 4
    assert set(record["strip_steps"]) == set(SPACES)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds=3"], "--seeds is 3, expected at least two"),
        (["--seeds=3-1"], "seeds are '3-1'"),
        (["--formats=avi"], "animation format 'avi' is unknown, expected one of gif, webp, mp4"),
        (["--resolution=0"], "--resolution is 0, expected"),
        (["--resolution=1000000"], "the size is 1000000 x 1000000 pixels"),
        (["--num_frames=50000"], "200,000 frames were requested"),
        (["--checkpoint=nowhere"], "nowhere does not exist"),
        (["--output=/dev/null"], "output folder /dev/null cannot be written"),
    ],
)
def test_mistake_is_one_sentence(weights: str, arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        run_tool(interpolate, f"--checkpoint={weights}", *arguments)
    assert str(caught.value).startswith(sentence)
