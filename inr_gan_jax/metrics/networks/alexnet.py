"""AlexNet as torchvision has it: a backbone of LPIPS."""

from jax import lax

from inr_gan_jax.array_types import Array, Params
from inr_gan_jax.metrics.networks.layers import convolve_relu, max_pool
from inr_gan_jax.metrics.networks.weight_files import Shapes

WEIGHTS_SOURCE = (
    "the state_dict of torchvision's alexnet (https://download.pytorch.org/models/alexnet-owt-7be5be79.pth) as .pth, "
    ".npz or .safetensors"
)

# Index in torchvision's `features`, features, input channels, side of the kernel, stride, padding.
_CONVOLUTIONS = (
    (0, 64, 3, 11, 4, 2),
    (3, 192, 64, 5, 1, 2),
    (6, 384, 192, 3, 1, 1),
    (8, 256, 384, 3, 1, 1),
    (10, 256, 256, 3, 1, 1),
)
_POOLED_BEFORE = (3, 6)


def alexnet_shapes() -> Shapes:
    """Names and shapes of the convolutions in torchvision's state_dict."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, features, before, side, _, _ in _CONVOLUTIONS:
        shapes[f"features.{index}.weight"] = (features, before, side, side)
        shapes[f"features.{index}.bias"] = (features,)
    return shapes


def alexnet_taps(params: Params, images: Array, precision: lax.PrecisionLike = lax.Precision.HIGHEST) -> list[Array]:
    """Computes the five feature maps that LPIPS compares, each after its ReLU.

    Args:
        params: layer -> {"kernel", "bias"} of torchvision's file.
        images: [batch, height, width, 3], normalised as for ImageNet, sides of at least 31 pixels.
        precision: of the products.

    Returns:
        Maps [batch, height', width', channels] of 64, 192, 384, 256 and 256 channels.

    Source: arXiv 1404.5997, the one-column variant.
    """
    taps = []
    for index, _, _, _, stride, padding in _CONVOLUTIONS:
        if index in _POOLED_BEFORE:
            images = max_pool(images, 3, 2)
        images = convolve_relu(images, params[f"features.{index}"], stride, padding, precision=precision)
        taps.append(images)
    return taps
