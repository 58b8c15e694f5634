"""The command that inverts pictures: what it reads, what it writes, what it refuses."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.code_file import load_codes
from inr_gan_jax.inference.loading import LoadedGenerator, load_generator
from inr_gan_jax.inference.perceptual_features import at_usual_side, check_features, feature_distance, load_features
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.projection_sheet import similarities
from inr_gan_jax.inference.real_pictures import one_hot_labels, picture_files, read_from_data_set, read_pictures
from inr_gan_jax.tools import project
from tests.conftest import tiny_config
from tests.inference.tools import random_generator, run_tool, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digits_root: Path) -> Path:
    config = tiny_config(data={"data_dir": str(digits_root)})
    return write_run(tmp_path_factory.mktemp("runs") / "run", config)


@pytest.fixture(scope="module")
def conditional() -> LoadedGenerator:
    return random_generator(tiny_config(data={"num_classes": 3}))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A wide colour picture: black, a grey square in the middle, red beside it."""
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, :16] = pixels[:, 32:] = (200, 0, 0)
    pixels[4:12, 20:28] = 100
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_picture_is_cropped_resized_and_made_grey(conditional: LoadedGenerator, picture: Path) -> None:
    expected = np.zeros((8, 8, 1), np.uint8)
    expected[2:6, 2:6] = 100
    np.testing.assert_array_equal(read_pictures(conditional, [picture])[0], expected)


def test_folder_stands_for_its_images(picture: Path) -> None:
    (picture.parent / "notes.txt").write_text("no image")
    assert picture_files([str(picture.parent), str(picture)]) == (picture, picture)


def test_images_of_the_run_are_those_it_was_trained_on(run: Path) -> None:
    from sklearn.datasets import load_digits

    images, labels = read_from_data_set(load_generator(run), (5, 7))
    assert labels is None
    real = load_digits().images[None] / 16
    distances = np.abs(images[..., 0] / 255 - np.moveaxis(real, 1, 0)).max(axis=(2, 3))
    # 16 levels become 256; the set has its own order.
    assert (distances.min(axis=0) < 1 / 255).all()
    assert distances.argmin(axis=0)[0] != distances.argmin(axis=0)[1]


def test_class_is_one_for_all_or_one_for_each(conditional: LoadedGenerator) -> None:
    np.testing.assert_array_equal(jnp.argmax(one_hot_labels(conditional, [2], 2), axis=1), [2, 2])
    np.testing.assert_array_equal(jnp.argmax(one_hot_labels(conditional, [0, 1], 2), axis=1), [0, 1])


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        ([], "small paper is conditional and 0 classes were given by --classes"),
        ([0, 1, 2], "small paper is conditional and 3 classes were given"),
        ([3], "class is 3, but small paper has the classes 0 to 2"),
    ],
)
def test_class_that_does_not_fit_is_one_sentence(
    conditional: LoadedGenerator, classes: list[int], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        one_hot_labels(conditional, classes, 2)


def test_command_writes_codes_that_draw_the_sheet(run: Path, picture: Path, tmp_path: Path) -> None:
    output = tmp_path / "found"
    arguments = (f"--checkpoint={run}", f"--images={picture}", f"--output={output}", "--codes_format=npz")
    run_tool(project, *arguments, "--num_steps=3", "--num_samples=8", "--space=modulation")
    loaded = load_generator(run)
    codes = load_codes(output / "codes.npz", loaded)
    record = json.loads((output / "record.json").read_text())
    assert (codes.space, codes.names, record["images"]) == ("modulation", ("wide.png",), ["wide.png"])
    drawn = render_bytes(loaded, codes.modulations, loaded.generator.native_viewport)
    found = similarities(read_pictures(loaded, [picture]), drawn)
    assert (record["psnr"], record["ssim"]) == (found["psnr"], found["ssim"])
    with Image.open(output / "projection.png") as sheet:
        assert sheet.width > 5 * 128


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "give either --images or --data_indices"),
        (("--images=absent.png",), "the image absent.png does not exist"),
        (("--data_indices=9999",), "image 9999 was asked for, but digits has the images 0 to 1796"),
        (("--data_indices=0", "--resolution=0"), "--resolution is 0, expected"),
        (("--data_indices=0", "--classes=one"), "classes holds 'one', expected whole numbers"),
        (("--data_indices=0", "--classes=1"), "classes were given, but run has none"),
        (("--data_indices=0", "--features=vgg16"), "give --vgg16_weights or"),
        (("--data_indices=0", "--output=/proc/found"), "output folder /proc/found cannot be written"),
        (("--data_indices=0", "--checkpoint=nowhere"), "nowhere does not exist"),
    ],
)
def test_mistake_is_one_sentence(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INR_GAN_VGG16_WEIGHTS", raising=False)
    with pytest.raises(UserError, match=f"^{sentence}"):
        run_tool(project, f"--checkpoint={run}", f"--output={tmp_path}", *arguments)
    assert not list(tmp_path.iterdir())


def test_damaged_picture_is_one_sentence(conditional: LoadedGenerator, tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(UserError, match=r"damaged\.png cannot be read"):
        read_pictures(conditional, [tmp_path / "damaged.png"])


def test_digits_features_are_mean_squared_differences_of_similarities() -> None:
    features = load_features("digits", {})
    first, second = jnp.full((1, 8, 8, 1), -1.0), jnp.full((1, 8, 8, 1), -0.9)
    similarities = [features.func(features.args[0], images)[0] * 10 for images in (first, second)]
    expected = jnp.mean(jnp.square(similarities[0] - similarities[1]))
    np.testing.assert_allclose(feature_distance(features(first), features(second)), [expected], rtol=1e-5)


def test_features_of_another_size_are_one_sentence() -> None:
    with pytest.raises(UserError, match="the features do not accept images of 16x16 pixels"):
        check_features(load_features("digits", {}), 16, 16, 1)


def test_small_pictures_are_repeated_and_large_ones_averaged() -> None:
    small = jnp.arange(2.0 * 8 * 10).reshape(2, 8, 10, 1)
    np.testing.assert_array_equal(at_usual_side(small)[:, ::4, ::4], small)
    large = jnp.tile(jnp.arange(512.0), (1, 600, 1))[..., None]
    assert at_usual_side(large).shape == (1, 300, 256, 1)
    np.testing.assert_array_equal(at_usual_side(large)[0, 0, :, 0], 2 * np.arange(256) + 0.5)
