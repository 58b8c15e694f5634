"""The paper model equals the recorded tensors of the original implementation, in float64."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax import losses
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.paper.modulation import unflatten_modulation
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.ops.viewport import Viewport
from tests import golden_original
from tests.golden.records import assert_matches, channels_last, load, relative_error
from tests.golden_release import compiled, float32_bar, noise_floors

VARIANT, SIDE = "original-32", 32
TOLERANCE = 1e-9
R1_WEIGHT = 10.0

pytestmark = pytest.mark.usefixtures("x64")


def in_double(params: dict) -> dict:
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), params)


class Recorded:
    """The recorded arrays beside our networks with the recorded weights."""

    def __init__(self) -> None:
        self.arrays = load(VARIANT)
        settings = golden_original.load_settings(VARIANT)
        self.settings = settings
        self.network = PaperNetwork(settings)
        self.params = in_double(golden_original.generator_params(self.arrays, settings))
        self.discriminator = Discriminator((SIDE, SIDE), channel_base=16384, channel_max=64)
        self.discriminator_params = in_double(golden_original.discriminator_params(self.arrays, SIDE))
        self.z = jnp.asarray(self.arrays["z"], jnp.float64)
        self.real = self.images("real")

    def images(self, name: str) -> jnp.ndarray:
        return jnp.asarray(channels_last(self.arrays[name]), jnp.float64)

    def emit(self, z: jnp.ndarray) -> jnp.ndarray:
        def one(network: PaperNetwork, z: jnp.ndarray) -> jnp.ndarray:
            return network.hypernetwork.emit(network.mapping(z)[0])

        return compiled(jax.vmap(lambda z: self.network.apply({"params": self.params}, z, method=one)))(z)

    @functools.cached_property
    def render(self) -> Any:
        """From emitted vectors and, static, a side to images."""

        def one(vector: jnp.ndarray, params: dict, side: int) -> jnp.ndarray:
            modulation = unflatten_modulation(vector, self.settings)
            return self.network.apply({"params": params}, modulation, Viewport(side, side), method="render")

        program = jax.jit(jax.vmap(one, in_axes=(0, None, None)), static_argnums=2)
        return lambda emitted, side: program(emitted, self.params, side)

    def score(self, params: dict, images: jnp.ndarray) -> jnp.ndarray:
        return self.discriminator.apply({"params": params}, images)


@functools.cache
def recorded() -> Recorded:
    return Recorded()


def assert_equals(ours: jnp.ndarray, theirs: Any) -> None:
    assert ours.dtype == np.float64
    assert_matches(ours, theirs, TOLERANCE)


def assert_trees_match(ours: dict, theirs: dict) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(assert_equals, ours, theirs)


def test_parameters_have_the_recorded_names_and_shapes() -> None:
    golden = recorded()
    ours = jax.eval_shape(golden.network.init, jax.random.key(0), golden.z[0])["params"]
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, golden.params)


def test_latents_match() -> None:
    golden = recorded()
    variables = {"params": golden.params}
    ours = jax.vmap(lambda z: golden.network.apply(variables, z, method="mapping"))(golden.z)
    assert_equals(ours[:, 0], golden.arrays["latents"])


def test_emitted_parameters_match() -> None:
    assert_equals(recorded().emit(recorded().z), recorded().arrays["weights"])


@pytest.mark.parametrize(
    ("emitted", "image", "factor"),
    [
        ("weights", "img", 1),
        ("weights", "img_sr2", 2),
        ("weights", "img_sr4", 4),
        ("weights_rand", "img_rand", 1),
        ("weights_rand", "img_rand_sr2", 2),
    ],
)
def test_images_match(emitted: str, image: str, factor: int) -> None:
    golden = recorded()
    vectors = jnp.asarray(golden.arrays[emitted], jnp.float64)
    assert_equals(golden.render(vectors, factor * SIDE), channels_last(golden.arrays[image]))


def test_activations_match() -> None:
    golden = recorded()
    vectors = jnp.asarray(golden.arrays["weights"], jnp.float64)

    def activations(vector: jnp.ndarray) -> dict:
        modulation = unflatten_modulation(vector, golden.settings)
        _, kept = golden.network.apply(
            {"params": golden.params}, modulation, Viewport(SIDE, SIDE), method="render",
            capture_intermediates=True, mutable=["intermediates"],
        )  # fmt: skip
        return kept["intermediates"]

    ours = compiled(jax.vmap(activations))(vectors)
    for index in range(len(golden.settings.blocks)):
        features = ours[f"blocks_{index}"]["__call__"][0]
        flat = features.reshape(*features.shape[:1], -1, features.shape[-1]).transpose(0, 2, 1)
        assert_equals(flat, golden.arrays[f"act/block-{index}"])


def test_logits_match() -> None:
    golden = recorded()
    eight = jnp.concatenate([golden.real, golden.images("img")])

    @compiled
    def program(params: dict, eight: jnp.ndarray) -> Any:
        real, fake = jnp.split(eight, 2)
        return {
            "logits_real8": golden.score(params, eight),
            "logits_real": golden.score(params, real),
            "logits_fake": golden.score(params, fake),
        }

    for name, logits in program(golden.discriminator_params, eight).items():
        assert_equals(logits, golden.arrays[name][:, 0])


def test_generator_loss_and_gradients_match() -> None:
    golden = recorded()

    def loss_of(params: dict, z: jnp.ndarray, discriminator_params: dict) -> jnp.ndarray:
        images = jax.vmap(lambda z: golden.network.apply({"params": params}, z))(z)
        return losses.generator_loss(golden.score(discriminator_params, images))

    step = compiled(jax.value_and_grad(loss_of))
    loss, gradients = step(golden.params, golden.z, golden.discriminator_params)
    assert_equals(loss, golden.arrays["loss_G"])
    assert_trees_match(gradients, golden_original.generator_params(golden.arrays, golden.settings, "gradG/"))


def test_discriminator_loss_r1_and_gradients_match() -> None:
    golden = recorded()

    def loss_of(params: dict, real: jnp.ndarray, fake: jnp.ndarray) -> tuple[jnp.ndarray, tuple]:
        loss = losses.discriminator_loss(golden.score(params, real), golden.score(params, fake))
        penalty = losses.gradient_penalty(lambda images: golden.score(params, images), real)[0]
        return loss + R1_WEIGHT * penalty, (loss, penalty)

    step = compiled(jax.value_and_grad(loss_of, has_aux=True))
    (total, (loss, penalty)), gradients = step(golden.discriminator_params, golden.real, golden.images("img"))
    assert_equals(loss, golden.arrays["loss_D_adv"])
    assert_equals(penalty, golden.arrays["r1_mean"])
    assert_equals(total, golden.arrays["loss_D_total"])
    assert_trees_match(gradients, golden_original.discriminator_params(golden.arrays, SIDE, "gradD/"))


def test_float32_stays_within_rounding() -> None:
    golden = recorded()
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), golden.params)
    images = jax.jit(jax.vmap(lambda z: golden.network.apply({"params": params}, z)))(golden.z.astype(jnp.float32))
    assert images.dtype == jnp.float32
    assert relative_error(images, golden.images("img")) <= float32_bar(noise_floors(VARIANT)["img"])
