"""Which layers of a mixture are whose."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.latents import intermediate_codes, latents, modulations_of, sample_modulations, select
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.style_mixing import mix_styles, mixing_sheet, parse_layers
from inr_gan_jax.tools import style_mix
from tests.closeness import assert_bytes_close, assert_close
from tests.conftest import small_release_config, tiny_config
from tests.inference.tools import random_generator, run_tool, write_run

ROWS, COLUMNS = (0, 1), (7, 8, 9)


@pytest.fixture(scope="module")
def paper() -> LoadedGenerator:
    return random_generator(tiny_config())


@pytest.fixture(scope="module")
def release() -> LoadedGenerator:
    return random_generator(small_release_config())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", tiny_config())


def assert_equal(first: object, second: object) -> None:
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_release_mixture_is_that_of_its_codes(release: LoadedGenerator) -> None:
    ws = np.array(intermediate_codes(release, latents(release, (*ROWS, *COLUMNS))))
    modulations = modulations_of(release, ws)
    layers = (0, 2, 3)
    mixed = mix_styles(release.generator, select(modulations, slice(0, 2)), select(modulations, slice(2, 5)), layers)
    ws_of_mixtures = ws[[0, 0, 0, 1, 1, 1]]
    ws_of_mixtures[:, layers] = ws[[2, 3, 4, 2, 3, 4]][:, layers]
    jax.tree.map(assert_close, mixed, modulations_of(release, ws_of_mixtures))


def test_release_has_a_layer_for_each_code(release: LoadedGenerator) -> None:
    assert set(jax.tree.leaves(release.generator.layer_numbers)) == set(range(release.generator.num_ws))


def test_paper_counts_connectors_and_hidden_layers(paper: LoadedGenerator) -> None:
    coarse, fine = paper.generator.layer_numbers
    assert set(jax.tree.leaves(coarse)) == {0}
    assert (fine.fourier, set(jax.tree.leaves(fine.connector))) == (1, {1})
    assert set(jax.tree.leaves(fine.layers)) == set(jax.tree.leaves(fine.to_rgb)) == {2}


def test_paper_mixture_takes_whole_layers(paper: LoadedGenerator) -> None:
    rows, columns = sample_modulations(paper, ROWS), sample_modulations(paper, COLUMNS)
    mixed = mix_styles(paper.generator, rows, columns, (1,))
    # The picture of row 1 and column 2.
    coarse, fine = select(mixed, 5)
    assert_equal(coarse, select(rows, 1)[0])
    assert_equal((fine.fourier, fine.connector), (select(columns, 2)[1].fourier, select(columns, 2)[1].connector))
    assert_equal((fine.layers, fine.to_rgb), (select(rows, 1)[1].layers, select(rows, 1)[1].to_rgb))


def test_sheet_has_the_unmixed_images_at_its_borders(paper: LoadedGenerator) -> None:
    rows, columns = sample_modulations(paper, ROWS), sample_modulations(paper, COLUMNS)
    everything = range(paper.generator.num_layers)
    cells = mixing_sheet(paper, rows, columns, everything)
    native = render_bytes(paper, columns, paper.generator.native_viewport)
    assert (len(cells), len(cells[0]), cells[0][0].shape) == (3, 4, (96, 96, 1))
    for column, image in enumerate(native):
        assert_bytes_close(cells[0][1 + column][6::12, 6::12], image)
        # All layers are the column's, so every mixture below is the column's image.
        assert_bytes_close(cells[2][1 + column], cells[0][1 + column])
    assert np.abs(cells[1][0].astype(int) - cells[2][0]).max() > 0


def test_layers_are_read_in_ranges(paper: LoadedGenerator) -> None:
    assert parse_layers("2,0-1,1", paper.generator) == (0, 1, 2)
    assert parse_layers("", paper.generator) == (0,)


@pytest.mark.parametrize("text", ["3", "1-3", "2-1", "one", "-1", "0,,1"])
def test_unknown_layer_is_one_sentence(paper: LoadedGenerator, text: str) -> None:
    with pytest.raises(UserError, match="expected layers and ranges from 0 to 2, such as 0-1"):
        parse_layers(text, paper.generator)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--resolution=0", "--resolution is 0, expected a whole number from 1"),
        ("--resolution=1000000", "the size is 1000000 x 1000000 pixels, more than"),
        ("--row_seeds=5-2", "row_seeds are '5-2' and 5-2 is not a range"),
        ("--checkpoint=nowhere", "nowhere does not exist, expected a run folder"),
        ("--output=/proc/pictures", "output folder /proc/pictures cannot be written"),
        ("--class_index=1", "class 1 was asked for, but run has no classes"),
    ],
)
def test_mistake_is_one_sentence(run: Path, tmp_path: Path, argument: str, sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        run_tool(style_mix, f"--checkpoint={run}", f"--output={tmp_path}", argument)
    assert not list(tmp_path.iterdir())


def test_command_writes_the_sheet_and_what_it_is(run: Path, tmp_path: Path) -> None:
    arguments = (f"--checkpoint={run}", f"--output={tmp_path}", "--row_seeds=0-1", "--col_seeds=4,5,6")
    run_tool(style_mix, *arguments, "--col_styles=1-2")
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["tool"], record["col_layers"], record["num_layers"]) == ("style_mix", [1, 2], 3)
    with Image.open(tmp_path / "style_mix.png") as sheet:
        assert sheet.width > 4 * 96
        assert sheet.height > 3 * 96
