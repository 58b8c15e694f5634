"""Codes and modulations in files, and back."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.code_file import Codes, load_codes, save_codes
from inr_gan_jax.inference.latents import intermediate_codes, latents, modulations_of
from inr_gan_jax.inference.loading import LoadedGenerator
from tests.conftest import tiny_config
from tests.inference.tools import random_generator


@pytest.fixture(scope="module")
def paper() -> LoadedGenerator:
    return random_generator(tiny_config())


@pytest.fixture(scope="module")
def codes(paper: LoadedGenerator) -> Codes:
    ws = intermediate_codes(paper, latents(paper, (0, 1)))
    return Codes("w", ("a.png", "ü.png"), modulations_of(paper, ws), ws)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize("space", ["w", "modulation"])
def test_codes_come_back(paper: LoadedGenerator, codes: Codes, tmp_path: Path, suffix: str, space: str) -> None:
    path = tmp_path / f"codes{suffix}"
    kept = codes if space == "w" else dataclasses.replace(codes, space=space, ws=None)
    save_codes(path, kept)
    loaded = load_codes(path, paper)
    assert (loaded.space, loaded.names) == (space, ("a.png", "ü.png"))
    jax.tree.map(np.testing.assert_array_equal, loaded.modulations, kept.modulations)
    assert (loaded.ws is None) == (space == "modulation")


def test_codes_of_another_generator_are_refused(codes: Codes, tmp_path: Path) -> None:
    other = random_generator(tiny_config(paper={"mapping_dim": 12}))
    save_codes(tmp_path / "codes.npz", codes)
    with pytest.raises(
        UserError, match=r"does not fit small paper: its array 'ws' has the shape \(2, 1, 16\), expected"
    ):
        load_codes(tmp_path / "codes.npz", other)


def test_modulations_of_another_generator_are_refused(codes: Codes, tmp_path: Path) -> None:
    other = random_generator(tiny_config(paper={"rank": 3}))
    save_codes(tmp_path / "codes.npz", dataclasses.replace(codes, space="modulation", ws=None))
    with pytest.raises(UserError, match="'0/layers/0/left' has the shape"):
        load_codes(tmp_path / "codes.npz", other)


@pytest.mark.parametrize("name", ["absent.npz", "damaged.npz", "damaged.safetensors", "other.safetensors", "codes.pt"])
def test_other_files_are_refused_in_one_sentence(paper: LoadedGenerator, tmp_path: Path, name: str) -> None:
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no archive")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}{}{}{}")
    save_file({"ws": np.zeros(1)}, tmp_path / "other.safetensors", {"format": json.dumps(1)})
    with pytest.raises(UserError, match=name):
        load_codes(tmp_path / name, paper)
