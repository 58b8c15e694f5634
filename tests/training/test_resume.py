"""A run that is continued within one process ends where one without a break ends; test_run.py breaks real processes."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from inr_gan_jax.training import loop
from inr_gan_jax.training.state import TrainState
from tests.conftest import tiny_config

BATCH = 8


def trained(folder: Path, data_root: Path, num_steps: int) -> TrainState:
    config = tiny_config(
        data={"data_dir": str(data_root), "height": 8, "width": 8},
        optimizer={"decay_kimg": 0.0},
        loss={"r1_interval": 2},
        augment={"kind": "differentiable", "policy": ("translation",)},
        training={"batch_size": BATCH, "total_kimg": num_steps * BATCH / 1000, "sample_kimg": 0.0},
    )
    return jax.device_get(loop.train(dataclasses.replace(config, num_devices=1), folder))


def test_two_steps_and_two_more_are_four_bit_for_bit(tmp_path: Path, digits_root: Path) -> None:
    whole = trained(tmp_path / "whole", digits_root, 4)
    first = trained(tmp_path / "broken", digits_root, 2)
    broken = trained(tmp_path / "broken", digits_root, 4)
    assert (int(first.step), int(broken.step), int(whole.step)) == (2, 4, 4)
    jax.tree.map(np.testing.assert_array_equal, broken, whole)
    kernel = next(leaf for leaf in jax.tree.leaves(first.discriminator_params) if leaf.ndim > 1)
    moved = next(leaf for leaf in jax.tree.leaves(broken.discriminator_params) if leaf.ndim > 1)
    assert np.abs(kernel - moved).max() > 0
