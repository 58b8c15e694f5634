"""Every key is documented once, in the schema, and shown from there."""

import dataclasses
import json
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from configs import digits
from inr_gan_jax.config.describe import configuration_page, describe_config
from inr_gan_jax.config.parse import default_config, parse_config
from inr_gan_jax.config.schema import Config
from inr_gan_jax.setting import meaning_of
from tests.test_imports import ROOT


def keys_of(section: Any, path: str = "") -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    """All keys of a section, with those of the sections and entries inside it."""
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        inner = [
            kind
            for kind in (hints[field.name], *typing.get_args(hints[field.name]))
            if isinstance(kind, type) and dataclasses.is_dataclass(kind)
        ]
        for kind in inner:
            yield from keys_of(kind, f"{path}.{field.name}")
        if not inner or typing.get_origin(hints[field.name]) is tuple:
            yield f"{path}.{field.name}", field


def test_every_key_has_a_meaning() -> None:
    assert [key for key, field in keys_of(Config) if not meaning_of(field)] == []


def test_page_is_current() -> None:
    assert (ROOT / "docs/configuration.md").read_text() == configuration_page(), "run make docs"


def test_page_names_every_key() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", configuration_page(), re.MULTILINE)
    assert sorted(listed) == sorted(key.rpartition(".")[2] for key, _ in keys_of(Config))


def test_default_config_is_locked_and_that_of_the_schema() -> None:
    config = default_config()
    assert parse_config(config) == Config()
    with pytest.raises(AttributeError, match="r1_gama"):
        config.loss.r1_gama = 1.0


def test_description_marks_what_is_no_default() -> None:
    lines = describe_config(parse_config(digits.get_config("release"))).splitlines()
    assert len(lines) == len([key for key, _ in keys_of(Config) if ".coordinates." not in key])
    (height,) = [line for line in lines if line.startswith("config.data.height = 8 ")]
    assert "(default 256) pixels" in height
    (width,) = [line for line in lines if line.startswith("config.release.rank = ")]
    assert re.match(r"config.release.rank = 10 +# \(default\) rank of the factors", width)


def test_print_config_prints_overrides_and_stops() -> None:
    command = [sys.executable, "-m", "inr_gan_jax.main", "--config=configs/digits.py", "--print_config"]
    done = subprocess.run(
        [*command, "--config.training.batch_size=12"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert "config.training.batch_size = 12 " in done.stdout
    assert done.stdout.rstrip() == describe_config(parse_config(changed_digits())).rstrip()


def changed_digits() -> dict[str, Any]:
    values = json.loads(parse_config(digits.get_config()).to_json())
    values["training"]["batch_size"] = 12
    return values
