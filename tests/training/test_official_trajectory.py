"""Twenty recorded iterations of the official training loop, reproduced: phase order, gains, Adam, EMA, w_avg."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lsun
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.build import build_generator, discriminator_section, release_section
from inr_gan_jax.models.release.official_names import ArraySlot
from inr_gan_jax.training.optimizers import build_optimizers
from inr_gan_jax.training.phase_losses import PHASES
from inr_gan_jax.training.state import TrainState, init_state
from inr_gan_jax.training.steps import TrainStep
from tests.golden.records import assert_matches, channels_last, load, rearranged, relative_error
from tests.golden_release import Recording, compiled

VARIANT = "tiny-inr-gan-32"
NUM_ITERATIONS = 20
TOLERANCE = 1e-8
# Of parameters after all iterations, recorded beside the trajectory.
FLOOR = 6e-5


def run_config(golden: Recording) -> Config:
    """The released recipe at the recorded batch size, duration of the average and R1 weight."""
    values = lsun.get_config("church,release").to_dict()
    side = golden.settings.resolution
    values["data"].update(height=side, width=side, channels=golden.settings.channels, num_classes=0)
    values["release"] = release_section(golden.settings)
    values["discriminator"] = discriminator_section(golden.discriminator)
    values["training"].update(batch_size=8, ema_kimg=0.5, ema_rampup=0.05)
    return parse_config(json.loads(json.dumps(values)))


@dataclasses.dataclass
class Trajectory:
    """What a run went through: states after some iterations, and the scalars of the phases as they were due."""

    golden: Recording
    states: dict[int, TrainState]
    history: dict[str, list[float]]


def run_trajectory(dtype: Any, num_iterations: int = NUM_ITERATIONS) -> Trajectory:
    recorded = recording()
    golden = Recording(VARIANT, dtype)
    config = run_config(golden)
    optimizers = build_optimizers(config)
    step = TrainStep(config, build_generator(config, for_training=True), golden.discriminator, optimizers)
    state = initial_state(golden, step, dtype)
    function = compiled(lambda state, batch, z: step(state, batch, z=z), level=1)
    trajectory = Trajectory(golden, {}, {})
    for number in range(num_iterations):
        batch = {"image": channels_last(recorded["reals"][number]), "label": np.zeros(8, np.int32)}
        z = dict(zip(PHASES, jnp.asarray(recorded["z"][number], dtype), strict=True))
        state, scalars = function(state, batch, z)
        trajectory.states[number + 1] = jax.device_get(state)
        for phase, interval in step.intervals().items():
            for name, value in scalars[phase].items() if number % interval == 0 else ():
                trajectory.history.setdefault(f"{phase}: {name}", []).append(float(value))
    return trajectory


def recording() -> Mapping[str, Any]:
    return load(f"traj-{VARIANT}")


def initial_state(golden: Recording, step: TrainStep, dtype: Any) -> TrainState:
    shapes = jax.eval_shape(lambda: init_state(step.config, step.generator, step.discriminator, step.optimizers))
    state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    params = golden.variables["params"]
    state = state.replace(
        generator_params=params,
        discriminator_params=golden.discriminator_params,
        ema_params=params,
        constants=golden.variables["constants"],
        w_avg=golden.w_avg,
        generator_opt=step.optimizers.generator.init(params),
        discriminator_opt=step.optimizers.discriminator.init(golden.discriminator_params),
    )
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state)


@pytest.fixture(scope="module")
def double() -> Trajectory:
    with jax.enable_x64(True):
        return run_trajectory(np.float64)


def pairs(tree: Any, prefix: str, slots: Sequence[ArraySlot]) -> Iterator[tuple[Any, Any]]:
    """Our parameters beside the recorded ones."""
    for slot in slots:
        if slot.path[0] == "params":
            leaf = tree
            for key in slot.path[1:]:
                leaf = leaf[key]
            yield leaf, rearranged(recording()[prefix + slot.official_name], slot.from_official)


@pytest.mark.parametrize(("prefix", "number"), [("it1", 1), ("final", NUM_ITERATIONS)])
def test_float64_parameters_follow_the_official_loop(prefix: str, number: int, double: Trajectory) -> None:
    golden, state = double.golden, double.states[number]
    compared = [
        *pairs(state.generator_params, f"{prefix}/G/", golden.slots),
        *pairs(state.discriminator_params, f"{prefix}/D/", golden.discriminator_slots),
    ]
    assert len(compared) == len(jax.tree.leaves((state.generator_params, state.discriminator_params)))
    for ours, theirs in compared:
        assert_matches(ours, theirs, TOLERANCE)


def test_float64_averages_follow_the_official_loop(double: Trajectory) -> None:
    last = double.states[NUM_ITERATIONS]
    for ours, theirs in pairs(last.ema_params, "final/G_ema/", double.golden.slots):
        assert_matches(ours, theirs, TOLERANCE)
    assert_matches(last.w_avg, recording()["final/G_ema/mapping.w_avg"], TOLERANCE)


def test_float64_picture_of_the_average_is_the_official_one(double: Trajectory, x64: None) -> None:
    recorded, last = recording(), double.states[NUM_ITERATIONS]
    z = jnp.asarray(recorded["z"][0, 0], np.float64)
    images = compiled(build_generator(run_config(double.golden)).images)(last.ema_variables, z)
    assert_matches(images, channels_last(recorded["final/img_ema"]), TOLERANCE)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("generator: loss/generator", "Gmain/Loss/G/loss"),
        ("discriminator: loss/discriminator", "Dmain/Loss/D/loss"),
        ("discriminator: logits/real", "Dmain/Loss/scores/real"),
        ("discriminator: logits/sign_real", "Dmain/Loss/signs/real"),
        ("penalty: loss/r1", "Dreg/Loss/r1_penalty"),
    ],
)
def test_float64_scalars_are_the_official_ones(ours: str, theirs: str, double: Trajectory) -> None:
    assert double.history[ours] == pytest.approx(list(recording()[f"hist/{theirs}"]), rel=TOLERANCE)


@pytest.mark.slow
def test_float32_stays_within_rounding_until_an_activation_changes_side(double: Trajectory) -> None:
    # In iteration 12 the input of one leaky ReLU is 2e-7 and the noise of float32 parameters turns its sign; Adam
    # makes a step of a whole learning rate out of gradients that small. Until then rounding is all there is.
    state = run_trajectory(np.float32, 11).states[11]
    for name in ("generator_params", "discriminator_params", "ema_params"):
        leaves = zip(*(jax.tree.leaves(getattr(s, name)) for s in (state, double.states[11])), strict=True)
        assert max(relative_error(one, two) for one, two in leaves) <= 4 * FLOOR
