"""Inception score: confidence and diversity of the predicted classes of generated images."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class InceptionScore:
    """Scores of equal parts of a set.

    Attributes:
        mean: over the parts.
        std: over the parts, the population's.
    """

    mean: float
    std: float


def inception_score(logits: np.ndarray, num_splits: int = 10) -> InceptionScore:
    """Computes exp(mean over a part of KL(p(class | image) || p(class))) for each part.

    Args:
        logits: [count, classes], without the bias of the last layer, in the order in which images were generated.
        num_splits: parts; part i holds the rows i * count // num_splits up to those of i + 1.

    Raises:
        ValueError: for fewer rows than parts.

    Source: arXiv 1606.03498 §4. Computed with the log-softmax: a probability that rounds to 0 would make the score NaN.
    """
    count = len(logits)
    if not 1 <= num_splits <= count:
        raise ValueError(f"{num_splits} parts of {count} images were asked for, expected 1 to {count}")
    logits = np.asarray(logits, np.float64)
    log_probabilities = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    scores = []
    for index in range(num_splits):
        part = log_probabilities[index * count // num_splits : (index + 1) * count // num_splits]
        log_mean = np.logaddexp.reduce(part, axis=0) - np.log(len(part))
        scores.append(np.exp(np.mean(np.sum(np.exp(part) * (part - log_mean[None]), axis=1))))
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)))
