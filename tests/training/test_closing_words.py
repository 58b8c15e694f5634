"""The end of a run names its files as the user typed the folder, and commands that exist."""

import dataclasses
import re

import pytest
from etils import epath

from inr_gan_jax.training.closing_words import closing_words
from tests.conftest import tiny_config
from tests.test_command_line import COMMANDS


@pytest.mark.parametrize(
    ("folder", "shown"),
    [("runs/digits", "--workdir=runs/digits"), ("my run", "--workdir='my run'"), ("gs://mine/run", "--workdir=COPY")],
)
def test_files_and_next_commands_are_named(folder: str, shown: str) -> None:
    text = closing_words(epath.Path(folder), tiny_config(), 80.0)
    for part in ("80.0 kimg", folder, "samples/", "metrics.jsonl", "checkpoints/", shown):
        assert part in text
    commands = re.findall(r"python -m (\S+)", text)
    assert len(commands) == 2
    assert set(commands) <= set(COMMANDS)


def test_metric_is_only_recommended_where_it_fits() -> None:
    config = tiny_config()
    large = dataclasses.replace(config, data=dataclasses.replace(config.data, height=128, width=128))
    assert "pixel_fd" in closing_words(epath.Path("a"), config, 1.0)
    assert "pixel_fd" not in closing_words(epath.Path("a"), large, 1.0)
    measured = dataclasses.replace(config, evaluation=dataclasses.replace(config.evaluation, metric="pixel_fd"))
    assert "evaluate" not in closing_words(epath.Path("a"), measured, 1.0)
