"""Opens a prepared data set as a random-access source of images, without TensorFlow."""

import contextlib
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from inr_gan_jax.config import DataConfig, nearest
from inr_gan_jax.data.builders.digits import Digits
from inr_gan_jax.errors import UserError

# Sets that travel inside a package and are prepared on first use.
_EMBEDDED = {"digits": Digits}
_INFO_FILE = "dataset_info.json"
_LSUN_ADVICE = (
    "LSUN is not downloaded by itself: get <category>_train_lmdb with the script of https://github.com/fyu/lsun and "
    "prepare it to array_record as tfds' lsun 3.1.0"
)


class DatasetError(UserError):
    """A data set that is not there, not readable or not what the configuration says."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared split.

    Attributes:
        name: as in the configuration.
        source: random access; each element holds `image`, uint8 [height, width, channels], and maybe `label`.
        num_classes: of the labels, 0 without any.
    """

    name: str
    source: Sequence[dict[str, Any]]
    num_classes: int

    def __len__(self) -> int:
        return len(self.source)


def data_root(data_dir: str) -> Path:
    """Where prepared sets lie: the argument, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def check_available(config: DataConfig) -> None:
    """Checks, without reading an image or writing a file, that the set is prepared or can prepare itself.

    Raises:
        DatasetError: one sentence that says where the set is expected and what to do.
    """
    if config.name not in _EMBEDDED:
        _prepared_directory(config)


def open_dataset(config: DataConfig) -> Dataset:
    """Opens a split, preparing embedded sets on first use.

    Args:
        config: section `data`.

    Returns:
        The split.

    Raises:
        DatasetError: if the set, the split or the labels are not there.
    """
    builder = _embedded_builder(config) if config.name in _EMBEDDED else _builder_on_disk(config)
    if config.split not in builder.info.splits:
        splits = ", ".join(builder.info.splits)
        raise DatasetError(f"config.data.split is {config.split!r}, but {config.name} has {splits or 'no split'}")
    features: Any = builder.info.features
    if features is None or "image" not in features:
        raise DatasetError(f"data set {config.name} has no feature named 'image', expected one of type Image")
    num_classes = features["label"].num_classes if "label" in features else 0
    if config.num_classes and config.num_classes != num_classes:
        raise DatasetError(f"config.data.num_classes is {config.num_classes}, but {config.name} has {num_classes}")
    try:
        source: Any = builder.as_data_source(split=config.split)  # pyright: ignore[reportCallIssue] - a wrapped method
    except NotImplementedError as error:
        raise DatasetError(
            f"data set {config.name} is not stored as array_record, expected download_and_prepare(file_format="
            "'array_record')"
        ) from error
    if not len(source):
        raise DatasetError(f"split {config.split!r} of {config.name} is empty, expected at least one image")
    try:
        source[0]
    except Exception as error:  # array_record and the decoders raise many kinds
        raise DatasetError(f"data set {config.name} cannot be read ({error}), prepare it anew") from error
    return Dataset(config.name, source, num_classes)


def _embedded_builder(config: DataConfig) -> tfds.core.DatasetBuilder:
    root = data_root(config.data_dir)
    tfds.disable_progress_bar()
    try:
        builder = _EMBEDDED[config.name](data_dir=str(root), file_format="array_record")
        # tfds would print that it downloads something of unknown size.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except Exception as error:  # tfds raises many kinds for a damaged or unwritable folder
        raise DatasetError(f"data set {config.name} cannot be prepared in {root} ({error}), delete it there") from error
    return builder


def _builder_on_disk(config: DataConfig) -> tfds.core.DatasetBuilder:
    directory = _prepared_directory(config)
    try:
        return tfds.builder_from_directory(str(directory))
    except Exception as error:  # tfds raises many kinds for a damaged folder; all mean the same to the user.
        raise DatasetError(f"{directory} cannot be read as a tfds data set ({error}), prepare it anew") from error


def _prepared_directory(config: DataConfig) -> Path:
    """The newest prepared version of a set."""
    root = data_root(config.data_dir)
    versions = [path.parent for path in (root / config.name).glob(f"*/{_INFO_FILE}")]
    if versions:
        return max(versions, key=_version_key)
    expected = f"expected {root / config.name}/<version>/{_INFO_FILE} and array_record files beside it"
    prepared = {str(path.parent.parent.relative_to(root)) for path in root.glob(f"**/{_INFO_FILE}")} | {*_EMBEDDED}
    advice = _LSUN_ADVICE if config.name.split("/")[0] == "lsun" else nearest(config.name, prepared)
    raise DatasetError(f"data set {config.name!r} is not prepared: {expected}; {advice}")


def _version_key(directory: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in directory.name.split("."))
