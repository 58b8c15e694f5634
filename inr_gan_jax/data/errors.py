"""What a data set can be wrong in."""

from inr_gan_jax.errors import UserError


class DatasetError(UserError):
    """A data set that is not there, not readable or not what the configuration says."""
