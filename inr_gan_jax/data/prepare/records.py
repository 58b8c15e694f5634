"""Random access to the images of a prepared split, from array_record to decoded arrays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from inr_gan_jax.data.prepare.preparation import dataset_fingerprint
from inr_gan_jax.data.prepare.sources import Contents, PreparedReader
from inr_gan_jax.data.read.decode import decode_image

Element = dict[str, Any]


class RecordSource(Sequence[Element]):
    """Images of a split, decoded on access; picklable, for worker processes.

    Args:
        records: serialized `tf.train.Example`s with a feature `image`.
    """

    def __init__(self, records: Sequence[bytes]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Element: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Element]: ...
    def __getitem__(self, index: int | slice) -> Element | Sequence[Element]:
        """`image`, uint8 [height, width, channels], and `label` if there is one."""
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        data, label = self.encoded(index)
        element: Element = {"image": decode_image(data)}
        if label is not None:
            element["label"] = np.int64(label)
        return element

    def encoded(self, index: int) -> tuple[bytes, int | None]:
        """The encoded image, and its label if it has one."""
        # Parsed here, ten times faster than by the features of tfds.
        features = self._features(index)
        label = features["label"].int64_list.value if "label" in features else ()
        return features["image"].bytes_list.value[0], label[0] if label else None

    def name(self, index: int) -> str:
        """The `id` of an image, or its index if it has none."""
        features = self._features(index)
        return features["id"].bytes_list.value[0].decode("utf-8", "replace") if "id" in features else str(index)

    def _features(self, index: int) -> Any:
        example: Any = tf_example_pb2
        return example.Example.FromString(self._records[index]).features.feature


def open_records(directory: Path, split: str) -> RecordSource:
    """Opens a split of the prepared version in a folder."""
    return records_of(tfds.builder_from_directory(str(directory)), split)


def records_of(builder: Any, split: str) -> RecordSource:
    """Opens a split of a builder whose set is stored as array_record."""
    source = builder.as_data_source(split=split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    return RecordSource(source.data_source)


def list_prepared(directory: Path, split: str) -> Contents:
    """Lists a split of a prepared set as a source of images."""
    features: Any = tfds.builder_from_directory(str(directory)).info.features
    source = open_records(directory, split)
    names = [str(index) for index in range(len(source))]
    label = dict(features.items()).get("label")
    if not isinstance(label, tfds.features.ClassLabel):
        return Contents(PreparedReader(directory, split), names, signature=dataset_fingerprint(directory))
    return Contents(
        PreparedReader(directory, split),
        names,
        labels={name: source.encoded(int(name))[1] for name in names},
        class_names=tuple(label.names),
        signature=dataset_fingerprint(directory),
    )
