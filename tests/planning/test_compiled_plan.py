"""Steps compiled for machines, and what is read from them."""

import dataclasses
from typing import Any

import jax
import pytest

from benchmarks.networks import at_side
from configs import lsun
from inr_gan_jax import plan
from inr_gan_jax.errors import UserError
from inr_gan_jax.planning import compiled_plan
from inr_gan_jax.planning import report as plan_report
from inr_gan_jax.planning.chips import GIB, Chip
from inr_gan_jax.planning.compiled_plan import (
    Collective,
    CompiledPlan,
    Memory,
    collectives_in,
    compile_step,
    devices_of,
    flops_of_phases,
    flops_per_step,
)
from tests.conftest import tiny_config

HLO = """
  %all-reduce.1 = f32[8,3]{1,0} all-reduce(%x), replica_groups={}
  %all-reduce.2 = (f32[2]{0}, /*index=1*/bf16[4,4]{1,0}) all-reduce-start(%y, %z)
  %done = f32[2]{0} all-reduce-done(%all-reduce.2)
  ROOT %gather = u8[100]{0} all-gather(%w), dimensions={0}
"""


def test_communication_is_counted_once_with_its_bytes() -> None:
    assert collectives_in(HLO) == (Collective("all-reduce", 2, 96 + 8 + 32), Collective("all-gather", 1, 100))


@pytest.mark.slow
def test_a_step_on_eight_devices_exchanges_the_gradients() -> None:
    config = tiny_config()
    made = compile_step(config, jax.devices()[:8])
    state = jax.eval_shape(lambda: compiled_plan.abstract_step(config)[0])
    num_bytes = sum(4 * leaf.size for leaf in jax.tree.leaves((state.generator_params, state.discriminator_params)))
    assert made.num_devices == 8
    exchanged = sum(each.num_bytes for each in made.collectives)
    assert exchanged > num_bytes, "both networks' gradients at least"
    assert made.memory.parameters > 0
    assert made.memory.optimizer > made.memory.parameters / 2
    assert made.memory.temporaries > 0


@pytest.mark.slow
def test_one_device_exchanges_nothing() -> None:
    assert compile_step(tiny_config(), jax.devices()[:1]).collectives == ()


@pytest.mark.slow
def test_operations_are_linear_in_the_batch_and_lazy_phases_are_spread() -> None:
    config = tiny_config(loss={"r1_interval": 4})
    phases = flops_of_phases(config)
    assert set(phases) == {"discriminator", "generator", "penalty"}
    assert phases["penalty"] > 0
    expected = phases["generator"] + phases["discriminator"] + phases["penalty"] / 4
    assert flops_per_step(config, phases) == pytest.approx(expected)
    double = dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=16))
    assert flops_of_phases(double)["discriminator"] == pytest.approx(2 * phases["discriminator"], rel=0.1)


def plan_of(capacity: int | None) -> CompiledPlan:
    chip = Chip("test chip", capacity, 1e12, 1e9, 2**20) if capacity else None
    memory = Memory(GIB, 2 * GIB, 0, 4 * GIB, capacity)
    return CompiledPlan(4, "kind", chip, memory, 2e9, (Collective("all-reduce", 3, 2**20),))


def test_report_has_floor_days_and_room() -> None:
    config = tiny_config(training={"total_kimg": 8.0})
    record = plan_report.record_of(
        config, "test:4", plan_of(16 * GIB), {"generator": 4e12, "discriminator": 0.0, "penalty": 0.0}, 0.5
    )
    assert record["flops_per_step_and_device"] == pytest.approx(1e12)
    assert record["seconds_by_flops"] == pytest.approx(1)
    assert record["seconds_floor"] == pytest.approx(2), "by bandwidth"
    assert record["days"] == pytest.approx(1000 * 1 / 0.5 / 86400)
    # 3 GiB stay, 2 images take 4 GiB.
    assert record["estimated_images_per_device"] == 6
    text = plan_report.text_of(record)
    assert "sum          7.00 GiB of 16.00 GiB" in text
    assert "3 all-reduce           1.0 MiB" in text


def test_report_says_what_communication_costs() -> None:
    phases = {"generator": 4e12, "discriminator": 0.0, "penalty": 0.0}
    record = plan_report.record_of(tiny_config(), "test:4", plan_of(16 * GIB), phases, 0.5)
    assert record["seconds_by_interconnect"] == pytest.approx(2), "a sum goes around the ring twice"
    assert record["scaling"] == pytest.approx(0.5), "2 s of computing, 2 s of communication"
    assert "at least 2e+03 ms" in plan_report.text_of(record)


def test_report_of_an_unknown_chip_makes_no_promises() -> None:
    record = plan_report.record_of(
        tiny_config(), "cpu:4", plan_of(None), {"generator": 1.0, "discriminator": 1.0, "penalty": 0.0}, 0.5
    )
    assert "days" not in record
    assert "days" not in plan_report.text_of(record)


@pytest.mark.parametrize("topology", ["v5e", "h100:8", "cpu:", "v9z:2x2"])
def test_unknown_machines_are_one_sentence(topology: str) -> None:
    with pytest.raises(UserError, match=f"topology '{topology}' cannot be compiled for"):
        devices_of(topology)


@pytest.mark.parametrize("topology", ["cpu:0", "cpu:99999"])
def test_senseless_numbers_of_cpus_are_one_sentence(topology: str) -> None:
    with pytest.raises(UserError, match=r"expected cpu:1 to cpu:4096"):
        plan.prepare_process(topology, -1.0)


def test_a_batch_that_does_not_divide_is_one_sentence() -> None:
    with pytest.raises(UserError, match="batch_size is 8, expected a multiple of the 3 devices"):
        compile_step(tiny_config(), jax.devices()[:3])


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.", 3 * GIB),
        ("the total memory required for HLO temporaries (17.50G) exceeds available HBM (15.75G).", 3 * GIB),
    ],
    ids=["all", "temporaries"],
)
def test_too_large_a_batch_says_by_how_much(message: str, arguments: int) -> None:
    shardings = compiled_plan.shardings_of(jax.devices()[:2], 8)
    error = RuntimeError(f"RESOURCE_EXHAUSTED: {message}")
    sentence = str(compiled_plan._explained(error, tiny_config(), shardings, arguments))
    assert "a batch of 8 on 2 devices, 4 images each, does not fit: it needs 20.50 GiB of the 15.75 GiB" in sentence
    assert "4.75 GiB too much" in sentence


def discriminator_flops(side: int, channel_base: int, channel_max: int) -> float:
    """Twice the multiply-adds of a forward pass of the residual discriminator for one RGB image, from its widths."""

    def width(side: int) -> int:
        return min(channel_base // side, channel_max)

    total = 3 * width(side) * side**2
    while side > 4:
        narrow, wide = width(side), width(side // 2)
        total += 9 * narrow**2 * side**2 + (9 + 1) * narrow * wide * (side // 2) ** 2
        side //= 2
    return 2 * (total + 9 * (width(4) + 1) * width(4) * 16 + 16 * width(4) ** 2 + width(4))


def release_generator_flops(params: Any) -> float:
    """The same of the `release` generator, coarse features taken through a block's first layer before upsampling."""
    total = sum(layer["kernel"].size for layer in params["mapping_network"].values())
    features = 0
    for side in (4, 8, 16, 32, 64):
        block, points = params[f"blocks_{side}"], max(side, 32) ** 2
        for name, layer in block.items():
            if name == "coordinates":
                continue
            inputs, outputs = layer["kernel"].shape
            coarse = features if name == "conv0" and side > 32 else 0
            total += outputs * ((inputs - coarse) * points + coarse * points // 4)
            total += layer["affine"]["kernel"].size
            # Low-rank factors of rank 10 to weights.
            total += 0 if name == "to_rgb" else 10 * inputs * outputs
        features = block["conv1"]["kernel"].shape[1]
    return 2 * float(total)


@pytest.mark.slow
def test_operations_agree_with_the_analytic_count() -> None:
    assert discriminator_flops(256, 32768, 512) == pytest.approx(94.05e9, rel=0.02), "published with filters"
    config = at_side(lsun.get_config("church,release").to_dict(), 64, 4)
    generator = release_generator_flops(compiled_plan.abstract_step(config)[0].generator_params)
    discriminator = discriminator_flops(64, 32768, 512)
    # A gradient with respect to weights and inputs costs two passes, to one of them one. R1: a pass, its gradient to
    # the picture, and two gradients of each of these.
    expected = {
        "generator": 3 * generator + 2 * discriminator,
        "discriminator": generator + 6 * discriminator,
        "penalty": 6 * discriminator,
    }
    counted = flops_of_phases(config)
    assert {phase: counted[phase] / 4 for phase in expected} == pytest.approx(expected, rel=0.1)
