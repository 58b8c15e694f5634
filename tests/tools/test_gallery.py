"""What the gallery says at its end."""

from pathlib import Path

import pytest

from inr_gan_jax.inference.latents import MAX_SEED
from inr_gan_jax.tools.gallery import advice
from tests.inference.tools import loaded_paper


@pytest.mark.parametrize(("seed", "advised"), [(0, 100), (100, 200), (250, 350), (MAX_SEED - 150, 0)])
def test_advice_leads_to_images_that_were_not_shown(seed: int, advised: int, tmp_path: Path) -> None:
    assert f"--seed={advised} here" in advice(loaded_paper(), tmp_path, ["samples.png"], seed)
