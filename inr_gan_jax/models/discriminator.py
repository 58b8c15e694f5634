"""The residual discriminator of StyleGAN2."""

import math

import flax.linen as nn
import jax.numpy as jnp

from inr_gan_jax.array_types import Array
from inr_gan_jax.models.layers import EqualisedConv, EqualisedDense, append_minibatch_stddev, scaled_leaky_relu
from inr_gan_jax.models.mapping import MappingNetwork
from inr_gan_jax.ops.resample import fir_filter

# The last convolution sees this side; every block above it halves.
FINAL_SIDE = 4


def _clamped(x: Array, limit: float | None) -> Array:
    return x if limit is None else jnp.clip(x, -limit, limit)


class DiscriminatorBlock(nn.Module):
    """Two convolutions, the second at half the size, beside a filtered 1x1 shortcut.

    Attributes:
        in_channels: channels of the first convolution.
        out_channels: channels of the result.
        conv_clamp: bound of the activations, None for none.
    """

    in_channels: int
    out_channels: int
    conv_clamp: float | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [batch, height, width, channels] to [batch, height / 2, width / 2, out_channels]."""
        half = math.sqrt(0.5)
        shortcut = EqualisedConv(self.out_channels, 1, use_bias=False, name="skip")(fir_filter(x, (1, 1), stride=2))
        x = EqualisedConv(self.in_channels, 3, padding=1, name="conv0")(x)
        x = _clamped(scaled_leaky_relu(x), self.conv_clamp)
        x = EqualisedConv(self.out_channels, 3, stride=2, name="conv1")(fir_filter(x, (2, 2)))
        limit = None if self.conv_clamp is None else self.conv_clamp * half
        # The gain sqrt(2) of the activation and the 1 / sqrt(2) of the residual sum cancel.
        return shortcut * half + _clamped(scaled_leaky_relu(x, gain=1.0), limit)


class Discriminator(nn.Module):
    """Scores images; higher means more real.

    Attributes:
        resolution: (height, width) of the images; each a multiple of 4 and both halved until the smaller is 4.
        channel_base: width of a block at side r is channel_base / r, at most `channel_max`.
        channel_max: upper bound of the widths.
        c_dim: size of the label, 0 for unconditional.
        num_label_layers: layers behind the linear embedding of the label.
        mbstd_group_size: samples a group of the minibatch standard deviation.
        conv_clamp: bound of the activations, None for none.

    Source: arXiv 1912.04958 (residual architecture); conditioning by projection as in arXiv 2006.06676.
    """

    resolution: tuple[int, int]
    channel_base: int = 16384
    channel_max: int = 512
    c_dim: int = 0
    num_label_layers: int = 8
    mbstd_group_size: int = 4
    conv_clamp: float | None = None

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
        side = min(self.resolution)
        x = EqualisedConv(self._channels(side), 1, name="from_rgb")(images)
        x = _clamped(scaled_leaky_relu(x), self.conv_clamp)
        while side > FINAL_SIDE:
            block = DiscriminatorBlock(
                self._channels(side), self._channels(side // 2), self.conv_clamp, name=f"block_{side}"
            )
            x = block(x)
            side //= 2
        x = append_minibatch_stddev(x, self.mbstd_group_size)
        final_channels = self._channels(FINAL_SIDE)
        x = EqualisedConv(final_channels, 3, padding=1, name="final_conv")(x)
        x = _clamped(scaled_leaky_relu(x), self.conv_clamp)
        x = EqualisedDense(final_channels, activate=True, name="final_dense")(x.reshape(x.shape[0], -1))
        if not self.c_dim:
            return EqualisedDense(1, name="output")(x)[:, 0]
        if c is None:
            raise ValueError("the discriminator is conditional but got no labels")
        x = EqualisedDense(final_channels, name="output")(x)
        embedding = MappingNetwork(final_channels, self.num_label_layers, name="mapping")(None, c)
        return jnp.sum(x * embedding, axis=-1) / math.sqrt(final_channels)
