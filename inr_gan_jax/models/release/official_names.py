"""Names and memory layouts of the official networks' arrays, one to one with our variables."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np

ArrayLayout = Literal["same", "dense", "pointwise", "convolution", "table", "const", "flattened"]

# Our names on the left; names of several digits carry their number over.
_GENERATOR_NAMES = (
    (r"mapping_network", r"mapping"),
    (r"fc_(\d+)", r"fc\1"),
    (r"blocks_(\d+)", r"synthesis.b\1"),
    (r"extra_convs_(\d+)", r"extra_convs.\1"),
    (r"to_rgb", r"torgb"),
    (r"const", r"input.input"),
    (r"table", r"const_embs"),
    (r"kernel", r"weight"),
)
_DISCRIMINATOR_NAMES = (
    (r"fc_(\d+)", r"fc\1"),
    (r"block_(\d+)", r"b\1"),
    (r"from_rgb_(\d+)", r"b\1.fromrgb"),
    (r"final_conv", r"b4.conv"),
    (r"final_dense", r"b4.fc"),
    (r"output", r"b4.out"),
    (r"kernel", r"weight"),
)
_DENSE_PARENTS = re.compile(r"affine|embed|fc_\d+|output")


@dataclasses.dataclass(frozen=True)
class ArraySlot:
    """One of our variables and the official array that fills it.

    Attributes:
        path: of the variable, from its collection on.
        official_name: of the array.
        shape: of the variable.
        layout: how the official array is laid out in memory.
    """

    path: tuple[str, ...]
    official_name: str
    shape: tuple[int, ...]
    layout: ArrayLayout

    @property
    def official_shape(self) -> tuple[int, ...]:
        """Shape of the array in an official checkpoint."""
        if self.layout == "same":
            return self.shape
        if self.layout == "flattened":
            return self.shape[1], self.shape[0]
        if self.layout == "dense":
            return self.shape[::-1]
        if self.layout == "pointwise":
            return self.shape[1], self.shape[0], 1, 1
        if self.layout == "convolution":
            return self.shape[3], self.shape[2], self.shape[0], self.shape[1]
        moved = (self.shape[2], self.shape[0], self.shape[1])
        return moved if self.layout == "const" else (1, *moved)

    def from_official(self, array: np.ndarray) -> np.ndarray:
        """Converts an official array of `official_shape` to our variable of `shape`."""
        if self.layout == "dense":
            array = array.T
        elif self.layout == "pointwise":
            array = array[:, :, 0, 0].T
        elif self.layout == "convolution":
            array = array.transpose(2, 3, 1, 0)
        elif self.layout == "const":
            array = array.transpose(1, 2, 0)
        elif self.layout == "table":
            array = array[0].transpose(1, 2, 0)
        elif self.layout == "flattened":
            # Official features are flattened channels first, ours channels last.
            array = array.reshape(len(array), -1, 4, 4).transpose(2, 3, 1, 0).reshape(self.shape)
        return np.asarray(array, order="C")


def generator_slots(variables: Mapping[str, Any]) -> list[ArraySlot]:
    """Lists the variables of a `release` generator with the official arrays that fill them.

    Args:
        variables: collections `params` and `constants` of a ReleaseNetwork, arrays or their shapes.
    """
    return [
        ArraySlot(path, _generator_name(path), shape, _generator_layout(path, shape))
        for path, shape in _leaves(variables)
    ]


def discriminator_slots(variables: Mapping[str, Any], resolution: int) -> list[ArraySlot]:
    """Lists the variables of a discriminator with the official arrays that fill them.

    Args:
        variables: collection `params` of a Discriminator, arrays or their shapes.
        resolution: side of its images.
    """
    slots = []
    for path, shape in _leaves(variables):
        names = [f"b{resolution}.fromrgb" if name == "from_rgb" else name for name in path[1:]]
        layout = _discriminator_layout(path, shape)
        slots.append(ArraySlot(path, _translated(names, _DISCRIMINATOR_NAMES), shape, layout))
    return slots


def _leaves(variables: Mapping[str, Any]) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    leaves = jax.tree_util.tree_flatten_with_path(dict(variables))[0]
    return [(tuple(str(key.key) for key in path), tuple(leaf.shape)) for path, leaf in leaves]


def _translated(names: list[str], table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        names = [re.sub(rf"^{pattern}$", replacement, name) for name in names]
    return ".".join(names)


def _generator_name(path: tuple[str, ...]) -> str:
    # The first block has its coordinates as its input.
    owner = "input.input.coord_fuser" if "blocks_4" in path else "coord_fuser"
    return _translated([owner if name == "coordinates" else name for name in path[1:]], _GENERATOR_NAMES)


def _generator_layout(path: tuple[str, ...], shape: tuple[int, ...]) -> ArrayLayout:
    if path[-1] == "const":
        return "const"
    if path[-1] == "table":
        return "table"
    if path[-1] != "kernel":
        return "same"
    if _DENSE_PARENTS.fullmatch(path[-2]):
        return "dense"
    return "pointwise" if len(shape) == 2 else "convolution"


def _discriminator_layout(path: tuple[str, ...], shape: tuple[int, ...]) -> ArrayLayout:
    if path[-1] != "kernel":
        return "same"
    if path[-2] == "final_dense":
        return "flattened"
    return "convolution" if len(shape) == 4 else "dense"
