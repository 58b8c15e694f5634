"""The five networks at their published hyper-parameters, as values that a data configuration takes in.

`paper` is the network of arXiv 2011.12026v2. `release`, `bilinear`, `cips` and `stylegan2` are those of the code that
the published weights and FIDs come from, for 256x256; docs/models.md compares them. `apply_scaled_network` cuts them
down to smaller pictures and widths.
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
# The width that the published networks have up to 64x64; what else has a width is given beside it.
_PUBLISHED_WIDTH = 512
_WIDTHS_OF_COORDINATES = ("table_channels", "num_shared_features", "num_random_features")
_STYLEGAN2_LOSS = {"pl_weight": 2.0, "style_mixing_prob": 0.9}
# Of the published code's training: Adam at one rate, and the generator first.
_RELEASE_OPTIMIZER = {"mapping_lr": 0.0025, "inr_lr": 0.0025, "discriminator_lr": 0.0025, "beta2": 0.99}


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
            "optimizer": _RELEASE_OPTIMIZER,
            "training": {"batch_size": 64, "ema_kimg": 20.0, "ema_rampup": 0.05, "generator_first": True},
        }
    )
    if network == "stylegan2":
        config.update({"loss": _STYLEGAN2_LOSS})


def apply_scaled_network(config: ConfigDict, network: str, side: int, channel_base: int, channel_max: int) -> None:
    """Writes one network, cut down to smaller pictures and widths, into a configuration.

    Blocks above the pictures are left out, as the published code leaves them out; the coarse grid is at most half as
    dense as the picture. Latent codes, tables and features keep their ratio to `channel_max`. Batch, rates and averages
    are those that the published code chooses for one device and pictures of at most 128x128; its gamma of 10 is made
    for 256x256 and is 1 here. `paper` keeps its own rates, for which its batch of 16 is part of the recipe.

    Args:
        config: started from `configs/default.py`.
        network: one of NAMES.
        side: of the pictures, a power of two from 8 to 128.
        channel_base: a layer at side r of generator and discriminator has channel_base / r channels ...
        channel_max: ... at most this; 512 in the published networks.

    Raises:
        ValueError: for an unknown network.
    """
    if network not in NAMES:
        raise ValueError(f"there is no network {network!r}, expected one of {', '.join(NAMES)}")
    widths = {"channel_base": channel_base, "channel_max": channel_max}
    config.update({"data": {"height": side, "width": side}, "discriminator": widths})
    if network == "paper":
        config.update({"paper": _scaled_paper(config.to_dict()["paper"], channel_max)})
        return
    config.update(
        {
            "model": "release",
            "release": {**_scaled_release(_RELEASE[network], side, channel_max), **widths},
            "discriminator": {"conv_clamp": 256.0},
            "loss": {"r1_gamma": 1.0, "r1_interval": 16, "pl_interval": 4},
            "optimizer": _RELEASE_OPTIMIZER,
            "training": {"batch_size": 32, "ema_kimg": 10.0, "ema_rampup": 0.05, "generator_first": True},
        }
    )
    if network == "stylegan2":
        config.update({"loss": _STYLEGAN2_LOSS})


def _scaled_paper(published: dict[str, Any], channel_max: int) -> dict[str, Any]:
    """Settings of the `paper` network with everything that has a width in proportion."""
    names = ("z_dim", "class_embedding_dim", "mapping_dim", "features", "num_fourier_features")
    return {name: _scaled(published[name], channel_max) for name in names}


def _scaled_release(published: dict[str, Any], side: int, channel_max: int) -> dict[str, Any]:
    """Settings of the `release` family for pictures of `side` pixels a side."""
    grid = published.get("input_resolution", 32)
    # A network of one grid keeps it; the others keep at least one step from a coarse grid to a finer one.
    coarse = side if grid == 256 else min(grid, side // 2)
    coordinates: list[dict[str, Any]] = []
    resolution = coarse
    while "coordinates" in published and resolution <= side:
        entry = _CIPS_COORDINATES if grid == 256 else _LOW if resolution <= 64 else _MEDIUM
        widths = {key: _scaled(entry[key], channel_max) for key in _WIDTHS_OF_COORDINATES if key in entry}
        coordinates.append({**entry, **widths, "resolution": resolution})
        resolution *= 2
    kept = {key: value for key, value in published.items() if key not in ("coordinates", "num_extra_layers")}
    extra = tuple(pair for pair in published.get("num_extra_layers", ()) if pair[0] <= side)
    return {
        **kept,
        "z_dim": channel_max,
        "w_dim": channel_max,
        "input_resolution": coarse,
        "coordinates": tuple(coordinates),
        "num_extra_layers": extra,
    }


def _scaled(width: Any, channel_max: int) -> Any:
    """A width, or each of several, in the proportion of `channel_max` to the published one; at least 1."""
    if isinstance(width, tuple):
        return tuple(_scaled(each, channel_max) for each in width)
    return max(1, width * channel_max // _PUBLISHED_WIDTH)
