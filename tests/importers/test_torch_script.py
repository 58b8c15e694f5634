"""TorchScript archives: their tensors are read, their code is never looked at."""

import pathlib
import zipfile

import numpy as np
import pytest

from inr_gan_jax.importers.byte_source import CheckpointFormatError
from inr_gan_jax.importers.torch_script import is_torch_script, read_torch_script
from tests.importers.limits import assert_one_sentence, within_limits
from tests.importers.official_format import Call, Global, Storage, state_dict_of, tensor, write_torch_zip
from tests.metrics.torch_script_format import module, write_archive, write_torch_script

ARRAYS = {
    "layers.conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "layers.mixed.tower.conv_1.beta": np.array([1.5, -2], np.float16),
    "output.bias": np.array([3, 4], np.int64),
}


def refusal(path: pathlib.Path) -> str:
    with within_limits(), pytest.raises(CheckpointFormatError) as caught:
        read_torch_script(path)
    assert_one_sentence(str(caught.value), path)
    return str(caught.value)


def test_tensors_of_nested_modules_are_read_bit_for_bit(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "network.pt"
    write_torch_script(path, ARRAYS)
    arrays = read_torch_script(path)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].tobytes()) == (array.dtype, array.tobytes())


def test_archive_is_told_from_a_state_dict(tmp_path: pathlib.Path) -> None:
    write_torch_script(tmp_path / "network.pt", ARRAYS)
    write_torch_zip(tmp_path / "network.pth", state_dict_of(ARRAYS))
    (tmp_path / "text").write_text("no archive")
    found = [is_torch_script(tmp_path / name) for name in ("network.pt", "network.pth", "text")]
    assert found == [True, False, False]


def test_class_of_another_package_is_refused(tmp_path: pathlib.Path) -> None:
    proof, path = tmp_path / "executed", tmp_path / "hostile.pt"
    write_archive(path, module({"weight": Call(Global("os", "system"), (f"touch {proof}",))}))
    assert "os.system, which is not allowed" in refusal(path)
    assert not proof.exists()


def test_class_of_the_archive_is_never_called(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "hostile.pt"
    write_archive(path, module({"weight": Call(Global("__torch__.networks", "Module"), ("argument",))}))
    assert "calls a type, which is not allowed" in refusal(path)


def test_module_that_contains_itself_is_refused(tmp_path: pathlib.Path) -> None:
    path, attributes = tmp_path / "loop.pt", {}
    root = module(attributes)
    root.state["inner"] = root
    write_archive(path, root)
    refusal(path)


def test_tensor_larger_than_its_file_is_refused(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "large.pt"
    wide = tensor(Storage(np.zeros(1, np.float32)), (2**20, 2**10), (0, 0))
    write_archive(path, module({"weight": wide}))
    assert "out of proportion" in refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_archive_is_one_sentence(tmp_path: pathlib.Path, share: float) -> None:
    path = tmp_path / "network.pt"
    write_torch_script(path, ARRAYS)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refusal(path)


def test_something_else_than_a_module_is_refused(tmp_path: pathlib.Path) -> None:
    write_archive(tmp_path / "list.pt", [1, 2])
    assert "a list instead of a module" in refusal(tmp_path / "list.pt")
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("a", b"b")
    assert "data.pkl" in refusal(tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no archive")
    assert "no zip file" in refusal(tmp_path / "text.pt")
