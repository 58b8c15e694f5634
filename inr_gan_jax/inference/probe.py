"""Linear probes: how well keypoints follow from a code by ridge regression, and from the codes of other images."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inr_gan_jax.inference.landmarks import ALL, Keypoints, is_axis

# Strengths of the ridge, times the number of images, for features whose rows have a mean square of 1.
_STRENGTHS = np.logspace(-7, 2, 19)
# Principal components whose variance is below this share of the largest are rounding.
_ROUNDING = 1e-6


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """How a probe is measured.

    Attributes:
        num_folds: of the cross-validation.
        num_resamples: of the images, for the intervals.
        confidence: of the intervals.
        seed: of the folds, the shuffling and the resamples.
    """

    num_folds: int = 5
    num_resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Score:
    """A number with its interval."""

    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Scores:
    """How well keypoints are predicted, by group, and for `all` the mean over the groups.

    Attributes:
        r2: share of the variance of both coordinates that is predicted; 0 for the mean, negative for worse.
        error: of points, the mean distance in sides of the picture; of an axis, the mean angle in right angles.
    """

    r2: Mapping[str, Score]
    error: Mapping[str, Score]


@dataclasses.dataclass(frozen=True)
class Probe:
    """What a probe found.

    Attributes:
        num_features: numbers of the code.
        num_components: principal components that they have.
        predicted: [count, num_columns], each image predicted by a fit that has not seen it.
        true: scores of these predictions.
        shuffled: scores of the same regression on the keypoints of other images.
    """

    num_features: int
    num_components: int
    predicted: np.ndarray
    true: Scores
    shuffled: Scores


def run_probe(codes: Sequence[np.ndarray], keypoints: Keypoints, settings: ProbeSettings) -> Probe:
    """Predicts keypoints from codes by cross-validated ridge regression.

    Within each fold, the strength of the ridge is chosen for each coordinate by leave-one-out on the fold's own images.
    Codes are standardised and rotated to their principal components over all images, which uses no keypoint and, as
    ridge regression does not see rotations, changes nothing but the time it takes.

    Args:
        codes: arrays [count, ...], one or several, that make up the code of an image.
        keypoints: of the images, all known.
        settings: of the probe.

    Source: arXiv 2011.12026, the geometric prior: keypoints by a linear model of the latent code.
    """
    features = principal_components(codes)
    count, num_columns = keypoints.values.shape
    rng = np.random.default_rng(settings.seed)
    shuffled = keypoints.chosen(rng.permutation(count))
    targets = np.concatenate([keypoints.values, shuffled.values], axis=1)
    predicted = _predicted_out_of_fold(features, targets, settings)
    weights = rng.multinomial(count, np.full(count, 1 / count), settings.num_resamples)
    both = (keypoints, predicted[:, :num_columns]), (shuffled, predicted[:, num_columns:])
    true, control = (_scores(*pair, weights, settings.confidence) for pair in both)
    num_features = sum(array[0].size for array in codes)
    return Probe(num_features, features.shape[1], predicted[:, :num_columns], true, control)


def principal_components(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Standardises codes and rotates them to their principal components.

    Args:
        codes: arrays [count, ...]; read one after the other, so that no larger one is built.

    Returns:
        [count, num_components], float64, with a mean square of the rows of 1.
    """
    standard = [_standardised(array) for array in codes]
    num_features = max(1, sum(array.shape[1] for array in standard))
    # By the smaller of the two products that have the same components.
    if num_features <= len(codes[0]):
        features = np.concatenate(standard, axis=1) / np.sqrt(num_features)
        variances, directions = np.linalg.eigh(features.T @ features)
        return features @ directions[:, variances > _ROUNDING * variances[-1]]
    variances, directions = np.linalg.eigh(sum(array @ array.T for array in standard) / num_features)
    kept = variances > _ROUNDING * variances[-1]
    return directions[:, kept] * np.sqrt(variances[kept])


def _standardised(array: np.ndarray) -> np.ndarray:
    """[count, features] with mean 0 and deviation 1, without those that do not vary."""
    flat = np.asarray(array, np.float64).reshape(len(array), -1)
    deviation = flat.std(axis=0)
    varies = deviation > _ROUNDING * np.abs(flat).max(initial=0)
    return (flat[:, varies] - flat[:, varies].mean(axis=0)) / deviation[varies]


def _predicted_out_of_fold(features: np.ndarray, targets: np.ndarray, settings: ProbeSettings) -> np.ndarray:
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold

    predicted = np.empty_like(targets)
    folds = KFold(settings.num_folds, shuffle=True, random_state=settings.seed)
    for fitted, left_out in folds.split(features):
        # Leave-one-out in closed form, one strength a coordinate: a nested cross-validation for one decomposition.
        ridge: Any = RidgeCV(alphas=_STRENGTHS * len(fitted), alpha_per_target=True)
        ridge.fit(features[fitted], targets[fitted])
        predicted[left_out] = ridge.predict(features[left_out])
    return predicted


def _scores(keypoints: Keypoints, predicted: np.ndarray, weights: np.ndarray, confidence: float) -> Scores:
    """Scores with intervals over resampled images: weights [num_resamples, count] say how often each is drawn."""
    weights = np.concatenate([np.ones((1, weights.shape[1])), weights]).astype(float)
    r2, error = {}, {}
    for group, columns in keypoints.groups.items():
        true, found = keypoints.values[:, columns], predicted[:, columns]
        r2[group] = _r2(true, found, weights)
        distances = _angles(true, found) if is_axis(group) else np.linalg.norm(true - found, axis=1)
        error[group] = weights @ distances / weights.sum(axis=1)
    for values in (r2, error):
        values[ALL] = np.mean(list(values.values()), axis=0)
    return Scores(*({name: _score(array, confidence) for name, array in values.items()} for values in (r2, error)))


def _r2(true: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[num_resamples], 1 less the squared error over the squared distance from the mean of the resample."""
    counts = weights.sum(axis=1, keepdims=True)
    missed = weights @ np.square(true - predicted).sum(axis=1)
    spread = (weights @ np.square(true) - np.square(weights @ true) / counts).sum(axis=1)
    return 1 - missed / np.maximum(spread, 1e-300)


def _angles(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[count], angle between axes in right angles; both are given by cosine and sine of twice their angle."""
    difference = np.arctan2(predicted[:, 1], predicted[:, 0]) - np.arctan2(true[:, 1], true[:, 0])
    return np.abs(np.angle(np.exp(1j * difference))) / np.pi


def _score(values: np.ndarray, confidence: float) -> Score:
    """Of the images as they are, with percentiles over the resamples."""
    low, high = np.quantile(values[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Score(float(values[0]), float(low), float(high))
