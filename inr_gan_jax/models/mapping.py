"""The mapping network of StyleGAN2: from a latent code and a label to an intermediate latent code."""

import flax.linen as nn
import jax.numpy as jnp

from inr_gan_jax.array_types import Array, along_last
from inr_gan_jax.models.layers import EqualisedDense, normalise_second_moment


class MappingNetwork(nn.Module):
    """Normalises its inputs and passes them through fully connected layers.

    Attributes:
        w_dim: width of the layers and of the output.
        num_layers: number of layers.
        lr_multiplier: relative learning rate of the layers.
        label_features: width of the embedding of the label; None for `w_dim`.
        hidden_features: width of all layers but the last; None for `w_dim`.

    Source: arXiv 1812.04948 §2 and arXiv 1912.04958; labels are embedded linearly as in arXiv 2006.06676.
    """

    w_dim: int
    num_layers: int = 2
    lr_multiplier: float = 0.01
    label_features: int | None = None
    hidden_features: int | None = None

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
            parts.append(normalise_second_moment(EqualisedDense(self.label_features or self.w_dim, name="embed")(c)))
        if not parts:
            raise ValueError("the mapping network has neither z nor c, expected at least one")
        x = jnp.concatenate(parts, axis=-1)
        for index in range(self.num_layers):
            features = self.w_dim if index == self.num_layers - 1 else self.hidden_features or self.w_dim
            x = EqualisedDense(features, self.lr_multiplier, activate=True, name=f"fc_{index}")(x)
        return x


def truncate(ws: Array, w_avg: Array, psi: float | Array, cutoff: int | None = None) -> Array:
    """Interpolates intermediate latent codes toward their mean (truncation trick).

    Args:
        ws: [..., num_ws, w_dim].
        w_avg: [w_dim], their running mean.
        psi: 1 leaves them unchanged, 0 gives the mean.
        cutoff: number of leading codes to truncate; None for all.

    Returns:
        [..., num_ws, w_dim].

    Source: arXiv 1812.04948, appendix B.
    """
    centre = along_last(w_avg, ws.ndim)
    truncated = centre + psi * (ws - centre)
    if cutoff is None:
        return truncated
    return jnp.concatenate([truncated[..., :cutoff, :], ws[..., cutoff:, :]], axis=-2)


def updated_w_avg(w_avg: Array, batch_mean: Array, decay: float = 0.995) -> Array:
    """Updates the running mean of w with the mean of one batch.

    Args:
        w_avg: [w_dim], the mean so far; it starts at 0.
        batch_mean: [w_dim], mean over a batch of the codes before any style mixing.
        decay: weight of the old mean.

    Returns:
        [w_dim].
    """
    return batch_mean + decay * (w_avg - batch_mean)
