"""Well-formed checkpoints come out bit for bit, without a copy too many."""

import builtins
import hashlib
import pathlib
import tracemalloc
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from inr_gan_jax.importers import safe_pickle
from tests.golden import official_pickles
from tests.importers import official_format

VARIANTS = [
    "misc-sigmoid-32",
    "tiny-cips-16",
    "tiny-inr-gan-32",
    "tiny-inr-gan-32-aug",
    "tiny-inr-gan-32-cudacache",
    "tiny-inr-gan-bil-32",
    "tiny-stylegan2-16",
]

DTYPES = [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, np.int64, np.int32, np.int16, np.int8, np.uint8]


def assert_same_bits(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape), name
        assert got[name].tobytes() == array.tobytes(), name


def small_arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "mapping.fc0.weight": random.standard_normal((3, 2), np.float32),
        "mapping.fc0.bias": random.standard_normal(3, np.float32),
        "mapping.w_avg": np.array([np.nan, -0.0, np.inf], np.float32),
        "empty.weight": np.zeros((4, 0), np.float32),
        "scalar": np.array(2.5, np.float32),
    }


def small_network(class_name: str = "Generator") -> official_format.Call:
    arrays = small_arrays()
    names = [name for name in arrays if name != "mapping.w_avg"]
    init_kwargs = {"z_dim": 2, "scale": official_format.numpy_scalar(0.1), "cfg": official_format.easy_dict({"a": [1]})}
    return official_format.network(class_name, arrays, names, init_kwargs)


def write_small(path: pathlib.Path, **networks: official_format.Call) -> pathlib.Path:
    networks = {name: small_network() for name in ("G", "D", "G_ema")} | networks
    official_format.write_official_checkpoint(path, official_format.official_checkpoint(networks))
    return path


def network_of_tensors(**buffers: official_format.Call) -> official_format.Call:
    state = official_format.module_state({}, buffers, {}, _init_args=(), _init_kwargs={})
    return official_format.persistent_object("Generator", state)


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_checkpoint_is_bit_exact_and_its_metadata_plain(variant: str) -> None:
    path = official_pickles.official_pickle(variant)
    base = variant.removesuffix("-aug").removesuffix("-cudacache")
    checkpoint = safe_pickle.read_official_checkpoint(path)
    generator = checkpoint.networks["G_ema"]
    assert_same_bits(generator.arrays, official_pickles.recorded_arrays(base, "G/"))
    assert_same_bits(checkpoint.networks["D"].arrays, official_pickles.recorded_arrays(base, "D/"))
    assert generator.class_name == "Generator"
    assert type(generator.init_kwargs["cfg"]) is dict
    assert checkpoint.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert checkpoint.training_set_kwargs["resolution"] == generator.init_kwargs["img_resolution"]


def test_golden_aug_checkpoint_has_augmentation_and_a_distinct_g() -> None:
    checkpoint = safe_pickle.read_official_checkpoint(official_pickles.official_pickle("tiny-inr-gan-32-aug"))
    assert checkpoint.augment_p == 0.125
    average, generator = checkpoint.networks["G_ema"].arrays, checkpoint.networks["G"].arrays
    name = "mapping.fc0.weight"
    np.testing.assert_allclose(generator[name], np.float32(0.9) * average[name], rtol=1e-6)


def test_written_checkpoint_is_bit_exact(tmp_path: pathlib.Path) -> None:
    checkpoint = safe_pickle.read_official_checkpoint(write_small(tmp_path / "a.pkl"))
    assert list(checkpoint.networks) == ["G_ema", "G", "D"]
    for snapshot in checkpoint.networks.values():
        assert_same_bits(snapshot.arrays, small_arrays())
        assert snapshot.init_kwargs == {"z_dim": 2, "scale": 0.1, "cfg": {"a": [1]}}
        assert type(snapshot.init_kwargs["scale"]) is float


def test_arrays_own_their_memory(tmp_path: pathlib.Path) -> None:
    path = write_small(tmp_path / "a.pkl")
    checkpoint = safe_pickle.read_official_checkpoint(str(path), ["G"])
    path.write_bytes(b"")
    assert (checkpoint.path, list(checkpoint.networks)) == (path, ["G"])
    for array in checkpoint.networks["G"].arrays.values():
        assert array.flags.carray


def test_stored_source_is_never_executed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "executed"
    source = f"open({str(marker)!r}, 'w').close()\nraise RuntimeError\n"
    state = official_format.module_state({}, {}, {}, _init_args=(), _init_kwargs={})
    path = write_small(tmp_path / "a.pkl", G=official_format.persistent_object("Generator", state, source))

    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("code was compiled or executed")

    with monkeypatch.context() as patch:
        for name in ("exec", "eval", "compile"):
            patch.setattr(builtins, name, refuse)
        safe_pickle.read_official_checkpoint(path)
    assert not marker.exists()


def test_strided_views_with_offset_are_right(tmp_path: pathlib.Path) -> None:
    array = np.arange(24, dtype=np.float32)
    storage = official_format.storage_blob(official_format.Storage(array, "cuda:0"))
    network = network_of_tensors(
        part=official_format.tensor(storage, (2, 3), offset=5),
        transposed=official_format.tensor(storage, (3, 2), stride=(2, 5), offset=1),
        expanded=official_format.tensor(storage, (4, 2), stride=(0, 1), offset=22),
        single=official_format.tensor(storage, (1, 2), stride=(2**62, 1), offset=0),
    )
    checkpoint = safe_pickle.read_official_checkpoint(write_small(tmp_path / "a.pkl", G=network))
    arrays = checkpoint.networks["G"].arrays
    np.testing.assert_array_equal(arrays["part"], array[5:11].reshape(2, 3))
    np.testing.assert_array_equal(arrays["transposed"], [[1, 6], [3, 8], [5, 10]])
    np.testing.assert_array_equal(arrays["expanded"], [[22, 23]] * 4)
    np.testing.assert_array_equal(arrays["single"], [[0, 1]])


def test_tied_parameters_share_one_array(tmp_path: pathlib.Path) -> None:
    tied = official_format.official_tensor(np.ones(3, np.float32))
    path = write_small(tmp_path / "a.pkl", G=network_of_tensors(first=tied, second=tied))
    arrays = safe_pickle.read_official_checkpoint(path, ["G"]).networks["G"].arrays
    assert arrays["first"] is arrays["second"]


def test_non_persistent_buffers_are_left_out(tmp_path: pathlib.Path) -> None:
    buffers = {name: official_format.official_tensor(np.ones(2, np.float32)) for name in ("kept", "scratch")}
    state = official_format.module_state({}, buffers, {}, _init_args=(), _init_kwargs={})
    state["_non_persistent_buffers_set"] = {"scratch"}
    path = write_small(tmp_path / "a.pkl", G=official_format.persistent_object("Generator", state))
    assert list(safe_pickle.read_official_checkpoint(path, ["G"]).networks["G"].arrays) == ["kept"]


def test_memory_stays_near_the_size_of_the_arrays(tmp_path: pathlib.Path) -> None:
    array = np.ones((2**22,), np.float32)
    cache = official_format.official_tensor(array, location="cuda:0")
    network = official_format.network("Generator", {"weight": array}, ["weight"], {}, _fourier_embs_cache=cache)
    path = write_small(tmp_path / "a.pkl", G=network)
    tracemalloc.start()
    safe_pickle.read_official_checkpoint(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.2 * array.nbytes


def test_missing_network_is_named(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.pkl"
    official_format.write_official_checkpoint(path, official_format.official_checkpoint({"G": small_network()}))
    with pytest.raises(safe_pickle.CheckpointFormatError, match=r"no network G_ema, it has G$"):
        safe_pickle.read_official_checkpoint(path)


Writer = Callable[[pathlib.Path, Any], None]
WRITERS = [official_format.write_torch_zip, official_format.write_torch_legacy]


@pytest.mark.parametrize("write", WRITERS)
def test_torch_state_dict_is_bit_exact(tmp_path: pathlib.Path, write: Writer) -> None:
    bits = np.random.default_rng(0).integers(0, 256, 48, np.uint8)
    arrays = {f"layer.{np.dtype(dtype).name}": bits.view(dtype).reshape(2, -1) for dtype in DTYPES}
    arrays["flags"] = np.array([True, False])
    arrays["count"] = np.array(7, np.int64)
    write(tmp_path / "a.pth", official_format.state_dict_of(arrays))
    assert_same_bits(safe_pickle.read_torch_state_dict(tmp_path / "a.pth"), arrays)


@pytest.mark.parametrize("write", WRITERS)
def test_torch_state_dict_flattens_nested_dicts(tmp_path: pathlib.Path, write: Writer) -> None:
    inner = official_format.state_dict_of({"weight": np.ones(2, np.float32)})
    write(tmp_path / "a.pth", {"outer": official_format.ordered_dict({"inner": inner})})
    assert list(safe_pickle.read_torch_state_dict(tmp_path / "a.pth")) == ["outer.inner.weight"]


@pytest.mark.parametrize("write", WRITERS)
def test_torch_state_dict_reads_views_of_one_storage(tmp_path: pathlib.Path, write: Writer) -> None:
    storage = official_format.Storage(np.arange(6, dtype=np.float64))
    root = {
        "tail": official_format.tensor(storage, (2,), offset=4),
        "columns": official_format.tensor(storage, (3, 2), stride=(1, 3), parameter=True),
    }
    write(tmp_path / "a.pth", root)
    arrays = safe_pickle.read_torch_state_dict(tmp_path / "a.pth")
    np.testing.assert_array_equal(arrays["tail"], [4, 5])
    np.testing.assert_array_equal(arrays["columns"], [[0, 3], [1, 4], [2, 5]])


def test_torch_state_dict_of_python_2_and_torch_0_1_is_read(tmp_path: pathlib.Path) -> None:
    storage = official_format.Storage(np.ones(2, np.float32))
    rebuilt = official_format.Call(official_format.Global("torch._utils", "_rebuild_tensor"), (storage, 0, (2,), (1,)))
    parameter = official_format.Call(
        official_format.Global("torch.nn.parameter", "Parameter"), (rebuilt,), state=(True, False, None)
    )
    items = [["features.0.weight", parameter]]
    root = official_format.Call(official_format.Global("collections", "OrderedDict"), (items,))
    official_format.write_torch_legacy(tmp_path / "a.pth", root)
    assert_same_bits(
        safe_pickle.read_torch_state_dict(tmp_path / "a.pth"), {"features.0.weight": np.ones(2, np.float32)}
    )


def test_boolean_storage_with_other_bytes_gives_true(tmp_path: pathlib.Path) -> None:
    array = np.array([0, 1, 2, 255], np.uint8).view(np.bool_)
    official_format.write_torch_zip(tmp_path / "a.pth", official_format.state_dict_of({"flags": array}))
    flags = safe_pickle.read_torch_state_dict(tmp_path / "a.pth")["flags"]
    assert flags.view(np.uint8).tolist() == [0, 1, 1, 1]


def test_state_dict_with_something_else_than_tensors_is_refused(tmp_path: pathlib.Path) -> None:
    official_format.write_torch_zip(tmp_path / "a.pth", {"epoch": 3})
    with pytest.raises(safe_pickle.CheckpointFormatError, match="epoch is of type int"):
        safe_pickle.read_torch_state_dict(tmp_path / "a.pth")
