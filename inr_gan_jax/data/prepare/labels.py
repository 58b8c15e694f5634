"""Class labels of a source: from a `dataset.json` as StyleGAN2-ADA writes it, or from the names of folders."""

import collections
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from inr_gan_jax.errors import DatasetError

LabelRule = Literal["json", "folders", "none"]
LABEL_RULES: tuple[LabelRule, ...] = get_args(LabelRule)

LABEL_FILE = "dataset.json"
# More must be a mistake: one-hot labels of a batch would not fit into memory.
_MAX_CLASSES = 100_000
_ADVICE = 'expected {"labels": [["name.png", 0], ...]} as in StyleGAN2-ADA, or --labels=none'
# Folders of these names are parts of a data set, not classes of images.
_SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_SHOWN = 6


def normal_name(name: str) -> str:
    """The name of a file with single slashes between its parts, for comparison with other names.

    Windows writes backslashes, other tools a leading `./`.
    """
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def labels_of_folders(
    names: Iterable[str], level: int | None, source: Path
) -> tuple[dict[str, int | None], tuple[str, ...]]:
    """The label of each name, from the folder at a level of its path; a file outside any such folder has none.

    Args:
        names: of the images.
        level: 1 for the first folder; None: the first, unless the folders below it look like classes.
        source: for the message.

    Returns:
        Labels by name, and the names of the classes.

    Raises:
        DatasetError: if the classes seem to be one level deeper and `level` is None.
    """
    paths = {name: normal_name(name).split("/")[:-1] for name in names}
    if level is None:
        _check_first_level(paths.values(), source)
    place = (level or 1) - 1
    folders = {name: path[place] if len(path) > place else None for name, path in paths.items()}
    class_names = tuple(sorted({folder for folder in folders.values() if folder is not None}))
    numbers = {folder: number for number, folder in enumerate(class_names)}
    return {name: None if folder is None else numbers[folder] for name, folder in folders.items()}, class_names


def _check_first_level(paths: Iterable[Sequence[str]], source: Path) -> None:
    """Refuses the first level as classes for folders such as train/cat and val/cat, or photos/cat and photos/dog."""
    paths = list(paths)
    first = sorted({path[0] for path in paths if path})
    second = sorted({path[1] for path in paths if len(path) > 1})
    is_split = bool(first) and {name.lower() for name in first} <= _SPLIT_NAMES
    if second and (is_split or len(first) == 1):
        reason = "the only folder" if len(first) == 1 else "the parts of a data set"
        raise DatasetError(
            f"--labels=folders uses the first folders in {source} as classes, but {_listed(first)} looks like {reason}"
            f"; add --label_level=2 to use the folders below ({_listed(second)}), or --label_level=1 to use "
            f"{_listed(first)}"
        )


class _JsonObject(dict[str, Any]):
    """A JSON object that remembers duplicate keys."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def labels_of_json(text: bytes, path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Labels by normal name, and the names of the classes, from StyleGAN2-ADA's dataset.json.

    Raises:
        DatasetError: if it holds anything else, gives one image two labels, or skips a class.
    """
    try:
        values = json.loads(text, object_pairs_hook=_JsonObject)
        entries = values["labels"] if isinstance(values, dict) else None
    except (ValueError, KeyError) as error:
        raise DatasetError(f"{path} is not a list of labels ({type(error).__name__}: {error}); {_ADVICE}") from error
    if entries is None:
        return {}, ()
    labels: dict[str, int] = {}
    for name, label in _pairs_of(entries, path):
        normal = normal_name(name)
        if labels.setdefault(normal, label) != label:
            raise DatasetError(
                f"{path} lists {normal!r} twice, with the labels {labels[normal]} and {label}; an image has one label, "
                "remove the wrong entry"
            )
    names = values.get("classes")
    named = [str(name) for name in names] if isinstance(names, list) else []
    if len(set(named)) == len(named) > max(labels.values(), default=-1):
        return labels, tuple(named)
    return labels, _numbered_classes(labels, path)


def _pairs_of(entries: Any, path: Path) -> list[tuple[str, int]]:
    """The entries of `labels`, each a name and a class number.

    Raises:
        DatasetError: if one is anything else.
    """
    if not isinstance(entries, (list, _JsonObject)):
        raise DatasetError(f"{path} has the labels {str(entries)[:80]}, which are not a list; {_ADVICE}")
    pairs = []
    for pair in entries.pairs if isinstance(entries, _JsonObject) else entries:
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)):
            raise DatasetError(f"{path} has the entry {str(pair)[:80]}, which is not a pair; {_ADVICE}")
        name, label = pair
        if type(label) is not int or not 0 <= label < _MAX_CLASSES:
            raise DatasetError(f"{path} gives {name!r} the label {str(label)[:80]}, expected a class number, 0 or more")
        pairs.append((name, label))
    return pairs


def _numbered_classes(labels: dict[str, int], path: Path) -> tuple[str, ...]:
    """Names of classes that are only numbers.

    Raises:
        DatasetError: if a class below the largest has no image: the numbers may not be class numbers.
    """
    counts = collections.Counter(labels.values())
    num_classes = max(counts, default=-1) + 1
    empty = [number for number in range(num_classes) if not counts[number]]
    if empty:
        classes = f"class {_listed(empty)}" if len(empty) == 1 else f"classes {_listed(empty)}"
        raise DatasetError(
            f"{path} gives no image to {classes}, although its labels go up to {num_classes - 1}; number the "
            f'{len(counts)} classes from 0 to {len(counts) - 1}, or name all {num_classes} in "classes": [...]'
        )
    return tuple(map(str, range(num_classes)))


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join(map(str, values[:_SHOWN]))
    return shown if len(values) <= _SHOWN else f"{shown} ... ({len(values)} in all)"
