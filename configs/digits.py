"""The demo: real handwritten digits (8x8, scikit-learn), trained in minutes on a CPU.

    python -m inr_gan_jax.main --config=configs/digits.py
    python -m inr_gan_jax.main --config=configs/digits.py:relativistic+diffaugment   # recipes: configs/recipes.py
    python -m inr_gan_jax.main --config=configs/digits.py:release                    # as the published code trains
    python -m inr_gan_jax.main --config=configs/digits.py:release,relativistic

The set is part of scikit-learn, so nothing is downloaded. Width, learning rates and Fourier scale of the demo were
chosen by trial for two cores; README shows the results. The networks release, bilinear, cips and stylegan2 are the
published ones scaled down to 8x8 and width 64 (configs/networks.py), at the rates, batch and averages of the published
code and 250 kimg; `release` serves comparisons with that code. docs/quality.md has the numbers of all.
"""

from ml_collections import ConfigDict

from configs import networks, recipes
from inr_gan_jax.config.parse import default_config


def get_config(argument: str = "") -> ConfigDict:
    """Returns the configuration of RECIPES joined by `+`, of NETWORK, or of NETWORK,RECIPES."""
    first, _, rest = argument.partition(",")
    network, names = (first, rest) if first in networks.NAMES else ("paper", argument)
    config = default_config()
    _apply_common(config)
    if network == "paper":
        _apply_demo(config)
    else:
        networks.apply_scaled_network(config, network, side=8, channel_base=512, channel_max=64)
        config.update({"name": f"digits-{network}", "training": {"total_kimg": 250.0, "sample_kimg": 50.0}})
    recipes.apply_recipes(config, names)
    return config


def _apply_common(config: ConfigDict) -> None:
    """Writes what all networks share: the data, logging and evaluation."""
    config.update(
        {
            "name": "digits",
            "one_cpu_thread": True,
            "data": {"name": "digits", "height": 8, "width": 8, "channels": 1, "x_flip": False, "num_threads": 1},
            "training": {
                "log_kimg": 1.0,
                "sample_kimg": 20.0,
                "sample_grid": (8, 8),
                "evaluate_kimg": 10.0,
                "checkpoint_kimg": 10.0,
            },
            "evaluation": {"metric": "pixel_fd", "batch_size": 500},
            "guard": {"warmup_kimg": 5.0},
        }
    )


def _apply_demo(config: ConfigDict) -> None:
    """Writes the small `paper` network and its training."""
    config.update(
        {
            "paper": {
                "z_dim": 64,
                "mapping_dim": 96,
                "rank": 4,
                "features": (32, 32),
                "num_layers": (2, 2),
                "num_fourier_features": (16, 16),
                "fourier_scale": (3.0, 3.0),
                "training_rule": "pointwise",
            },
            "discriminator": {"channel_base": 256, "channel_max": 64},
            "loss": {"r1_gamma": 1.0, "r1_interval": 16},
            "optimizer": {
                "mapping_lr": 8e-4,
                "connector_lr": 8e-4,
                "inr_lr": 2e-3,
                "discriminator_lr": 1e-2,
                "beta2": 0.99,
                "decay_kimg": 80.0,
                "final_lr_fraction": 0.05,
            },
            "training": {
                "batch_size": 8,
                "total_kimg": 80.0,
                "ema_kimg": 5.0,
                "ema_rampup": 0.1,
            },
        }
    )
