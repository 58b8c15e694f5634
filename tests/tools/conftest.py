"""Files that the commands start from."""

from pathlib import Path

import pytest

from inr_gan_jax.inference.loading import save_generator
from tests.inference.tools import loaded_paper


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of weights of an untrained generator."""
    path: Path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_generator(path, loaded_paper())
    return str(path)
