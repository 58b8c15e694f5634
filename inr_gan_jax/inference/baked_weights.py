"""An image as a plain network: the weights of its INR, after modulation.

The modulation of an image is linear in w, so mixing modulations is mixing w. The resulting weights are not: factors
pass through a sigmoid or are normalised. Here they are computed, for a network that modulates nothing. The weights of a
`paper` network without factors are the modulation itself.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from inr_gan_jax.array_types import Array, Params, Variables
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.generator import Generator, Modulation
from inr_gan_jax.models.paper.architecture import CONNECTOR_GAIN, HIDDEN_GAIN, PaperArchitecture
from inr_gan_jax.models.paper.modulation import BlockModulation, FactorisedLayer, LayerModulation, image_weight
from inr_gan_jax.models.paper.network import PaperNetwork
from inr_gan_jax.models.release.architecture import ReleaseArchitecture
from inr_gan_jax.models.release.layers import FactorModulation, StyleModulation
from inr_gan_jax.ops.modulation import demodulation, modulate_factors

# Multiplies the weights by 0.5 + sigmoid(0), which is 1, when the factors are 0.
_NEUTRAL = "sigmoid"


class BakedWeights(struct.PyTreeNode):
    """The weights of one image's INR.

    Attributes:
        kernels: block -> layer -> [in_features, out_features], after modulation.
        modulation: the rest (biases, frequencies, the layer to colours), and factors of 0.
    """

    kernels: Params
    modulation: Modulation


def has_baked_weights(loaded: LoadedGenerator) -> bool:
    """Whether all layers are pointwise, so that images are INRs."""
    settings = loaded.generator.network.settings
    return not isinstance(settings, ReleaseArchitecture) or settings.kernel_size == 1


def baked_weights(loaded: LoadedGenerator, modulation: Modulation) -> BakedWeights:
    """Computes the weights of one image.

    Raises:
        ValueError: for a network with 3x3 kernels, whose images are not INRs.
    """
    if not has_baked_weights(loaded):
        raise ValueError(f"{loaded.source} has 3x3 kernels, expected pointwise layers")
    return _baked(loaded.generator, loaded.variables, modulation)


def plain_generator(loaded: LoadedGenerator, weights: BakedWeights) -> LoadedGenerator:
    """A generator that renders `weights.modulation` with these weights, for the functions of `pictures`."""
    settings = loaded.generator.network.settings
    generator = loaded.generator
    if isinstance(settings, ReleaseArchitecture):
        generator = generator_of(dataclasses.replace(settings, factor_activation=_NEUTRAL))
    elif settings.modulation == "factorised":
        generator = generator_of(dataclasses.replace(settings, modulation_activation=_NEUTRAL, equalised_lr=False))
    params = {block: dict(layers) for block, layers in loaded.variables["params"].items() if block in weights.kernels}
    for block, kernels in weights.kernels.items():
        for layer, kernel in kernels.items():
            params[block][layer] = {**params[block][layer], "kernel": kernel}
    return dataclasses.replace(loaded, generator=generator, variables={**loaded.variables, "params": params})


@functools.partial(jax.jit, static_argnums=0)
def _baked(generator: Generator, variables: Variables, modulation: Modulation) -> BakedWeights:
    kernels: dict[str, dict[str, Array]] = {}
    neutral = []
    for block, modulations in zip(_block_names(generator), modulation, strict=True):
        # A block that is emitted entirely has no shared weights.
        params = variables["params"].get(block, {})
        kernels[block] = {
            layer: _modulated(generator, layer, params[layer]["kernel"], part)
            for layer, part in _layers(params, modulations)
        }
        neutral.append(_neutral(generator, params, modulations))
    return BakedWeights(kernels, tuple(neutral))


def _block_names(generator: Generator) -> list[str]:
    network = generator.network
    if isinstance(network, PaperNetwork):
        return [f"blocks_{index}" for index in range(len(network.settings.blocks))]
    return [f"blocks_{plan.side}" for plan in network.settings.blocks()]


def _layers(params: Params, modulations: Any) -> Iterator[tuple[str, Any]]:
    """Name and modulation of the modulated layers of a block, except ToRGB, which is linear."""
    if isinstance(modulations, BlockModulation):
        yield from ((name, part) for name, part in _paper_layers(modulations) if isinstance(part, FactorisedLayer))
        return
    prefixes = ("conv0", "conv1", "extra_convs_")
    names = sorted((name for name in params if name.startswith(prefixes)), key=lambda name: _order(name, prefixes))
    yield from zip(names, modulations.layers, strict=True)


def _paper_layers(modulations: BlockModulation) -> Iterator[tuple[str, LayerModulation]]:
    """Name and modulation of the connectors and hidden layers of a block of the `paper` network."""
    if modulations.connector is not None:
        yield "connector_low", modulations.connector.low
        yield "connector_high", modulations.connector.high
    yield from ((f"layer_{number}", layer) for number, layer in enumerate(modulations.layers))


def _order(name: str, prefixes: tuple[str, ...]) -> tuple[int, int]:
    (rank,) = [index for index, prefix in enumerate(prefixes) if name.startswith(prefix)]
    return rank, int(name.rpartition("_")[2]) if "_" in name else 0


def _modulated(generator: Generator, layer: str, kernel: Array, part: Any) -> Array:
    settings = generator.network.settings
    if isinstance(settings, PaperArchitecture):
        gain = CONNECTOR_GAIN if layer.startswith("connector") else HIDDEN_GAIN
        return image_weight(settings, kernel, part, gain)
    if isinstance(part, StyleModulation):
        return kernel * part.styles[:, None] * demodulation(kernel, part.styles)[None, :]
    assert settings.factor_activation is not None, "factors are predicted only with an activation"
    return modulate_factors(kernel, part.left, part.right, settings.factor_activation)


def _neutral(generator: Generator, params: Params, modulations: Any) -> Any:
    """The modulation of a block that leaves its weights unchanged."""
    if isinstance(generator.network, PaperNetwork):
        connector, layers = modulations.connector, tuple(map(_zero_factors, modulations.layers))
        if connector is not None:
            connector = connector.replace(low=_zero_factors(connector.low), high=_zero_factors(connector.high))
        return modulations.replace(connector=connector, layers=layers)
    settings = generator.network.settings
    assert isinstance(settings, ReleaseArchitecture), "the other network is handled above"
    # Of the rank of the settings, so that this is a modulation like any other of the network.
    layers = tuple(
        FactorModulation(
            left=jnp.zeros((params[layer]["kernel"].shape[1], settings.rank)),
            right=jnp.zeros((settings.rank, params[layer]["kernel"].shape[0])),
        )
        for layer, _ in _layers(params, modulations)
    )
    return modulations.replace(layers=layers)


def _zero_factors(part: LayerModulation) -> LayerModulation:
    if not isinstance(part, FactorisedLayer):
        return part
    return part.replace(left=jnp.zeros_like(part.left), right=jnp.zeros_like(part.right))
