"""Layers of image networks in plain NumPy, float64, channels first, for one image."""

from collections.abc import Mapping

import numpy as np


def plain_convolution(x: np.ndarray, weights: Mapping[str, np.ndarray], name: str, stride: int, pad: int) -> np.ndarray:
    kernel, bias = weights[f"{name}.weight"].astype(np.float64), weights[f"{name}.bias"].astype(np.float64)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[2:], axis=(1, 2))[:, ::stride, ::stride]
    return np.maximum(np.einsum("chwij,ocij->ohw", windows, kernel, optimize=True) + bias[:, None, None], 0)


def plain_pool(x: np.ndarray, hangs_over: bool) -> np.ndarray:
    """3x3 maxima at stride 2; windows may hang over the edge or not."""
    if hangs_over:
        x = np.pad(x, ((0, 0), (0, (x.shape[1] - 3) % 2), (0, (x.shape[2] - 3) % 2)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))[:, ::2, ::2].max(axis=(3, 4))
