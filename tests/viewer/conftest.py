"""A viewer of a small untrained generator, answering on a port of its own."""

from collections.abc import Iterator

import pytest

from inr_gan_jax.viewer.drawing import Drawing
from inr_gan_jax.viewer.programs import CPU_PIECES
from tests.inference.tools import loaded_paper
from tests.viewer.client import serving_drawing


@pytest.fixture(scope="session")
def drawing() -> Iterator[Drawing]:
    """Draws the small generator; stopped in the end."""
    made = Drawing(loaded_paper(), CPU_PIECES)
    yield made
    made.close()


@pytest.fixture(scope="session")
def address(drawing: Drawing) -> Iterator[str]:
    """Of a server that all may ask."""
    with serving_drawing(drawing) as url:
        yield url
