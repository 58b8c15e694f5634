"""The recipe that we recommend, by the pictures that it was measured on.

python -m inr_gan_jax.main --config=configs/best.py                     # digits, 8x8, grey
python -m inr_gan_jax.main --config=configs/best.py:flowers             # photographs, 32x32
python -m inr_gan_jax.main --config=configs/best.py:flowers --config.data.name=photos    # 32x32 of your own
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import digits, flowers, recipes

SETS: dict[str, Callable[[], ConfigDict]] = {
    "digits": digits.get_config,
    "flowers": lambda: flowers.get_config("cpu,paper"),
}


def get_config(argument: str = "digits") -> ConfigDict:
    """Returns the configuration of a SET, or of SET,RECIPES."""
    name, _, recipe_names = argument.partition(",")
    if name not in SETS:
        raise ValueError(f"configs/best.py has no {name!r}, expected one of {', '.join(SETS)}")
    config = SETS[name]()
    config.update({"name": f"best-{name}"})
    recipes.apply_recipes(config, recipe_names)
    return config
