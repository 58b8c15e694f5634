"""Builders of image sets: shards are written in parallel and handed to tfds with its metadata."""

import abc
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import FileReaderBuilder

from inr_gan_jax.data.prepare.fit_image import FitSettings, FittedImage
from inr_gan_jax.data.prepare.shards import Conversion, Shard


class RecordBuilder(FileReaderBuilder, skip_registration=True):
    """A set whose images are converted by worker processes, resumably; tfds' own writer has one process.

    Args:
        conversions: the work of each split.
        preparation: recorded in the metadata of the set.
        data_dir: as for any tfds builder.
        config: as for any tfds builder.
    """

    def __init__(
        self,
        *,
        conversions: Mapping[str, Conversion],
        preparation: Mapping[str, Any],
        data_dir: str,
        config: str | None = None,
    ) -> None:
        self._conversions = conversions
        self._preparation = dict(preparation)
        super().__init__(data_dir=data_dir, config=config, file_format="array_record")
        self._serializer = tfds.core.ExampleSerializer(self._features.get_serialized_info())

    @abc.abstractmethod
    def example(self, name: str, image: FittedImage, label: int | None) -> dict[str, Any]:
        """The stored features of an image."""

    def convert(self) -> dict[str, list[Shard]]:
        """Converts the images of all splits that are not converted yet.

        Raises:
            DatasetError: if more images than allowed cannot be used.
        """
        return {split: self._convert(conversion) for split, conversion in self._conversions.items()}

    def _convert(self, conversion: Conversion) -> list[Shard]:
        def encode(name: str, image: FittedImage) -> bytes:
            example = self.example(name, image, conversion.contents.labels.get(name))
            record = self._serializer.get_tf_example(self._features.encode_example(example))
            # The order of the features would change from process to process otherwise.
            return record.SerializeToString(deterministic=True)

        return conversion.run(encode)

    @property
    def _features(self) -> Any:
        return self.info.features

    def _download_and_prepare(self, dl_manager: Any, download_config: Any = None) -> None:
        del dl_manager, download_config  # Nothing is downloaded.
        splits, content = [], {}
        for split, shards in self.convert().items():
            template = tfds.core.ShardedFileTemplate(
                data_dir=self.data_path, dataset_name=self.name, split=split, filetype_suffix="array_record"
            )
            for number, shard in enumerate(shards):
                # A hard link: no copy, and the work is not lost until all is done.
                os.link(shard.path, template.sharded_filepath(shard_index=number, num_shards=len(shards)))
            lengths = [shard.num_images for shard in shards]
            num_bytes = sum(shard.num_bytes for shard in shards)
            splits.append(
                tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template)
            )
            content[split] = {"images": sum(lengths), "digest": shards[-1].digest if shards else ""}
        self.info.set_splits(tfds.core.SplitDict(splits))
        metadata: Any = self.info.metadata
        metadata["preparation"] = {**self._preparation, "content": content}


class ImageArchive(RecordBuilder, skip_registration=True):
    """Features: `image`, `id` (name of the file) and, where there are labels, `label`; one split, `train`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        conversion = self._conversions["train"]
        settings = conversion.settings
        assert isinstance(settings, FitSettings), "every image gets one size"
        # tfds has no name for WebP; readers detect the format from the bytes.
        encoding_format = None if settings.image_format == "webp" else settings.image_format
        features: dict[str, Any] = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(
                shape=(settings.height, settings.width, settings.channels), encoding_format=encoding_format
            ),
        }
        class_names = conversion.contents.class_names
        if class_names:
            features["label"] = tfds.features.ClassLabel(names=list(class_names))
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images prepared by inr_gan_jax.data.prepare.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label") if class_names else None,
            metadata=tfds.core.MetadataDict({"preparation": {}}),
        )

    def example(self, name: str, image: FittedImage, label: int | None) -> dict[str, Any]:
        labels = {} if label is None else {"label": label}
        return {"id": name.encode("utf-8", "replace"), "image": image.data, **labels}
