"""Layers shared by the networks: equalised learning rate, leaky ReLU with gain, minibatch standard deviation."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, along_last
from inr_gan_jax.ops.convolution import convolve

LEAKY_SLOPE = 0.2
# Multiplies weights by 0.5 + sigmoid(0), which is 1, where the factors are 0.
NEUTRAL_ACTIVATION = "sigmoid"


def scaled_leaky_relu(x: Array, gain: float = math.sqrt(2)) -> Array:
    """Leaky ReLU of slope 0.2 times a gain that keeps the variance (StyleGAN2)."""
    return jax.nn.leaky_relu(x, LEAKY_SLOPE) * gain


def numbers_like(tree: Any, number: int) -> Any:
    """The tree with the number in place of each array."""
    return jax.tree.map(lambda _: number, tree)


def clamp(x: Array, limit: float | None) -> Array:
    """Bounds activations to [-limit, limit]; None for no bound."""
    return x if limit is None else jnp.clip(x, -limit, limit)


def normalise_second_moment(x: Array) -> Array:
    """Scales the last axis to mean square 1."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


class EqualisedDense(nn.Module):
    """Dense layer whose weights are stored at unit variance and scaled at run time.

    Attributes:
        features: output width.
        lr_multiplier: relative learning rate; weights are stored divided by it.
        bias_init: initial bias, stored as it is and multiplied by `lr_multiplier` at run time.
        activate: apply the scaled leaky ReLU.

    Source: arXiv 1710.10196 §4.1; arXiv 1812.04948, appendix C (learning-rate multiplier).
    """

    features: int
    lr_multiplier: float = 1.0
    bias_init: float = 0.0
    activate: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [..., in_features] to [..., features]."""
        in_features = x.shape[-1]
        stddev = 1 / self.lr_multiplier
        kernel = self.param("kernel", nn.initializers.normal(stddev), (in_features, self.features))
        bias = self.param("bias", nn.initializers.constant(self.bias_init), (self.features,))
        # Scale the input, since a scaled kernel would be stored for the backward pass.
        y = (x * (self.lr_multiplier / math.sqrt(in_features))) @ kernel
        y = y + along_last(bias * self.lr_multiplier, y.ndim)
        return scaled_leaky_relu(y) if self.activate else y


class EqualisedConv(nn.Module):
    """Convolution with run-time weight scaling and an optional bias, in the precision of its input.

    Attributes:
        features: output channels.
        kernel_size: side of the square kernel.
        stride: step in both directions.
        use_bias: add a bias per channel.
        padding: zeros on all sides.

    Source: arXiv 1710.10196 §4.1.
    """

    features: int
    kernel_size: int
    stride: int = 1
    use_bias: bool = True
    padding: int = 0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [batch, height, width, in_channels] to [batch, out_height, out_width, features]."""
        in_channels = x.shape[-1]
        side = self.kernel_size
        kernel = self.param("kernel", nn.initializers.normal(1.0), (side, side, in_channels, self.features))
        kernel = (kernel * (1 / math.sqrt(in_channels * side**2))).astype(x.dtype)
        y = convolve(x, kernel, self.stride, self.padding)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + along_last(bias, y.ndim).astype(y.dtype)
        return y


def append_minibatch_stddev(x: Array, group_size: int, num_channels: int = 1) -> Array:
    """Appends channels that hold the standard deviation across a group of samples.

    Group member m of group n is sample m * num_groups + n (strided, as in StyleGAN2), so the groups are those of the
    global batch whatever the number of devices it is spread over.

    Args:
        x: [batch, height, width, channels].
        group_size: samples per group; a smaller batch is one group.
        num_channels: how many to append; each stands for as many consecutive channels of `x`.

    Returns:
        [batch, height, width, channels + num_channels].

    Raises:
        ValueError: if the batch is not a multiple of the group, or the channels are not one of `num_channels`.

    Source: arXiv 1710.10196 §3.
    """
    batch, height, width, channels = x.shape
    group = min(group_size, batch)
    if batch % group:
        raise ValueError(f"minibatch stddev has a batch of {batch}, expected a multiple of its group size {group}")
    if channels % num_channels:
        raise ValueError(f"minibatch stddev has {channels} channels, expected a multiple of {num_channels}")
    grouped = x.reshape(group, batch // group, height, width, num_channels, channels // num_channels)
    stddev = jnp.sqrt(jnp.var(grouped, axis=0) + 1e-8).mean(axis=(1, 2, 4))
    stddev = jnp.tile(stddev, (group, 1))[:, None, None, :]
    return jnp.concatenate([x, jnp.broadcast_to(stddev, (batch, height, width, num_channels))], axis=-1)
