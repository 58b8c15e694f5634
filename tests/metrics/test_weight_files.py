"""Files of weights: every format gives the same arrays, and a file that is not what it should be ends in a sentence."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.weight_files import channels_last, read_weights
from tests.importers.official_format import Call, Global, state_dict_of, write_torch_legacy, write_torch_zip

SHAPES = {"conv.weight": (4, 3, 2, 5), "conv.bias": (4,), "fc.weight": (7, 4)}
SOURCE = "the file of the test"
SUFFIXES = (".pth", ".legacy.pth", ".npz", ".safetensors")


def arrays_of(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write(folder: Path, suffix: str, arrays: dict[str, np.ndarray]) -> Path:
    path = folder / f"weights{suffix}"
    match suffix:
        case ".npz":
            np.savez(path, **arrays)  # pyright: ignore[reportArgumentType] - names are no keywords of savez
        case ".safetensors":
            save_file(arrays, path)
        case ".pth":
            write_torch_zip(path, state_dict_of(arrays))
        case _:
            write_torch_legacy(path, state_dict_of(arrays))
    return path


def refusal(path: Path) -> str:
    """The one sentence that a file is refused with."""
    with pytest.raises(UserError) as caught:
        read_weights(path, SHAPES, SOURCE)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_arrays_and_the_digest_of_the_file(tmp_path: Path, suffix: str) -> None:
    arrays = arrays_of(SHAPES)
    path = write(tmp_path, suffix, {**arrays, "num_batches_tracked": np.zeros(1, np.int64)})
    weights = read_weights(path, SHAPES, SOURCE)
    assert weights.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(weights.arrays[name], array)
    assert weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_layout_becomes_channels_last() -> None:
    arrays = arrays_of(SHAPES)
    layers = channels_last(arrays)
    assert layers["conv"]["kernel"][1, 4, 2, 3] == arrays["conv.weight"][3, 2, 1, 4]
    assert layers["fc"]["kernel"][3, 6] == arrays["fc.weight"][6, 3]
    assert layers["conv"]["bias"] is not None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_wrong_shape_is_named(tmp_path: Path, suffix: str) -> None:
    arrays = arrays_of({**SHAPES, "conv.weight": (4, 3, 5, 2)})
    message = refusal(write(tmp_path, suffix, arrays))
    assert "'conv.weight' has the shape (4, 3, 5, 2), expected (4, 3, 2, 5)" in message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_missing_array_is_named(tmp_path: Path, suffix: str) -> None:
    arrays = arrays_of(SHAPES)
    del arrays["fc.weight"]
    assert "has no array 'fc.weight', expected the file of the test" in refusal(write(tmp_path, suffix, arrays))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.98])
def test_cut_file_is_one_sentence(tmp_path: Path, suffix: str, share: float) -> None:
    path = write(tmp_path, suffix, arrays_of(SHAPES))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refusal(path)


def test_missing_file_says_what_is_expected(tmp_path: Path) -> None:
    assert "does not exist, expected the file of the test" in refusal(tmp_path / "absent.pth")


@pytest.mark.parametrize("writer", [write_torch_zip, write_torch_legacy])
def test_malicious_pickle_executes_nothing(tmp_path: Path, writer: object) -> None:
    proof = tmp_path / "executed"
    attack = Call(Global("os", "system"), (f"touch {proof}",))
    path = tmp_path / "hostile.pth"
    writer(path, {"conv.weight": attack})  # pyright: ignore[reportCallIssue]
    assert "os.system, which is not allowed" in refusal(path)
    assert not proof.exists()


def test_pickle_within_npz_executes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    arrays = {**arrays_of(SHAPES), "conv.bias": np.array([{}] * 4)}
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
    refusal(path)


def test_npz_that_claims_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("conv.bias.npy", "w") as member:
        header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 4)}
        np.lib.format.write_array_header_1_0(member, header)
    assert "'conv.bias' has the shape (1099511627776, 4), expected (4,)" in refusal(path)


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    arrays = arrays_of(SHAPES)
    arrays["conv.bias"][2] = np.nan
    assert "'conv.bias' holds numbers that are not finite" in refusal(write(tmp_path, ".npz", arrays))


def test_integers_are_refused(tmp_path: Path) -> None:
    arrays = {**arrays_of(SHAPES), "conv.bias": np.zeros(4, np.int64)}
    assert "'conv.bias' has the type int64, expected floats" in refusal(write(tmp_path, ".pth", arrays))
