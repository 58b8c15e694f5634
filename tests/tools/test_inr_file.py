"""One image as a file draws what its generator draws, is smaller, and is refused when it is damaged."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from configs import ffhq
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.errors import UserError
from inr_gan_jax.importers.weights_file import flattened
from inr_gan_jax.inference.inr_file import file_sizes, load_inr, save_inr
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render
from inr_gan_jax.models.build import build_generator
from inr_gan_jax.ops.image_grid import to_uint8
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.tools import inr_file
from tests.closeness import assert_bytes_close, assert_close
from tests.inference.tools import flags_of, image_of, loaded_paper, loaded_release, run_tool

GENERATORS = {"paper": loaded_paper, "release": loaded_release}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A sound file."""
    path = tmp_path / "image.inr.safetensors"
    save_inr(path, loaded_paper(), image_of(loaded_paper()))
    return path


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_image_from_a_file_is_that_of_the_generator(tmp_path: Path, make: Callable[[], LoadedGenerator]) -> None:
    loaded = make()
    save_inr(tmp_path / "a.inr.safetensors", loaded, image_of(loaded))
    drawing, modulation = load_inr(tmp_path / "a.inr.safetensors")
    viewport = Viewport(11, 19, top=-0.4)
    expected = render(loaded, image_of(loaded), viewport)
    assert_close(render(drawing, modulation, viewport), expected)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_file_holds_nothing_that_makes_images(tmp_path: Path, make: Callable[[], LoadedGenerator]) -> None:
    loaded, path = make(), tmp_path / "a.inr.safetensors"
    save_inr(path, loaded, image_of(loaded))
    arrays = load_file(path)
    assert not [name for name in arrays if "mapping" in name or "hypernetwork" in name or "affine" in name]
    sizes = file_sizes(loaded.generator.settings)
    assert sum(array.nbytes for array in arrays.values()) == sizes.image
    assert sum(4 * np.size(array) for array in flattened(loaded.variables).values()) == sizes.generator


@pytest.mark.parametrize(("network", "factor"), [("256", 42.95), ("256,release", 8.33)])
def test_file_of_a_full_size_network_is_smaller_by_a_factor(network: str, factor: float) -> None:
    generator = build_generator(parse_config(ffhq.get_config(network)))
    sizes = file_sizes(generator.settings)
    assert sizes.generator / sizes.image == pytest.approx(factor, rel=0.001)


def test_modulation_of_another_generator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected that of one image"):
        save_inr(tmp_path / "a.inr.safetensors", loaded_release(), image_of(loaded_paper()))


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_cut_file_is_refused(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="not a file of one image"):
        load_inr(path)


def test_file_of_a_generator_is_refused(weights: str, tmp_path: Path) -> None:
    path = tmp_path / "a.inr.safetensors"
    path.write_bytes(Path(weights).read_bytes())
    with pytest.raises(UserError, match="holds the format 'inr_gan_jax generator 1'"):
        load_inr(path)


@pytest.mark.parametrize("change", ["missing", "surplus", "shape", "integers", "settings", "gigantic"])
def test_foreign_content_is_refused(path: Path, change: str) -> None:
    arrays = load_file(path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    name = "modulation/0/fourier"
    settings = json.loads(metadata["settings"])
    if change == "missing":
        del arrays[name]
    elif change == "surplus":
        arrays["params/surplus"] = np.zeros(3, np.float32)
    elif change == "shape":
        arrays[name] = arrays[name][:-1].copy()
    elif change == "integers":
        arrays[name] = arrays[name].view(np.int32).copy()
    elif change == "settings":
        metadata["settings"] = metadata["settings"][:-1]
    else:
        settings["height"] = settings["width"] = 2**40
        metadata["settings"] = json.dumps(settings)
    save_file(arrays, path, metadata)
    expected = {
        "missing": f"'{name}' has shape",
        "surplus": "'params/surplus' does not belong",
        "shape": f"'{name}' has shape",
        "integers": f"'{name}' holds int32",
    }
    with pytest.raises(UserError, match=expected.get(change, "its settings are invalid")):
        load_inr(path)


def test_absent_file_and_other_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="file does not exist"):
        load_inr(tmp_path / "absent.inr.safetensors")
    with pytest.raises(UserError, match=r"expected it to end in \.inr\.safetensors"):
        load_inr(tmp_path / "image.safetensors")


def test_command_draws_the_file_at_another_size(path: Path, tmp_path: Path) -> None:
    with flags_of(inr_file, str(path), "--width=13", "--width_extent=0.5", f"--output={tmp_path}") as words:
        inr_file.main(words)
    viewport = Viewport(26, 13, width_extent=0.5, rule="pointwise").centred_on((8, 8))
    with Image.open(tmp_path / "image.png") as picture:
        drawn = np.asarray(picture)
    expected = to_uint8(render(loaded_paper(), image_of(loaded_paper()), viewport))
    assert_bytes_close(drawn, expected[..., 0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--height=0"], "--height is 0, expected"),
        (["--width=1000000"], "the size is 1000000 x 1000000 pixels"),
        (["--output=/dev/null"], "output folder /dev/null cannot be written"),
        (["--top=1e9"], "--top is 1e9, expected a number from -1000 to 1000"),
    ],
)
def test_mistake_is_one_sentence(path: Path, arguments: list[str], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        run_tool(inr_file, str(path), *arguments)
    assert str(caught.value).startswith(sentence)
