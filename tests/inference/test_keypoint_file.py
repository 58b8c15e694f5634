"""Keypoints of CSVs."""

from pathlib import Path

import numpy as np
import pytest

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.keypoints import read_keypoints


def written(folder: Path, text: str) -> Path:
    (folder / "points.csv").write_text(text)
    return folder / "points.csv"


def test_seeds_and_numbered_points_are_read(tmp_path: Path) -> None:
    table = read_keypoints(written(tmp_path, "seed,x1,y1,x2,y2\n3,0.1,0.2,0.3,0.4\n\n0,1,0,,0.5\n"))
    assert (table.seeds, table.files) == ((3, 0), None)
    assert table.keypoints.groups == {"1": (0, 1), "2": (2, 3)}
    np.testing.assert_array_equal(table.keypoints.values, [[0.1, 0.2, 0.3, 0.4], [1, 0, np.nan, 0.5]])
    np.testing.assert_array_equal(table.keypoints.is_known, [True, False])


def test_files_and_named_points_are_read(tmp_path: Path) -> None:
    table = read_keypoints(written(tmp_path, "file,nose_x,nose_y,left_x_eye_x,left_x_eye_y\na.png,0,0,1,1\n"))
    assert (table.seeds, table.files) == (None, ("a.png",))
    assert table.keypoints.groups == {"nose": (0, 1), "left_x_eye": (2, 3)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no keypoints"),
        ("seed,x1,y1\n", "holds no keypoints"),
        ("name,x1,y1\n0,0,0\n", "has the columns name,x1,y1, expected seed,x1,y1"),
        ("seed,x1,y1,x2\n0,0,0,0\n", "has the columns seed,x1,y1,x2, expected"),
        ("seed,x1,y2\n0,0,0\n", "has the columns x1,y2 in sequence"),
        ("seed,y1,x1\n0,0,0\n", "has the columns y1,x1 in sequence"),
        ("seed,axis_x,axis_y\n0,0,0\n", "has a point 'axis', whose name is reserved"),
        ("seed,x1,y1\n0,0,0\n1,0\n", "has 2 entries in line 3, expected 3"),
        ("seed,x1,y1\n0,12,0\n", "has '12' in line 2, expected positions in"),
        ("seed,x1,y1\n0,left,0\n", "has 'left' in line 2, expected positions in"),
        ("seed,x1,y1\na.png,0,0\n", "has the seed 'a.png', expected a number"),
        ("seed,x1,y1\n1,0,0\n1,0,0\n", "has two lines of the seed 1"),
    ],
)
def test_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_keypoints(written(tmp_path, text))


def test_missing_file_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"absent\.csv cannot be read"):
        read_keypoints("absent.csv")
