"""The training step: what it computes, and that the number of devices does not matter."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax import losses
from inr_gan_jax.config import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.sharding import make_shardings
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep
from tests.conftest import tiny_config


def build(config: Config, num_devices: int = 1) -> tuple[TrainStep, TrainState]:
    shardings = make_shardings(num_devices, config.training.batch_size)
    generator, discriminator = build_generator(config), build_discriminator(config)
    optimizers = build_optimizers(config)
    step = TrainStep(config, generator, discriminator, optimizers, shardings.batch)
    initialise = jax.jit(init_state, static_argnums=(0, 1, 2, 3), out_shardings=shardings.replicated)
    return step, initialise(config, generator, discriminator, optimizers)


def batch_of(config: Config, num_devices: int = 1) -> dict:
    rng, size = np.random.default_rng(0), config.training.batch_size
    shape = (size, config.data.height, config.data.width, config.data.channels)
    arrays = {"image": rng.integers(0, 256, shape, dtype=np.uint8), "label": rng.integers(0, 10, size, dtype=np.int32)}
    return jax.device_put(arrays, make_shardings(num_devices, size).batch)


def all_gradients(step: TrainStep, state: TrainState, batch: dict) -> tuple:
    real, labels = step.prepare(batch)
    key = state.step_key()
    variables = {"params": state.generator_params, "constants": state.constants}
    ours = step.discriminator_gradients(state.discriminator_params, variables, real, labels, key)
    return *ours, *step.generator_gradients(
        state.generator_params, state.constants, state.discriminator_params, labels, key
    )


def test_gradients_are_the_same_on_one_and_on_eight_devices() -> None:
    config = tiny_config(training={"batch_size": 16}, loss={"r1_interval": 1}, data={"num_classes": 10})
    results = []
    for count in (1, 8):
        step, state = build(config, count)
        results.append(
            jax.device_get(jax.jit(lambda s, b, step=step: all_gradients(step, s, b))(state, batch_of(config, count)))
        )
    for one, eight in zip(*map(jax.tree.leaves, results), strict=True):
        assert np.abs(one - eight).max() <= 1e-6 * max(1.0, np.abs(one).max())


def test_eight_devices_each_hold_their_share_of_the_batch() -> None:
    config = tiny_config(training={"batch_size": 16})
    shards = batch_of(config, 8)["image"].addressable_shards
    assert len(shards) == 8
    assert {shard.data.shape[0] for shard in shards} == {2}


@dataclasses.dataclass
class Stepped:
    """A state before and after one step with R1 in it; the step is compiled once for all tests that look at it."""

    config: Config
    step: TrainStep
    before: TrainState
    after: TrainState
    scalars: dict


@pytest.fixture(scope="module")
def stepped() -> Stepped:
    config = tiny_config(
        optimizer={"hypernetwork_lr": 1e-3, "inr_lr": 3e-3, "discriminator_lr": 7e-3, "decay_kimg": 0.0},
        loss={"r1_interval": 1, "r1_gamma": 3.0},
    )
    step, state = build(config)
    after, scalars = jax.jit(step)(state, batch_of(config))
    return Stepped(config, step, jax.device_get(state), jax.device_get(after), jax.device_get(scalars))


def test_step_changes_everything_but_the_key(stepped: Stepped) -> None:
    before, after = stepped.before, stepped.after
    assert int(after.step) == 1
    np.testing.assert_array_equal(after.key_data, before.key_data)
    for name in ("generator_params", "discriminator_params"):
        pairs = zip(jax.tree.leaves(getattr(before, name)), jax.tree.leaves(getattr(after, name)), strict=True)
        assert all(np.abs(old - new).max() > 0 for old, new in pairs), name
    assert set(stepped.scalars) == {"loss/discriminator", "loss/generator", "loss/r1", "logits/real", "logits/fake"}
    assert all(np.isfinite(value) for value in stepped.scalars.values())


def test_each_step_draws_other_latents() -> None:
    config = tiny_config()
    _, state = build(config)
    keys = [state.replace(step=jnp.asarray(step)).step_key() for step in (0, 1)]
    assert not np.array_equal(*map(jax.random.key_data, keys))


def test_r1_in_the_same_step_adds_half_gamma_times_the_penalty(stepped: Stepped) -> None:
    step, state = stepped.step, stepped.before
    real, labels = step.prepare(batch_of(stepped.config))
    key, _ = jax.random.split(state.step_key())
    variables = {"params": state.generator_params, "constants": state.constants}
    arguments = (state.discriminator_params, variables, real, labels, key)
    total, (scalars, _) = jax.jit(step.discriminator_loss)(*arguments)
    assert float(scalars["loss/r1"]) == pytest.approx(float(stepped.scalars["loss/r1"]), rel=1e-4)
    assert float(total) == pytest.approx(float(scalars["loss/discriminator"] + 1.5 * scalars["loss/r1"]), rel=1e-5)


def test_lazy_r1_moves_only_the_discriminator_and_by_the_penalty() -> None:
    config = tiny_config(loss={"r1_interval": 16, "r1_gamma": 3.0})
    step, state = build(config)
    assert step.is_lazy()
    batch = batch_of(config)
    after, scalars = jax.jit(step.regularise)(state, batch)
    real, _ = step.prepare(batch)

    def score(images: jax.Array) -> jax.Array:
        return step.discriminator.apply({"params": state.discriminator_params}, images)

    assert float(scalars["loss/r1"]) == pytest.approx(
        float(jax.jit(lambda: losses.r1_penalty(score, real))()), rel=1e-5
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, after.generator_params, state.generator_params))
    assert not jax.tree.all(jax.tree.map(np.array_equal, after.discriminator_params, state.discriminator_params))


def test_average_has_the_stated_half_life() -> None:
    config = tiny_config(training={"ema_kimg": 0.08, "ema_rampup": 0.0, "batch_size": 8})
    step, state = build(config)
    moved = state.replace(
        ema_params=jax.tree.map(jnp.zeros_like, state.ema_params),
        generator_params=jax.tree.map(jnp.ones_like, state.generator_params),
    )
    for _ in range(10):  # 80 images
        moved = moved.replace(ema_params=step.averaged(moved))
    for leaf in jax.tree.leaves(moved.ema_params):
        np.testing.assert_allclose(leaf, 0.5, rtol=1e-5)


def test_average_starts_as_a_copy_when_it_ramps_up() -> None:
    config = tiny_config(training={"ema_kimg": 5.0, "ema_rampup": 0.05})
    step, state = build(config)
    moved = state.replace(generator_params=jax.tree.map(lambda leaf: leaf + 1, state.generator_params))
    jax.tree.map(np.testing.assert_allclose, step.averaged(moved), moved.generator_params)


@pytest.mark.parametrize(
    ("name", "group", "rate"),
    [
        ("generator_params", "hypernetwork", 1e-3),
        ("generator_params", "blocks_1", 3e-3),
        ("discriminator_params", "final_conv", 7e-3),
    ],
)
def test_learning_rates_follow_the_groups(stepped: Stepped, name: str, group: str, rate: float) -> None:
    old, new = getattr(stepped.before, name)[group], getattr(stepped.after, name)[group]
    # The first step of Adam with beta1 = 0 has the length of the learning rate wherever the gradient is not 0.
    longest = max(float(np.abs(a - b).max()) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))
    assert longest == pytest.approx(rate, rel=1e-2)


def test_lazy_regularisation_corrects_adam() -> None:
    config = tiny_config(loss={"r1_interval": 16}, optimizer={"discriminator_lr": 1e-3, "decay_kimg": 0.0})
    optimizer = build_optimizers(config).discriminator
    params = {"weight": jnp.ones(())}
    updates, state = optimizer.update({"weight": jnp.ones(())}, optimizer.init(params), params)
    assert float(updates["weight"]) == pytest.approx(-1e-3 * 16 / 17, rel=1e-4)
    assert float(state[0].nu["weight"]) == pytest.approx(1 - config.optimizer.beta2 ** (16 / 17), rel=1e-4)


def test_learning_rate_decays_to_its_final_fraction() -> None:
    config = tiny_config(
        optimizer={"discriminator_lr": 1e-3, "decay_kimg": 0.08, "final_lr_fraction": 0.1}, loss={"r1_interval": 1}
    )
    optimizer = build_optimizers(config).discriminator
    params = {"weight": jnp.ones(())}
    state, lengths = optimizer.init(params), []
    for _ in range(12):
        updates, state = optimizer.update({"weight": jnp.ones(())}, state, params)
        lengths.append(-float(updates["weight"]))
    assert lengths[0] == pytest.approx(1e-3, rel=1e-4)
    assert lengths[-1] == pytest.approx(1e-4, rel=1e-4)
    assert max(np.diff(lengths)) < 1e-8


@pytest.mark.parametrize(
    ("devices", "batch", "message"), [(9, 18, "num_devices is 9, but 8 cpu devices"), (0, 12, "multiple of the 8")]
)
def test_devices_that_do_not_fit_are_refused(devices: int, batch: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_shardings(devices, batch)


def test_configuration_is_hashable_so_that_it_can_be_static() -> None:
    config = tiny_config()
    assert hash(config) == hash(dataclasses.replace(config))
