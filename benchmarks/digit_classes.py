"""Classes of the digits that a run generates, by nearest neighbours, and the entropy of their frequencies.

    python -m benchmarks.digit_classes --run=runs/digits --run=runs/other --output=benchmarks/results/digit_classes.json

The classifier calls a picture what most of the five nearest of all 1,797 real ones are; with each real one left out
of its own neighbours it is right in the share that stands in the record. Ten classes of equal shares have an entropy of
ln 10 = 2.303; the real digits have 2.302.
"""

import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks.recording import Row, define_output_flag, table, write_record
from inr_gan_jax.cli.command import run
from inr_gan_jax.inference.loading import load_generator
from inr_gan_jax.sampling import Sampler

_NUM_NEIGHBOURS = 5
_LEVELS = 16
_AT_A_TIME = 500


class DigitClassifier:
    """Names digits of 8x8 pixels by the real ones that are nearest."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits
        from sklearn.neighbors import KNeighborsClassifier

        digits: Any = load_digits()
        self.labels = digits.target
        pixels = digits.data / _LEVELS
        self._neighbours = KNeighborsClassifier(_NUM_NEIGHBOURS).fit(pixels, self.labels)
        # Of one more neighbour the first is the picture itself.
        _, nearest = self._neighbours.kneighbors(pixels, _NUM_NEIGHBOURS + 1)
        others = self.labels[nearest[:, 1:]]
        guesses = np.array([np.bincount(row, minlength=10).argmax() for row in others])
        self.accuracy = float(np.mean(guesses == self.labels))

    def classes(self, images: np.ndarray) -> np.ndarray:
        """The class [count] of each image [count, 8, 8, 1], in [-1, 1]."""
        return self._neighbours.predict((images.reshape(len(images), -1) + 1) / 2)


def entropy(classes: np.ndarray) -> float:
    """Of the shares of the classes, in nats."""
    shares = np.bincount(classes, minlength=10) / len(classes)
    return float(-sum(share * math.log(share) for share in shares if share))


def measure(folder: pathlib.Path, classifier: DigitClassifier, count: int) -> Row:
    """The shares of the classes among `count` images of a run, seeds of its own, and their entropy."""
    loaded = load_generator(folder)
    batches = Sampler(loaded.generator, loaded.variables, batch_size=_AT_A_TIME).batches(0, count)
    found = np.concatenate([classifier.classes(np.asarray(batch)) for batch in batches])
    shares = np.bincount(found, minlength=10) / count
    return {
        "kimg": loaded.kimg,
        "entropy": entropy(found),
        **{str(digit): float(share) for digit, share in enumerate(shares)},
    }


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    del arguments
    values = flags.FLAGS
    classifier = DigitClassifier()
    rows: dict[str, Row] = {}
    for text in values.run:
        folder = pathlib.Path(text).expanduser()
        rows[folder.name] = measure(folder, classifier, values.count)
        print(f"{folder.name}: {rows[folder.name]['entropy']:.3f}", file=sys.stderr, flush=True)
    print(table(rows))
    real = {"entropy": entropy(classifier.labels), "accuracy": classifier.accuracy}
    write_record(rows, {"real": real, "images": values.count})


if __name__ == "__main__":
    define_output_flag()
    flags.DEFINE_multi_string("run", None, "Run folder of a network for digits, or a file of weights; may be repeated.")
    flags.DEFINE_integer("count", 10_000, "Images of each.", 1)
    flags.mark_flag_as_required("run")
    run(main)
