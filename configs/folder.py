"""Your own images, prepared once: a resolution and, after commas, a network and recipes of training.

    python -m inr_gan_jax.data.prepare --source=~/photos --resolution=256 --output=~/tensorflow_datasets/photos
    python -m inr_gan_jax.main --config=configs/folder.py --config.data.name=photos
    python -m inr_gan_jax.main --config=configs/folder.py:64 --config.data.name=photos64 --config.data.num_classes=5

Images are not mirrored: --config.data.x_flip=True mirrors each with probability 1/2, which suits images without text
or a meaningful left and right, and in effect doubles a small set.

Networks: paper at any power of two from 16 on, release, bilinear, cips and stylegan2 at 256 only (configs/networks.py).
For images that are not square, prepare them with --height and --width and set config.data.height and
config.data.width (paper only). Meant for accelerators. docs/data.md lists what
can be prepared.
"""

from ml_collections import ConfigDict

from configs import networks, recipes
from inr_gan_jax.config.parse import default_config
from inr_gan_jax.config.schema import ema_half_life


def get_config(argument: str = "256") -> ConfigDict:
    """Returns the configuration of RESOLUTION, RESOLUTION,NETWORK or RESOLUTION,NETWORK,RECIPES."""
    resolution, network, names = (*argument.split(",", 2), "", "")[:3]
    side = int(resolution) if resolution.isdecimal() else 0
    if side < 16 or side & (side - 1):
        raise ValueError(f"configs/folder.py has no {resolution!r}, expected a power of two, at least 16, such as 256")
    network = network or "paper"
    config = default_config()
    networks.apply_network(config, network, side, ema_half_life(0.999, 8))
    # Mirrored text is wrong; for other images it can be turned on.
    config.update({"name": f"folder-{resolution}-{network}", "data": {"name": "photos", "x_flip": False}})
    recipes.apply_recipes(config, names)
    return config
