"""Numbers on the command line: every flag of every tool has a range and refuses what is outside, before any work."""

import ast
import contextlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from absl import flags

import inr_gan_jax
from inr_gan_jax.cli.checked_flags import NumberParser, TextParser
from inr_gan_jax.errors import UserError
from tests.inference.tools import only_flags_of

PACKAGE = Path(inr_gan_jax.__file__).parent
TOOLS = [
    "evaluate",
    "plan",
    "viewer.__main__",
    *(f"tools.{path.stem}" for path in sorted(PACKAGE.glob("tools/[a-z]*.py"))),
]
# Flags that hold several numbers.
LISTS = {
    **{f"tools.{name}": {"seeds"} for name in ("sample", "super_resolve", "extrapolate", "tile", "interpolate")},
    "tools.export": {"seeds"},
    "tools.probe_keypoints": {"seeds"},
    "tools.low_res": {"seeds", "fractions"},
    "tools.style_mix": {"row_seeds", "col_seeds", "col_styles"},
    "tools.project": {"data_indices", "classes"},
}


def source_of(tool: str) -> Path:
    return PACKAGE / f"{tool.replace('.', '/')}.py"


@contextlib.contextmanager
def defined(tool: str) -> Iterator[list[Any]]:
    """The flags of a tool."""
    module = importlib.import_module(f"inr_gan_jax.{tool}")
    with only_flags_of(module) as names:
        yield [flags.FLAGS[name] for name in names]


def refusal(argument: str) -> str:
    with pytest.raises(UserError) as caught:
        flags.FLAGS(["tool", argument])
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("tool", TOOLS)
def test_numbers_out_of_range_are_refused(tool: str) -> None:
    with defined(tool) as own:
        numbers = [flag for flag in own if isinstance(flag.parser, NumberParser)]
        assert numbers
        for flag in numbers:
            low, high = flag.parser.lowest, flag.parser.highest
            for text in ("nan", "inf", "-inf", "1e999", "three", str(low - 1), str(2 * high + 1)):
                sentence = refusal(f"--{flag.name}={text}")
                assert sentence.startswith(f"--{flag.name} is {text}, expected ")
            for value in (low, high):
                assert flag.parser.parse(repr(value)) == value


@pytest.mark.parametrize("tool", LISTS)
def test_lists_of_no_numbers_are_refused(tool: str) -> None:
    with defined(tool) as own:
        lists = {flag.name for flag in own if isinstance(flag.parser, TextParser)}
        assert lists == LISTS[tool]
        for name in lists:
            for text in ("nan", "-1", "1,nan", "3-1"):
                assert text.split(",")[-1] in refusal(f"--{name}={text}")


def test_every_number_of_a_tool_is_checked_in_one_place() -> None:
    """No tool defines a number by absl itself, which accepts nan, nor a list of seeds as mere text."""
    for tool in (*TOOLS, "cli.flags", "cli.viewport_flags"):
        for node in ast.walk(ast.parse(source_of(tool).read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("DEFINE_"):
                assert node.attr.removeprefix("DEFINE_") not in {"integer", "float", "multi_integer", "multi_float"}
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in {"DEFINE_string", "DEFINE_list"}:
                name = ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else ""
                assert not name.endswith(("seeds", "indices", "fractions", "classes", "sizes", "styles"))


def test_command_ends_with_code_2_before_anything_is_loaded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inr_gan_jax.tools.sample", "--checkpoint=nowhere", "--truncation_psi=nan"]
    done = subprocess.run([*command, f"--output={tmp_path / 'out'}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --truncation_psi is nan, expected a number from -2 to 2\n"
    assert not (tmp_path / "out").exists()
