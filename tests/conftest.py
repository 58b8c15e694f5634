"""Eight CPU devices, strict ranks, one cache of compiled programs, and tiny configurations."""

import os

# Before JAX looks for devices.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
# Tests spend their time in the compiler; a slower program that is compiled faster ends sooner.
os.environ["XLA_FLAGS"] += " --xla_backend_optimization_level=0"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/inr_gan_jax/tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import dataclasses
import gc
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from configs import digits
from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.data.read.dataset import Dataset, open_dataset

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many objects that live long; looking through them again and again took a seventh of the time.
gc.set_threshold(200_000, 50, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the files that take longest begin first, so that no worker ends long after the other."""
    items.sort(key=lambda item: "tests/training" not in item.nodeid)


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision within a test."""
    with jax.enable_x64(True):
        yield


def tiny_config(model: str = "paper", **sections: dict) -> Config:
    """The demo at a width that compiles in seconds; sections override keys."""
    values = digits.get_config().to_dict()
    values["paper"].update(z_dim=8, mapping_dim=16, rank=2, features=(8, 8), num_layers=(1, 1))
    values["paper"].update(num_fourier_features=(4, 4))
    values["discriminator"].update(channel_base=64, channel_max=8)
    values["training"].update(batch_size=8, total_kimg=0.064)
    values["evaluation"].update(metric="none", num_samples=64, batch_size=32)
    values.update(compilation_cache_dir="", model=model)
    for name, keys in sections.items():
        values[name].update(keys)
    return parse_config(values)


def small_release_config(**sections: dict) -> Config:
    """A run of the `release` model on 8x8 pictures, with factorised modulation and noise."""
    coordinates = {"max_num_log_features": 32, "use_diagonals": True, "table_channels": 2, "use_cosine": True}
    release = {
        "z_dim": 6, "w_dim": 8, "channel_base": 64, "channel_max": 8, "input_resolution": 4, "rank": 2,
        "coordinates": tuple({"resolution": side, **coordinates} for side in (4, 8)), "use_noise": True,
    }  # fmt: skip
    return tiny_config(**{**sections, "release": {**release, **sections.get("release", {})}}, model="release")


@pytest.fixture(scope="session")
def digits_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits prepared in it."""
    root = tmp_path_factory.mktemp("prepared")
    open_dataset(dataclasses.replace(tiny_config().data, data_dir=str(root)))
    return root


@pytest.fixture(scope="session")
def digits_set(digits_root: Path) -> Dataset:
    """The digits, opened."""
    return open_dataset(dataclasses.replace(tiny_config().data, data_dir=str(digits_root)))
