"""Loads batch t: selects images, decodes, fits, mirrors and stacks them.

A batch depends only on its number, the seed and the set.
"""

import grain
import numpy as np
from PIL import Image

from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.data.prepare.fit_image import crop_and_resize, to_mode
from inr_gan_jax.data.prepare.records import RecordSource
from inr_gan_jax.data.read.dataset import Dataset
from inr_gan_jax.data.read.decode import decode_image

Batch = dict[str, np.ndarray]

# Images are decoded in groups of this size, so that they are still in the processor's cache when they are copied.
_GROUP_BYTES = 2**18
# Separate random streams of the order and of mirroring.
_ORDER_STREAM, _FLIP_STREAM = 0, 1


class FitImage:
    """Centre-crops to the target aspect ratio, resizes (Lanczos), and converts to the number of channels.

    Args:
        height, width: pixels of the result.
        channels: 1 or 3.
    """

    def __init__(self, height: int, width: int, channels: int) -> None:
        self._size = (height, width)
        self._shape = (height, width, channels)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Maps [any, any, any], uint8, to [height, width, channels], uint8; an image that fits is returned itself."""
        if image.shape == self._shape:
            return image
        channels = self._shape[2]
        if image.shape == (*self._size, 1):
            return image.repeat(channels, axis=2)
        picture = to_mode(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), channels)
        return np.asarray(crop_and_resize(picture, self._size, "center", "lanczos")).reshape(self._shape)


class EpochOrder:
    """The endless sequence of indices into a set; each epoch is a permutation.

    Args:
        count: images in the set.
        seed: of the shuffles.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self.seed = count, seed
        self._shuffles: dict[int, np.ndarray] = {}

    def __call__(self, first: int, last: int) -> np.ndarray:
        """The indices at places first to last - 1 of the sequence: int64 [last - first]."""
        starts = range(first // self._count * self._count, last, self._count)
        parts = [self._shuffle(start // self._count)[max(0, first - start) : last - start] for start in starts]
        return np.concatenate(parts)

    def _shuffle(self, epoch: int) -> np.ndarray:
        shuffle = self._shuffles.get(epoch)
        if shuffle is None:
            shuffle = np.argsort(_random_bits((_ORDER_STREAM, self.seed, epoch), self._count), kind="stable")
            # The current and the previous epoch are needed; a new dict, because other threads read the old one.
            kept = {number: order for number, order in self._shuffles.items() if number == epoch - 1}
            self._shuffles = {**kept, epoch: shuffle}
        return shuffle


def _random_bits(key: tuple[int, ...], count: int) -> np.ndarray:
    """uint64 [count]. NumPy guarantees raw bits to be the same in every version, but not its distributions."""
    return np.random.PCG64(np.random.SeedSequence(key)).random_raw(count)


class FittedImages:
    """Random access to fitted images.

    Args:
        dataset: opened split.
        config: section `data`.
    """

    def __init__(self, dataset: Dataset, config: DataConfig) -> None:
        self._source = dataset.source
        self._fit = FitImage(config.height, config.width, config.channels)

    def __call__(self, indices: list[int], out: np.ndarray) -> list[int]:
        """Fills `out`, uint8 [len(indices), height, width, channels]; returns the labels, 0 without labels."""
        # One kind of work after the other: decoders are faster while their code is in the processor's cache.
        if isinstance(self._source, RecordSource):
            encoded = [self._source.encoded(index) for index in indices]
            images = [decode_image(data, row) for (data, _), row in zip(encoded, out, strict=True)]
            labels = [label or 0 for _, label in encoded]
        else:
            elements = [self._source[index] for index in indices]
            images = [element["image"] for element in elements]
            labels = [int(element.get("label", 0)) for element in elements]
        for row, image in zip(out, images, strict=True):
            if image is not row:
                np.copyto(row, self._fit(image))
        return labels


class CachedImages:
    """Fitted images, each decoded once and kept in memory.

    Args:
        fitted: decodes what is not cached yet.
        count: images in the set.
        image_shape: of a fitted image.
    """

    def __init__(self, fitted: FittedImages, count: int, image_shape: tuple[int, int, int]) -> None:
        self._fitted = fitted
        self._images = np.empty((count, *image_shape), np.uint8)
        self._labels = np.zeros(count, np.int32)
        self._is_kept = np.zeros(count, bool)

    def __call__(self, indices: list[int], out: np.ndarray) -> list[int]:
        """As `FittedImages`; several threads may decode the same image."""
        absent = [index for index in indices if not self._is_kept[index]]
        if absent:
            fitted = np.empty((len(absent), *out.shape[1:]), np.uint8)
            self._labels[absent] = self._fitted(absent, fitted)
            self._images[absent] = fitted
            # Last: a thread that sees the mark may read the image.
            self._is_kept[absent] = True
        np.take(self._images, indices, axis=0, out=out)
        return self._labels[indices].tolist()


class LoadBatch(grain.transforms.Map):
    """Maps the number of a batch to the rows of it that one process loads.

    Args:
        images: random access to fitted images.
        order: the endless sequence of indices.
        config: section `data`.
        batch_size: images per batch, over all processes.
        rows: [rows], int, of the batch that this process loads.
    """

    def __init__(
        self,
        images: FittedImages | CachedImages,
        order: EpochOrder,
        config: DataConfig,
        batch_size: int,
        rows: np.ndarray,
    ) -> None:
        self._images, self._order = images, order
        self._image_shape = (config.height, config.width, config.channels)
        self._batch_size, self._rows = batch_size, rows
        self._x_flip = config.x_flip

    def map(self, element: int) -> Batch:
        """Maps a number, from 0, to {"image": uint8 [rows, height, width, channels], "label": int32 [rows]}."""
        number = int(element)
        start = number * self._batch_size
        # Both for the whole batch, so that the result does not depend on which process loads which rows.
        indices = self._order(start, start + self._batch_size)[self._rows].tolist()
        mirrored = (mirroring(self._order.seed, number, self._batch_size)[self._rows] & self._x_flip).tolist()
        batch = np.empty((len(indices), *self._image_shape), np.uint8)
        labels: list[int] = []
        group = max(1, _GROUP_BYTES // batch[0].nbytes)
        for first in range(0, len(indices), group):
            part = slice(first, first + group)
            labels += self._images(indices[part], batch[part])
            for image, is_mirrored in zip(batch[part], mirrored[part], strict=True):
                if is_mirrored:
                    mirror(image)
        return {"image": batch, "label": np.array(labels, np.int32)}


def mirroring(seed: int, number: int, batch_size: int) -> np.ndarray:
    """Which images of a batch are mirrored: bool [batch_size], each with probability 1/2."""
    return _random_bits((_FLIP_STREAM, seed, number), batch_size) >= np.uint64(2**63)


def mirror(image: np.ndarray) -> None:
    """Mirrors an image [height, width, channels] left to right, in place."""
    # One channel at a time: NumPy copies long runs of single bytes several times faster than many runs of three.
    for channel in range(image.shape[-1]):
        image[..., channel] = image[:, ::-1, channel].copy()
