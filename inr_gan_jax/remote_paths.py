"""Paths in buckets (`gs://bucket/folder`): checks that a program can use and reach them."""

from collections.abc import Iterable, Mapping

from etils import epath

from inr_gan_jax.errors import UserError

# Packages that etils opens each scheme with.
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}
# Flags with the name or the folder of a prepared set; `data.read.dataset` checks them.
_OF_DATA = {"--data_dir", "--data_name", "--dense_data_name", "--name"}


class UnreachableError(UserError):
    """A path cannot be read from this machine, so nothing is known about it."""


def is_address(path: str) -> bool:
    """Whether a path, as it was typed, is an address with a scheme."""
    return "://" in path


def check_reachable(path: str, option: str) -> None:
    """Checks that an address is in a bucket and that the bucket answers; paths on a disk pass.

    Args:
        path: as it was typed.
        option: its flag or key.

    Raises:
        UserError: for an unsupported scheme.
        UnreachableError: if the package for it is missing, or it does not answer.
    """
    if not is_address(path):
        return
    scheme = path.split("://", maxsplit=1)[0]
    if scheme not in _PACKAGES:
        kinds = " or ".join(f"{known}://bucket/folder" for known in _PACKAGES)
        raise UserError(f"{option}={path} starts with {scheme}://, expected a path on a disk or {kinds}")
    try:
        epath.Path(path).exists()
    except ImportError as error:
        package = _PACKAGES[scheme]
        raise UnreachableError(
            f"{option}={path} needs the package {package}, which is missing: pip install {package}"
        ) from error
    except Exception as error:  # the libraries of buckets, networks and credentials raise many kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnreachableError(
            f"{option}={path} cannot be reached ({lines[0][:200]}); check its name, the network and your credentials"
        ) from error


def check_local(values: Mapping[str, object], may_be_remote: Iterable[str] = ()) -> None:
    """Refuses addresses in flags of a program that works on a disk only.

    Args:
        values: of the flags by name; lists are checked item by item.
        may_be_remote: names of the flags that may be in a bucket.

    Raises:
        UserError: for the first such value.
    """
    for name, value in values.items():
        if name in _OF_DATA or name in set(may_be_remote):
            continue
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and is_address(item):
                shown = f"{name}={item}" if name.startswith("-") else item
                raise UserError(
                    f"{shown} is not on a disk, where this program reads and writes; copy it to a disk first, or "
                    "write to a disk and copy it later"
                )
