"""tfds' own builders, run to array_record without TensorFlow."""

import contextlib
import functools
import glob
import io
import os
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core import shuffle
from tensorflow_datasets.core.download import downloader, extractor

from inr_gan_jax.errors import DatasetError


def prepare_own(name: str, root: Path) -> tfds.core.DatasetBuilder:
    """Downloads and prepares a set of tfds, if it is not there yet.

    Args:
        name: of tfds, such as `cifar10` or `celeb_a_hq/256`.
        root: folder of prepared sets.

    Returns:
        The prepared builder.

    Raises:
        DatasetError: if tfds has no such set, or cannot download or write it.
    """
    try:
        builder = tfds.builder(name, data_dir=str(root), file_format="array_record")
    except tfds.core.DatasetNotFoundError as error:
        raise DatasetError(
            f"{name!r} is neither a folder or a zip nor a data set of tfds; see https://www.tensorflow.org/datasets"
        ) from error
    except Exception as error:  # tfds raises many kinds for wrong configurations
        raise DatasetError(f"tfds cannot make {name!r} ({_first_line(error)})") from error
    _encode_arrays(builder)
    try:
        with _without_tensorflow(builder):
            builder.download_and_prepare()
    except Exception as error:  # downloads and readers raise many kinds
        raise DatasetError(
            f"tfds cannot prepare {name!r} in {root} ({_first_line(error)}); if you have its files, prepare them as a "
            "folder or a zip"
        ) from error
    return builder


def _encode_arrays(builder: Any) -> None:
    """Makes a builder yield PNG where it yields arrays, which tfds would need TensorFlow to encode."""
    if not hasattr(builder, "_generate_examples"):
        return
    generate = builder._generate_examples

    def encoded(*arguments: Any, **keywords: Any) -> Iterator[tuple[Any, Any]]:
        for key, example in generate(*arguments, **keywords):
            image = example.get("image")
            yield key, {**example, "image": _png(image)} if isinstance(image, np.ndarray) else example

    builder._generate_examples = encoded


def _png(image: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(encoded, format="PNG")
    return encoded.getvalue()


class _LastingFile(io.BufferedReader):
    """A file that `with` does not close: the builder of `celeb_a` reads its archive after tfds has left the block."""

    def __exit__(self, *error: object) -> None:
        pass

    def __del__(self) -> None:
        self.close()


def _open_file(name: str, mode: str = "r") -> Any:
    return _LastingFile(io.FileIO(name)) if mode == "rb" else open(name, mode)


class _NeverRaisedError(Exception):
    """Stand-in for exceptions of TensorFlow."""


# The part of TensorFlow that tfds and its builders use during preparation: file operations only.
_LENT = types.SimpleNamespace(
    io=types.SimpleNamespace(
        gfile=types.SimpleNamespace(
            GFile=_open_file, exists=os.path.exists, isdir=os.path.isdir, listdir=os.listdir, remove=os.remove,
            copy=shutil.copyfile, glob=glob.glob, makedirs=functools.partial(os.makedirs, exist_ok=True),
        )
    ),
    compat=types.SimpleNamespace(as_text=os.fsdecode),
    errors=types.SimpleNamespace(
        ResourceExhaustedError=_NeverRaisedError, UnimplementedError=_NeverRaisedError, NotFoundError=FileNotFoundError
    ),
)  # fmt: skip


@contextlib.contextmanager
def _without_tensorflow(builder: Any) -> Iterator[None]:
    """Replaces TensorFlow in the modules at work by the few file operations that they use."""
    modules: list[Any] = [downloader, extractor, shuffle, sys.modules[type(builder).__module__]]
    kept = {module: module.tf for module in modules if hasattr(module, "tf")}
    try:
        for module in kept:
            module.tf = _LENT
        yield
    finally:
        for module, tensorflow in kept.items():
            module.tf = tensorflow


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
