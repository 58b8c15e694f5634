"""FFHQ, 70,000 faces: a resolution and, after commas, a network and recipes of training.

    python -m inr_gan_jax.main --config=configs/ffhq.py:256,release
    python -m inr_gan_jax.main --config=configs/ffhq.py:1024             # paper only

Networks: paper, release, bilinear, cips, stylegan2, at the hyper-parameters of their authors (configs/networks.py).

Published FIDs, none of them reproduced here yet: at 256 release 9.57, bilinear 4.95, cips 4.38, stylegan2 3.83; at 1024
paper 16.32 (abstract of arXiv v1).

tfds has no FFHQ: prepare it from the folder or the zip of images, once for each resolution:

    python -m inr_gan_jax.data.prepare --source=images1024x1024 --resolution=256 --output=~/tensorflow_datasets/ffhq/256
"""

from ml_collections import ConfigDict

from configs import networks, recipes
from inr_gan_jax.config.parse import default_config
from inr_gan_jax.config.schema import ema_half_life

_RESOLUTIONS = ("256", "1024")


def get_config(argument: str = "256") -> ConfigDict:
    """Returns the configuration of RESOLUTION, RESOLUTION,NETWORK or RESOLUTION,NETWORK,RECIPES."""
    resolution, network, names = (*argument.split(",", 2), "", "")[:3]
    if resolution not in _RESOLUTIONS:
        raise ValueError(f"configs/ffhq.py has no {resolution!r}, expected one of {', '.join(_RESOLUTIONS)}")
    network = network or "paper"
    config = default_config()
    networks.apply_network(config, network, int(resolution), ema_half_life(0.999, 8))
    config.update({"name": f"ffhq-{resolution}-{network}", "data": {"name": f"ffhq/{resolution}"}})
    recipes.apply_recipes(config, names)
    return config
