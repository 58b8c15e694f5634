"""The training step: what it computes, and that the number of devices does not matter."""

import dataclasses
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.checkpoint.manager import Checkpointer
from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.optimizers import build_optimizers, sanitize_gradients
from inr_gan_jax.training.phase_inputs import PhaseInputs, sample_phase_inputs
from inr_gan_jax.training.phase_losses import Phase, split_batch
from inr_gan_jax.training.sharding import make_shardings
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep
from tests.closeness import assert_close
from tests.conftest import small_release_config, tiny_config
from tests.marks import mostly_slow


def build(config: Config, num_devices: int = 1) -> tuple[TrainStep, TrainState]:
    shardings = make_shardings(num_devices, config.training.batch_size)
    generator, discriminator = build_generator(config), build_discriminator(config)
    optimizers = build_optimizers(config)
    step = TrainStep(config, generator, discriminator, optimizers, shardings)
    initialise = jax.jit(init_state, static_argnums=(0, 1, 2, 3), out_shardings=shardings.replicated)
    return step, initialise(config, generator, discriminator, optimizers)


def batch_of(config: Config, num_devices: int = 1) -> dict:
    rng, size = np.random.default_rng(0), config.training.batch_size
    shape = (size, config.data.height, config.data.width, config.data.channels)
    arrays = {"image": rng.integers(0, 256, shape, dtype=np.uint8), "label": rng.integers(0, 10, size, dtype=np.int32)}
    return jax.device_put(arrays, make_shardings(num_devices, size).batch)


def inputs_of(step: TrainStep, state: TrainState, batch: dict) -> PhaseInputs:
    augmentation = step.losses.augmentation
    return sample_phase_inputs(
        step.config, step.generator, augmentation, step.prepare(batch, state.w_avg.dtype), state.step_key()
    )


def gradients_of(step: TrainStep, state: TrainState, batch: dict, *phases: Phase) -> dict:
    """Gradients, scalars and mean codes of phases, all on the same random numbers."""

    def compute(state: TrainState, batch: dict) -> dict:
        inputs = inputs_of(step, state, batch)
        return {phase: step.losses.gradients(phase, state, inputs) for phase in phases}

    return jax.device_get(jax.jit(compute)(state, batch))


def in_float64(state: TrainState) -> TrainState:
    return jax.tree.map(
        lambda leaf: leaf.astype(np.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state
    )


@pytest.mark.slow
def test_run_saved_on_eight_devices_continues_on_two(tmp_path: Path, x64: None) -> None:
    config = tiny_config(training={"batch_size": 16}, loss={"r1_interval": 1}, optimizer={"decay_kimg": 0.0})
    batch = {name: np.asarray(array) for name, array in batch_of(config).items()}
    iterator = iter(grain.MapDataset.range(9).to_iter_dataset())

    def steps(step: TrainStep, state: TrainState, num_devices: int) -> list[TrainState]:
        placed = jax.device_put(batch, make_shardings(num_devices, 16).batch)
        function, states = jax.jit(step), [state]
        for _ in range(2):
            # One program at a time: those for several CPU devices share a pool of threads and can starve each other.
            states.append(jax.block_until_ready(function(states[-1], placed)[0]))
        return states

    eight, fresh = build(config, 8)
    half = steps(eight, in_float64(fresh), 8)[-1]
    checkpoints = Checkpointer(tmp_path, 1)
    checkpoints.save(2, half, iterator)
    checkpoints.wait()
    two, other = build(config, 2)
    restored = checkpoints.restore(in_float64(other), iterator)
    assert restored is not None
    checkpoints.close()
    assert restored[0].w_avg.sharding.num_devices == 2
    ends = jax.device_get((steps(eight, half, 8)[-1], steps(two, restored[0], 2)[-1]))
    # Adam turns rounding errors of gradients into larger ones of parameters, hence float64 with a wide margin.
    for first, second in zip(*map(jax.tree.leaves, ends), strict=True):
        assert np.abs(first - second).max(initial=0) <= 1e-9 * max(1.0, np.abs(first).max(initial=0))


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
        optimizer={
            "mapping_lr": 1e-3,
            "connector_lr": 1e-3,
            "inr_lr": 3e-3,
            "discriminator_lr": 7e-3,
            "decay_kimg": 0.0,
        },
        loss={"r1_interval": 1, "r1_gamma": 3.0},
    )
    step, state = build(config)
    after, scalars = jax.jit(step)(state, batch_of(config))
    numbers = {name: value for of_phase in scalars.values() for name, value in of_phase.items()}
    return Stepped(config, step, jax.device_get(state), jax.device_get(after), jax.device_get(numbers))


def test_step_changes_everything_but_the_key(stepped: Stepped) -> None:
    before, after = stepped.before, stepped.after
    assert int(after.step) == 1
    np.testing.assert_array_equal(after.key_data, before.key_data)
    for name in ("generator_params", "discriminator_params"):
        pairs = zip(jax.tree.leaves(getattr(before, name)), jax.tree.leaves(getattr(after, name)), strict=True)
        assert all(np.abs(old - new).max() > 0 for old, new in pairs), name
    assert {"loss/discriminator", "loss/generator", "loss/r1", "logits/sign_real", "images/contrast"} < {
        *stepped.scalars
    }
    assert all(np.isfinite(value) for value in stepped.scalars.values())


def test_each_step_draws_other_latents() -> None:
    config = tiny_config()
    _, state = build(config)
    keys = [state.replace(step=jnp.asarray(step)).step_key() for step in (0, 1)]
    assert not np.array_equal(*map(jax.random.key_data, keys))


def test_r1_in_the_same_step_adds_half_gamma_times_the_penalty(stepped: Stepped) -> None:
    step, state = stepped.step, stepped.before
    inputs = inputs_of(step, state, batch_of(stepped.config))
    total, (scalars, _) = jax.jit(step.losses.discriminator_loss)(state.discriminator_params, state, inputs)
    assert float(total) == pytest.approx(float(scalars["loss/discriminator"] + 1.5 * scalars["loss/r1"]), rel=1e-5)


def test_lazy_penalties_move_only_the_discriminator_and_by_both_gammas() -> None:
    config = tiny_config(loss={"r1_interval": 16, "r1_gamma": 3.0, "r2_gamma": 5.0})
    step, state = build(config)
    assert step.intervals() == {"discriminator": 1, "penalty": 16, "generator": 1}
    inputs = inputs_of(step, state, batch_of(config))
    total, (scalars, _) = jax.jit(step.losses.penalty_loss)(state.discriminator_params, state, inputs)
    half = 1.5 * scalars["loss/r1"] + 2.5 * scalars["loss/r2"]
    assert float(total) == pytest.approx(float(16 * half), rel=1e-5)
    assert float(scalars["loss/r1"]) != float(scalars["loss/r2"]) > 0
    after, numbers = jax.jit(lambda state, inputs: step.run_phase("penalty", state, inputs))(state, inputs)
    assert float(numbers["loss/r1"]) == pytest.approx(float(scalars["loss/r1"]), rel=1e-5)
    for name in ("generator_params", "w_avg", "pl_mean"):
        assert jax.tree.all(jax.tree.map(np.array_equal, getattr(after, name), getattr(state, name)))
    assert not jax.tree.all(jax.tree.map(np.array_equal, after.discriminator_params, state.discriminator_params))


def test_released_order_and_intervals_of_the_phases() -> None:
    config = tiny_config(loss={"pl_weight": 2.0, "pl_interval": 4}, training={"generator_first": True})
    step, _ = build(config)
    assert list(step.intervals().items()) == [
        ("generator", 1), ("path_length", 4), ("discriminator", 1), ("penalty", 16)
    ]  # fmt: skip


@pytest.mark.slow
def test_four_parts_of_eight_have_the_gradients_of_a_batch_of_32(x64: None) -> None:
    # A picture of 4x4 leaves the discriminator its minibatch standard deviation and little else to compile.
    results = []
    for rounds in (1, 4):
        config = tiny_config(
            data={"height": 4, "width": 4},
            loss={"pl_weight": 2.0, "pl_interval": 4, "r2_gamma": 1.0},
            augment={"kind": "differentiable", "policy": ("translation",)},
            training={"batch_size": 32, "num_microbatches": rounds},
        )
        step, state = build(config)
        state = in_float64(state).replace(pl_mean=jnp.asarray(0.7))
        results.append(gradients_of(step, state, batch_of(config), "generator", "path_length", "penalty"))
    for whole, parts in zip(*(jax.tree.leaves(result) for result in results), strict=True):
        # Contrast is a deviation across a part; all else is a mean over the batch.
        if whole.shape:
            assert np.abs(whole - parts).max() <= 1e-9 * max(np.abs(whole).max(), 1e-3)
    for phase in results[0]:
        whole, parts = (result[phase][1][0] for result in results)
        names = [name for name in whole if name.startswith(("loss", "logits", "path"))]
        assert {name: pytest.approx(whole[name], rel=1e-9) for name in names} == {name: parts[name] for name in names}


def test_parts_of_a_batch_hold_whole_groups() -> None:
    # Groups of 3 in a batch of 12: sample m * 4 + n is member m of group n.
    parts = split_batch({"index": jnp.arange(12)}, rounds=2, group_size=3)["index"]
    assert parts.shape == (2, 6)
    for part in np.asarray(parts):
        groups = part.reshape(3, 2).T  # as the minibatch standard deviation groups it
        assert all(len({int(index) % 4 for index in group}) == 1 for group in groups)
    assert sorted(np.asarray(parts).ravel()) == list(range(12))


@pytest.mark.slow
def test_rematerialisation_changes_no_gradient(x64: None) -> None:
    results, counts = [], []
    for remat in (False, True):
        config = small_release_config(training={"batch_size": 8, "remat": remat})
        step, state = build(config)
        state = in_float64(state)
        text = str(jax.make_jaxpr(lambda s, b, step=step: step(s, b))(state, batch_of(config)))
        # Strided convolutions on CPUs are always computed again.
        counts.append(text.count("remat"))
        # The gradient of the generator goes through the discriminator too.
        results.append(gradients_of(step, state, batch_of(config), "generator"))
    assert counts[1] > counts[0]
    for first, second in zip(*map(jax.tree.leaves, results), strict=True):
        assert np.abs(first - second).max() <= 1e-10 * max(np.abs(first).max(), 1e-3)


@pytest.mark.parametrize("model", mostly_slow(["paper", "release"], fast=()))
def test_bfloat16_keeps_float32_parameters_and_nearly_the_gradients(model: str) -> None:
    results = []
    for precision in ("float32", "bfloat16"):
        training = {"precision": precision, "batch_size": 8}
        config = tiny_config(training=training) if model == "paper" else small_release_config(training=training)
        step, state = build(config)
        text = str(jax.make_jaxpr(lambda s, b, step=step: step(s, b))(state, batch_of(config)))
        assert ("bf16" in text) == (precision == "bfloat16")
        results.append(gradients_of(step, state, batch_of(config), "generator"))
    exact, low = results
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(low))
    one, two = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(r["generator"][0])]) for r in (exact, low))
    # Seven bits of mantissa, and leaky ReLUs whose input is near 0 change side.
    assert 0 < np.linalg.norm(one - two) < 0.25 * np.linalg.norm(one)


def test_gradients_that_are_not_finite_are_replaced_and_counted() -> None:
    gradients = {"a": jnp.array([1.0, jnp.nan, -jnp.inf]), "b": jnp.array([jnp.inf])}
    clean, count = sanitize_gradients(gradients)
    assert int(count) == 3
    np.testing.assert_array_equal(clean["a"], np.array([1.0, 0.0, -1e5], np.float32))
    np.testing.assert_array_equal(clean["b"], np.array([1e5], np.float32))


def test_mixed_styles_take_the_first_layers_from_one_code_and_the_rest_from_the_other() -> None:
    config = small_release_config(loss={"style_mixing_prob": 0.9})
    step, state = build(config)
    inputs = inputs_of(step, state, batch_of(config))
    assert inputs.latents.num_first is not None
    assert len({int(number) for number in inputs.latents.num_first}) == 1
    mixing = inputs.replace(latents=inputs.latents.replace(num_first=jnp.full(8, 2)))
    ws, w = jax.jit(step.losses.map_latents)(state.variables, mixing)
    first = step.generator.batch_mapping(state.variables, inputs.latents.z)
    second = step.generator.batch_mapping(state.variables, inputs.latents.mixing_z)
    assert_close(ws[:, :2], first[:, :2])
    assert_close(ws[:, 2:], second[:, 2:])
    assert_close(w, first[:, 0].mean(axis=0))


@pytest.mark.slow
def test_perceptual_term_adds_its_weight_times_the_distance() -> None:
    config = tiny_config(data={"height": 16, "width": 16}, loss={"perceptual_weight": 10.0, "vgg16_file": "vgg16.npz"})
    step, state = build(config)
    step = dataclasses.replace(step, perceptual=lambda weights, a, b: weights * jnp.abs(a - b).mean(axis=(1, 2, 3)))
    inputs = inputs_of(step, state, batch_of(config))
    total, (scalars, _) = jax.jit(step.losses.generator_loss)(state.generator_params, state, inputs, jnp.asarray(0.5))
    expected = scalars["loss/generator"] + 10 * scalars["loss/perceptual"]
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert float(scalars["loss/perceptual"]) > 0


def test_each_time_of_going_back_draws_other_numbers_and_scales_the_rates() -> None:
    config = tiny_config(guard={"lr_factor": 0.25}, optimizer={"discriminator_lr": 1e-3, "decay_kimg": 0.0})
    step, state = build(config)
    later = state.replace(num_rollbacks=state.num_rollbacks + 1)
    assert not np.array_equal(*(jax.random.key_data(s.step_key()) for s in (state, later)))
    inputs = inputs_of(step, state, batch_of(config))
    move = jax.jit(lambda s: step.run_phase("discriminator", s, inputs)[0].discriminator_params["final_conv"]["bias"])
    lengths = [float(np.abs(move(s)).max()) for s in (state, later)]  # biases start at 0
    assert lengths[1] == pytest.approx(0.25 * lengths[0], rel=1e-5)


def test_average_has_the_stated_half_life() -> None:
    config = tiny_config(training={"ema_kimg": 0.08, "ema_rampup": 0.0, "batch_size": 8})
    step, state = build(config)
    moved = state.replace(
        ema_params=jax.tree.map(jnp.zeros_like, state.ema_params),
        generator_params=jax.tree.map(jnp.ones_like, state.generator_params),
    )
    for _ in range(10):  # 80 images
        moved = moved.replace(ema_params=step.ema_update(moved))
    for leaf in jax.tree.leaves(moved.ema_params):
        np.testing.assert_allclose(leaf, 0.5, rtol=1e-5)


def test_average_starts_as_a_copy_when_it_ramps_up() -> None:
    config = tiny_config(training={"ema_kimg": 5.0, "ema_rampup": 0.05})
    step, state = build(config)
    moved = state.replace(generator_params=jax.tree.map(lambda leaf: leaf + 1, state.generator_params))
    jax.tree.map(np.testing.assert_allclose, step.ema_update(moved), moved.generator_params)


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
