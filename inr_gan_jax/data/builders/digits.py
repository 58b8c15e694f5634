"""The handwritten digits of scikit-learn as a tfds data set."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

# Grey levels of the source run from 0 to 16.
_SOURCE_LEVELS = 16


class Digits(tfds.core.GeneratorBasedBuilder):
    """1,797 real handwritten digits, 8x8 grey pixels, ten classes.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), CC BY 4.0; the test part,
    as in `sklearn.datasets.load_digits`.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Real handwritten digits, 8x8 grey pixels.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # Nothing is downloaded.
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from sklearn.datasets import load_digits  # Takes a second; needed only to prepare.

        digits: Any = load_digits()
        levels = np.round(digits.images * (255 / _SOURCE_LEVELS)).astype(np.uint8)
        for index, (image, label) in enumerate(zip(levels, digits.target, strict=True)):
            # Encoded bytes: tfds would need TensorFlow to encode an array.
            encoded = io.BytesIO()
            Image.fromarray(image).save(encoded, format="PNG")
            yield f"{index:04d}", {"image": encoded.getvalue(), "label": int(label)}
