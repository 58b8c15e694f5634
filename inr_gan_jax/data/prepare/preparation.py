"""Metadata of a prepared set: how it was made, and a fingerprint of its content. Reads small files only."""

import dataclasses
import hashlib
import json
from typing import Any

from etils import epath

from inr_gan_jax.errors import DatasetError

# Of the sets that `inr_gan_jax.data.prepare` writes; increased when older sets must be prepared again.
PREPARATION_FORMAT = 1

INFO_FILE = "dataset_info.json"
# The file that tfds keeps `DatasetInfo.metadata` in.
METADATA_FILE = "metadata.json"
_RESTORE_SET = "restore the previous images and prepare them again to resume, or choose another --workdir for a new run"
# The folder of unfinished work, next to the versions of a set.
UNFINISHED = ".unfinished"
_ENDS_BYTES = 2**16
# Shards whose ends are read where the answer must be fast, also from a bucket.
_FEW_SHARDS = 8


@dataclasses.dataclass(frozen=True)
class SetIdentity:
    """Tells whether a set still holds the same images.

    Attributes:
        num_images: in the split.
        fingerprint: 64 hexadecimal digits; the same for the same files.
    """

    num_images: int
    fingerprint: str

    def check_same(self, now: "SetIdentity", name: str, advice: str) -> None:
        """Compares the set that a run started with against the present one.

        Args:
            now: of the present set.
            name: of the set.
            advice: what to do if the images are in fact the same.

        Raises:
            DatasetError: if they differ.
        """
        if now.num_images != self.num_images:
            raise changed_size(name, self.num_images, now.num_images)
        if now.fingerprint != self.fingerprint:
            raise DatasetError(
                f"data set {name} holds other images than when the run started, {now.num_images:,} as before "
                f"(fingerprint {self.fingerprint[:12]} then, {now.fingerprint[:12]} now); {_RESTORE_SET}; {advice}"
            )


def changed_size(name: str, before: int, now: int) -> DatasetError:
    """The error for a set whose number of images changed since a run started."""
    return DatasetError(
        f"data set {name} has changed since the run started: {before:,} images then, {now:,} now; {_RESTORE_SET}"
    )


def version_directory(directory: epath.PathLike) -> epath.Path:
    """The newest prepared version of a set.

    Args:
        directory: of the set or of one of its versions.

    Raises:
        DatasetError: if there is no prepared version.
    """
    directory = epath.Path(directory)
    if (directory / INFO_FILE).is_file():
        return directory
    versions = [path.parent for path in directory.glob(f"*/{INFO_FILE}")]
    if not versions:
        raise DatasetError(f"{directory} holds no prepared data set, expected {directory}/<version>/{INFO_FILE}")
    return max(versions, key=_version_key)


def preparation(directory: epath.PathLike) -> dict[str, Any]:
    """How `inr_gan_jax.data.prepare` made a set.

    Args:
        directory: of the set or of one of its versions.

    Returns:
        Among others `crop`, `filter`, `image_format`, `height`, `width`; empty for a set of another program.

    Raises:
        DatasetError: if there is no prepared set.
    """
    file = version_directory(directory) / METADATA_FILE
    try:
        metadata = json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read ({error}), prepare the set again") from error
    found = metadata.get("preparation", {}) if isinstance(metadata, dict) else {}
    return found if isinstance(found, dict) else {}


def dataset_fingerprint(directory: epath.PathLike) -> str:
    """64 hexadecimal digits that are the same for the same images and labels in the same order.

    For sets of `inr_gan_jax.data.prepare` it covers every encoded image and label, for others the names, sizes and both
    ends of their shards. It does not depend on the location.

    Args:
        directory: of the set or of one of its versions.

    Raises:
        DatasetError: if there is no prepared set.
    """
    made = preparation(directory)
    if "content" in made:
        text = json.dumps(made["content"], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
    return _digest_of_files(directory)


def set_identity(directory: epath.PathLike, num_images: int) -> SetIdentity:
    """The identity of a set, with few reads: suits large sets, and sets in buckets.

    For sets of `inr_gan_jax.data.prepare` the fingerprint is that of `dataset_fingerprint`; for others it covers
    the names and sizes of all shards and both ends of a few.

    Args:
        directory: of the set or of one of its versions.
        num_images: in the split.

    Raises:
        DatasetError: if there is no prepared set.
    """
    has_content = "content" in preparation(directory)
    return SetIdentity(
        num_images, dataset_fingerprint(directory) if has_content else _digest_of_files(directory, _FEW_SHARDS)
    )


def _digest_of_files(directory: epath.PathLike, num_read: int | None = None) -> str:
    """A digest of names, sizes and ends of shards.

    Args:
        directory: of the set or of one of its versions.
        num_read: shards whose ends are read, spread evenly; None for all.
    """
    paths = sorted(version_directory(directory).glob("*.array_record*"))
    count = len(paths) if num_read is None else min(num_read, len(paths))
    read = {place * len(paths) // count for place in range(count)}
    digest = hashlib.sha256()
    for number, path in enumerate(paths):
        size = path.stat().length
        digest.update(f"{path.name} {size} ".encode())
        if number in read:
            with path.open("rb") as file:
                start = file.read(_ENDS_BYTES)
                file.seek(max(0, size - _ENDS_BYTES))
                digest.update(start + file.read())
    return digest.hexdigest()


def _version_key(directory: epath.Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in directory.name.split("."))
