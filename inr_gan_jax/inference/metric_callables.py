"""A sampler as the metrics see it: callables."""

import jax

from inr_gan_jax.array_types import Array, PRNGKey, Variables
from inr_gan_jax.metrics.ppl import PathGenerator
from inr_gan_jax.metrics.settings import Generated
from inr_gan_jax.sampling import Sampler


def generated_by(sampler: Sampler, kimg: float) -> Generated:
    """Wraps a sampler for the metrics; path lengths are measured without truncation.

    Args:
        sampler: of the generator.
        kimg: thousands of real images that it was trained on, for the record.
    """
    generator, truncation = sampler.generator, sampler.truncation

    def synthesise(variables: Variables, ws: Array, noise_keys: PRNGKey) -> Array:
        return generator.batch_synthesis(variables, ws, noise_keys)

    paths = PathGenerator(
        z_dim=generator.z_dim,
        # Path lengths shard them over devices of their own choice, in their precision.
        variables=jax.device_get(sampler.variables),
        mapping=generator.batch_mapping,
        synthesise=synthesise,
        sample_labels=sampler.labels,
    )
    record = {"truncation_psi": truncation.psi, "truncation_cutoff": truncation.cutoff, "kimg": kimg}
    return Generated(sampler.batches, paths, record)
