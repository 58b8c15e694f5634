"""Official checkpoints with the recorded weights: recorded files where there are any, else files of the same structure.

Besides the arrays they hold what the official ones hold and a reader must step over: configurations that refer to their
parent, NumPy numbers, caches of coordinates as views of a larger storage, lists of modules that are plain objects.
"""

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.golden.records import full_recording, load, load_json
from tests.importers import official_format
from tests.importers.official_format import Call, Global, Storage

AUGMENT_P = 0.125
# In this variant the generator that is not averaged has parameters of this share of the averaged one.
PLAIN_SHARE = np.float32(0.9)
_MODULE_LISTS = ("extra_convs",)


def official_pickle(name: str) -> Path:
    """Path of the checkpoint of a recorded variant, or of tiny-inr-gan-32-aug or tiny-inr-gan-32-cudacache."""
    return full_recording(f"{name}.pkl") or _written(name)


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """A folder that goes with the process."""
    return tempfile.TemporaryDirectory(prefix="official-pickles-")


@functools.cache
def _written(name: str) -> Path:
    path = Path(_folder().name) / f"{name}.pkl"
    variant = name.removesuffix("-aug").removesuffix("-cudacache")
    device = "cuda:0" if name.endswith("-cudacache") else "cpu"
    share, augment_p = (PLAIN_SHARE, AUGMENT_P) if name.endswith("-aug") else (np.float32(1), None)
    networks = {
        "G": generator(variant, device, share),
        "D": discriminator(variant),
        "G_ema": generator(variant, device, np.float32(1)),
    }
    root = official_format.official_checkpoint(networks, augment_p)
    root["training_set_kwargs"]["resolution"] = load_json("variants.json")[variant]["G_kwargs"]["img_resolution"]
    official_format.write_official_checkpoint(path, root)
    return path


def recorded_arrays(variant: str, prefix: str) -> dict[str, np.ndarray]:
    """The state_dict of a recorded network: prefix "G/" or "D/"."""
    arrays = load(variant)
    return {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}


def parameter_names(variant: str, gradients: str) -> frozenset[str]:
    """Names of those arrays of a network that have gradients: "gradG/" or "gradD_main/"."""
    return frozenset(key.removeprefix(gradients) for key in load(variant) if key.startswith(gradients))


def generator(variant: str, device: str, share: np.float32) -> Call:
    """A generator whose parameters are a share of the recorded ones."""
    names = parameter_names(variant, "gradG/")
    arrays = {name: share * array if name in names else array for name, array in recorded_arrays(variant, "G/").items()}
    arguments = load_json("variants.json")[variant]["G_kwargs"]
    return network("Generator", arrays, names, arguments, device)


def discriminator(variant: str) -> Call:
    names = parameter_names(variant, "gradD_main/")
    arguments = load_json("variants.json")[variant]["D_kwargs"]
    return network("Discriminator", recorded_arrays(variant, "D/"), names, arguments, "cpu")


def network(
    class_name: str, arrays: Mapping[str, np.ndarray], names: frozenset[str], arguments: Mapping[str, Any], device: str
) -> Call:
    """A network whose constructor was given `arguments`: dictionaries with attributes but for `cfg`, a plain one."""
    given = {
        key: official_format.easy_dict(value) if isinstance(value, dict) and key != "cfg" else value
        for key, value in arguments.items()
    }
    state = module_state("", arrays, names, device)
    state.update(_init_args=(), _init_kwargs=official_format.easy_dict(given), cfg=configuration())
    return official_format.persistent_object(class_name, state)


def module_state(prefix: str, arrays: Mapping[str, np.ndarray], names: frozenset[str], device: str) -> dict[str, Any]:
    """The `__dict__` of the module whose arrays begin with `prefix`."""
    parameters, buffers, modules = {}, {}, {}
    for name in (name for name in arrays if name.startswith(prefix)):
        head, dot, _ = name[len(prefix) :].partition(".")
        if dot:
            modules[head] = None
        else:
            kind = parameters if name in names else buffers
            kind[head] = official_format.official_tensor(arrays[name], parameter=name in names)
    for head in modules:
        modules[head] = submodule(head, module_state(f"{prefix}{head}.", arrays, names, device))
    attributes: dict[str, Any] = {"weight_gain": official_format.numpy_scalar(0.25)}
    if prefix.endswith("coord_fuser."):
        attributes |= {"cfg": configuration(), "_fourier_embs_cache": cache(device), "_full_cache": None}
    return official_format.module_state(parameters, buffers, modules, **attributes)


def submodule(name: str, state: dict[str, Any]) -> Call:
    """A module; a list of modules is a plain object, any other one of a class whose source is stored."""
    if name in _MODULE_LISTS:
        return Call(Global("torch.nn.modules.container", "ModuleList"), state=state, new=True)
    state.update(_init_args=(configuration(), 16), _init_kwargs={})
    return official_format.persistent_object("Submodule", state)


def configuration() -> Call:
    """A configuration of omegaconf with a node that knows its parent."""
    whole = Call(Global("omegaconf.dictconfig", "DictConfig"), new=True)
    cells = official_format.Call(Global("collections", "defaultdict"), (Global("builtins", "dict"),))
    node_kind = Call(Global("omegaconf.base", "Metadata"), new=True, state={"ref_type": Global("typing", "Any")})
    node = Call(Global("omegaconf.nodes", "AnyNode"), new=True)
    node.state = {"_metadata": node_kind, "_parent": whole, "_val": "${coords}"}
    kind = Call(Global("omegaconf.base", "ContainerMetadata"), new=True, state={"resolver_cache": cells, "key": "cfg"})
    whole.state = {"_metadata": kind, "_parent": None, "_content": {"coord_fuser_cfg": node}}
    return whole


def cache(device: str) -> Call:
    """Embedded coordinates: a view, with an offset and strides, of a larger storage."""
    storage = official_format.storage_blob(Storage(np.arange(2**12, dtype=np.float32), device))
    return official_format.tensor(storage, (1, 24, 8, 8), (1536, 1, 192, 24), offset=1024)
