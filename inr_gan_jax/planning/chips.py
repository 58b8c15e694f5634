"""Peak figures of accelerators, as their makers publish them."""

import dataclasses
from typing import Any

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device, as JAX counts devices.

    Attributes:
        name: of the product.
        memory: bytes.
        flops: floating-point operations per second in bfloat16, dense.
        bandwidth: bytes per second between memory and chip.
        interconnect: bytes per second that a chip sends to others of its slice or host, over all links.
    """

    name: str
    memory: int
    flops: float
    bandwidth: float
    interconnect: float


# By `device_kind`. Sources: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}, nvidia.com/data-center. A device of a v4
# or v5p is one chip; of a tpu7x it is one of the chip's two cores. Makers give the interconnect for both directions
# together; these numbers are for one.
_CHIPS = {
    "TPU v4": Chip("TPU v4", 32 * GIB, 275e12, 1228e9, 300e9),
    "TPU v5 lite": Chip("TPU v5e", 16 * GIB, 197e12, 819e9, 200e9),
    "TPU v5": Chip("TPU v5p", 95 * GIB, 459e12, 2765e9, 600e9),
    "TPU v6 lite": Chip("TPU v6e", 32 * GIB, 918e12, 1640e9, 400e9),
    "TPU7x": Chip("TPU7x, one core", 96 * GIB, 1153e12, 3690e9, 300e9),
    "NVIDIA A100-SXM4-40GB": Chip("A100 40 GB", 40 * 10**9, 312e12, 1555e9, 300e9),
    "NVIDIA A100-SXM4-80GB": Chip("A100 80 GB", 80 * 10**9, 312e12, 2039e9, 300e9),
    "NVIDIA H100 80GB HBM3": Chip("H100 SXM", 80 * 10**9, 989e12, 3350e9, 450e9),
    "NVIDIA H200": Chip("H200 SXM", 141 * 10**9, 989e12, 4800e9, 450e9),
}


def chip_of(device: Any) -> Chip | None:
    """The figures of a device; None if unknown, as for every CPU."""
    return _CHIPS.get(device.device_kind)
