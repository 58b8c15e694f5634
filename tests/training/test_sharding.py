"""Runs laid over a mesh: the same numbers, and a share of them on each device."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inr_gan_jax.array_types import Array
from inr_gan_jax.config.schema import Config, ShardingConfig
from inr_gan_jax.config.validate import ConfigError
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.build import build_discriminator, build_generator
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.phase_inputs import PhaseInputs, sample_phase_inputs
from inr_gan_jax.training.sharding import Shardings, shardings_of
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep
from tests.conftest import tiny_config

BATCH = 16


def mesh_config() -> Config:
    """Everything that could notice how a batch is cut: minibatch stddev, lazy R1, ADA and accumulation."""
    return tiny_config(
        training={"batch_size": BATCH, "num_microbatches": 2},
        loss={"r1_interval": 2},
        augment={"kind": "ada", "initial_p": 0.5},
    )


@dataclasses.dataclass
class Ran:
    """A run of some steps: where it lay, the state after it, and the program of its step."""

    shardings: Shardings
    state: TrainState
    program: str


def ran(num_devices: int, settings: ShardingConfig, num_steps: int = 3) -> Ran:
    """Trains some steps in float64."""
    config = mesh_config()
    parts = (build_generator(config, for_training=True), build_discriminator(config), build_optimizers(config))
    shardings = shardings_of(jax.devices()[:num_devices], BATCH, settings)

    def double(leaf: jax.Array) -> jax.Array:
        return leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    def initial() -> TrainState:
        return jax.tree.map(double, init_state(config, *parts))

    state = jax.jit(initial, out_shardings=shardings.of_state(jax.eval_shape(initial)))()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_steps, BATCH, 8, 8, 1), dtype=np.uint8)
    batches = [{"image": image, "label": np.zeros(BATCH, np.int32)} for image in images]
    placed = [jax.device_put(batch, shardings.batch) for batch in batches]
    step = jax.jit(TrainStep(config, *parts, shardings).__call__).lower(state, placed[0]).compile()
    for batch in placed:
        # One program at a time: those for several CPU devices share a pool of threads and can starve each other.
        state = jax.block_until_ready(step(state, batch)[0])
    return Ran(shardings, state, step.as_text())


@pytest.fixture(scope="module")
def one_and_mesh() -> tuple[Ran, Ran]:
    """One device, and eight as 2 x 4 that split the optimizers; compiled once for all tests."""
    with jax.enable_x64(True):
        return ran(1, ShardingConfig()), ran(8, ShardingConfig(spatial=4, optimizer=True))


def test_steps_on_a_mesh_end_where_those_of_one_device_do(one_and_mesh: tuple[Ran, Ran]) -> None:
    one, mesh = (jax.tree.leaves(jax.device_get(each.state)) for each in one_and_mesh)
    for ours, theirs in zip(one, mesh, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.fixture(scope="module")
def single_steps() -> tuple[Any, Any]:
    """Gradients in float32 and the parameters that they lead to, on one device and on eight."""
    return phases_of_a_step(1), phases_of_a_step(8)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "bar"), [("gradients", 1e-6), ("parameters", 2e-5)])
def test_a_single_step_in_float32_differs_by_rounding_only(
    single_steps: tuple[Any, Any], part: str, bar: float
) -> None:
    one, mesh = (jax.tree.leaves(each[part]) for each in single_steps)
    assert len(one) > 20
    for ours, theirs in zip(one, mesh, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=0, atol=bar * max(1.0, np.abs(ours).max()))


def test_each_device_computes_its_share_of_batch_and_rows(one_and_mesh: tuple[Ran, Ran]) -> None:
    one, mesh = one_and_mesh
    # Features [batch, 8, 8, 8] of the discriminator: 8 images a part, on one device and on 2 x 4.
    assert "f64[8,8,8,8]" in one.program
    assert "f64[4,2,8,8]" in mesh.program
    assert "all-reduce" in mesh.program
    assert "all-reduce" not in one.program


def test_split_optimizers_take_half_of_the_memory_on_two_groups(one_and_mesh: tuple[Ran, Ran]) -> None:
    def bytes_a_device(tree: Any) -> int:
        return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))

    one, mesh = (each.state for each in one_and_mesh)
    ratio = bytes_a_device(mesh.discriminator_opt) / bytes_a_device(one.discriminator_opt)
    assert 0.5 <= ratio < 0.51, "but for the scalars"
    assert bytes_a_device(mesh.discriminator_params) == bytes_a_device(one.discriminator_params)


def phases_of_a_step(num_devices: int) -> dict[str, Any]:
    """Gradients and new parameters of both networks, R1 included, on one device or on 4 x 2."""
    config = tiny_config(training={"batch_size": 8}, loss={"r1_interval": 1})
    parts = (build_generator(config, for_training=True), build_discriminator(config), build_optimizers(config))
    shardings = shardings_of(jax.devices()[:num_devices], 8, ShardingConfig(spatial=2 if num_devices > 1 else 1))
    step = TrainStep(config, *parts, shardings)
    images = jax.random.randint(jax.random.key(1), (8, 8, 8, 1), 0, 256).astype(jnp.uint8)

    def draw(images: Array) -> PhaseInputs:
        prepared = step.prepare({"image": images})
        return sample_phase_inputs(config, step.generator, step.losses.augmentation, prepared, jax.random.key(2))

    def phases(state: TrainState, inputs: PhaseInputs) -> dict[str, Any]:
        inputs = step.losses.constrain_inputs(inputs)
        after = [step.run_phase(phase, state, inputs)[0] for phase in step.intervals()]
        return {
            "gradients": [step.losses.gradients(phase, state, inputs)[0] for phase in step.intervals()],
            "parameters": [(each.generator_params, each.discriminator_params) for each in after],
        }

    state = jax.device_put(jax.jit(lambda: init_state(config, *parts))(), shardings.replicated)
    inputs = jax.device_put(jax.jit(draw)(images), shardings.batch)
    return jax.device_get(jax.jit(phases)(state, inputs))


def test_optimizers_stay_whole_unless_asked_for() -> None:
    shardings = shardings_of(jax.devices()[:8], 8)
    config = tiny_config()
    parts = (build_generator(config), build_discriminator(config), build_optimizers(config))
    placed = shardings.of_state(jax.eval_shape(lambda: init_state(config, *parts)))
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(placed))


def test_devices_that_cannot_share_are_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="spatial is 3, expected a divisor of the 8 devices"):
        shardings_of(jax.devices()[:8], 8, ShardingConfig(spatial=3))
    with pytest.raises(UserError, match="batch_size is 6, expected a multiple of the 4 groups of 2 devices"):
        shardings_of(jax.devices()[:8], 6, ShardingConfig(spatial=2))
    with pytest.raises(ConfigError, match=r"a divisor of data\.height = 8"):
        tiny_config(sharding={"spatial": 3})
