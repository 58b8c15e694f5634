"""The configuration file that a command names: how it is found and loaded, and what is wrong with it."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from inr_gan_jax.config.parse import Config, nearest, nested_keys
from inr_gan_jax.errors import UserError

# What ml_collections calls the module of a flag `config`.
_MODULE = "config_config"
# A ConfigDict is no Mapping.
_SECTIONS = (ConfigDict, Mapping)
_CHECKOUT = str(Path(__file__).resolve().parents[2])


def named_file(arguments: Sequence[str]) -> str | None:
    """The file in `--config=FILE[:ARGUMENT]` or `--config FILE[:ARGUMENT]`, as typed; None without one."""
    name = _named(arguments)
    return name.split(":")[0] if name else None


def _named(arguments: Sequence[str]) -> str | None:
    name = None
    for index, item in enumerate(arguments):
        flag, has_value, value = item.partition("=")
        if flag.lstrip("-") == "config" and item.startswith("-"):
            name = value if has_value else next(iter(arguments[index + 1 :]), None)
    return name


@contextlib.contextmanager
def importable(file: str | None) -> Iterator[None]:
    """Lets a configuration file import its neighbours, whatever the current folder is.

    The folder that holds the file's package, or the file itself, comes first in the search for modules; the folder
    with the `configs` of this project comes last.
    """
    if file is None:
        yield
        return
    before = list(sys.path)
    folder = Path(file).expanduser().absolute().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    sys.path[:] = [str(folder), *before, _CHECKOUT]
    # Else the library would run the file in the module of the previous one, which has a `get_config`.
    sys.modules.pop(_MODULE, None)
    try:
        yield
    finally:
        sys.path[:] = before


def check_loaded(values: flags.FlagValues) -> None:
    """Loads the configuration: the library would only raise once a value is looked at.

    Raises:
        UserError: if there is no such file, or it gives no configuration.
    """
    holder: Any = values["config"]
    file = holder.config_filename.split(":")[0]
    if not os.path.isfile(file):
        raise UserError(f"configuration file {file} does not exist{_similar_files(file)}")
    config = values.config
    if not isinstance(config, _SECTIONS):
        raise UserError(f"get_config() of {file} returns {config!r}, expected a ConfigDict or a dict")
    len(config)


def explain(error: Exception, arguments: Sequence[str]) -> str:
    """One sentence for what loading a configuration or overriding one of its keys raised."""
    file = named_file(arguments)
    if "has no attribute 'get_config'" in str(error):
        return f"configuration file {file} has no function get_config(), expected one that returns a ConfigDict"
    config = _without_overrides(arguments)
    for item in arguments if isinstance(config, _SECTIONS) else ():
        path = re.match(r"--?config\.([\w.]+)", item)
        sentence = _explain_override(path.group(1).split("."), config, file) if path else None
        if sentence:
            return sentence
    return f"configuration file {file} cannot be read: {type(error).__name__}: {error}"


def _without_overrides(arguments: Sequence[str]) -> Any:
    """The configuration as the file gives it; None if it cannot be loaded."""
    command_line = ["", f"--config={_named(arguments)}"]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", None, flag_values=values, sys_argv=command_line)
    try:
        values(command_line)
        return values.config
    except Exception:  # whatever the file raises
        return None


def _explain_override(names: Sequence[str], config: Any, file: str | None) -> str | None:
    """What is wrong with the path of a key; None if there is such a key."""
    path, node = "config", config
    for name in names:
        if not isinstance(node, _SECTIONS):
            return f"config.{'.'.join(names)} cannot be set: {path} is {node!r} and has no keys"
        if name not in node:
            if name in nested_keys(Config, path.split(".")[1:]):
                return f"{path}.{name} is not in {file}, so it cannot be overridden; add it there"
            return f"unknown key {path}.{name}; {nearest(name, map(str, node))}"
        path, node = f"{path}.{name}", node[name]
    return None


def _similar_files(file: str) -> str:
    folder = os.path.dirname(file) or "."
    names = os.listdir(folder) if os.path.isdir(folder) else os.listdir("configs") if os.path.isdir("configs") else []
    known = [name for name in names if name.endswith(".py") and not name.startswith("_")]
    return f"; {nearest(os.path.basename(file), known)}" if known else ""
