"""A loaded generator as the metrics see it: callables, spread over devices."""

import jax
import jax.numpy as jnp
import numpy as np

from inr_gan_jax.array_types import Array, PRNGKey, Variables
from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import Truncation
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.metrics.devices import BatchDevices
from inr_gan_jax.metrics.ppl import PathGenerator
from inr_gan_jax.metrics.settings import Generated
from inr_gan_jax.models.mapping import truncate


def generated_by(
    loaded: LoadedGenerator, devices: BatchDevices, truncation: Truncation, labels: np.ndarray | None
) -> Generated:
    """Wraps a generator for the metrics.

    Args:
        loaded: the generator.
        devices: that share a batch.
        truncation: of sampled images; path lengths are measured without.
        labels: [count], of the real images; a conditional generator draws its labels from them.
    """
    generator = loaded.generator
    variables = jax.device_put(loaded.variables, devices.replicated)

    def sample_labels(key: PRNGKey, count: int) -> Array | None:
        if not generator.c_dim or labels is None:
            return None
        drawn = jax.random.randint(key, (count,), 0, len(labels))
        return jax.nn.one_hot(jnp.asarray(labels)[drawn], generator.c_dim)

    def synthesise(variables: Variables, ws: Array, noise_key: PRNGKey) -> Array:
        return generator.batch_synthesis(variables, ws, jax.random.split(noise_key, len(ws)))

    if truncation.psi != 1 and loaded.w_avg is None:
        raise UserError(f"{loaded.source} holds no mean of w, so truncation_psi must be 1")

    @jax.jit
    def draw(variables: Variables, w_avg: Array | None, z: Array, c: Array | None, noise_key: PRNGKey) -> Array:
        ws = generator.batch_mapping(variables, z, c)
        if w_avg is not None and truncation.psi != 1:
            ws = truncate(ws, w_avg, truncation.psi, truncation.cutoff)
        return synthesise(variables, ws, noise_key)

    def sample_images(key: PRNGKey, count: int) -> Array:
        latent_key, label_key, noise_key = jax.random.split(key, 3)
        missing = devices.fitting(count) - count

        def spread(codes: Array) -> Array:
            # Filled up by the last code, whose copies are thrown away.
            return jax.device_put(jnp.concatenate([codes, jnp.repeat(codes[-1:], missing, axis=0)]), devices.batch)

        c = sample_labels(label_key, count)
        z = spread(generator.latents(latent_key, count))
        w_avg, noise_key = jax.device_put((loaded.w_avg, noise_key), devices.replicated)
        return draw(variables, w_avg, z, None if c is None else spread(c), noise_key)[:count]

    paths = PathGenerator(
        z_dim=generator.z_dim,
        variables=loaded.variables,
        mapping=generator.batch_mapping,
        synthesise=synthesise,
        sample_labels=sample_labels,
    )
    record = {"truncation_psi": truncation.psi, "truncation_cutoff": truncation.cutoff, "kimg": loaded.kimg}
    return Generated(sample_images, paths, record)
