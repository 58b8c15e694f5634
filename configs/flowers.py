"""Flowers, 3,670 photographs (tf_flowers, CC BY): a size and, behind commas, a network and recipes of training.

    python -m inr_gan_jax.data.prepare --source=tf_flowers --resolution=64 --output=~/tensorflow_datasets/flowers/64
    python -m inr_gan_jax.main --config=configs/flowers.py                   # 64x64, for one GPU
    python -m inr_gan_jax.main --config=configs/flowers.py:128,release,ada
    python -m inr_gan_jax.main --config=configs/flowers.py:cpu,bilinear      # 32x32, two cores

Sizes: 64, 128, and cpu, which is 32x32 with an eighth of the width. Networks: paper, release, bilinear, cips, stylegan2
(configs/networks.py). A folder or a zip of photographs, also of StyleGAN2-ADA, is prepared likewise:

    python -m inr_gan_jax.data.prepare --source=flowers.zip --resolution=32 --output=~/tensorflow_datasets/flowers/32

What to expect: docs/quality.md has what was measured at 32x32. The sizes for a GPU have not been trained yet. Nothing
is evaluated unless asked for; with SqueezeNet's weights (docs/metrics.md) `--config.evaluation.metric=fsd2k_full
--config.training.evaluate_kimg=20` follows a run.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import networks, recipes
from inr_gan_jax.config.parse import default_config

_GPU: dict[str, Any] = {
    "training": {"total_kimg": 5000.0},
    "evaluation": {"batch_size": 64},
}
_CPU: dict[str, Any] = {
    "data": {"num_threads": 1},
    "training": {
        "total_kimg": 200.0,
        "log_kimg": 1.0,
        "sample_kimg": 20.0,
        "checkpoint_kimg": 10.0,
    },
    "evaluation": {"batch_size": 50},
    "guard": {"warmup_kimg": 20.0},
}
# Of `paper` at its small width: the batch, average and rates of the demo, which are made for small networks.
_SMALL_PAPER: dict[str, Any] = {
    "paper": {"fourier_scale": (3.0, 3.0)},
    "loss": {"r1_gamma": 1.0, "r1_interval": 16},
    "optimizer": {"mapping_lr": 8e-4, "connector_lr": 8e-4, "inr_lr": 2e-3, "discriminator_lr": 1e-2, "beta2": 0.99},
    "training": {"batch_size": 8, "ema_kimg": 5.0, "ema_rampup": 0.1},
}
# Side, channel_base and channel_max.
_SIZES = {"64": (64, 16384, 512), "128": (128, 16384, 512), "cpu": (32, 1024, 64)}


def get_config(argument: str = "64") -> ConfigDict:
    """Returns the configuration of SIZE, SIZE,NETWORK or SIZE,NETWORK,RECIPES."""
    size, network, names = (*argument.split(",", 2), "", "")[:3]
    if size not in _SIZES:
        raise ValueError(f"configs/flowers.py has no {size!r}, expected one of {', '.join(_SIZES)}")
    network = network or "paper"
    side, channel_base, channel_max = _SIZES[size]
    config = default_config()
    networks.apply_scaled_network(config, network, side, channel_base, channel_max)
    config.update({"name": f"flowers-{size}-{network}", "data": {"name": f"flowers/{side}"}})
    config.update(_CPU if size == "cpu" else _GPU)
    if size == "cpu" and network == "paper":
        config.update(_SMALL_PAPER)
    recipes.apply_recipes(config, names)
    return config
