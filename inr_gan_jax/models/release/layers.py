"""Layers of the `release` family: the modulated convolution and ToRGB, for one sample."""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from inr_gan_jax.array_types import Array, along_last
from inr_gan_jax.models.layers import EqualisedDense, clamp, scaled_leaky_relu
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.coordinates import ReleaseGrid
from inr_gan_jax.ops.modulation import demodulation, modulate_factors
from inr_gan_jax.ops.resample import bilinear_upsample, fir_filter, fir_upsample, gather_features
from inr_gan_jax.ops.table_lookup import read_table

NoiseMode = Literal["const", "random", "none"]


class StyleModulation(struct.PyTreeNode):
    """Predicted per image for a layer with weight demodulation, or for ToRGB.

    Attributes:
        styles: [in_features], factor per input channel.
    """

    styles: Array


class FactorModulation(struct.PyTreeNode):
    """Predicted per image for a layer with factorised multiplicative modulation.

    Attributes:
        left: [out_features, rank].
        right: [rank, in_features].
    """

    left: Array
    right: Array

    @classmethod
    def zeros(cls, kernel: Array, rank: int) -> "FactorModulation":
        """Factors of 0 for a kernel [in_features, out_features]."""
        in_features, out_features = kernel.shape
        return cls(left=jnp.zeros((out_features, rank)), right=jnp.zeros((rank, in_features)))


def pointwise_weight(
    settings: ReleaseArchitecture, kernel: Array, modulation: StyleModulation | FactorModulation
) -> Array:
    """Computes the weight of a pointwise layer for one image.

    Args:
        settings: of the generator.
        kernel: [in_features, out_features], shared by all images.
        modulation: of the layer.

    Returns:
        [in_features, out_features].
    """
    if isinstance(modulation, StyleModulation):
        return kernel * modulation.styles[:, None] * demodulation(kernel, modulation.styles)[None, :]
    assert settings.factor_activation is not None, "factors are predicted only with an activation"
    return modulate_factors(kernel, modulation.left, modulation.right, settings.factor_activation)


class SynthesisLayer(nn.Module):
    """Convolution with a weight modulated per image, followed by noise, bias and leaky ReLU.

    Attributes:
        settings: of the generator.
        in_features: width of the features.
        embedding_features: width of the coordinate embedding concatenated to them.
        out_features: width of the result.
        resolution: side of the trained grid of the result.
        upsamples: whether the layer upsamples the features to the grid of its block.
        instance_norm: divide the features by their standard deviation first.
    """

    settings: ReleaseArchitecture
    in_features: int
    out_features: int
    resolution: int
    embedding_features: int = 0
    upsamples: bool = False
    instance_norm: bool = False

    def setup(self) -> None:
        settings, all_features = self.settings, self.in_features + self.embedding_features
        side = settings.kernel_size
        shape = (all_features, self.out_features)
        self.kernel = self.param("kernel", nn.initializers.normal(1.0), shape if side == 1 else (side, side, *shape))
        self.bias = self.param("bias", nn.initializers.zeros, (self.out_features,))
        if settings.factor_activation is None:
            self.affine = EqualisedDense(all_features, bias_init=1.0)
        else:
            self.affine = EqualisedDense((self.out_features + all_features) * settings.rank)
        if settings.use_noise:
            self.noise_strength = self.param("noise_strength", nn.initializers.zeros, ())
            size = (self.resolution, self.resolution)
            self.noise_const = self.variable(
                "constants", "noise_const", lambda: jax.random.normal(self.make_rng("params"), size)
            )

    def modulation(self, w: Array) -> StyleModulation | FactorModulation:
        """Maps w [w_dim] to the modulation of this layer."""
        predicted = self.affine(w)
        if self.settings.factor_activation is None:
            return StyleModulation(styles=predicted)
        rank = self.settings.rank
        left, right = jnp.split(predicted, [self.out_features * rank])
        return FactorModulation(left=left.reshape(-1, rank), right=right.reshape(rank, -1))

    def __call__(
        self,
        x: Array,
        embedding: Array | None,
        modulation: StyleModulation | FactorModulation,
        grid: ReleaseGrid,
        noise_mode: NoiseMode,
    ) -> Array:
        """Maps features to features.

        Args:
            x: [height, width, in_features]; on the previous grid when the layer upsamples.
            embedding: [*grid.block_grid.size, embedding_features], None for none.
            modulation: of this layer.
            grid: the grid of the result.
            noise_mode: `const`: the stored noise; `random`: sampled from the stream `noise`; `none`.

        Returns:
            [*grid.block_grid.size, out_features].
        """
        if self.instance_norm:
            deviation = jnp.std(x.astype(self.bias.dtype), axis=(0, 1), ddof=1, keepdims=True)
            x = x / (deviation + 1e-8).astype(x.dtype)
        if self.settings.kernel_size == 1:
            x = self._pointwise(x, embedding, modulation, grid)
        else:
            assert isinstance(modulation, StyleModulation), "settings allow factors for kernel size 1 only"
            x = self._convolution(x, modulation.styles, grid)
        if self.settings.use_noise and noise_mode != "none":
            noise = self.noise_strength * self._noise(grid, noise_mode, self.bias.dtype)
            x = x + noise[..., None].astype(x.dtype)
        x = x + along_last(self.bias, 3).astype(x.dtype)
        return clamp(scaled_leaky_relu(x), self.settings.conv_clamp)

    def _pointwise(
        self, x: Array, embedding: Array | None, modulation: StyleModulation | FactorModulation, grid: ReleaseGrid
    ) -> Array:
        """The layer as one matrix per image."""
        weight = pointwise_weight(self.settings, self.kernel, modulation).astype(x.dtype)
        # A pointwise layer commutes with upsampling, so it is applied at the lower resolution.
        x = x @ weight[: self.in_features]
        if self.upsamples:
            x = upsample(self.settings, x, grid)
        return x if embedding is None else x + embedding @ weight[self.in_features :]

    def _convolution(self, x: Array, styles: Array, grid: ReleaseGrid) -> Array:
        """Scales features instead of weights, so that all images of the batch share one kernel."""
        transposed = self.upsamples and self.settings.upsampling == "fir"
        if self.upsamples and not transposed:
            x = upsample(self.settings, x, grid)
        scaled = (x * along_last(styles, 3).astype(x.dtype))[None]
        kernel = self.kernel.astype(x.dtype)
        if transposed:
            flipped = kernel[::-1, ::-1]
            # The factor 4 compensates for the inserted zeros.
            x = 4 * fir_filter(_correlate(scaled, flipped, padding=2, dilation=2), (1, 1))[0]
        else:
            x = _correlate(scaled, kernel, padding=1, dilation=1)[0]
        return x * along_last(demodulation(self.kernel, styles), 3).astype(x.dtype)

    def _noise(self, grid: ReleaseGrid, noise_mode: NoiseMode, dtype: jnp.dtype) -> Array:
        """[*grid.block_grid.size]."""
        if noise_mode == "const":
            return read_table(self.noise_const.value, grid.rows, grid.columns)
        if noise_mode == "random":
            return jax.random.normal(self.make_rng("noise"), grid.block_grid.size, dtype)
        raise ValueError(f"noise_mode is {noise_mode!r}, expected 'const', 'random' or 'none'")


def _correlate(x: Array, kernel: Array, padding: int, dilation: int) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=[(padding, padding)] * 2,
        lhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def upsample(settings: ReleaseArchitecture, x: Array, grid: ReleaseGrid) -> Array:
    """Upsamples features or an image [height, width, ...] to the grid of an upsampling block."""
    if settings.upsampling == "nearest":
        return gather_features(x, grid.block_grid)
    return bilinear_upsample(x) if settings.upsampling == "bilinear" else fir_upsample(x)


class ToRGBLayer(nn.Module):
    """Linear layer to colours with a style per input channel and no demodulation.

    Attributes:
        settings: of the generator.
        in_features: width of the features.
    """

    settings: ReleaseArchitecture
    in_features: int

    def setup(self) -> None:
        channels = self.settings.channels
        self.kernel = self.param("kernel", nn.initializers.normal(1.0), (self.in_features, channels))
        self.bias = self.param("bias", nn.initializers.zeros, (channels,))
        self.affine = EqualisedDense(self.in_features, bias_init=1.0)

    def modulation(self, w: Array) -> StyleModulation:
        """Maps w [w_dim] to the styles."""
        return StyleModulation(styles=self.affine(w) / math.sqrt(self.in_features))

    def __call__(self, x: Array, modulation: StyleModulation) -> Array:
        """Maps [height, width, in_features] to [height, width, channels]."""
        rgb = x @ (self.kernel * modulation.styles[:, None]).astype(x.dtype)
        return clamp(rgb.astype(self.bias.dtype) + along_last(self.bias, 3), self.settings.conv_clamp)
