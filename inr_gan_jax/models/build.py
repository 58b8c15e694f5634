"""From configuration to networks, for training and inference alike."""

import dataclasses
from typing import Any

from inr_gan_jax.config.parse import Config, DiscriminatorConfig
from inr_gan_jax.errors import UserError
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.models.paper.settings import PaperBlock, PaperSettings
from inr_gan_jax.models.release.network import ReleaseNetwork
from inr_gan_jax.models.release.settings import CoordinateSettings, ReleaseSettings


def build_generator(config: Config, for_training: bool = False) -> Generator:
    """Builds the generator of a run.

    Args:
        config: of the run.
        for_training: in the run's precision and with its rematerialisation; else in float32 and without.

    Raises:
        UserError: for settings of the `release` family that make no network.
    """
    settings = paper_settings(config) if config.model == "paper" else release_settings(config)
    return generator_of(dataclasses.replace(settings, **_execution(config)) if for_training else settings)


def generator_of(settings: PaperSettings | ReleaseSettings) -> Generator:
    """Builds the generator that settings describe."""
    if isinstance(settings, PaperSettings):
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
        **dataclasses.asdict(config.discriminator),
        **_execution(config),
    )


def _execution(config: Config) -> dict[str, Any]:
    """How a training step executes a network; what it computes is the same but for rounding."""
    return {"precision": config.training.precision, "remat": config.training.remat}


def discriminator_section(network: Discriminator) -> dict[str, Any]:
    """The section `discriminator` of the configuration that builds this network again."""
    return {field.name: getattr(network, field.name) for field in dataclasses.fields(DiscriminatorConfig)}


def release_settings(config: Config) -> ReleaseSettings:
    """The settings of the `release` generator.

    Raises:
        UserError: one sentence, for a combination that makes no network.
    """
    assert config.release is not None, "validated with config.model"
    fields = {field.name: getattr(config.release, field.name) for field in dataclasses.fields(config.release)}
    try:
        coordinates = tuple(CoordinateSettings(**dataclasses.asdict(entry)) for entry in fields.pop("coordinates"))
        return ReleaseSettings(
            resolution=config.data.height,
            channels=config.data.channels,
            c_dim=config.data.num_classes,
            coordinates=coordinates,
            **fields,
        )
    except ValueError as error:
        raise UserError(f"config.release makes no network: {error}") from error


def release_section(settings: ReleaseSettings) -> dict[str, Any]:
    """The section `release` of the configuration that builds these settings again."""
    section = dataclasses.asdict(settings)
    for derived in ("resolution", "channels", "c_dim", "precision", "remat"):
        section.pop(derived)
    return section


def paper_settings(config: Config) -> PaperSettings:
    """The settings of the `paper` generator; every block trains at half the size of the next."""
    data, paper = config.data, config.paper
    assert paper is not None, "validated with config.model"
    last = len(paper.features) - 1
    blocks = tuple(
        PaperBlock(
            size=(data.height >> (last - index), data.width >> (last - index)),
            features=paper.features[index],
            num_layers=paper.num_layers[index],
            num_fourier_features=paper.num_fourier_features[index],
            fourier_scale=paper.fourier_scale[index],
            max_num_fixed_features=paper.max_num_fixed_features[index],
            to_rgb=paper.to_rgb[index],
        )
        for index in range(last + 1)
    )
    return PaperSettings(
        blocks=blocks,
        channels=data.channels,
        z_dim=paper.z_dim,
        c_dim=data.num_classes,
        class_embedding_dim=paper.class_embedding_dim,
        mapping_dim=paper.mapping_dim,
        num_mapping_layers=paper.num_mapping_layers,
        modulation=paper.modulation,
        modulation_activation=paper.modulation_activation,
        rank=paper.rank,
        scales=paper.scales,
        fourier_source=paper.fourier_source,
        use_raw_coordinates=paper.use_raw_coordinates,
        first_dense_block=paper.first_dense_block,
        training_rule=paper.training_rule,
        activation=paper.activation,
        leaky_slope=paper.leaky_slope,
        equalised_lr=paper.equalised_lr,
        use_diagonal_features=paper.use_diagonal_features,
    )
