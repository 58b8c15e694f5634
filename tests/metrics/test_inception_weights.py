"""Inception's three kinds of files, written from the seeded weights and read back."""

import functools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.inception import unit_shapes
from inr_gan_jax.metrics.networks.inception_weights import (
    InceptionWeights,
    graph_def_names,
    load_inception,
    torch_script_names,
    torch_shapes,
)
from tests.golden import records
from tests.importers.official_format import Call, Global, state_dict_of, write_torch_zip
from tests.metrics.graph_def_format import write_graph_def
from tests.metrics.torch_script_format import write_torch_script

FORMATS = (".pth", ".pt", ".pb")


@functools.cache
def small_weights() -> dict[str, np.ndarray]:
    """Weights of the right names and shapes; their values are cheap to make and all different."""
    rng = np.random.default_rng(0)
    return {name: 0.5 + rng.random(shape, np.float32) for name, shape in torch_shapes().items()}


def write(path: Path, weights: dict[str, np.ndarray]) -> Path:
    """A file of the format that its ending names."""
    if path.suffix == ".pth":
        counts = {"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(0, np.int64)}
        write_torch_zip(path, state_dict_of({**weights, **counts}))
    elif path.suffix == ".pt":
        write_torch_script(path, {theirs: weights[name] for name, theirs in torch_script_names().items()})
    else:
        write_graph_def(path, {theirs: to_graph(weights[name]) for name, theirs in graph_def_names().items()})
    return path


def to_graph(array: np.ndarray) -> np.ndarray:
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("inception")
    return {suffix: write(folder / f"inception{suffix}", small_weights()) for suffix in FORMATS}


@functools.cache
def loaded(path: Path) -> InceptionWeights:
    return load_inception(path)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_weights(files: dict[str, Path], suffix: str) -> None:
    weights, params = small_weights(), loaded(files[suffix]).params
    for name, _, shape in unit_shapes():
        gamma, beta, mean, variance = (
            weights[f"{name}.bn.{entry}"].astype(np.float64)
            for entry in ("weight", "bias", "running_mean", "running_var")
        )
        if suffix == ".pt":
            gamma = np.ones_like(gamma)
        assert params[name]["kernel"].shape == shape
        np.testing.assert_array_equal(params[name]["kernel"], weights[f"{name}.conv.weight"].transpose(2, 3, 1, 0))
        deviation = np.sqrt(variance + 0.001)
        np.testing.assert_allclose(params[name]["scale"], gamma / deviation, rtol=1e-14)
        np.testing.assert_allclose(params[name]["offset"], beta - gamma * mean / deviation, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(params["fc"]["kernel"], weights["fc.weight"].T)
    np.testing.assert_array_equal(params["fc"]["bias"], weights["fc.bias"])


def test_names_equal_the_recorded_map() -> None:
    lines = records.recorded_file("inception_key_map.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:-1]
    assert len(rows) == 94
    graph, script, shapes = graph_def_names(), torch_script_names(), torch_shapes()
    for name, tf_name, nvidia_name, shape in rows:
        assert graph[f"{name}.conv.weight"] == f"{tf_name}/conv2d_params"
        assert graph[f"{name}.bn.running_var"] == f"{tf_name}/batchnorm/moving_variance"
        assert script[f"{name}.conv.weight"] == f"{nvidia_name}.weight"
        assert script[f"{name}.bn.running_var"] == f"{nvidia_name}.var"
        assert shapes[f"{name}.conv.weight"] == tuple(map(int, shape.split("x")))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_inception(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.4, 0.999])
def test_cut_file_is_one_sentence(files: dict[str, Path], tmp_path: Path, suffix: str, share: float) -> None:
    cut = tmp_path / f"cut{suffix}"
    with files[suffix].open("rb") as whole, cut.open("wb") as part:
        part.write(whole.read(int(share * files[suffix].stat().st_size)))
    assert str(cut) in refusal(cut)


@pytest.mark.parametrize("suffix", FORMATS)
def test_wrong_shape_names_the_first_array(tmp_path: Path, suffix: str) -> None:
    weights = {name: array for name, array in small_weights().items() if name.startswith("Conv2d_1a")}
    names = {".pth": {}, ".pt": torch_script_names(), ".pb": graph_def_names()}[suffix]
    weights["Conv2d_1a_3x3.conv.weight"] = weights["Conv2d_1a_3x3.conv.weight"][:, :, :2]
    path = tmp_path / f"wrong{suffix}"
    named = {names.get(name, name): array for name, array in weights.items()}
    match suffix:
        case ".pth":
            write_torch_zip(path, state_dict_of(named))
        case ".pt":
            write_torch_script(path, named)
        case ".pb":
            write_graph_def(path, {name: to_graph(array) for name, array in named.items()})
    expected = names.get("Conv2d_1a_3x3.conv.weight", "Conv2d_1a_3x3.conv.weight")
    assert f"the array {expected!r} has the shape" in refusal(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt"])
def test_malicious_pickle_executes_nothing(tmp_path: Path, suffix: str) -> None:
    proof, path = tmp_path / "executed", tmp_path / f"hostile{suffix}"
    attack: Any = Call(Global("os", "system"), (f"touch {proof}",))
    if suffix == ".pth":
        write_torch_zip(path, {"fc.weight": attack})
    else:
        write_torch_script(path, {"output.weight": attack})
    assert "os.system, which is not allowed" in refusal(path)
    assert not proof.exists()


def test_missing_file_says_which_ones_the_field_uses(tmp_path: Path) -> None:
    message = refusal(tmp_path / "absent.pth")
    for part in ("does not exist", "6726825d0af5f729", "inception-2015-12-05.pt", "classify_image_graph_def.pb"):
        assert part in message


def test_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pictures.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat.png", b"meow")
    assert "data.pkl" in refusal(path)
