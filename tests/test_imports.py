"""Imports of ours go one way, and looking at pictures loads neither TensorFlow nor the training code."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "inr_gan_jax"

# What each part of the package may import, besides itself.
BASE = {"array_types", "errors"}
ALLOWED = {
    "array_types": set(),
    "errors": set(),
    "remote_paths": {"errors"},
    "storage": set(),
    "progress": set(),
    "setting": set(),
    "config": {"errors", "setting"},
    # Heavy parts inside functions only; --help of every command loads no JAX (test_command_line.py).
    "cli": BASE | {"progress", "sampling", "config", "remote_paths", "inference", "metrics", "models", "ops"},
    "ops": BASE,
    "distributed": BASE,
    "checkpoint": BASE | {"distributed", "storage"},
    "augment": BASE | {"ops"},
    "losses": BASE | {"ops"},
    "metrics": BASE | {"progress", "ops"},
    "data": BASE | {"progress", "config", "remote_paths"},
    "models": BASE | {"ops"},
    "sampling": BASE | {"models", "ops"},
    "training": BASE
    | {"progress", "sampling", "ops", "config", "augment", "losses", "metrics", "data", "models", "checkpoint"}
    | {"distributed", "storage", "remote_paths"},
    "planning": BASE | {"config", "data", "models", "storage", "remote_paths", "training"},
    "importers": BASE | {"config", "models", "checkpoint", "storage"},
    "inference": BASE
    | {"progress", "config", "data", "ops", "models", "sampling", "metrics", "checkpoint", "importers", "storage"},
    "tools": BASE | {"progress", "cli", "inference", "sampling", "metrics", "models", "data", "ops"},
    "viewer": BASE | {"progress", "cli", "inference", "sampling", "metrics", "models", "ops"},
    "main": {"cli", "config", "distributed", "errors", "planning", "remote_paths", "training"},
    "plan": {"cli", "config", "errors", "planning", "training"},
    "evaluate": BASE | {"cli", "config", "data", "inference", "metrics", "sampling"},
}
# Single files that may import more than their folder.
EXTRA = {
    "models/build.py": {"config"},
    # The sections of the networks are their own settings, which load no JAX.
    "config/schema.py": {"models"},
    "config/validate.py": {"models"},
    "config/describe.py": {"models"},
    "models/discriminator_settings.py": {"setting"},
    "models/paper/settings.py": {"setting"},
    "models/release/settings.py": {"setting"},
    # Only the readers that execute nothing.
    "metrics/networks/weight_files.py": {"importers"},
    "metrics/networks/inception_weights.py": {"importers"},
    "metrics/real_statistics.py": {"storage"},
    "data/prepare/__main__.py": {"cli"},
    "data/inspect.py": {"cli", "ops"},
    "importers/torch_inr_gan.py": {"cli"},
}

# Every file that compiles with `jax.jit`, and what. Images of latent codes are compiled by the sampler; besides it, a
# generator is compiled only in these.
COMPILES_A_GENERATOR = {
    "sampling.py": "the programs of all images",
    "training/loop.py": "the training step",
    "training/steps.py": "the phases of that step",
    "planning/compiled_plan.py": "the training step, for machines that need not be there",
    "viewer/programs.py": "tiles, compiled ahead of time in threads of their own",
    "inference/stablehlo.py": "an exported program",
    "inference/projection.py": "the steps of a search, with gradients",
    "models/generator.py": "the baked weights of an image",
    "metrics/path_measure.py": "callables of a generator and LPIPS as one program",
}
COMPILES_NO_GENERATOR = {
    "metrics/feature_extraction.py": "feature networks",
    "training/hooks.py": "checks and copies of a state",
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(tree: ast.AST) -> set[str]:
    """Dotted names that a module or a part of it imports from the package, without `inr_gan_jax.`."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("inr_gan_jax.") for name in names if name.startswith("inr_gan_jax.")}


def imported_parts(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_names(ast.parse(path.read_text()))}


def imported_modules(path: Path) -> set[Path]:
    """Files of the package that a module imports when it runs, in functions too, but not for type checkers alone."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    files = set()
    for name in imported_names(tree):
        parts = name.split(".")
        candidates = (PACKAGE.joinpath(*parts[:end]).with_suffix(".py") for end in (len(parts), len(parts) - 1) if end)
        files |= {file for file in candidates if file.is_file()}
    return files


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    allowed = ALLOWED[part] | {part} | EXTRA.get(str(path.relative_to(PACKAGE)), set())
    assert imported_parts(path) <= allowed


# Imports inside of functions that close a cycle: importer -> imported.
CLOSES_A_CYCLE = {
    "data/prepare/sources.py": "data/prepare/records.py",
    "importers/torch_inr_gan.py": "importers/imported_run.py",
}


def opened(path: Path) -> set[Path]:
    name = str(path.relative_to(PACKAGE))
    return {PACKAGE / CLOSES_A_CYCLE[name]} if name in CLOSES_A_CYCLE else set()


def test_modules_import_each_other_in_no_cycle() -> None:
    graph = {path: imported_modules(path) - opened(path) for path in PACKAGE.rglob("*.py")}
    try:
        list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        cycle = [str(path.relative_to(PACKAGE)) for path in error.args[1]]
        pytest.fail(f"import cycle: {' <- '.join(cycle)}")


def test_cycles_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "a.py").write_text("def f():\n    from inr_gan_jax.b import g")
    (tmp_path / "b.py").write_text("from inr_gan_jax import a")
    with pytest.raises(pytest.fail.Exception, match="import cycle"):
        test_modules_import_each_other_in_no_cycle()


def defines_flags(path: Path) -> bool:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    return "FLAGS" in names or any(name.startswith("DEFINE") for name in names)


def test_flags_are_defined_and_read_by_commands_only() -> None:
    """In cli/, tools/ and files that can be run."""
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if defines_flags(path)}
    commands = {name for name in found if '__name__ == "__main__"' in (PACKAGE / name).read_text()}
    shared = {name for name in found if name.startswith(("cli/", "tools/"))}
    assert {"cli/flags.py", "tools/sample.py", "evaluate.py"} <= found
    # Its flags are about to move.
    assert found - commands - shared <= {"inference/real_images.py"}


def jitted(path: Path) -> bool:
    """Whether a file names `jax.jit`, however it is applied."""
    return any(
        isinstance(node, ast.Attribute) and node.attr in ("jit", "pmap")
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_only_the_sampler_and_few_others_compile_a_generator() -> None:
    files = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if jitted(path)}
    assert files <= COMPILES_A_GENERATOR.keys() | COMPILES_NO_GENERATOR.keys()
    for name in files & COMPILES_NO_GENERATOR.keys():
        nodes = ast.walk(ast.parse((PACKAGE / name).read_text()))
        methods = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        assert not methods & {"batch_mapping", "batch_synthesis", "render", "render_grids"}, name


def test_configs_import_the_schema_only() -> None:
    for path in (ROOT / "configs").glob("*.py"):
        assert imported_parts(path) <= {"config"}, path


def test_configuration_loads_no_jax() -> None:
    program = "import sys, configs.lsun, inr_gan_jax.config.describe as d; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_inference_loads_neither_tensorflow_nor_training() -> None:
    modules = [f"inr_gan_jax.inference.{path.stem}" for path in (PACKAGE / "inference").glob("[a-z]*.py")]
    assert modules
    program = (
        f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'tensorflow' or 'inr_gan_jax.training' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_training_loads_no_tensorflow() -> None:
    program = "import sys, inr_gan_jax.training.loop; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"
