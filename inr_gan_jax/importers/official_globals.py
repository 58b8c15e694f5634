"""The classes and functions that official INR-GAN and StyleGAN2-ADA network pickles name, as inert data."""

import functools
from typing import Any

import numpy as np

from inr_gan_jax.importers.byte_source import ByteSpan, CheckpointFormatError, shown
from inr_gan_jax.importers.inert_objects import (
    Constant,
    Constructor,
    Globals,
    Inert,
    InertDict,
    OpaqueClass,
    StandIn,
    named,
)
from inr_gan_jax.importers.pickle_machine import Budget
from inr_gan_jax.importers.torch_records import TENSOR_GLOBALS, load_from_bytes

PERSISTENCE_VERSION = 6
MAX_SCALAR_BYTES = 16
_SCALAR_TYPES = frozenset({"b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"})


class ScalarType(Inert):
    """Stand-in of a numpy.dtype of little-endian scalars."""

    __slots__ = ("dtype",)

    def __init__(self, code: str) -> None:
        self.dtype = np.dtype(f"<{code}")

    def set_state(self, state: Any) -> None:
        """Checks the byte order, the one entry of the state that matters for scalars."""
        if type(state) is not tuple or len(state) < 2 or type(state[1]) is not str or state[1] not in ("<", "|", "="):
            raise CheckpointFormatError("a NumPy scalar has a data type that is not little-endian")


def _scalar_type(_budget: Budget, code: Any, _align: Any = False, _copy: Any = True) -> ScalarType:
    if type(code) is not str or code not in _SCALAR_TYPES:
        raise CheckpointFormatError(f"the NumPy data type {shown(code)} is no scalar type of checkpoints")
    return ScalarType(code)


def _encode(_budget: Budget, text: Any, encoding: Any) -> bytes:
    """Stand-in of _codecs.encode, which protocols below 3 use to write the few bytes of a NumPy scalar."""
    if type(text) is not str or len(text) > MAX_SCALAR_BYTES or encoding != "latin1":
        raise CheckpointFormatError("_codecs.encode is applied to something else than a NumPy scalar")
    return text.encode("latin-1")


def _scalar(_budget: Budget, kind: Any, data: Any) -> Any:
    """A NumPy scalar as a Python scalar."""
    if type(data) is ByteSpan and data.length <= MAX_SCALAR_BYTES:
        data = data.read()
    if type(kind) is not ScalarType or type(data) is not bytes or len(data) != kind.dtype.itemsize:
        raise CheckpointFormatError("a NumPy scalar does not have the length of its data type")
    if kind.dtype.kind == "b":
        return data != b"\0"
    return np.frombuffer(data, kind.dtype)[0].item()


def _default_dict(_budget: Budget, factory: Any = None) -> InertDict:
    if factory is not None and type(factory) is not Constant:
        raise CheckpointFormatError(f"a defaultdict has a {type(factory).__name__} as its factory")
    return InertDict()


def _persistent_object(_budget: Budget, meta: Any) -> StandIn:
    """Stand-in of _reconstruct_persistent_obj, which would execute `module_src`; here it is never looked at."""
    if not isinstance(meta, dict) or meta.get("type") != "class":
        raise CheckpointFormatError("a persistent object is not described by a dict of type class")
    if meta.get("version") != PERSISTENCE_VERSION:
        raise CheckpointFormatError(f"a persistent object is not of version {PERSISTENCE_VERSION}")
    name, state = meta.get("class_name"), meta.get("state")
    if type(name) is not str or not isinstance(state, dict):
        raise CheckpointFormatError(f"the persistent object {shown(name)} has no name or no state")
    return StandIn(name, state)


def _opaque(path: str) -> tuple[tuple[str, str], Any]:
    return named(OpaqueClass, path, functools.partial(StandIn, path))


# Every global that was seen in official files; whatever is missing here is refused by name.
OFFICIAL_GLOBALS: Globals = {
    **TENSOR_GLOBALS,
    **dict(
        [
            named(Constructor, "torch.storage._load_from_bytes", load_from_bytes),
            named(Constructor, "torch_utils.persistence._reconstruct_persistent_obj", _persistent_object),
            named(Constructor, "collections.defaultdict", _default_dict),
            named(Constructor, "numpy.dtype", _scalar_type),
            named(Constructor, "numpy.core.multiarray.scalar", _scalar),
            named(Constructor, "numpy._core.multiarray.scalar", _scalar),
            named(Constructor, "_codecs.encode", _encode),
            named(Constant, "builtins.dict"),
            named(Constant, "typing.Any"),
            named(OpaqueClass, "dnnlib.util.EasyDict", InertDict),
            # Configuration objects are decoded and ignored: the constructor arguments are stored as plain dicts too.
            _opaque("omegaconf.base.ContainerMetadata"),
            _opaque("omegaconf.base.Metadata"),
            _opaque("omegaconf.dictconfig.DictConfig"),
            _opaque("omegaconf.nodes.AnyNode"),
            _opaque("torch.nn.modules.container.ModuleList"),
        ]
    ),
}
