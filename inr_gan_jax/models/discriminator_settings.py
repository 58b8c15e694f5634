"""Settings of the discriminator."""

import dataclasses
from typing import Literal

from inr_gan_jax.setting import ABOVE_ZERO, ONE_OR_MORE, ZERO_OR_MORE, setting

Architecture = Literal["resnet", "skip", "orig"]


@dataclasses.dataclass(frozen=True)
class DiscriminatorSettings:
    """The discriminator, that of StyleGAN2."""

    channel_base: int = setting(16384, "width at side r is channel_base / r, at most channel_max", ONE_OR_MORE)
    channel_max: int = setting(512, "upper bound of the widths", ONE_OR_MORE)
    mbstd_group_size: int | None = setting(
        4, "samples per group of the minibatch standard deviation; None: the batch", ONE_OR_MORE
    )
    mbstd_channels: int = setting(1, "channels of the minibatch standard deviation; 0: none", ZERO_OR_MORE)
    conv_clamp: float | None = setting(None, "bound of the activations; None: none", ABOVE_ZERO)
    architecture: Architecture = setting(
        "resnet", "resnet: residual blocks; skip: every block also gets the downsampled image; orig: neither"
    )
    num_label_layers: int = setting(
        8, "layers after the embedding of a label; used when data.num_classes is above 0", ZERO_OR_MORE
    )
    label_projection_features: int | None = setting(
        None, "width of the output that labels are projected on; None: that of the last layers", ABOVE_ZERO
    )
    label_lr_multiplier: float = setting(
        0.01, "relative learning rate of the layers after the embedding of a label", ABOVE_ZERO
    )
