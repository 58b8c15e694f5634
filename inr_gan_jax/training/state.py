"""The training state: everything that an exact resume needs, except the position in the data."""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from inr_gan_jax.array_types import Array, Params, PRNGKey, Variables
from inr_gan_jax.augment.controller import AugmentState, init_augment_state
from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.discriminator import Discriminator
from inr_gan_jax.models.generator import Generator
from inr_gan_jax.training.optimizers import Optimizers


class TrainState(struct.PyTreeNode):
    """Everything that a step changes.

    Attributes:
        step: int32 scalar, steps done.
        key_data: raw data of the random key of the run, which the keys of all steps are folded from; never changes.
        num_rollbacks: int32 scalar, how often the run was rolled back to an earlier checkpoint; each rollback changes
            all random numbers and multiplies the learning rates by `guard.lr_factor`.
        generator_params: trained parameters of the generator.
        discriminator_params: trained parameters of the discriminator.
        ema_params: moving average of the generator's parameters, which samples are rendered with.
        constants: fixed variables of the generator, such as random bases; empty for most networks.
        w_avg: [w_dim], running mean of the intermediate latent codes, for truncation.
        pl_mean: scalar, running mean of the path lengths.
        augment: strength of the augmentation and the signs that it adapts to.
        generator_opt, discriminator_opt: states of the optimizers.
    """

    step: Array
    key_data: Array
    num_rollbacks: Array
    generator_params: Params
    discriminator_params: Params
    ema_params: Params
    constants: Params
    w_avg: Array
    pl_mean: Array
    augment: AugmentState
    generator_opt: optax.OptState
    discriminator_opt: optax.OptState

    @property
    def variables(self) -> Variables:
        """Variables of the trained generator."""
        return {"params": self.generator_params, "constants": self.constants}

    @property
    def ema_variables(self) -> Variables:
        """Variables of the averaged generator (EMA)."""
        return {"params": self.ema_params, "constants": self.constants}

    def step_key(self) -> PRNGKey:
        """The random key of the next step."""
        key = jax.random.fold_in(jax.random.wrap_key_data(self.key_data), self.num_rollbacks)
        return jax.random.fold_in(key, self.step)


def init_state(
    config: Config, generator: Generator, discriminator: Discriminator, optimizers: Optimizers
) -> TrainState:
    """Initialises the state of a run from its seed; pure, so `jax.eval_shape` gives its shapes."""
    run_key, generator_key, discriminator_key = jax.random.split(jax.random.key(config.seed), 3)
    variables = generator.init(generator_key)
    params = variables["params"]
    images = jnp.zeros((1, config.data.height, config.data.width, config.data.channels))
    labels = jnp.zeros((1, config.data.num_classes)) if config.data.num_classes else None
    discriminator_params = discriminator.init(discriminator_key, images, labels)["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key_data=jax.random.key_data(run_key),
        num_rollbacks=jnp.zeros((), jnp.int32),
        generator_params=params,
        discriminator_params=discriminator_params,
        # A copy, because the state is donated to the step and a buffer cannot be donated twice.
        ema_params=jax.tree.map(jnp.copy, params),
        constants=variables["constants"],
        w_avg=jnp.zeros(generator.w_dim),
        pl_mean=jnp.zeros(()),
        augment=init_augment_state(config.augment.initial_p),
        generator_opt=optimizers.generator.init(params),
        discriminator_opt=optimizers.discriminator.init(discriminator_params),
    )
