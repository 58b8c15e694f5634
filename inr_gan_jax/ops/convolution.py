"""Convolution with fast first and second derivatives on CPUs."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from inr_gan_jax.array_types import Array

# Above this many values, windows are extracted one at a time to save memory.
_MANY_NUMBERS = 2**25


def convolve(x: Array, kernel: Array, stride: int = 1, padding: int = 0) -> Array:
    """Correlates images with a kernel.

    XLA for CPUs is fast for plain convolutions only. It computes the gradient of a kernel as a convolution with a
    window as large as the image, five times slower than matrix products; within a branch or a loop, every
    gradient becomes a nest of scalar loops, as does the second derivative of a strided convolution, which R1 needs,
    anywhere. So gradients are written out for CPUs; other devices use JAX's own. Reverse mode only.

    Args:
        x: [batch, height, width, in_channels].
        kernel: [side, side, in_channels, features].
        stride: step in both directions.
        padding: zeros on all sides, less than `side`.

    Returns:
        [batch, (height + 2 * padding - side) // stride + 1, likewise width, features].
    """
    if kernel.shape[0] == 1 and stride == 1 and not padding:
        return x @ kernel[0, 0]
    if stride == 1:
        for_cpu = functools.partial(_unit_stride, padding)
    else:
        # Recomputed: the patches are larger than the picture.
        for_cpu = jax.checkpoint(functools.partial(_product_of_patches, stride=stride, padding=padding))
    default = functools.partial(_correlate, stride=stride, padding=padding)
    return jax.lax.platform_dependent(x, kernel, cpu=for_cpu, default=default)


def _correlate(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=[(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _unit_stride(padding: int, x: Array, kernel: Array) -> Array:
    return _correlate(x, kernel, 1, padding)


def _unit_stride_forward(padding: int, x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _unit_stride(padding, x, kernel), (x, kernel)


def _unit_stride_backward(padding: int, residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    side = kernel.shape[0]
    # A plain convolution again, so that its own gradients are spelled out as well.
    of_x: Any = _unit_stride(side - 1 - padding, gradient, kernel[::-1, ::-1].swapaxes(2, 3))
    return of_x, _gradient_of_kernel(_padded(x, padding), gradient, side)


_unit_stride.defvjp(_unit_stride_forward, _unit_stride_backward)


def _gradient_of_kernel(x: Array, gradient: Array, side: int) -> Array:
    """One matrix product an entry of the kernel; x is padded."""
    _, height, width, features = gradient.shape
    rows = gradient.reshape(-1, features)

    def product(row: Array | int, column: Array | int) -> Array:
        window = jax.lax.dynamic_slice_in_dim(x, row, height, axis=1)
        window = jax.lax.dynamic_slice_in_dim(window, column, width, axis=2)
        return window.reshape(-1, x.shape[-1]).T @ rows

    if x.size * side**2 > _MANY_NUMBERS:
        products = jax.lax.map(lambda index: product(index // side, index % side), jnp.arange(side**2))
    else:
        products = jnp.stack([product(*divmod(index, side)) for index in range(side**2)])
    return products.reshape(side, side, x.shape[-1], features)


def _product_of_patches(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    side = kernel.shape[0]
    x = _padded(x, padding)
    rows, columns = ((size - side) // stride * stride + 1 for size in x.shape[1:3])
    taps = [divmod(index, side) for index in range(side**2)]
    parts = [x[:, row : row + rows : stride, column : column + columns : stride] for row, column in taps]
    return jnp.concatenate(parts, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def _padded(x: Array, padding: int) -> Array:
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
