"""Images of a folder, a zip or another set, all of one size, as a tfds data set."""

from typing import Any

import tensorflow_datasets as tfds

from inr_gan_jax.data.builders.record_builder import RecordBuilder
from inr_gan_jax.data.prepare.fit_image import FitSettings, FittedImage


class ImageArchive(RecordBuilder, skip_registration=True):
    """Features: `image`, `id` (name of the file) and, where there are labels, `label`; one split, `train`."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        conversion = self._conversions["train"]
        settings = conversion.settings
        assert isinstance(settings, FitSettings), "every image gets one size"
        # tfds knows no name for WebP; whoever reads looks at the bytes anyway.
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
