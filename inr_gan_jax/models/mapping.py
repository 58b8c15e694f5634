"""The mapping network of StyleGAN2: from a latent code and a label to an intermediate latent code."""

import flax.linen as nn
import jax.numpy as jnp

from inr_gan_jax.array_types import Array
from inr_gan_jax.models.layers import EqualisedDense, normalise_second_moment


class MappingNetwork(nn.Module):
    """Normalises its inputs and passes them through fully connected layers.

    Attributes:
        w_dim: width of the layers and of the output.
        num_layers: number of layers.
        lr_multiplier: relative learning rate of the layers.

    Source: arXiv 1812.04948 §2 and arXiv 1912.04958; labels are embedded linearly as in arXiv 2006.06676.
    """

    w_dim: int
    num_layers: int = 2
    lr_multiplier: float = 0.01

    @nn.compact
    def __call__(self, z: Array | None, c: Array | None) -> Array:
        """Maps latent codes to intermediate latent codes; any leading axes.

        Args:
            z: [..., z_dim] or None.
            c: [..., c_dim], one-hot, or None.

        Returns:
            [..., w_dim].

        Raises:
            ValueError: if both inputs are None.
        """
        parts = []
        if z is not None:
            parts.append(normalise_second_moment(z))
        if c is not None:
            parts.append(normalise_second_moment(EqualisedDense(self.w_dim, name="embed")(c)))
        if not parts:
            raise ValueError("the mapping network has neither z nor c, expected at least one")
        x = jnp.concatenate(parts, axis=-1)
        for index in range(self.num_layers):
            x = EqualisedDense(self.w_dim, self.lr_multiplier, activate=True, name=f"fc_{index}")(x)
        return x
