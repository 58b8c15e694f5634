"""The Inception score against recorded values of torch-fidelity and StyleGAN, and in closed form."""

import numpy as np
import pytest

from inr_gan_jax.metrics.inception_score import inception_score
from tests.golden import records


@pytest.mark.parametrize(("name", "num_splits"), [("inorder", 10), ("one_split", 1), ("splits7", 7)])
def test_score_equals_the_recorded_one(name: str, num_splits: int) -> None:
    recorded = records.load("metrics")
    score = inception_score(recorded["logits"], num_splits)
    np.testing.assert_allclose(score.mean, recorded[f"is.torchfidelity_{name}.mean"], rtol=1e-12)
    np.testing.assert_allclose(score.std, recorded[f"is.torchfidelity_{name}.std"], rtol=1e-9, atol=1e-12)


def test_shuffled_rows_give_the_default_of_torch_fidelity() -> None:
    recorded = records.load("metrics")
    order = np.random.RandomState(2020).permutation(2000)
    score = inception_score(recorded["logits"][order])
    np.testing.assert_allclose(score.mean, recorded["is.torchfidelity_shuffled.mean"], rtol=1e-12)


def test_sure_and_even_classes_score_their_number_and_equal_rows_score_one() -> None:
    sure = 1e4 * np.eye(5)[np.arange(50) % 5]
    assert inception_score(sure).mean == pytest.approx(5)
    assert inception_score(np.zeros((50, 5))).mean == pytest.approx(1)


def test_fewer_rows_than_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="10 parts of 9 images"):
        inception_score(np.zeros((9, 3)))
