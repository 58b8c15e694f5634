"""The recommended recipe, by the images that it was measured on.

    python -m inr_gan_jax.main --config=configs/best.py                     # digits, 8x8, grey
    python -m inr_gan_jax.main --config=configs/best.py:flowers             # photographs, 32x32
    python -m inr_gan_jax.main --config=configs/best.py:flowers --config.data.name=photos32  # 32x32 of your own

Both are the `paper` network as the demo trains it: batches of 8, learning rates of 0.01 for the discriminator and
0.002 for the INR, lazy R1 at gamma 1, an EMA over 5 kimg. On digits every block is evaluated at every pixel, and
rates decay; on flowers there is one scale, so that every layer is evaluated at every pixel as well.

Evidence, two seeds each (docs/quality.md; benchmarks/results/quality_digits.json, quality_flowers.json,
quality_flowers_one_scale.json, quality_flowers_equal_time.json):

- digits, 80,000 images: pixel Frechet distance 0.065, against 0.623 of `release` as the published code trains it; in
  equal time 0.065 against 0.761.
- flowers, 10,000 images: FSD 15,500 against 34,100; in equal time 15,500 against 37,900. Neither generates
  recognisable flowers yet. Two nested scales reach 24,600; the same with every block at every pixel 20,600.
- relativistic pairs with R1 and R2 made `paper` worse on digits (0.196) and no better on flowers (two scales, 28,700).

Larger images have not been compared: start from configs/lsun.py or configs/ffhq.py.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import ablations, digits, recipes

SETS: dict[str, Callable[[], ConfigDict]] = {
    "digits": digits.get_config,
    "flowers": lambda: ablations.get_config("flowers,scales_1"),
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
