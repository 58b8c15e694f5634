"""The notebooks are clean, define nothing, and run."""

import ast
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import tiny_config
from tests.inference.tools import write_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NUM_SETUP_CELLS = 3
# Small settings, which the notebooks read in their first cell or where they are used.
SETTINGS = {"NUM_IMAGES": "5", "SIDE": "16", "NUM_STEPS": "2", "NUM_SAMPLES": "8", "NUM_PROBED": "40"}
# Notebooks share a kernel here, which starts JAX once; each finds none of the others' names.
FORGET = "%reset -f"

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, nbformat.NO_CONVERT)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def python_of(cell: nbformat.NotebookNode) -> ast.Module:
    """The cell without the lines that IPython reads."""
    lines = [line if line.lstrip()[:1] not in ("!", "%") else line.replace(line.lstrip(), "pass") for line in
             cell.source.splitlines()]  # fmt: skip
    return ast.parse("\n".join(lines))


@each_notebook
def test_notebook_is_valid_and_kept_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert [cell.outputs for cell in code_cells(path)] == [[]] * len(code_cells(path))
    assert {cell.execution_count for cell in code_cells(path)} == {None}


@each_notebook
def test_notebook_defines_nothing(path: Path) -> None:
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    nodes = [node for cell in code_cells(path) for node in ast.walk(python_of(cell))]
    assert not [ast.unparse(node) for node in nodes if isinstance(node, defined)]


@each_notebook
def test_notebooks_are_set_up_alike(path: Path) -> None:
    first = [cell.source for cell in code_cells(NOTEBOOKS[0])[:NUM_SETUP_CELLS]]
    assert [cell.source for cell in code_cells(path)[:NUM_SETUP_CELLS]] == first
    assert "find_spec" in first[1]


def test_notebooks_run(digits_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", tiny_config(data={"data_dir": str(digits_root)}), scale=0.6)
    monkeypatch.setenv("INR_GAN_CHECKPOINT", str(run))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for name, value in SETTINGS.items():
        monkeypatch.setenv(f"INR_GAN_{name}", value)
    everything = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        everything.cells += [*code_cells(path), nbformat.v4.new_code_cell(FORGET)]
    # A failing cell raises with its traceback.
    NotebookClient(everything, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in everything.cells if "display(" in cell.source]
    assert len(cells) > len(NOTEBOOKS)
    for cell in cells:
        assert any("image/png" in output.get("data", {}) for output in cell.outputs), cell.source
    assert (tmp_path / "pictures" / "notebook" / "r2.png").is_file()
