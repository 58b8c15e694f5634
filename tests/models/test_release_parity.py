"""The release networks equal the recorded tensors of the official implementation, in float64."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax import losses
from inr_gan_jax.models.layers import append_minibatch_stddev
from inr_gan_jax.models.mapping import truncate, updated_w_avg
from inr_gan_jax.models.release.layers import upsample
from tests.golden.records import assert_matches, channels_last, load, relative_error
from tests.golden_release import VARIANTS, Recording, float32_bar, noise_floors

TOLERANCE = 1e-9
R1_GAMMA = 10.0
PL_WEIGHT = 2.0

each_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@functools.cache
def recording(variant: str) -> Recording:
    return Recording(variant)


def assert_equals(ours: Any, theirs: Any) -> None:
    assert np.asarray(ours).dtype == np.float64
    assert_matches(ours, theirs, TOLERANCE)


def assert_trees_match(ours: Any, theirs: Any) -> None:
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(assert_equals, ours, theirs)


def slopes(golden: Recording, loss_of: Callable[[Any, Recording], Any], params: Any) -> Any:
    """Value and gradient of a loss with further results; one program."""
    gradient = jax.value_and_grad(loss_of, has_aux=True)
    return golden.run(lambda golden, params: gradient(params, golden), params)


def codes_of(golden: Recording, params: Any) -> dict[str, jax.Array]:
    ws = golden.mapping(params)
    return {
        "img": ws,
        "img_trunc0.7": truncate(ws, golden.w_avg, 0.7),
        "img_trunc0.5_cutoff2": truncate(ws, golden.w_avg, 0.5, 2),
        "img_mixed": golden.input("ws_mixed"),
    }


def draw(golden: Recording) -> tuple[dict[str, jax.Array], dict[str, jax.Array], Any]:
    """ws, images and the activations of the first images, by the name of the image; one program."""

    def program(golden: Recording, params: Any) -> Any:
        codes = codes_of(golden, params)
        images, kept = golden.synthesis(params, jnp.concatenate(list(codes.values())), keep=True)
        first = jax.tree.map(lambda leaf: leaf[: len(codes["img"])], kept["intermediates"])
        return codes, dict(zip(codes, jnp.split(images, len(codes)), strict=True)), first

    return golden.run(program, golden.variables["params"])


@functools.cache
def drawn(variant: str) -> Any:
    return draw(recording(variant))


@each_variant
def test_intermediate_codes_match(variant: str) -> None:
    codes, _, _ = drawn(variant)
    assert_equals(codes["img"], recording(variant).arrays["ws"])
    assert_equals(codes["img_trunc0.7"], recording(variant).arrays["ws_trunc0.7"])


@each_variant
def test_running_mean_of_w_matches(variant: str) -> None:
    golden = recording(variant)
    codes, _, _ = drawn(variant)
    decay = golden.settings.w_avg_decay
    assert_equals(updated_w_avg(golden.w_avg, codes["img"][:, 0].mean(axis=0), decay), golden.arrays["w_avg_after"])


@each_variant
@pytest.mark.parametrize("name", ["img", "img_trunc0.7", "img_trunc0.5_cutoff2", "img_mixed"])
def test_images_match(variant: str, name: str) -> None:
    _, images, _ = drawn(variant)
    assert_equals(images[name], channels_last(recording(variant).arrays[name]))


@each_variant
def test_images_without_noise_match(variant: str) -> None:
    golden = recording(variant)
    codes, images, _ = drawn(variant)
    ours = images["img"]
    if golden.settings.use_noise:
        ours = golden.run(lambda golden, ws: golden.synthesis(golden.variables["params"], ws, "none"), codes["img"])
    assert_equals(ours, channels_last(golden.arrays["img_noise_none"]))


@each_variant
def test_generator_activations_match(variant: str) -> None:
    golden = recording(variant)
    _, _, kept = drawn(variant)
    grids = golden.network.grids(golden.settings.native_viewport)
    before = None
    for plan in golden.settings.blocks():
        ours, theirs = kept[f"blocks_{plan.side}"], f"actG/synthesis.b{plan.side}"
        features, image = ours["__call__"][0]
        assert_equals(features, channels_last(golden.arrays[f"{theirs}:0"]))
        assert_equals(image, channels_last(golden.arrays[f"{theirs}:1"]))
        if "coordinates" in ours:
            owner = "coord_fuser" if before is not None else "input.input.coord_fuser"
            fused = ours["coordinates"]["__call__"][0]
            if before is not None:
                carried = jax.vmap(lambda x, plan=plan: upsample(golden.settings, x, grids[plan.grid_index]))(before)
                fused = jnp.concatenate([carried, fused], axis=-1)
            assert_equals(fused, channels_last(golden.arrays[f"{theirs}.{owner}:0"]))
        before = features


@each_variant
def test_generator_loss_and_gradients_match(variant: str) -> None:
    golden = recording(variant)

    def loss_of(params: Any, golden: Recording) -> Any:
        logits = golden.score(golden.discriminator_params, golden.synthesis(params, golden.mapping(params)), golden.c)
        return losses.generator_loss(logits), logits

    (loss, logits), gradients = slopes(golden, loss_of, golden.variables["params"])
    assert_equals(logits, golden.arrays["logits_fake"][:, 0])
    assert_equals(jax.nn.softplus(-logits), golden.arrays["loss_G"][:, 0])
    assert_equals(loss, golden.arrays["loss_G"].mean())
    assert_trees_match(gradients, golden.as_variables("gradG/", golden.slots, "params")["params"])


@pytest.mark.parametrize("variant", [name for name in VARIANTS if "pl_lengths" in load(name)])
def test_path_length_and_gradients_match(variant: str) -> None:
    golden = recording(variant)

    def loss_of(params: Any, golden: Recording) -> Any:
        noise = golden.images("pl_noise") * golden.settings.resolution
        lengths = losses.path_lengths(lambda ws: golden.synthesis(params, ws), golden.mapping(params), noise)
        penalty, mean = losses.path_length_penalty(lengths, golden.input("pl_mean_in"))
        return PL_WEIGHT * penalty, (lengths, penalty, mean)

    (_, (lengths, penalty, mean)), gradients = slopes(golden, loss_of, golden.variables["params"])
    assert_equals(lengths, golden.arrays["pl_lengths"])
    assert_equals(mean, golden.arrays["pl_mean_out"])
    assert_equals(penalty, golden.arrays["pl_penalty"].mean())
    assert_trees_match(gradients, golden.as_variables("gradG_pl/", golden.slots, "params")["params"])


def judge(golden: Recording) -> Any:
    """Losses, logits, activations and gradients of the discriminator on recorded images; one program."""

    def loss_of(params: Any, golden: Recording) -> Any:
        fake_logits, kept = golden.discriminator.apply(
            {"params": params}, golden.images("img"), golden.c, capture_intermediates=True, mutable=["intermediates"]
        )
        real_logits = golden.score(params, golden.images("real"), golden.c)
        loss = losses.discriminator_loss(real_logits, fake_logits)
        return loss, (fake_logits, real_logits, kept["intermediates"])

    return slopes(golden, loss_of, golden.discriminator_params)


@functools.cache
def judged(variant: str) -> Any:
    return judge(recording(variant))


@each_variant
def test_discriminator_loss_and_gradients_match(variant: str) -> None:
    golden = recording(variant)
    (loss, (fake_logits, real_logits, _)), gradients = judged(variant)
    assert_equals(fake_logits, golden.arrays["logits_fake"][:, 0])
    assert_equals(real_logits, golden.arrays["logits_real"][:, 0])
    assert_equals(jax.nn.softplus(fake_logits), golden.arrays["loss_Dgen"][:, 0])
    assert_equals(jax.nn.softplus(-real_logits), golden.arrays["loss_Dreal"][:, 0])
    assert_equals(loss, golden.arrays["loss_Dgen"].mean() + golden.arrays["loss_Dreal"].mean())
    assert_trees_match(gradients, golden.as_variables("gradD_main/", golden.discriminator_slots)["params"])


@each_variant
def test_discriminator_activations_match(variant: str) -> None:
    golden = recording(variant)
    (_, (fake_logits, _, kept)), _ = judged(variant)
    features = None
    for key in [name for name in golden.arrays if name.startswith("actD/b") and "b4" not in name]:
        side = int(key.removeprefix("actD/b").removesuffix(":0"))
        features = kept[f"block_{side}"]["__call__"][0]
        assert_equals(features, channels_last(golden.arrays[key]))
    assert features is not None
    group = golden.discriminator.mbstd_group_size or len(features)
    assert_equals(append_minibatch_stddev(features, group), channels_last(golden.arrays["actD/b4.mbstd:0"]))
    assert_equals(fake_logits, golden.arrays["actD/b4:0"][:, 0])


@each_variant
def test_r1_and_gradients_match(variant: str) -> None:
    golden = recording(variant)

    def loss_of(params: Any, golden: Recording) -> Any:
        def score(images: jax.Array) -> jax.Array:
            return golden.score(params, images, golden.c)

        penalty = losses.gradient_penalty(score, golden.images("real"))[0]
        steps = jax.grad(lambda images: jnp.sum(score(images)))(golden.images("real"))
        return R1_GAMMA / 2 * penalty, (penalty, steps)

    (_, (penalty, steps)), gradients = slopes(golden, loss_of, golden.discriminator_params)
    assert_equals(penalty, golden.arrays["r1_penalty"].mean())
    assert_equals(jnp.sum(jnp.square(steps), axis=(1, 2, 3)), golden.arrays["r1_penalty"])
    assert_equals(steps, channels_last(golden.arrays["r1_grads"]))
    assert_trees_match(gradients, golden.as_variables("gradD_r1/", golden.discriminator_slots)["params"])


def grouped_logits(golden: Recording) -> tuple[jax.Array, jax.Array]:
    """Logits of eight images and of two: other groups of the minibatch standard deviation."""

    def program(golden: Recording, params: Any) -> Any:
        c = golden.c
        labels = (None, None) if c is None else (jnp.concatenate([c, jnp.flip(c, 0)]), c[:2])
        eight, two = golden.images("real8"), golden.images("real")[:2]
        return golden.score(params, eight, labels[0]), golden.score(params, two, labels[1])

    return golden.run(program, golden.discriminator_params)


@each_variant
def test_logits_of_other_batch_sizes_match(variant: str) -> None:
    golden = recording(variant)
    eight, two = grouped_logits(golden)
    assert_equals(eight, golden.arrays["logits_real8"][:, 0])
    assert_equals(two, golden.arrays["logits_real2"][:, 0])


# One network in the fast suite; the others run with the slow tests.
@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=() if name == "tiny-cips-16" else pytest.mark.slow) for name in VARIANTS],
)
def test_float32_stays_within_rounding(variant: str) -> None:
    golden, floors = Recording(variant, np.float32), noise_floors(variant)
    codes, images, _ = draw(golden)
    logits = [
        golden.run(lambda golden, images: golden.score(golden.discriminator_params, images, golden.c), batch)
        for batch in (images["img"], golden.images("real"))
    ]
    # Our own results in float64, which equal the recorded ones, are there entry by entry.
    exact_codes, exact_images, _ = drawn(variant)
    pairs: dict[str, Any] = {name: (images[name], exact_images[name]) for name in images}
    pairs |= {"ws": (codes["img"], exact_codes["img"])}
    pairs |= {"ws_trunc0.7": (codes["img_trunc0.7"], exact_codes["img_trunc0.7"])}
    pairs |= {
        name: (ours, golden.arrays[name][:, 0])
        for name, ours in zip(("logits_fake", "logits_real"), logits, strict=True)
    }
    for name, (ours, exact) in pairs.items():
        assert np.asarray(ours).dtype == np.float32
        assert relative_error(ours, exact) <= float32_bar(floors[name]), name
