"""The recipe that we recommend, by the pictures that it was measured on.

    python -m inr_gan_jax.main --config=configs/best.py                     # digits, 8x8, grey
    python -m inr_gan_jax.main --config=configs/best.py:flowers             # photographs, 32x32
    python -m inr_gan_jax.main --config=configs/best.py:flowers --config.data.name=photos32  # 32x32 of your own

Both are the `paper` network as the demo trains it: batches of 8, a discriminator that learns at 0.01 beside 0.002 of
the INR, lazy R1 at gamma 1, an average over 5 kimg; on digits every block at every pixel, and rates that decay.

Evidence, two seeds each (docs/quality.md; benchmarks/results/quality_digits.json, quality_flowers.json,
quality_flowers_equal_time.json):

- digits, 80,000 images: pixel Frechet distance 0.065, against 0.623 of `release` as the published code trains it; in
  equal time 0.065 against 0.761.
- flowers, 10,000 images: FSD 24,600 against 34,100; in equal time 24,600 against 36,300. Neither draws a flower yet.
- relativistic pairs with R1 and R2 made `paper` worse on digits (0.196) and no better on flowers (28,700).

Larger pictures have not been compared: start from configs/lsun.py or configs/ffhq.py there.
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
