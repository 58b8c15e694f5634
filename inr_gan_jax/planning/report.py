"""A compiled plan as a JSON record and as text."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from inr_gan_jax.config.schema import Config
from inr_gan_jax.planning.compiled_plan import CompiledPlan, flops_per_step, gibibytes
from inr_gan_jax.training.phase_losses import Phase

_SECONDS_A_DAY = 86400
# How often a chip of a ring sends the bytes of a result: sums go around twice, everything else once.
_TIMES_SENT = {"all-reduce": 2}


def record_of(
    config: Config, topology: str, plan: CompiledPlan, phases: dict[Phase, float], efficiency: float
) -> dict[str, Any]:
    """Everything that the report shows, as plain data.

    Args:
        config: of the run.
        topology: name of the machine.
        plan: of the compiler.
        phases: see `flops_of_phases`.
        efficiency: assumed share of the peak operations.
    """
    settings, memory = config.training, plan.memory
    per_device = flops_per_step(config, phases) / plan.num_devices
    record: dict[str, Any] = {
        "config": config.name,
        "topology": topology,
        "num_devices": plan.num_devices,
        "device_kind": plan.device_kind,
        "jax": jax.__version__,
        "batch_size": settings.batch_size,
        "images_per_device": settings.batch_size / plan.num_devices,
        "precision": settings.precision,
        "memory_bytes": {**dataclasses.asdict(memory), "total": memory.total},
        "flops_per_step_and_device": per_device,
        "flops_of_phases": dict(phases),
        "bytes_accessed_per_step_and_device": plan.bytes_accessed,
        "collectives": [dataclasses.asdict(each) for each in plan.collectives],
    }
    variable = memory.temporaries / record["images_per_device"]
    if memory.capacity:
        fixed = memory.total - memory.temporaries
        record["estimated_images_per_device"] = max(0, int((memory.capacity - fixed) / variable))
    if plan.chip:
        floor = max(per_device / plan.chip.flops, plan.bytes_accessed / plan.chip.bandwidth)
        exchange = sum(_TIMES_SENT.get(each.kind, 1) * each.num_bytes for each in plan.collectives)
        # Efficiency is about operations; bandwidth limits independently of it.
        computing = max(per_device / plan.chip.flops / efficiency, plan.bytes_accessed / plan.chip.bandwidth)
        days = settings.total_steps * computing / _SECONDS_A_DAY
        seconds_exchange = exchange / plan.chip.interconnect
        record |= {
            "seconds_by_interconnect": seconds_exchange,
            "scaling": computing / (computing + seconds_exchange),
            "seconds_by_flops": per_device / plan.chip.flops,
            "seconds_by_bandwidth": plan.bytes_accessed / plan.chip.bandwidth,
            "seconds_floor": floor,
            "efficiency": efficiency,
            "days": days,
            "chip": plan.chip.name,
        }
    return record


def _is_bound_by_bandwidth(record: Mapping[str, Any]) -> bool:
    return record["seconds_by_bandwidth"] > record["seconds_by_flops"] / record["efficiency"]


def text_of(record: Mapping[str, Any]) -> str:
    """The report, line by line."""
    memory = record["memory_bytes"]
    lines = [
        f"{record['config']} on {record['topology']}: {record['num_devices']} x {record['device_kind']}, batch "
        f"{record['batch_size']} ({record['images_per_device']:g} images per device), {record['precision']}",
        "memory on each device:",
        *(f"  {name:<12} {gibibytes(memory[name])}" for name in ("parameters", "optimizer", "other_state")),
        f"  temporaries  {gibibytes(memory['temporaries'])} (activations and everything else within the step)",
        f"  sum          {gibibytes(memory['total'])}"
        + (f" of {gibibytes(memory['capacity'])}" if memory["capacity"] else ""),
    ]
    if "estimated_images_per_device" in record:
        lines.append(
            f"  about {record['estimated_images_per_device']} images per device fit, if temporaries are linear in them"
        )
    lines.append(
        f"a step: {record['flops_per_step_and_device'] / 1e12:.4g} TFLOP per device as written, "
        f"{record['bytes_accessed_per_step_and_device'] / 1e9:.4g} GB to and from memory as the compiler counts"
    )
    if "chip" in record:
        lines += [
            f"floor of a step on a {record['chip']}: {1000 * record['seconds_by_flops']:.3g} ms by operations, "
            f"{1000 * record['seconds_by_bandwidth']:.3g} ms by bandwidth",
            f"whole run: {record['days']:.3g} days at {record['efficiency']:.0%} of the peak operations"
            + (", or as fast as bandwidth allows where that is slower" if _is_bound_by_bandwidth(record) else ""),
        ]
    lines.append("communication in the program, all branches counted:" if record["collectives"] else "no communication")
    for each in record["collectives"]:
        lines.append(f"  {each['count']:>4} {each['kind']:<20} {each['num_bytes'] / 2**20:,.1f} MiB")
    if record["collectives"] and "chip" in record:
        lines.append(
            f"  at least {1000 * record['seconds_by_interconnect']:.3g} ms on all links of a chip; if no computation "
            f"hides it, {record['scaling']:.0%} of the time is left for computation"
        )
    return "\n".join(lines)
