"""Recorded values of trusted metric implementations, and the seeded weights that they were recorded with."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(os.environ.get("INR_GAN_SHARED", Path(__file__).resolve().parents[3] / "shared"))


def shared_file(name: str) -> Path:
    """Path of a file of the shared folder; skips the test where there is none."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"recorded values are not at {path}")
    return path


@functools.cache
def load(name: str) -> Mapping[str, np.ndarray]:
    """The arrays of `golden_metrics/<name>.npz`; read when they are looked at."""
    return np.load(shared_file(f"golden_metrics/{name}.npz"))


def seeded_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """The pseudo-random weights of the recordings, by the rule of their README, section 1."""
    rng = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for name in sorted(shapes):
        uniform = rng.random(shapes[name])
        if uniform.ndim >= 2:
            value = (2 * uniform - 1) * np.sqrt(6 / np.prod(uniform.shape[1:]))
        elif name.endswith("running_var"):
            value = 0.5 + uniform
        else:
            value = 0.4 + uniform if name.endswith("bn.weight") else 0.4 * uniform - 0.2
        weights[name] = value.astype(np.float32)
    return weights


def assert_fingerprints(weights: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray]) -> None:
    """Compares every seeded array with its recorded fingerprint."""
    assert sorted(weights) == list(recorded["weights.keys"])
    for index, name in enumerate(recorded["weights.keys"]):
        values = weights[name].astype(np.float64)
        np.testing.assert_allclose(values.sum(), recorded["weights.sum_f64"][index], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.square(values).sum(), recorded["weights.sumsq_f64"][index], rtol=1e-12)
        assert values.flat[-1] == recorded["weights.last"][index]


def relative_l2(ours: object, theirs: np.ndarray) -> float:
    """Norm of the difference over the norm of the recorded values."""
    ours = np.asarray(ours, np.float64)
    assert ours.shape == theirs.shape
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs.astype(np.float64)))
