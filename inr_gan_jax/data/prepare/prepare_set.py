"""From any source to a prepared set: what it is, and what becomes of it."""

import re
from pathlib import Path

from inr_gan_jax.data.builders.lsun import VERSION, find_lsun
from inr_gan_jax.data.builders.tfds_own import prepare_own
from inr_gan_jax.data.prepare.records import list_prepared
from inr_gan_jax.data.prepare.set_writer import Options, Prepared, SetWriter, count_by_kind
from inr_gan_jax.data.prepare.sources import Contents, is_lmdb, list_folder, list_lmdb, list_zip
from inr_gan_jax.errors import DatasetError

_TFDS_NAME = re.compile(r"[a-z][a-z0-9_]*(/[\w.+-]+)?")


def prepare_set(options: Options) -> Prepared:
    """Prepares a set, or finishes what was begun.

    Raises:
        DatasetError: for whatever is wrong with the source, the options or too many of the images.
    """
    if "://" in options.source:
        raise DatasetError(f"--source={options.source} is not on a disk; copy it to one first, images are read there")
    if options.label_level is not None and options.labels != "folders":
        raise DatasetError(
            f"--label_level={options.label_level} needs --labels=folders, but --labels is {options.labels}"
        )
    path = Path(options.source).expanduser()
    if not path.exists() and _TFDS_NAME.fullmatch(options.source):
        return _prepare_of_tfds(options)
    if not path.exists():
        raise DatasetError(
            f"source {options.source} does not exist, expected a folder, a zip, an LSUN folder or a name of tfds"
        )
    found = find_lsun(path.absolute()) if path.is_dir() else None
    if found and options.settings is None:
        category, folders = found
        contents = {split: list_lmdb(folder) for split, folder in folders.items()}
        output = options.output or options.root / "lsun" / category
        return SetWriter(options, output, contents, VERSION, category).run()
    return _prepare_images(options, _list(path, options))


def _list(path: Path, options: Options) -> Contents:
    if path.is_dir():
        return list_lmdb(path) if is_lmdb(path) else list_folder(path, options.labels, options.label_level)
    return list_zip(path, options.labels, options.label_level)


def _prepare_of_tfds(options: Options) -> Prepared:
    if options.source.split("/")[0] == "lsun":
        raise DatasetError(
            f"{options.source} is not downloaded by itself: get its folder with the script of "
            "https://github.com/fyu/lsun and give that, such as --source=church_outdoor_train_lmdb"
        )
    if options.settings is None and options.output is not None:
        raise DatasetError(f"--output={options.output} needs --resolution; without it {options.source} keeps its place")
    builder = prepare_own(options.source, options.root)
    if options.settings is None:
        splits = ", ".join(f"{split} {info.num_examples:,}" for split, info in builder.info.splits.items())
        return Prepared(Path(builder.data_dir), (f"{builder.data_dir}: {splits} images, as tfds has them",))
    return _prepare_images(options, list_prepared(Path(builder.data_dir), "train"))


def _prepare_images(options: Options, contents: Contents) -> Prepared:
    if options.settings is None:
        raise DatasetError("the size is missing, expected --resolution=256, or --height and --width")
    if options.output is None:
        raise DatasetError(f"--output is missing, expected a folder for the set, such as {options.root / 'photos'}")
    if not contents.names:
        others = count_by_kind(contents.ignored)
        raise DatasetError(
            f"{options.source} holds no images ({others or 'it is empty'}), expected PNG, JPEG, WebP ..."
        )
    if options.labels == "folders" and not contents.class_names:
        depth = f", {options.label_level} deep," if (options.label_level or 1) > 1 else ""
        raise DatasetError(
            f"{options.source} has no sub-folders{depth} with images, expected one for each class with --labels=folders"
        )
    return SetWriter(options, options.output, {"train": contents}, "1.0.0", None).run()
