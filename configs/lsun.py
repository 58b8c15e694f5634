"""LSUN 256x256: a category and, after commas, a network and recipes of training.

    python -m inr_gan_jax.main --config=configs/lsun.py                     # church, paper
    python -m inr_gan_jax.main --config=configs/lsun.py:bedroom,release,relativistic

Categories: church (church_outdoor, 126,227 images), bedroom (3,033,042). Networks: paper, release, bilinear, cips,
stylegan2, at the hyper-parameters of their authors (configs/networks.py). Meant for accelerators; on a CPU use it with
--dry_run only.

Published FIDs, none of them reproduced here yet: release 4.45 church, 5.71 bedroom (at truncation 0.9); bilinear 4.04,
3.43 (at truncation 0.95); cips 2.92 church; stylegan2 3.86, 2.65; paper 6.27 bedroom (abstract of arXiv v1).

LSUN is not downloaded automatically. Get the official folder with the script of https://github.com/fyu/lsun, then once

    python -m inr_gan_jax.data.prepare --source=church_outdoor_train_lmdb

which writes ~/tensorflow_datasets/lsun/church_outdoor/3.1.0 (pip install 'inr_gan_jax[lsun]' for the reader).
"""

from ml_collections import ConfigDict

from configs import networks, recipes
from inr_gan_jax.config.parse import default_config
from inr_gan_jax.config.schema import ema_half_life

_CATEGORIES = {"church": "church_outdoor", "bedroom": "bedroom"}


def get_config(argument: str = "church") -> ConfigDict:
    """Returns the configuration of CATEGORY, CATEGORY,NETWORK or CATEGORY,NETWORK,RECIPES."""
    category, network, names = (*argument.split(",", 2), "", "")[:3]
    if category not in _CATEGORIES:
        raise ValueError(f"configs/lsun.py has no {category!r}, expected one of {', '.join(_CATEGORIES)}")
    network = network or "paper"
    config = default_config()
    networks.apply_network(config, network, 256, ema_half_life(0.999, 16))
    config.update({"name": f"lsun-{category}-{network}", "data": {"name": f"lsun/{_CATEGORIES[category]}"}})
    recipes.apply_recipes(config, names)
    return config
