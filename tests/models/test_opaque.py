"""Nothing outside of `models` knows the classes or the parameter names of a network."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "inr_gan_jax"
CLASSES = re.compile(r"(Paper|Release)(Network|Modulation|Grid|INRBlock)|(Block|Style)Modulation|FactorisedLayer")
PARAMETERS = re.compile(r"(hypernetwork|mapping_network|blocks_\d*|connector_(low|high)|extra_convs.*|to_rgb)(/.*)?")
# Sections of configurations name settings, not parameters.
SETTINGS_KEYS = {"to_rgb"}


def outside_models() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "models" not in path.relative_to(PACKAGE).parts]


def docstrings_of(tree: ast.AST) -> set[int]:
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


@pytest.mark.parametrize("path", outside_models(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_class_and_no_parameter_of_a_network_is_named_outside_of_models(path: Path) -> None:
    tree = ast.parse(path.read_text())
    docstrings = docstrings_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.alias):
            name = node.id if isinstance(node, ast.Name) else node.name
            assert not CLASSES.fullmatch(name), f"{path}:{node.lineno} names {name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            is_parameter = PARAMETERS.fullmatch(node.value) and node.value not in SETTINGS_KEYS
            assert not is_parameter, f"{path}:{node.lineno} names {node.value!r}"
