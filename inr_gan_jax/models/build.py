"""From configuration to networks, for training and inference alike."""

from inr_gan_jax.config import Config
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.models.paper_inr import PaperBlock, PaperNetwork, PaperSettings


def build_generator(config: Config) -> Generator:
    """Builds the generator of a run."""
    settings = paper_settings(config)
    return Generator(
        network=PaperNetwork(settings),
        z_dim=settings.z_dim,
        c_dim=settings.c_dim,
        native_viewport=settings.native_viewport,
        channels=settings.channels,
    )


def build_discriminator(config: Config) -> Discriminator:
    """Builds the discriminator of a run."""
    return Discriminator(
        resolution=(config.data.height, config.data.width),
        channel_base=config.discriminator.channel_base,
        channel_max=config.discriminator.channel_max,
        c_dim=config.data.num_classes,
        mbstd_group_size=config.discriminator.mbstd_group_size,
    )


def paper_settings(config: Config) -> PaperSettings:
    """The settings of the `paper` generator; every block trains at half the size of the next."""
    data, paper = config.data, config.paper
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
        rank=paper.rank,
        first_dense_block=paper.first_dense_block,
        training_rule=paper.training_rule,
        activation=paper.activation,
        leaky_slope=paper.leaky_slope,
        equalised_lr=paper.equalised_lr,
        use_diagonal_features=paper.use_diagonal_features,
    )
