"""Checksums of arrays against an oracle in whole numbers, on any devices, and the damage that they must notice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from inr_gan_jax.checksum import array_checksums

KINDS = ["bool", "int8", "uint8", "float16", "bfloat16", "int32", "uint32", "float32", "int64", "float64"]


def oracle(array: np.ndarray) -> list[int]:
    """The two sums, from the definition, in Python's whole numbers."""
    size = min(array.dtype.itemsize, 4)
    words = np.ascontiguousarray(array).reshape(-1).view(f"u{size}").tolist()
    sums = [0, 0]
    for position, word in enumerate(words):
        x = word ^ (position * 0x9E3779B1) % 2**32
        x = (x ^ x >> 16) * 0x85EBCA6B % 2**32
        x = (x ^ x >> 13) * 0xC2B2AE35 % 2**32
        x ^= x >> 16
        sums = [(sums[0] + x) % 2**32, (sums[1] + (2 * position + 1) * x) % 2**32]
    return sums


def sums_of(array: jax.Array | np.ndarray) -> list[int]:
    return array_checksums({"a": array})["a"]["sums"]


@pytest.mark.parametrize("kind", KINDS)
def test_sums_equal_the_definition(kind: str, x64: None) -> None:
    values = np.random.default_rng(0).integers(0, 100, (3, 5, 2)) - (0 if kind in ("bool", "uint8", "uint32") else 50)
    array = jnp.asarray(values).astype(kind)
    assert sums_of(array) == oracle(np.asarray(array))


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (2, 3, 4, 5)])
def test_sums_of_any_shape_equal_the_definition(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    assert sums_of(array) == oracle(array)


def test_records_name_type_and_shape_of_every_array() -> None:
    tree = {"layer": (jnp.zeros((2, 3), jnp.bfloat16), {"step": jnp.int32(4)})}
    records = array_checksums(tree)
    assert {name: (record["dtype"], record["shape"]) for name, record in records.items()} == {
        "layer/0": ("bfloat16", [2, 3]),
        "layer/1/step": ("int32", []),
    }


@pytest.mark.parametrize("num_devices", [1, 2, 8])
@pytest.mark.parametrize("spec", [PartitionSpec(), PartitionSpec("data"), PartitionSpec(None, "data")])
def test_sums_do_not_depend_on_devices(num_devices: int, spec: PartitionSpec) -> None:
    array = np.random.default_rng(2).standard_normal((16, 24)).astype(np.float32)
    mesh = jax.make_mesh((num_devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:num_devices])
    assert sums_of(jax.device_put(array, NamedSharding(mesh, spec))) == oracle(array)


def differ_in_both(array: np.ndarray, damaged: np.ndarray) -> bool:
    return all(first != second for first, second in zip(sums_of(array), sums_of(damaged), strict=True))


def test_every_flipped_bit_is_noticed_by_both_sums() -> None:
    array = np.ones(4096, np.float32)
    for position in (0, 1, 2048, 4095):
        for bit in range(32):
            damaged = array.copy()
            damaged.view(np.uint32)[position] ^= np.uint32(1 << bit)
            assert differ_in_both(array, damaged), (position, bit)


@pytest.mark.parametrize("value", [1.0, 0.5, -2.0, 1e-3])
def test_four_kilobytes_of_zeros_are_noticed_in_an_array_of_one_value(value: float) -> None:
    # The hard case: with weights alone, the few bits of such a word shift out of a sum of 1024 of them.
    array = np.full(4096, value, np.float32)
    for start in (0, 1024, 3072):
        damaged = array.copy()
        damaged[start : start + 1024] = 0
        assert differ_in_both(array, damaged), start


def test_swapped_words_and_blocks_are_noticed() -> None:
    array = np.random.default_rng(3).standard_normal(4096).astype(np.float32)
    words = array.copy()
    words[[17, 2000]] = words[[2000, 17]]
    blocks = np.concatenate([array[1024:2048], array[:1024], array[2048:]])
    assert differ_in_both(array, words)
    assert differ_in_both(array, blocks)
    assert differ_in_both(array, array[::-1])
