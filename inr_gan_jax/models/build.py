"""From configuration to networks, for training and inference alike."""

import dataclasses
from typing import Any

from inr_gan_jax.config.schema import Config
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.discriminator_settings import DiscriminatorSettings
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.models.paper.architecture import PaperArchitecture
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.network import ReleaseNetwork
from inr_gan_jax.models.release.settings import ReleaseSettings


def build_generator(config: Config, for_training: bool = False) -> Generator:
    """Builds the generator of a run.

    Args:
        config: of the run.
        for_training: in the run's precision and with its rematerialisation; else in float32 and without.

    Raises:
        UserError: one sentence, for settings of the `release` family that make no network.
    """
    data, execution = config.data, _execution(config) if for_training else {}
    common = {"channels": data.channels, "c_dim": data.num_classes, **execution}
    if config.model == "paper":
        size = {"height": data.height, "width": data.width}
        return generator_of(PaperArchitecture(**_values(config.paper), **size, **common))
    try:
        return generator_of(ReleaseArchitecture(**_values(config.release), resolution=data.height, **common))
    except ValueError as error:
        raise UserError(f"config.release makes no network: {error}") from error


def generator_of(settings: PaperArchitecture | ReleaseArchitecture) -> Generator:
    """Builds the generator that settings describe."""
    if isinstance(settings, PaperArchitecture):
        return Generator(
            network=PaperNetwork(settings),
            z_dim=settings.z_dim,
            c_dim=settings.c_dim,
            w_dim=settings.mapping_dim,
            num_ws=1,
            native_viewport=settings.native_viewport,
            channels=settings.channels,
        )
    return Generator(
        network=ReleaseNetwork(settings),
        z_dim=settings.z_dim,
        c_dim=settings.c_dim,
        w_dim=settings.w_dim,
        num_ws=settings.num_ws,
        native_viewport=settings.native_viewport,
        channels=settings.channels,
        uses_noise=settings.use_noise,
        w_avg_decay=settings.w_avg_decay,
        is_continuous=settings.is_continuous,
    )


def build_discriminator(config: Config) -> Discriminator:
    """Builds the discriminator of a run."""
    return Discriminator(
        resolution=(config.data.height, config.data.width),
        c_dim=config.data.num_classes,
        **_values(config.discriminator),
        **_execution(config),
    )


def discriminator_section(network: Discriminator) -> dict[str, Any]:
    """The section `discriminator` of the configuration that builds this network again."""
    return {field.name: getattr(network, field.name) for field in dataclasses.fields(DiscriminatorSettings)}


def release_section(architecture: ReleaseArchitecture) -> dict[str, Any]:
    """The section `release` of the configuration that builds this network again."""
    values = dataclasses.asdict(architecture)
    return {field.name: values[field.name] for field in dataclasses.fields(ReleaseSettings)}


def _values(section: Any) -> dict[str, Any]:
    return {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}


def _execution(config: Config) -> dict[str, Any]:
    """How a training step executes a network; the result is the same up to rounding."""
    return {"precision": config.training.precision, "remat": config.training.remat}
