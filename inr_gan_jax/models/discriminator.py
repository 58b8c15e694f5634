"""The discriminator of StyleGAN2: residual, with skips of the picture, or plain."""

import math
import typing
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, Precision, in_precision
from inr_gan_jax.models.discriminator_settings import Architecture, DiscriminatorSettings
from inr_gan_jax.models.layers import EqualisedConv, EqualisedDense, append_minibatch_stddev, clamp, scaled_leaky_relu
from inr_gan_jax.models.mapping import MappingNetwork
from inr_gan_jax.ops.resample import fir_filter

# The last convolution sees this side; every block above it halves.
FINAL_SIDE = 4


class DiscriminatorBlock(nn.Module):
    """Two convolutions, the second at half the size, plus a filtered 1x1 shortcut if residual.

    Attributes:
        in_channels: channels of the first convolution.
        out_channels: channels of the result.
        conv_clamp: bound of the activations, None for none.
        is_residual: add the shortcut.
    """

    in_channels: int
    out_channels: int
    conv_clamp: float | None = None
    is_residual: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [batch, height, width, channels] to [batch, height / 2, width / 2, out_channels]."""
        shortcut = None
        if self.is_residual:
            shortcut = EqualisedConv(self.out_channels, 1, use_bias=False, name="skip")(fir_filter(x, (1, 1), stride=2))
        x = EqualisedConv(self.in_channels, 3, padding=1, name="conv0")(x)
        x = clamp(scaled_leaky_relu(x), self.conv_clamp)
        x = EqualisedConv(self.out_channels, 3, stride=2, name="conv1")(fir_filter(x, (2, 2)))
        if shortcut is None:
            return clamp(scaled_leaky_relu(x), self.conv_clamp)
        half = math.sqrt(0.5)
        limit = None if self.conv_clamp is None else self.conv_clamp * half
        # The gain sqrt(2) of the activation and the 1 / sqrt(2) of the residual sum cancel.
        return shortcut * half + clamp(scaled_leaky_relu(x, gain=1.0), limit)


class Discriminator(nn.Module):
    """Scores images; higher means more real.

    Attributes:
        resolution: (height, width) of the images; each a multiple of 4 and both halved until the smaller is 4.
        channel_base: width of a block at side r is channel_base / r, at most `channel_max`.
        channel_max: upper bound of the widths.
        c_dim: size of the label, 0 for unconditional.
        num_label_layers: layers behind the linear embedding of the label.
        mbstd_group_size: samples per group of the minibatch standard deviation; None for the whole batch.
        conv_clamp: bound of the activations, None for none.
        architecture: `resnet`; `skip`: the picture, halved again and again, joins before every block; `orig`: neither.
        mbstd_channels: channels of the minibatch standard deviation, 0 for none.
        label_projection_features: width of the projection onto the label embedding; None for that of the last layers.
        label_lr_multiplier: relative learning rate of the layers behind the embedding of the label.
        precision: of the convolutions down to 4x4; statistics, the last layers and the logits stay float32.
        remat: recompute each block in the backward pass instead of storing its activations.

    Source: arXiv 1912.04958 §4.1 (architectures); conditioning by projection as in arXiv 2006.06676.
    """

    resolution: tuple[int, int]
    channel_base: int = DiscriminatorSettings.channel_base
    channel_max: int = DiscriminatorSettings.channel_max
    c_dim: int = 0
    num_label_layers: int = DiscriminatorSettings.num_label_layers
    mbstd_group_size: int | None = DiscriminatorSettings.mbstd_group_size
    conv_clamp: float | None = DiscriminatorSettings.conv_clamp
    architecture: Architecture = DiscriminatorSettings.architecture
    mbstd_channels: int = DiscriminatorSettings.mbstd_channels
    label_projection_features: int | None = DiscriminatorSettings.label_projection_features
    label_lr_multiplier: float = DiscriminatorSettings.label_lr_multiplier
    precision: Precision = "float32"
    remat: bool = False

    def __post_init__(self) -> None:
        if self.architecture not in typing.get_args(Architecture):
            allowed = ", ".join(typing.get_args(Architecture))
            raise ValueError(f"the discriminator has the architecture {self.architecture!r}, expected one of {allowed}")
        super().__post_init__()

    @nn.nowrap
    def variable_shapes(self, channels: int) -> dict[str, Any]:
        """The variables for images of `channels` channels, with `jax.ShapeDtypeStruct` as leaves."""
        images = jax.ShapeDtypeStruct((1, *self.resolution, channels), jnp.result_type(float))
        c = jax.ShapeDtypeStruct((1, self.c_dim), images.dtype) if self.c_dim else None
        return jax.eval_shape(self.init, jax.random.key(0), images, c)

    def _channels(self, side: int) -> int:
        return min(self.channel_base // side, self.channel_max)

    @nn.compact
    def __call__(self, images: Array, c: Array | None = None) -> Array:
        """Scores a batch.

        Args:
            images: [batch, height, width, channels], float in [-1, 1].
            c: [batch, c_dim], one-hot; needed when `c_dim` is above 0.

        Returns:
            [batch], logits.

        Raises:
            ValueError: if a conditional discriminator gets no label.
        """
        x = self._trunk(in_precision(images, self.precision)).astype(images.dtype)
        if self.mbstd_channels:
            x = append_minibatch_stddev(x, self.mbstd_group_size or len(x), self.mbstd_channels)
        final_channels = self._channels(FINAL_SIDE)
        x = EqualisedConv(final_channels, 3, padding=1, name="final_conv")(x)
        x = clamp(scaled_leaky_relu(x), self.conv_clamp)
        x = EqualisedDense(final_channels, activate=True, name="final_dense")(x.reshape(x.shape[0], -1))
        if not self.c_dim:
            return EqualisedDense(1, name="output")(x)[:, 0]
        if c is None:
            raise ValueError("the discriminator is conditional but got no labels")
        width = self.label_projection_features or final_channels
        x = EqualisedDense(width, name="output")(x)
        mapping = MappingNetwork(width, self.num_label_layers, self.label_lr_multiplier, name="mapping")
        return jnp.sum(x * mapping(None, c), axis=-1) / math.sqrt(width)

    def _trunk(self, images: Array) -> Array:
        """[batch, height, width, channels] to [batch, 4, 4, features], 4 being the smaller side."""
        side = min(self.resolution)
        x = self._from_rgb(images, side, "from_rgb")
        while side > FINAL_SIDE:
            block_type = nn.remat(DiscriminatorBlock) if self.remat else DiscriminatorBlock
            block = block_type(
                self._channels(side),
                self._channels(side // 2),
                self.conv_clamp,
                self.architecture == "resnet",
                name=f"block_{side}",
            )
            x = block(x)
            side //= 2
            if self.architecture == "skip":
                images = fir_filter(images, (1, 1), stride=2)
                x = x + self._from_rgb(images, side, f"from_rgb_{side}")
        return x

    def _from_rgb(self, images: Array, side: int, name: str) -> Array:
        x = EqualisedConv(self._channels(side), 1, name=name)(images)
        return clamp(scaled_leaky_relu(x), self.conv_clamp)
