"""Full-width configurations at other sizes than intended."""

import dataclasses
from typing import Any

from inr_gan_jax.config.parse import parse_config
from inr_gan_jax.config.schema import Config


def with_batch(config: Config, batch_size: int) -> Config:
    """The same run with batches of another size."""
    return dataclasses.replace(config, training=dataclasses.replace(config.training, batch_size=batch_size))


def at_side(values: dict[str, Any], side: int, batch_size: int) -> Config:
    """A configuration of the `release` model for smaller pictures: blocks above them are left out.

    Args:
        values: of the configuration, as plain containers.
        side: of the pictures, a power of 2, at most the intended one.
        batch_size: images per step.
    """
    release = values["release"]
    coordinates = tuple(entry for entry in release["coordinates"] if entry["resolution"] <= side)
    extra_layers = tuple(pair for pair in release["num_extra_layers"] if pair[0] <= side)
    return parse_config(
        {
            **values,
            "data": {**values["data"], "height": side, "width": side},
            "release": {**release, "coordinates": coordinates, "num_extra_layers": extra_layers},
            "training": {**values["training"], "batch_size": batch_size},
        }
    )
