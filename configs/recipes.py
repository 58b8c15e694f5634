"""Recipes of training, one function each; any configuration accepts them, joined by `+`.

    python -m inr_gan_jax.main --config=configs/digits.py:relativistic+ada
    python -m inr_gan_jax.main --config=configs/lsun.py:church,release,relativistic

docs/training.md explains them; a recipe changes losses and augmentation, never networks, data or learning rates.
"""

from collections.abc import Callable

from ml_collections import ConfigDict


def relativistic(config: ConfigDict) -> None:
    """Pairs of a real and a generated image, R1 and R2 in every step, both at the gamma of R1 (R3GAN)."""
    gamma = config.to_dict()["loss"]["r1_gamma"]
    config.update({"loss": {"adversarial": "relativistic", "r1_gamma": gamma, "r2_gamma": gamma, "r1_interval": 1}})


def hinge(config: ConfigDict) -> None:
    """The hinge loss, with R1 as it was."""
    config.update({"loss": {"adversarial": "hinge"}})


def ada(config: ConfigDict) -> None:
    """Adaptive augmentation, for sets of fewer than about 30,000 images."""
    config.update({"augment": {"kind": "ada"}})


def diffaugment(config: ConfigDict) -> None:
    """Differentiable augmentation: colour, translation, cutout at full strength; cheaper than `ada`."""
    config.update({"augment": {"kind": "differentiable"}})


def perceptual(config: ConfigDict) -> None:
    """A VGG16 feature distance in the generator's loss; needs --config.loss.vgg16_file."""
    config.update({"loss": {"perceptual_weight": 10.0}})


RECIPES: dict[str, Callable[[ConfigDict], None]] = {
    function.__name__: function for function in (relativistic, hinge, ada, diffaugment, perceptual)
}


def apply_recipes(config: ConfigDict, names: str) -> None:
    """Writes recipes into a configuration.

    Args:
        config: changed in place.
        names: joined by `+`; empty for none. They become part of the run's name.

    Raises:
        ValueError: for an unknown recipe.
    """
    for name in filter(None, names.split("+")):
        if name not in RECIPES:
            raise ValueError(f"unknown recipe {name!r}, expected one of {', '.join(RECIPES)}")
        RECIPES[name](config)
        config.update({"name": f"{config.to_dict()['name']}-{name}"})
