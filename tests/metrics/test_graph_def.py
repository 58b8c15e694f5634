"""Constants of frozen graphs."""

from pathlib import Path

import numpy as np
import pytest
from tensorboardX.proto.graph_pb2 import GraphDef

from inr_gan_jax.errors import UserError
from inr_gan_jax.metrics.networks.inception_weights import read_constants
from tests.metrics.graph_def_format import constant, write_graph_def

ARRAYS = {
    "conv/conv2d_params": np.arange(36, dtype=np.float32).reshape(3, 2, 1, 6),
    "softmax/biases": np.array([0.5, -3e8, 1e-30], np.float32),
    "scalar": np.array(2.5, np.float32),
}


# By the public field numbers of tensorflow/core/framework/*.proto: "a/b" = [[0.5, -3]], an Identity, "c" = [2.5].
BYTES = bytes.fromhex(
    "0a410a03612f621205436f6e73742a0b0a056474797065120230012a260a0576616c7565121d250000003f42160801120812"
    "0208011202080222080000003f000040c00a120a017812084964656e746974791a03612f620a370a01631205436f6e73742a"
    "0b0a056474797065120230012a1e0a0576616c75651215250000003f420e08011204120208012a04000020401809"
)


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


def test_bytes_of_the_public_format_are_read(tmp_path: Path) -> None:
    (tmp_path / "graph.pb").write_bytes(BYTES)
    found = read_constants(tmp_path / "graph.pb", ["a/b", "c"])
    assert {name: array.tolist() for name, array in found.items()} == {"a/b": [[0.5, -3.0]], "c": [2.5]}


@pytest.mark.parametrize("name", ARRAYS)
def test_numbers_written_one_by_one_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(GraphDef(node=[constant(name, ARRAYS[name], as_content=False)]).SerializeToString())
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
    path.write_bytes(GraphDef(node=[node]).SerializeToString())
    assert "type 2, expected 1 (float32)" in refusal(path)
    node = constant("scalar", np.zeros(4, np.float32))
    node.attr["value"].tensor.tensor_shape.dim[0].size = 5
    path.write_bytes(GraphDef(node=[node]).SerializeToString())
    assert "not a frozen TensorFlow graph" in refusal(path)


def test_graph_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    write_graph_def(path, {"other": np.zeros(2, np.float32)})
    assert "without any of the constants looked for" in refusal(path)
    path.write_bytes(b"")
    assert "without any of the constants looked for" in refusal(path)


def test_file_larger_than_any_such_graph_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "graph.pb").open("wb") as file:
        file.truncate(2**28)
    assert str(2**28) in refusal(tmp_path / "graph.pb")
