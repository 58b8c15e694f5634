"""The five networks at their published hyper-parameters, as values that a data configuration takes in.

`paper` is the network of arXiv 2011.12026v2. `release`, `bilinear`, `cips` and `stylegan2` are those of the code that
the published weights and FIDs come from, for 256x256; docs/models.md compares them.
"""

from typing import Any

from ml_collections import ConfigDict

_LOW = {"max_num_log_features": 64, "use_diagonals": True, "table_channels": 128, "use_cosine": True}
_MEDIUM = {"max_num_log_features": 32, "num_random_features": 32, "table_channels": 64, "use_cosine": True}
_COORDINATES = (
    {"resolution": 32, **_LOW},
    {"resolution": 64, **_LOW},
    {"resolution": 128, **_MEDIUM},
    {"resolution": 256, **_MEDIUM},
)
_CIPS_COORDINATES = {
    "resolution": 256,
    "table_channels": 256,
    "num_shared_features": 256,
    "init_distribution": "uniform",
    "fourier_scale": 3.0,
}
_RELEASE: dict[str, dict[str, Any]] = {
    "release": {"coordinates": _COORDINATES, "num_extra_layers": ((128, 1), (256, 1))},
    "bilinear": {
        "coordinates": _COORDINATES,
        "num_extra_layers": ((128, 1), (256, 1)),
        "upsampling": "bilinear",
        "instance_norm": True,
    },
    "cips": {"coordinates": (_CIPS_COORDINATES,), "input_resolution": 256, "factor_activation": None},
    "stylegan2": {
        "input_type": "const",
        "input_resolution": 4,
        "upsampling": "fir",
        "kernel_size": 3,
        "coordinate_blocks": "none",
        "factor_activation": None,
        "use_noise": True,
    },
}
# At 1024x1024, from the published numbers of parameters.
_PAPER_1024 = {
    "features": (512, 256, 64, 32),
    "num_layers": (4, 4, 2, 1),
    "num_fourier_features": (256, 128, 32, 8),
    "fourier_scale": (10.0,) * 4,
    "max_num_fixed_features": (0,) * 4,
    "to_rgb": (True,) * 4,
    "first_dense_block": 4,
}
NAMES = ("paper", *_RELEASE)


def apply_network(config: ConfigDict, network: str, resolution: int, ema_half_life: float) -> None:
    """Writes the hyper-parameters of one network into a configuration.

    Args:
        config: started from `configs/default.py`, which holds those of `paper` at 256x256.
        network: one of NAMES.
        resolution: side of the pictures, 256, or 1024 for `paper`.
        ema_half_life: in kimg, of `paper` at its own batch size.

    Raises:
        ValueError: for a network or a resolution without published hyper-parameters.
    """
    if network not in NAMES:
        raise ValueError(f"there is no network {network!r}, expected one of {', '.join(NAMES)}")
    config.update({"data": {"height": resolution, "width": resolution}})
    if network == "paper":
        if resolution == 1024:
            config.update({"paper": _PAPER_1024, "training": {"batch_size": 8, "ema_kimg": ema_half_life}})
        return
    if resolution != 256:
        raise ValueError(f"{network} has no published hyper-parameters at {resolution}, expected 256")
    config.update(
        {
            "model": "release",
            "release": _RELEASE[network],
            "discriminator": {"channel_base": 32768, "conv_clamp": 256.0},
            "loss": {"r1_gamma": 10.0, "r1_interval": 16, "pl_interval": 4},
            "optimizer": {
                "mapping_lr": 0.0025,
                "inr_lr": 0.0025,
                "discriminator_lr": 0.0025,
                "beta2": 0.99,
            },
            "training": {"batch_size": 64, "ema_kimg": 20.0, "ema_rampup": 0.05, "generator_first": True},
        }
    )
    if network == "stylegan2":
        config.update({"loss": {"pl_weight": 2.0, "style_mixing_prob": 0.9}})
