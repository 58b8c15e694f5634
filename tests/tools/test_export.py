"""Files that the export command writes are read back equal; its mistakes end in one sentence."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.inr_file import load_inr, save_inr
from inr_gan_jax.inference.latents import latents, sample_modulations
from inr_gan_jax.inference.loading import LoadedGenerator, load_generator, save_generator
from inr_gan_jax.inference.pictures import render, render_all
from inr_gan_jax.ops.viewport import Viewport
from inr_gan_jax.tools import export
from tests.closeness import assert_close
from tests.golden.official_pickles import official_pickle
from tests.inference.tools import flags_of, image_of, loaded_paper, loaded_release, run_tool
from tests.permissions import permissions, umask

GENERATORS = {
    "paper": loaded_paper,
    "release": loaded_release,
    "no mean": lambda: LoadedGenerator(**{**vars(loaded_paper()), "w_avg": None}),
    "official": lambda: load_generator(official_pickle("tiny-cips-16")),
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_generator_survives_its_file(tmp_path: Path, make: Callable[[], LoadedGenerator]) -> None:
    loaded = make()
    save_generator(tmp_path / "a.safetensors", loaded)
    again = load_generator(tmp_path / "a.safetensors")
    assert again.generator == loaded.generator
    assert jax.tree.structure(again.variables) == jax.tree.structure(loaded.variables)
    jax.tree.map(np.testing.assert_array_equal, again.variables, loaded.variables)
    if loaded.w_avg is None:
        assert again.w_avg is None
    else:
        np.testing.assert_array_equal(again.w_avg, loaded.w_avg)


def test_command_writes_all_three_files(weights: str, tmp_path: Path) -> None:
    paths = {name: tmp_path / f"out/a.{name}" for name in ("safetensors", "stablehlo", "inr.safetensors")}
    arguments = [f"--{flag}={path}" for flag, path in zip(("weights", "stablehlo", "inr"), paths.values(), strict=True)]
    with flags_of(export, f"--checkpoint={weights}", f"--output={tmp_path}", "--seeds=5", *arguments) as words:
        export.main(words)
    loaded = loaded_paper()
    view = Viewport(6, 9, rule="pointwise")
    expected = render(loaded, image_of(loaded), view)
    drawing, modulation = load_inr(paths["inr.safetensors"])
    assert_close(render(drawing, modulation, view), expected)
    again = load_generator(paths["safetensors"])
    np.testing.assert_array_equal(render_all(again, sample_modulations(again, [5]), view)[0], expected)
    called = called_as_described(paths["stablehlo"], np.asarray(latents(loaded, [5])))
    assert_close(called[0], expected)
    assert set(json.loads((tmp_path / "record.json").read_text())) > {"weights", "stablehlo", "inr", "checkpoint"}


def test_files_get_the_permissions_of_the_umask(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.safetensors", "a.npz", "a.inr.safetensors")]
    with umask(0o022):
        for path in paths[:2]:
            save_generator(path, loaded_paper())
        save_inr(paths[2], loaded_paper(), image_of(loaded_paper()))
    assert [permissions(path) for path in paths] == [0o644] * 3
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def called_as_described(path: Path, z: np.ndarray) -> np.ndarray:
    """Runs the line of the .json beside a program."""
    description = json.loads(path.with_name(f"{path.name}.json").read_text())
    assert description["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert description["inputs"] == {
        "z": f"float32[batch, {z.shape[1]}]", "c": None, "x": "float32[width]", "y": "float32[height]"
    }  # fmt: skip
    x, y = np.arange(9, dtype=np.float32) / 9, np.arange(6, dtype=np.float32) / 6
    line = description["call"].replace("open(file, 'rb').read()", "bytearray(data)")
    return np.asarray(eval(line, {"jax": jax, "data": path.read_bytes(), "z": z, "x": x, "y": y}))


def test_missing_library_is_named_with_its_command(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    path = tmp_path / "a.stablehlo"
    with (
        flags_of(export, f"--checkpoint={weights}", f"--stablehlo={path}") as words,
        pytest.raises(UserError, match=r"pip install 'inr_gan_jax\[export\]'"),
    ):
        export.main(words)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to write, expected --weights=FILE"),
        (["--weights=a.bin"], "--weights is a.bin, expected it to end in .safetensors or .npz"),
        (["--inr=a.safetensors"], "--inr is a.safetensors, expected it to end in .inr.safetensors"),
        (["--inr=a.inr.safetensors", "--seeds=0-1"], "--inr is one image, but --seeds has 2"),
        (["--inr=a.inr.safetensors", "--seeds=1-"], "seeds are '1-', expected"),
        (["--weights=/dev/null/a.npz"], "output folder /dev/null cannot be written"),
        (["--weights=a.npz", "--checkpoint=nowhere"], "nowhere does not exist"),
    ],
)
def test_mistake_is_one_sentence(weights: str, tmp_path: Path, arguments: list[str], sentence: str) -> None:
    words_given = [f"--checkpoint={weights}", f"--output={tmp_path}", *arguments]
    with pytest.raises(UserError) as caught:
        run_tool(export, *words_given)
    assert str(caught.value).startswith(sentence)
