"""The line that says how far a run is."""

import pytest

from inr_gan_jax.training.progress import Progress
from tests.conftest import tiny_config


def test_line_says_of_what_images_an_older_metric_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tiny_config(training={"batch_size": 8, "total_kimg": 2.0}), first_step=0)
    progress.update(125, {"metric/pixel_fd": 7.5, "metric/pixel_fd_bytes": 5.0})
    progress.update(250, {"loss/g": 1.0})
    progress.update(250, {"metric/pixel_fd": 2.5})
    old, new = capsys.readouterr().out.splitlines()
    assert "pixel_fd 7.500 (at 1.0), pixel_fd_bytes 5.000 (at 1.0)" in old
    assert "pixel_fd 2.500, pixel_fd_bytes 5.000 (at 1.0)" in new
