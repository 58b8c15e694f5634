"""Linear probes: how well keypoints of an image are predicted from its code by ridge regression."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from inr_gan_jax.errors import UserError
from inr_gan_jax.inference.choices import Foreground
from inr_gan_jax.inference.code_file import load_codes
from inr_gan_jax.inference.keypoints import ALL, Keypoints, KeypointTable, built_in_landmarks, is_axis
from inr_gan_jax.inference.latents import intermediate_codes, labels, latents, modulations_of
from inr_gan_jax.inference.loading import LoadedGenerator
from inr_gan_jax.inference.pictures import render_bytes
from inr_gan_jax.inference.viewports import viewport_of_side
from inr_gan_jax.models.generator import Modulation
from inr_gan_jax.progress import Progress

# Strengths of the ridge, times the number of images, for features whose rows have a mean square of 1.
_STRENGTHS = np.logspace(-7, 2, 19)
# Principal components whose variance is below this share of the largest are rounding.
_ROUNDING = 1e-6
_BATCH_SIZE = 256


@dataclasses.dataclass(frozen=True)
class ProbeSettings:
    """Settings of a probe.

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
    """Accuracy of predicted keypoints, by group; `all` is the mean over the groups.

    Attributes:
        r2: share of the variance of both coordinates that is explained; 0 for the mean, negative if worse.
        error: of points, the mean distance in sides of the picture; of an axis, the mean angle in right angles.
    """

    r2: Mapping[str, Score]
    error: Mapping[str, Score]


@dataclasses.dataclass(frozen=True)
class Probe:
    """Result of a probe.

    Attributes:
        num_features: size of the code.
        num_components: number of their principal components.
        predicted: [count, num_columns], each image predicted by a fit without it.
        true: scores of these predictions.
        shuffled: scores of the same regression on the keypoints of other images.
    """

    num_features: int
    num_components: int
    predicted: np.ndarray
    true: Scores
    shuffled: Scores


@dataclasses.dataclass(frozen=True)
class Subjects:
    """Images of one generator with their codes and keypoints.

    Attributes:
        name: of the generator.
        spaces: name of a space -> arrays [count, ...] that together form the codes in it.
        images: [count, height, width, channels], uint8.
        keypoints: of the images, all known.
        num_dropped: number of images whose keypoints were not all known.
    """

    name: str
    spaces: dict[str, list[np.ndarray]]
    images: np.ndarray
    keypoints: Keypoints
    num_dropped: int


def subjects_of_seeds(
    loaded: LoadedGenerator,
    seeds: Sequence[int],
    side: int | None = None,
    keypoints: Keypoints | None = None,
    foreground: Foreground = "bright",
) -> Subjects:
    """Renders images and measures their landmarks.

    Args:
        loaded: the generator.
        seeds: of the images. Conditional generators use all classes in turn.
        side: longer side of the images in pixels; None for the trained size.
        keypoints: of the images; None measures built-in landmarks.
        foreground: of built-in landmarks.

    Raises:
        UserError: if no image has landmarks.
    """
    z, c = latents(loaded, seeds), labels(loaded, len(seeds))
    spaces: dict[str, list[np.ndarray]] = {"z": [np.asarray(z)], "w": [], "modulation": []}
    rendered, codes, modulations = [], [], []
    for start in range(0, len(seeds), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        ws = intermediate_codes(loaded, z[part], None if c is None else c[part])
        codes.append(np.asarray(ws[:, 0]))
        # Kept on the host: many images are large as INRs.
        modulations.append(jax.tree.map(np.asarray, modulations_of(loaded, ws)))
    with Progress(f"rendering {loaded.source}", len(seeds)) as progress:
        for modulation in modulations:
            rendered.append(_pictures(loaded, modulation, side))
            progress.add(len(rendered[-1]))
    spaces["w"] = [np.concatenate(codes)]
    spaces["modulation"] = [np.concatenate(parts) for parts in zip(*map(jax.tree.leaves, modulations), strict=True)]
    return _known_subjects(loaded.source, spaces, np.concatenate(rendered), keypoints, foreground)


def subjects_of_codes(loaded: LoadedGenerator, path: str, table: KeypointTable, side: int | None = None) -> Subjects:
    """Loads images whose codes `project` has found; there is no z, and w is all of ws.

    Raises:
        UserError: if it is not a file of codes, or lacks an image of the table.
    """
    codes = load_codes(path, loaded)
    files = table.files or ()
    missing = sorted(set(files) - set(codes.names))
    if missing:
        raise UserError(f"{path} holds no code of the image {missing[0]!r}")
    rows = np.array([codes.names.index(name) for name in files])
    modulations = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], codes.modulations)
    spaces = {} if codes.ws is None else {"w": [np.asarray(codes.ws)[rows]]}
    spaces["modulation"] = jax.tree.leaves(modulations)
    return _known_subjects(loaded.source, spaces, _pictures(loaded, modulations, side), table.keypoints, "bright")


def probe_all(subjects: Subjects, settings: ProbeSettings) -> dict[str, Probe]:
    """Probes every space.

    Raises:
        UserError: if there are fewer images than a cross-validation needs.
    """
    count = len(subjects.images)
    if count < 2 * settings.num_folds:
        raise UserError(
            f"{subjects.name} has keypoints of {count} images, expected at least {2 * settings.num_folds} for "
            f"{settings.num_folds} folds"
        )
    probes = {}
    with Progress(f"probing {subjects.name}", len(subjects.spaces), unit="spaces") as progress:
        for space, codes in subjects.spaces.items():
            probes[space] = run_probe(codes, subjects.keypoints, settings)
            progress.add(1)
    return probes


def _pictures(loaded: LoadedGenerator, modulations: Modulation, side: int | None) -> np.ndarray:
    view = viewport_of_side(loaded, side if loaded.generator.is_continuous else None)
    return render_bytes(loaded, modulations, view)


def _known_subjects(
    name: str,
    spaces: dict[str, list[np.ndarray]],
    images: np.ndarray,
    keypoints: Keypoints | None,
    foreground: Foreground,
) -> Subjects:
    keypoints = built_in_landmarks(images, foreground) if keypoints is None else keypoints
    rows = np.flatnonzero(keypoints.is_known)
    if not len(rows):
        raise UserError(f"none of the {len(images)} images of {name} has keypoints: they have one colour or are empty")
    kept = {space: [array[rows] for array in arrays] for space, arrays in spaces.items()}
    return Subjects(name, kept, images[rows], keypoints.chosen(rows), len(images) - len(rows))


def run_probe(codes: Sequence[np.ndarray], keypoints: Keypoints, settings: ProbeSettings) -> Probe:
    """Predicts keypoints from codes by cross-validated ridge regression.

    Within each fold, the strength of the ridge is chosen per coordinate by leave-one-out on the fold's own images.
    Codes are standardised and rotated to their principal components over all images, which uses no keypoints and, as
    ridge regression is invariant to rotations, only saves time.

    Args:
        codes: arrays [count, ...] that together form the codes.
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
        codes: arrays [count, ...]; processed one by one, so that no larger one is built.

    Returns:
        [count, num_components], float64, with a mean square of the rows of 1.
    """
    standard = [_standardised(array) for array in codes]
    num_features = max(1, sum(array.shape[1] for array in standard))
    # The smaller of the two products with the same components.
    if num_features <= len(codes[0]):
        features = np.concatenate(standard, axis=1) / np.sqrt(num_features)
        variances, directions = np.linalg.eigh(features.T @ features)
        return features @ directions[:, variances > _ROUNDING * variances[-1]]
    variances, directions = np.linalg.eigh(sum(array @ array.T for array in standard) / num_features)
    kept = variances > _ROUNDING * variances[-1]
    return directions[:, kept] * np.sqrt(variances[kept])


def _standardised(array: np.ndarray) -> np.ndarray:
    """[count, features] with mean 0 and deviation 1, without constant features."""
    flat = np.asarray(array, np.float64).reshape(len(array), -1)
    deviation = flat.std(axis=0)
    varies = deviation > _ROUNDING * np.abs(flat).max(initial=0)
    return (flat[:, varies] - flat[:, varies].mean(axis=0)) / deviation[varies]


def _predicted_out_of_fold(features: np.ndarray, targets: np.ndarray, settings: ProbeSettings) -> np.ndarray:
    predicted = np.empty_like(targets)
    folds = KFold(settings.num_folds, shuffle=True, random_state=settings.seed)
    for fitted, left_out in folds.split(features):
        # Leave-one-out in closed form, one strength per coordinate: a nested cross-validation with one decomposition.
        ridge: Any = RidgeCV(alphas=_STRENGTHS * len(fitted), alpha_per_target=True)
        ridge.fit(features[fitted], targets[fitted])
        predicted[left_out] = ridge.predict(features[left_out])
    return predicted


def _scores(keypoints: Keypoints, predicted: np.ndarray, weights: np.ndarray, confidence: float) -> Scores:
    """Scores with intervals over resampled images: weights [num_resamples, count] count how often each is used."""
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
    """Value of the images themselves, with percentiles over the resamples."""
    low, high = np.quantile(values[1:], [(1 - confidence) / 2, (1 + confidence) / 2])
    return Score(float(values[0]), float(low), float(high))
