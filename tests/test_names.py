"""One public name for one thing: no function or class of one name in two modules of the package."""

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "inr_gan_jax"

# Names that several modules share because something else calls them by that name.
PROTOCOL = {
    "main": "entry point of a command",
    "define_flags": "flags of a command",
    "describe": "text about what a command is about to do",
    "augment": "the two augmentations have one interface",
    "sample_inputs": "likewise",
    "check_available": "each optional dependency has its own check",
}
# Two things under one name, or one thing under two, still to be unified.
KNOWN = {
    "Progress",
    "append_line",
    "reason_of",
}


def modules_of_names() -> dict[str, list[str]]:
    modules: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if is_definition and not node.name.startswith("_"):
                modules[node.name].append(str(path.relative_to(PACKAGE)))
    return modules


def test_no_public_name_is_defined_twice() -> None:
    twice = {name: paths for name, paths in modules_of_names().items() if len(paths) > 1}
    assert not {name: paths for name, paths in twice.items() if name not in PROTOCOL and name not in KNOWN}
