"""What a prepared set tells of itself: how it was made, and a fingerprint of what is in it. Reads small files only."""

import hashlib
import json
from typing import Any

from etils import epath

from inr_gan_jax.data.errors import DatasetError

# Of the sets that `inr_gan_jax.data.prepare` writes; larger when an older one must be made anew.
PREPARATION_FORMAT = 1

INFO_FILE = "dataset_info.json"
# The file that tfds keeps `DatasetInfo.metadata` in.
METADATA_FILE = "metadata.json"
# A folder of work that has not been finished, beside the versions of a set.
UNFINISHED = ".unfinished"
_ENDS_BYTES = 2**16


def version_directory(directory: epath.PathLike) -> epath.Path:
    """The newest prepared version of a set.

    Args:
        directory: of the set or of one of its versions.

    Raises:
        DatasetError: if no prepared version is there.
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
        Among others `crop`, `filter`, `image_format`, `height`, `width`; empty for a set that was made otherwise.

    Raises:
        DatasetError: if no prepared set is there.
    """
    file = version_directory(directory) / METADATA_FILE
    try:
        metadata = json.loads(file.read_text()) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read ({error}), prepare the set anew") from error
    found = metadata.get("preparation", {}) if isinstance(metadata, dict) else {}
    return found if isinstance(found, dict) else {}


def dataset_fingerprint(directory: epath.PathLike) -> str:
    """A number of 64 hexadecimal digits that is the same for the same images and labels in the same order.

    For sets of `inr_gan_jax.data.prepare` it is made of every encoded image and label, for others of the names, sizes
    and both ends of their shards. The place on the disk has no part in it.

    Args:
        directory: of the set or of one of its versions.

    Raises:
        DatasetError: if no prepared set is there.
    """
    made = preparation(directory)
    if "content" in made:
        text = json.dumps(made["content"], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(version_directory(directory).glob("*.array_record*")):
        size = path.stat().length
        with path.open("rb") as file:
            start = file.read(_ENDS_BYTES)
            file.seek(max(0, size - _ENDS_BYTES))
            digest.update(f"{path.name} {size} ".encode() + start + file.read())
    return digest.hexdigest()


def _version_key(directory: epath.Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in directory.name.split("."))
