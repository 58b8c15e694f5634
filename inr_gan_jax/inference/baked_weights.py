"""An image as a plain network: the weights of its INR after modulation.

The modulation of an image is linear in w, so interpolating modulations is interpolating w. The weights after modulation
are not: factors pass through a sigmoid or are normalised. Here they are computed, and rendered by a network that
modulates nothing. Where a `paper` network has no factors, the weights of an image are its modulation.
"""

import dataclasses

from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.models.build import generator_of
from inr_gan_jax.models.generator import BakedWeights, Modulation, with_kernels


def bake(loaded: LoadedGenerator, modulation: Modulation) -> BakedWeights:
    """Computes the weights of one image.

    Raises:
        ValueError: for a network with 3x3 kernels, whose images are not INRs.
    """
    return loaded.generator.bake(loaded.variables, modulation)


def baked_generator(loaded: LoadedGenerator, weights: BakedWeights) -> LoadedGenerator:
    """A generator that renders `weights.modulation` with these weights, for the functions of `pictures`."""
    generator = generator_of(loaded.generator.network.baked_settings)
    return dataclasses.replace(loaded, generator=generator, variables=with_kernels(loaded.variables, weights.kernels))
