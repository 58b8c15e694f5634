"""Constants of frozen graphs, written by the protobuf library."""

from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.graph_def import read_constants
from tests.metrics.graph_def_format import constant, message, write_graph_def

ARRAYS = {
    "conv/conv2d_params": np.arange(36, dtype=np.float32).reshape(3, 2, 1, 6),
    "softmax/biases": np.array([0.5, -3e8, 1e-30], np.float32),
    "scalar": np.array(2.5, np.float32),
}


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_constants(path, ARRAYS)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_constants_are_read_with_their_shapes(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    write_graph_def(path, {**ARRAYS, "unwanted": np.zeros(3, np.float32)})
    constants = read_constants(path, ARRAYS)
    assert constants.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(constants[name], array)


@pytest.mark.parametrize("name", ARRAYS)
def test_numbers_written_one_by_one_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(message("Graph")(node=[constant(name, ARRAYS[name], as_content=False)]).SerializeToString())
    np.testing.assert_array_equal(read_constants(path, ARRAYS)[name], ARRAYS[name])


def test_every_cut_is_one_sentence_or_a_shorter_graph(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    write_graph_def(path, ARRAYS)
    data, whole = path.read_bytes(), read_constants(path, ARRAYS)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            found = read_constants(path, ARRAYS)
        except UserError:
            continue
        for name, array in found.items():
            np.testing.assert_array_equal(array, whole[name])


def test_random_bytes_are_one_sentence(tmp_path: Path) -> None:
    path, rng = tmp_path / "noise.pb", np.random.default_rng(0)
    for _ in range(200):
        path.write_bytes(rng.bytes(200))
        refusal(path)


def test_other_types_and_wrong_sizes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    node = constant("scalar", np.zeros(4, np.float64), dtype=2)
    path.write_bytes(message("Graph")(node=[node]).SerializeToString())
    assert "type 2, expected 1 (float32)" in refusal(path)
    node = constant("scalar", np.zeros(4, np.float32))
    node.attr[1].value.tensor.tensor_shape.dim[0].size = 5
    path.write_bytes(message("Graph")(node=[node]).SerializeToString())
    assert "not a frozen TensorFlow graph" in refusal(path)


def test_graph_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    write_graph_def(path, {"other": np.zeros(2, np.float32)})
    assert "without any of the constants looked for" in refusal(path)
    path.write_bytes(b"")
    assert "without any of the constants looked for" in refusal(path)
