"""Mistakes of users end in one sentence, in every tool, before anything is written."""

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.tools import (
    export,
    extrapolate,
    interpolate,
    low_res,
    probe_keypoints,
    project,
    sample,
    style_mix,
    super_resolve,
    tile,
)
from tests.inference.tools import run_tool

# Tool -> flag of its seeds, None for none; its flag of a size, None for none; what else it needs.
TOOLS: dict[ModuleType, tuple[str | None, str | None, list[str]]] = {
    sample: ("seeds", "resolution", []),
    super_resolve: ("seeds", "factor", []),
    extrapolate: ("seeds", "density", []),
    low_res: ("seeds", None, []),
    tile: ("seeds", "height", []),
    interpolate: ("seeds", "resolution", []),
    style_mix: ("row_seeds", "resolution", []),
    project: (None, "resolution", ["--data_indices=0"]),
    probe_keypoints: ("seeds", "resolution", []),
    export: ("seeds", None, ["--inr=a.inr.safetensors"]),
}


def each_of(tools: Iterable[ModuleType]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("tool", tools, ids=lambda tool: tool.__name__.rpartition(".")[2])


each_tool = each_of(TOOLS)


def sentence_of(tool: ModuleType, *arguments: str) -> str:
    with pytest.raises(UserError) as caught:
        run_tool(tool, *arguments)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


@each_tool
def test_missing_checkpoint(tool: ModuleType, tmp_path: Path) -> None:
    sentence = sentence_of(tool, "--checkpoint=nowhere", f"--output={tmp_path / 'out'}", *TOOLS[tool][2])
    assert sentence.startswith("nowhere does not exist, expected a run folder")
    assert not (tmp_path / "out").exists()


@each_of([tool for tool, (flag, _, _) in TOOLS.items() if flag])
def test_unknown_seeds(tool: ModuleType, weights: str, tmp_path: Path) -> None:
    flag, _, others = TOOLS[tool]
    sentence = sentence_of(tool, f"--checkpoint={weights}", f"--output={tmp_path / 'out'}", f"--{flag}=5-1", *others)
    assert "5-1" in sentence
    assert not (tmp_path / "out").exists()


@each_of([tool for tool, (_, flag, _) in TOOLS.items() if flag])
@pytest.mark.parametrize("size", ["0", "1000000000"])
def test_impossible_sizes(tool: ModuleType, size: str, weights: str, tmp_path: Path) -> None:
    _, flag, others = TOOLS[tool]
    sentence_of(tool, f"--checkpoint={weights}", f"--output={tmp_path / 'out'}", f"--{flag}={size}", *others)
    assert not (tmp_path / "out").exists()


@each_tool
def test_unwritable_folder(tool: ModuleType, weights: str, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    if tool is project:
        picture = Path(__file__).parents[2] / "docs" / "images" / "rules.png"
        others = [f"--images={picture}"]
    elif tool is export:
        others = [f"--inr={blocked / 'a.inr.safetensors'}"]
    else:
        others = TOOLS[tool][2]
    sentence = sentence_of(tool, f"--checkpoint={weights}", f"--output={blocked / 'out'}", *others)
    assert "cannot be written" in sentence
