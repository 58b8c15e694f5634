"""The ADA pipeline against a NumPy oracle, and what training asks of it."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from inr_gan_jax.augment.geometry import LOW_PASS
from inr_gan_jax.augment.pipeline import PIPELINES, AugmentSettings, RandomInput, RandomInputs, augment, sample_inputs
from tests.augment import oracle
from tests.golden_release import compiled

# Strong enough that some margins reach the size of the image, and unlike each other in every parameter.
SETTINGS = dataclasses.replace(
    PIPELINES["bgcfnc"], xint_max=0.3, scale_std=1.0, rotate_max=0.9, aniso_std=0.5, hue_max=0.7, cutout_size=0.4,
    imgfilter_bands=(1.0, 0.5, 0.0, 1.0), xfrac=0.8, lumaflip=1.1,
)  # fmt: skip
P = 0.9
WIDE = (4, 9, 14, 3)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def random_images(shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).uniform(-1, 1, shape))


def draws_of(shape: tuple[int, ...], settings: AugmentSettings = SETTINGS, seed: int = 1) -> dict[str, RandomInput]:
    return dict(sample_inputs(settings, jax.random.key(seed), shape[0], shape[1:]))


def expected(images: jax.Array, inputs: RandomInputs) -> np.ndarray:
    """The oracle's results, each image with its own inputs."""
    results = []
    for place, image in enumerate(np.asarray(images)):
        own = jax.tree.map(lambda leaf, place=place: np.asarray(leaf)[place], inputs)
        results.append(oracle.augment(SETTINGS, image, own, P, LOW_PASS))
    return np.stack(results)


@functools.cache
def program(settings: AugmentSettings = SETTINGS) -> Any:
    return compiled(functools.partial(augment, settings))


@pytest.mark.parametrize("seed", range(6))
def test_wide_images_equal_the_oracle(seed: int) -> None:
    images = random_images(WIDE)
    inputs = draws_of(images.shape, seed=seed)
    np.testing.assert_allclose(program()(images, inputs, P), expected(images, inputs), rtol=1e-9, atol=1e-10)


def only(shape: tuple[int, ...], **strengths: Any) -> RandomInputs:
    """Draws of given strengths that surely happen; nothing else does."""
    inputs = jax.tree.map(jnp.ones_like, draws_of(shape))
    for name, strength in strengths.items():
        inputs[name] = inputs[name].replace(strength=jnp.asarray(strength), chance=jnp.zeros(shape[0]))
    return inputs


def test_images_moved_beyond_their_mirror_images_equal_the_oracle() -> None:
    images = random_images(WIDE)
    # In widths and heights; the mirror image ends at 2. The last two images lie askew.
    shifts = np.array([[1.7, 0.2], [-1.8, -0.3], [0.1, 1.6], [-0.2, -1.9]])
    angles = np.array([0.5, 0.5, 0.65, 0.87])
    inputs = only(images.shape, xfrac=shifts / SETTINGS.xfrac_std, pre_rotation=angles)
    np.testing.assert_allclose(program()(images, inputs, P), expected(images, inputs), rtol=1e-9, atol=1e-10)


def test_images_shrunk_into_less_than_their_margin_equal_the_oracle() -> None:
    images = random_images(WIDE)
    # On their side, for else the margin of a long axis would be as long as the mirror image.
    inputs = only(images.shape, scale=-np.log2([2.3, 2.5, 3.01, 3.2]), rotate90=np.full(4, 0.3))
    np.testing.assert_allclose(program()(images, inputs, P), expected(images, inputs), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_single_grey_image_equals_the_oracle(seed: int) -> None:
    images = random_images((1, 12, 7, 1))
    inputs = draws_of(images.shape, seed=seed)
    np.testing.assert_allclose(program()(images, inputs, P), expected(images, inputs), rtol=1e-9, atol=1e-10)


def test_images_do_not_influence_each_other() -> None:
    images, inputs = random_images(WIDE), draws_of(WIDE)
    others, other_draws = images[::-1] * 3, draws_of(WIDE, seed=2)
    mixed = jax.tree.map(lambda kept, new: jnp.concatenate([kept[:1], new[1:]]), inputs, other_draws)
    np.testing.assert_array_equal(
        program()(jnp.concatenate([images[:1], others[1:]]), mixed, P)[0], program()(images, inputs, P)[0]
    )


def squared_gradient(scale: jax.Array, images: jax.Array, inputs: RandomInputs) -> jax.Array:
    """R1 of a discriminator that is not linear, through the pipeline."""

    def score(batch: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(scale * augment(SETTINGS, batch, inputs, P)))

    return jnp.sum(jnp.square(jax.grad(score)(images)))


def test_second_derivative_equals_finite_differences() -> None:
    images, inputs = random_images(WIDE), draws_of(WIDE)
    direction = jnp.asarray(np.random.default_rng(3).normal(size=images.shape))
    value_and_gradients = compiled(jax.value_and_grad(squared_gradient, argnums=(0, 1)))
    scale, step = jnp.asarray(1.3), 1e-5
    _, (by_scale, by_images) = value_and_gradients(scale, images, inputs)

    def difference(scale_step: float, image_step: jax.Array) -> jax.Array:
        ahead, _ = value_and_gradients(scale + scale_step, images + image_step, inputs)
        behind, _ = value_and_gradients(scale - scale_step, images - image_step, inputs)
        return (ahead - behind) / (2 * step)

    np.testing.assert_allclose(jnp.sum(by_images * direction), difference(0.0, step * direction), rtol=1e-7)
    np.testing.assert_allclose(by_scale, difference(step, jnp.zeros_like(images)), rtol=1e-7)


def test_batch_over_devices_needs_no_communication() -> None:
    images, inputs = random_images((8, 6, 5, 3)), draws_of((8, 6, 5, 3))
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    images, inputs = jax.device_put((images, inputs), NamedSharding(mesh, PartitionSpec("data")))
    executable = jax.jit(functools.partial(augment, SETTINGS)).lower(images, inputs, P).compile()
    assert not [line for line in executable.as_text().splitlines() if "all-" in line or "collective" in line]
    np.testing.assert_allclose(executable(images, inputs, P), expected(images, inputs), rtol=1e-9, atol=1e-10)


def test_type_of_the_images_is_kept() -> None:
    images = random_images(WIDE).astype(jnp.bfloat16)
    settings = PIPELINES["color"]
    inputs = draws_of(images.shape, settings)
    ours = program(settings)(images, inputs, 1.0)
    assert ours.dtype == jnp.bfloat16
    exact = program(settings)(images.astype(jnp.float32), inputs, 1.0)
    np.testing.assert_array_equal(ours, exact.astype(jnp.bfloat16))


def test_share_of_augmented_images_is_p() -> None:
    settings = PIPELINES["cutout"]
    images = jnp.ones((4000, 4, 4, 1))
    ours = program(settings)(images, draws_of(images.shape, settings), 0.3)
    np.testing.assert_allclose(jnp.mean(ours.min(axis=(1, 2, 3)) == 0), 0.3, atol=0.03)


def test_strengths_are_uniform_or_normal() -> None:
    uniform = {"xflip", "rotate90", "xint", "pre_rotation", "post_rotation", "lumaflip", "hue", "cutout"}
    for name, leaves in draws_of((4000, 4, 4, 1), PIPELINES["bgcfnc"]).items():
        mean, stddev = (0.5, 12**-0.5) if name in uniform else (0, 1)
        np.testing.assert_allclose(leaves.strength.mean(axis=0), mean, atol=0.06, err_msg=name)
        np.testing.assert_allclose(leaves.strength.std(axis=0), stddev, rtol=0.05, err_msg=name)


def test_draws_of_an_augmentation_do_not_depend_on_the_others() -> None:
    few, many = draws_of(WIDE, PIPELINES["color"]), draws_of(WIDE, PIPELINES["bgcfnc"])
    assert set(few) == {"brightness", "contrast", "lumaflip", "hue", "saturation"}
    jax.tree.map(np.testing.assert_array_equal, few, {name: many[name] for name in few})


def test_draws_differ_between_augmentations_and_images() -> None:
    inputs = draws_of(WIDE, PIPELINES["bgcfnc"])
    chances = np.concatenate([np.ravel(leaves.chance) for leaves in inputs.values()])
    assert len(set(chances)) == chances.size
    assert all(len(leaf) == WIDE[0] and leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(inputs))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"xflip": -1.0}, r"xflip is -1.0, expected finite and at least 0"),
        ({"scale_std": float("nan")}, r"scale_std is nan, expected finite and at least 0"),
        ({"imgfilter_bands": (1.0, 1.0)}, r"imgfilter_bands has 2 entries, expected 4"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentSettings(**arguments)


def test_colours_of_four_channels_are_refused() -> None:
    settings = PIPELINES["color"]
    inputs = jax.eval_shape(lambda: sample_inputs(settings, jax.random.key(0), 1, (2, 2, 4)))
    images, p = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 2, 2, 4), ()))
    with pytest.raises(ValueError, match="images have 4 channels, expected 1 or 3"):
        jax.eval_shape(functools.partial(augment, settings), images, inputs, p)
