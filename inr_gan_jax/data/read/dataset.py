"""Opens a prepared data set for random access, without TensorFlow."""

import contextlib
import dataclasses
import io
import os
from collections.abc import Sequence
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from inr_gan_jax.config.parse import nearest
from inr_gan_jax.config.schema import DataConfig
from inr_gan_jax.data.builders import lsun
from inr_gan_jax.data.builders.digits import Digits
from inr_gan_jax.data.prepare.preparation import (
    INFO_FILE,
    PREPARATION_FORMAT,
    UNFINISHED,
    SetIdentity,
    preparation,
    set_identity,
    version_directory,
)
from inr_gan_jax.data.prepare.records import Element, records_of
from inr_gan_jax.errors import DatasetError
from inr_gan_jax.remote_paths import check_reachable, is_address

# Sets that are part of an installed package and are prepared on first use.
_EMBEDDED = {"digits": Digits}
# Sets of tfds that are known to work by name.
_OF_TFDS = ("celeb_a", "celeb_a_hq/256", "cifar10", "tf_flowers")
# The sizes that configs/folder.py has networks for.
_SIDES_OF_FOLDER = {2**power for power in range(4, 13)}
_ROOT_VARIABLE = "TFDS_DATA_DIR"
_PREPARE = "python -m inr_gan_jax.data.prepare"


class NotPreparedError(DatasetError):
    """A data set that is not prepared."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared split.

    Attributes:
        name: as in the configuration.
        source: random access; each element holds `image`, uint8 [height, width, channels], and maybe `label`.
        num_classes: of the labels, 0 without any.
        directory: of the prepared version, for `preparation` and `dataset_fingerprint`; None for a set in memory.
        identity: of the images; None for sets that never change.
    """

    name: str
    source: Sequence[Element]
    num_classes: int
    directory: epath.Path | None = None
    identity: SetIdentity | None = None

    def __len__(self) -> int:
        return len(self.source)


def data_root(data_dir: str) -> epath.Path:
    """The folder of prepared sets, also in a bucket: the argument, else $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return epath.Path(data_dir or os.environ.get(_ROOT_VARIABLE, "~/tensorflow_datasets")).expanduser()


def is_embedded(config: DataConfig) -> bool:
    """Whether the set is part of an installed package, so that every machine with the package has it."""
    return config.name in _EMBEDDED


def data_location(name: str, data_dir: str) -> epath.Path:
    """The folder where a set is expected, whether it exists or not."""
    return data_root(data_dir) / epath.Path(name).expanduser()


def check_available(config: DataConfig) -> SetIdentity | None:
    """Checks, without reading an image or writing a file, that the set is prepared and matches the configuration.

    Returns:
        The identity of the set; None for an embedded set, which never changes.

    Raises:
        DatasetError: one sentence that says what is wrong and what to do.
    """
    _check_place(config.name, config.data_dir)
    if is_embedded(config):
        return None
    builder = _builder_on_disk(config)
    _check_builder(builder, config)
    return set_identity(builder.data_dir, builder.info.splits[config.split].num_examples)


def open_dataset(config: DataConfig) -> Dataset:
    """Opens a split, preparing embedded sets on first use.

    Args:
        config: section `data`.

    Returns:
        The split.

    Raises:
        DatasetError: if the set, the split or the labels are missing, or the images have another size.
    """
    _check_place(config.name, config.data_dir)
    builder = _embedded_builder(config.name, config.data_dir) if config.name in _EMBEDDED else _builder_on_disk(config)
    num_classes = _check_builder(builder, config)
    source = records_of(builder, config.split)
    try:
        source[0]
    except Exception as error:  # array_record and the decoders raise many kinds
        raise DatasetError(f"data set {config.name} cannot be read ({error}), prepare it again") from error
    # The images of an embedded set never change, but its files may with the version of tfds that writes them.
    identity = None if config.name in _EMBEDDED else set_identity(builder.data_dir, len(source))
    return Dataset(config.name, source, num_classes, epath.Path(builder.data_dir), identity)


def prepared_directory(name: str, data_dir: str) -> epath.Path:
    """The newest version of a set by the name that `config.data.name` takes; embedded sets are prepared on first use.

    Args:
        name: below the folder of prepared sets, or a path.
        data_dir: as for `data_root`.

    Raises:
        DatasetError: if the set is not prepared.
    """
    _check_place(name, data_dir)
    if name in _EMBEDDED:
        return epath.Path(_embedded_builder(name, data_dir).data_dir)
    return _prepared_directory(name, data_dir)


def _check_place(name: str, data_dir: str) -> None:
    """Checks that the bucket of a set, if it is in one, is reachable."""
    if is_address(name):
        check_reachable(name, "config.data.name")
    elif data_dir:
        check_reachable(data_dir, "config.data.data_dir")
    else:
        check_reachable(os.environ.get(_ROOT_VARIABLE, ""), f"${_ROOT_VARIABLE}")


def _embedded_builder(name: str, data_dir: str) -> tfds.core.DatasetBuilder:
    root = data_root(data_dir)
    tfds.disable_progress_bar()
    try:
        builder = _EMBEDDED[name](data_dir=str(root), file_format="array_record")
        # tfds would print that it downloads something of unknown size.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    except OSError as error:
        raise DatasetError(
            f"data set {name} cannot be prepared in {root} ({error.strerror or error}); choose another folder "
            "with config.data.data_dir"
        ) from error
    except Exception as error:  # tfds raises many kinds for a damaged folder
        raise DatasetError(f"data set {name} cannot be prepared in {root} ({error}), delete it there") from error
    return builder


def _builder_on_disk(config: DataConfig) -> tfds.core.DatasetBuilder:
    directory = _prepared_directory(config.name, config.data_dir)
    made = preparation(directory)
    if made and made.get("format") != PREPARATION_FORMAT:
        raise DatasetError(
            f"{directory} was prepared in format {made.get('format')}, by an older or newer version than this one "
            f"(format {PREPARATION_FORMAT}); delete it and run {_PREPARE} again"
        )
    try:
        return tfds.builder_from_directory(str(directory))
    except Exception as error:  # tfds raises many kinds for a damaged folder; all mean the same to the user
        raise DatasetError(f"{directory} cannot be read as a tfds data set ({error}), prepare it again") from error


def _prepared_directory(name: str, data_dir: str) -> epath.Path:
    """The newest prepared version of a set."""
    root, directory = data_root(data_dir), data_location(name, data_dir)
    with contextlib.suppress(DatasetError):
        return version_directory(directory)
    if (directory / UNFINISHED).is_dir():
        raise NotPreparedError(
            f"data set {name!r} is incomplete, because its preparation in {directory} was interrupted; run "
            f"the same {_PREPARE} command again, it resumes where it stopped"
        )
    if any(directory.glob("*incomplete*")):
        raise NotPreparedError(
            f"data set {name!r} is incomplete, because tfds was interrupted in {directory}; delete that folder "
            "and prepare the set again"
        )
    raise NotPreparedError(_missing(name, root, directory))


def _missing(name: str, root: epath.Path, directory: epath.Path) -> str:
    """What to do about a missing set, in one sentence."""
    category = name.removeprefix("lsun/")
    if category != name and category in lsun.SCENES + lsun.OBJECTS:
        folder = f"{category}_train_lmdb" if category in lsun.SCENES else category
        return (
            f"data set {name!r} is not prepared: expected {directory / lsun.VERSION}; get the folder {folder} with the "
            f"script of https://github.com/fyu/lsun, put it anywhere and run {_PREPARE} --source=<there>/{folder} "
            f"--data_dir={root}"
        )
    levels = (f"{stars}/{INFO_FILE}" for stars in ("*/*", "*/*/*"))
    prepared = {str(path.parent.parent.relative_to(root)) for level in levels for path in root.glob(level)}
    source = name if name in _OF_TFDS else "<folder, zip or tfds name>"
    return (
        f"data set {name!r} is not prepared: expected {directory}/<version>/{INFO_FILE} and array_record files next to "
        f"it; {nearest(name, prepared | {*_EMBEDDED, *_OF_TFDS})}; to prepare it, run {_PREPARE} --source={source} "
        f"--resolution=<pixels> --output={directory}"
    )


def _check_builder(builder: tfds.core.DatasetBuilder, config: DataConfig) -> int:
    """Compares a set with the configuration; returns the number of its classes."""
    name, splits = config.name, builder.info.splits
    if config.split not in splits:
        raise DatasetError(f"config.data.split is {config.split!r}, but {name} has {', '.join(splits) or 'no split'}")
    if builder.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        raise DatasetError(
            f"data set {name} is not stored as array_record; delete {builder.data_dir} and run {_PREPARE} "
            f"--source={name}"
        )
    if not splits[config.split].num_examples:
        raise DatasetError(f"split {config.split!r} of {name} is empty, expected at least one image")
    for file in splits[config.split].filepaths:
        if not file.exists() or not file.stat().length:
            raise DatasetError(f"data set {name} is incomplete, {file} is missing; delete the set and prepare it again")
    features: Any = builder.info.features
    if features is None or "image" not in features:
        raise DatasetError(f"data set {name} has no feature named 'image', expected one of type Image")
    _check_size(features["image"].shape[:2], config, epath.Path(builder.data_dir))
    return _check_labels(features, config)


def _check_size(size: tuple[int | None, int | None], config: DataConfig, directory: epath.Path) -> None:
    """Refuses to enlarge images, and to resize with another filter than the set was prepared with."""
    wanted = (config.height, config.width)
    is_resized = bool(preparation(directory).get("filter"))
    is_smaller = any(side is not None and side < goal for side, goal in zip(size, wanted, strict=True))
    if size != wanted and (is_resized or is_smaller):
        is_of_folder = size[0] == size[1] and size[0] in _SIDES_OF_FOLDER
        fitting = f"--config=configs/folder.py:{size[0]} fits; otherwise " if is_of_folder else ""
        raise DatasetError(
            f"images of {config.name} are {size[0]}x{size[1]}, but config.data asks for {wanted[0]}x{wanted[1]}; "
            f"{fitting}prepare the set at that size, or set config.data.height={size[0]} and "
            f"config.data.width={size[1]} with networks for that size"
        )


def _check_labels(features: Any, config: DataConfig) -> int:
    """The number of classes, 0 without labels."""
    label: Any = dict(features.items()).get("label")
    num_classes: int = label.num_classes or 0 if isinstance(label, tfds.features.ClassLabel) else 0
    if config.num_classes and not num_classes:
        raise DatasetError(
            f"config.data.num_classes is {config.num_classes}, but {config.name} has no labels; set it to 0, or "
            "prepare the set with a dataset.json of labels or with --labels=folders"
        )
    if config.num_classes and config.num_classes != num_classes:
        raise DatasetError(f"config.data.num_classes is {config.num_classes}, but {config.name} has {num_classes}")
    return num_classes
