"""Checks the devices that JAX found."""

import os
from collections.abc import Mapping
from typing import Any

import jax

from inr_gan_jax.errors import UserError

# Variables set by images and launchers of machines with such devices.
_SIGNS: dict[str, tuple[str, ...]] = {
    "tpu": ("TPU_NAME", "TPU_WORKER_ID", "TPU_WORKER_HOSTNAMES", "TPU_ACCELERATOR_TYPE"),
    "cuda": ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS"),
}
# Their values without devices.
_NONE = ("", "-1", "none", "void", "NoDevFiles")


def check_devices(expected: str | None) -> str:
    """Initialises the devices and checks their platform.

    Args:
        expected: tpu, cuda or cpu; None accepts any platform.

    Returns:
        One line that describes the devices of all processes.

    Raises:
        UserError: if there are none, or their platform is another one.
    """
    try:
        devices = jax.devices()
    except RuntimeError as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise UserError(f"no {expected or 'usable'} device was found: {reason}") from error
    found = _platform(devices[0])
    if expected and found != expected:
        raise UserError(
            f"--expect={expected}, but JAX found {len(devices)} {found} devices; check that jax is installed with "
            f"[{expected}] and that no other program holds the devices, or give another --expect"
        )
    count = jax.process_count()
    own = f"; {jax.local_device_count()} of them in process {jax.process_index()}" if count > 1 else ""
    return (
        f"found {len(devices)} {found} device{'s' if len(devices) > 1 else ''} ({devices[0].device_kind}) in {count} "
        f"process{'es' if count > 1 else ''}{own}"
    )


def silent_fallback(environment: Mapping[str, str] = os.environ) -> str | None:
    """A warning if JAX uses the CPU of a machine that seems to have an accelerator; else None.

    Args:
        environment: environment variables.
    """
    if jax.default_backend() != "cpu" or environment.get("JAX_PLATFORMS"):
        return None
    for platform, names in _SIGNS.items():
        for name in names:
            if environment.get(name, "") not in _NONE:
                return (
                    f"warning: {name} is set, but JAX found no {platform} device and computes on the CPU; "
                    f"--expect={platform} makes this an error, --expect=cpu or JAX_PLATFORMS=cpu silences it"
                )
    return None


def _platform(device: Any) -> str:
    if device.platform != "gpu":
        return device.platform
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"
