"""The seeded weights that the metrics were recorded with."""

from collections.abc import Mapping

import numpy as np


def seeded_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """The pseudo-random weights of the recordings, as the recording program made them."""
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
