"""LSUN 256x256 with the `paper` generator, at the hyper-parameters of its authors.

    python -m inr_gan_jax.main --config=configs/lsun.py                 # church_outdoor, 126,227 images
    python -m inr_gan_jax.main --config=configs/lsun.py:bedroom        # 3,033,042 images

Generator 114.3 M parameters, discriminator 24.0 M; 142 and 31 GFLOP an image forward. Meant for one accelerator a 16
images of the batch; on a CPU use it with --dry_run only. Published with this model: FID 6.27 on bedroom (abstract of
arXiv 2011.12026v1); nothing has been reproduced here yet.

LSUN is not downloaded by itself: python -m inr_gan_jax.main says where the prepared set must lie.
"""

from ml_collections import ConfigDict

from configs import default

_CATEGORIES = {"church": "church_outdoor", "bedroom": "bedroom"}


def get_config(category: str = "church") -> ConfigDict:
    """Returns the configuration of one category, `church` or `bedroom`."""
    if category not in _CATEGORIES:
        raise ValueError(f"configs/lsun.py has no {category!r}, expected one of {', '.join(_CATEGORIES)}")
    config = default.get_config()
    config.update({"name": f"lsun-{category}", "data": {"name": f"lsun/{_CATEGORIES[category]}"}})
    return config
