"""Output of the hypernetwork of the `paper` model: the modulation pytree of one image, and the weights it gives."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from inr_gan_jax.array_types import Array, check_shape
from inr_gan_jax.models.paper.architecture import PaperArchitecture
from inr_gan_jax.ops.modulation import modulate_product


class FactorisedLayer(struct.PyTreeNode):
    """Emitted parameters of a layer with `factorised` modulation.

    Attributes:
        left: [out_features, rank].
        right: [rank, in_features].
        bias: [out_features].
    """

    left: Array
    right: Array
    bias: Array


class EmittedLayer(struct.PyTreeNode):
    """A fully emitted linear layer: ToRGB, and every layer with `full` modulation.

    Attributes:
        kernel: [out_features, in_features], before scaling.
        bias: [out_features].
    """

    kernel: Array
    bias: Array


class SharedLayer(struct.PyTreeNode):
    """Emitted parameters of a layer whose weight all images share.

    Attributes:
        bias: [out_features].
    """

    bias: Array


LayerModulation = FactorisedLayer | EmittedLayer | SharedLayer


class ConnectorModulation(struct.PyTreeNode):
    """Emitted parameters of the layer between two blocks.

    Attributes:
        low: for the features of the previous block.
        high: for the coordinate embedding of this block.
    """

    low: LayerModulation
    high: LayerModulation


class PaperBlockModulation(struct.PyTreeNode):
    """Emitted parameters of one block. The field order is the order of the emitted vector.

    Attributes:
        fourier: [num_emitted_frequencies, 2], before scaling.
        connector: None where the block has no input features.
        layers: one entry per hidden layer.
        to_rgb: None where the block has no ToRGB.
    """

    fourier: Array
    connector: ConnectorModulation | None
    layers: tuple[LayerModulation, ...]
    to_rgb: EmittedLayer | None


# One image as an INR: together with the shared weights it is all that `render` needs.
PaperModulation = tuple[PaperBlockModulation, ...]


def modulation_shapes(settings: PaperArchitecture) -> PaperModulation:
    """The modulation of one image as a pytree of `jax.ShapeDtypeStruct`."""
    blocks = []
    for index, block in enumerate(settings.blocks):
        connector = None
        if settings.has_connector(index):
            connector = ConnectorModulation(
                low=_layer_shapes(settings, settings.blocks[index - 1].features, block.features),
                high=_layer_shapes(settings, settings.embedding_dim(index), block.features),
            )
        rgb = EmittedLayer(_shape(settings.channels, block.features), _shape(settings.channels))
        blocks.append(
            PaperBlockModulation(
                fourier=_shape(settings.num_emitted_frequencies(index), 2),
                connector=connector,
                layers=tuple(_layer_shapes(settings, *widths) for widths in settings.layer_widths(index)),
                to_rgb=rgb if settings.has_rgb(index) else None,
            )
        )
    return tuple(blocks)


def _shape(*sizes: int) -> Any:
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def _layer_shapes(settings: PaperArchitecture, in_features: int, out_features: int) -> LayerModulation:
    bias = _shape(out_features)
    if settings.modulation == "full":
        return EmittedLayer(_shape(out_features, in_features), bias)
    if settings.modulation == "none":
        return SharedLayer(bias)
    return FactorisedLayer(_shape(out_features, settings.rank), _shape(settings.rank, in_features), bias)


def num_emitted(settings: PaperArchitecture) -> int:
    """Number of values the hypernetwork emits per image."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(modulation_shapes(settings)))


def unflatten_modulation(emitted: Array, settings: PaperArchitecture) -> PaperModulation:
    """Splits the emitted vector into the modulation of the layers.

    Args:
        emitted: [num_emitted].
        settings: of the generator.

    Returns:
        The modulation of one image.

    Raises:
        ValueError: if the vector has another length.
    """
    leaves, structure = jax.tree.flatten(modulation_shapes(settings))
    sizes = [math.prod(leaf.shape) for leaf in leaves]
    check_shape("emitted parameters", emitted, (sum(sizes),))
    parts = jnp.split(emitted, np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])


def emitted_weights(settings: PaperArchitecture) -> np.ndarray:
    """[num_emitted], bool: which emitted values are weights of a hidden layer or connector with `full` modulation."""
    marks = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(modulation_shapes(settings)):
        names = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        marks.append(np.full(math.prod(leaf.shape), names[-1] == "kernel" and "to_rgb" not in names))
    return np.concatenate(marks)


def image_weight(settings: PaperArchitecture, kernel: Array | None, modulation: LayerModulation, gain: float) -> Array:
    """Computes the weight of a layer for one image.

    Args:
        settings: of the generator.
        kernel: [in_features, out_features], the stored shared weight; None for a fully emitted layer.
        modulation: of the layer.
        gain: the weight is initialised with standard deviation gain / sqrt(in_features).

    Returns:
        [in_features, out_features].
    """
    if isinstance(modulation, EmittedLayer):
        return gain / math.sqrt(modulation.kernel.shape[1]) * modulation.kernel.T
    assert kernel is not None, "only fully emitted layers have no shared weight"
    if settings.equalised_lr:
        kernel = kernel * (gain / math.sqrt(kernel.shape[0]))
    if isinstance(modulation, SharedLayer):
        return kernel
    return modulate_product(kernel, modulation.left, modulation.right, settings.modulation_activation, norm=gain)
