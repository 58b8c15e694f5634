"""Parts of the page that need no browser, run by Node.js."""

import base64
import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.viewer.test_static import FILES

NODE = shutil.which("node")
MOST = 2**32 - 1

pytestmark = pytest.mark.skipif(NODE is None, reason="Node.js is not installed; test_browser.py needs Chromium instead")


def run_script(file: str, expression: str) -> Any:
    """The value of an expression in which `page` is the module of a file."""
    # By its text: by its name Node.js would take it for a script of the older kind.
    address = f"data:text/javascript;base64,{base64.b64encode(FILES[file]).decode()}"
    program = f"import * as page from {json.dumps(address)}; console.log(JSON.stringify({expression}));"
    assert NODE is not None
    done = subprocess.run([NODE, "--input-type=module", "-e", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def read_field(value: str, number: str, bad_input: bool = False, optional: bool = False) -> Any:
    field = f"{{value: {json.dumps(value)}, valueAsNumber: {number}, max: '{MOST}', "
    field += f"validity: {{badInput: {json.dumps(bad_input)}}}}}"
    return run_script("fields.js", f"page.readWhole('Seed', {field}, {json.dumps(optional)})")


def test_fields_hold_whole_numbers_or_nothing() -> None:
    assert read_field(str(MOST), str(MOST)) == {"value": MOST, "mistake": ""}
    assert read_field("", "NaN", optional=True) == {"value": None, "mistake": ""}


@pytest.mark.parametrize(
    ("value", "number", "bad_input", "optional", "got"),
    [
        (str(MOST + 1), str(MOST + 1), False, False, str(MOST + 1)),
        ("-1", "-1", False, True, "-1"),
        ("1.5", "1.5", False, True, "1.5"),
        ("", "NaN", False, False, "empty"),
        ("", "NaN", True, True, "not a number"),
    ],
)
def test_impossible_numbers_are_said(value: str, number: str, bad_input: bool, optional: bool, got: str) -> None:
    read = read_field(value, number, bad_input, optional)
    assert read["value"] is None
    assert read["mistake"] == f"Seed is {got}, expected a whole number from 0 to {MOST}."


def test_parts_of_an_address_that_do_not_fit_are_listed() -> None:
    info = {"spaces": ["z", "w"], "rule": "all", "rules": {"all": -4}, "max_seed": MOST, "max_psi": 2, "classes": 0}
    info |= {"layers": 3, "filters": ["nearest"]}
    text = "seed=-1&to=5&psi=nan&t=2&layers=0,9&space=image&rule=all&x=1&y=1&span=1"
    read = run_script("scene.js", f"page.readAddress({json.dumps(text)}, {json.dumps(info)})")
    assert read["ignored"] == ["seed=-1", "t=2", "psi=nan", "space=image", "layers=0,9"]
    assert (read["choices"]["seed"], read["choices"]["to"], read["choices"]["t"]) == (0, 5, 0.5)
    assert read["view"] == {"x": 1, "y": 1, "span": 1}
