"""From plain values to the typed configuration, and from its defaults to the ConfigDict of a configuration file."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ml_collections import ConfigDict

from inr_gan_jax.config.schema import Config
from inr_gan_jax.config.validate import ConfigError, validate

_T = TypeVar("_T")


def default_config() -> ConfigDict:
    """All keys at their defaults, locked against unknown ones; a configuration file changes what differs."""
    return ConfigDict(dataclasses.asdict(Config())).lock()


def parse_config(values: ConfigDict | Mapping[str, Any]) -> Config:
    """Builds and validates the configuration; keys that are not given have their defaults.

    Args:
        values: the ConfigDict of a configuration file, or the parsed `config.json` of a run.

    Raises:
        ConfigError: one sentence with the key, the value given and what is allowed.
    """
    values = values.to_dict() if isinstance(values, ConfigDict) else values
    if not isinstance(values, Mapping):
        raise ConfigError(f"the configuration is {values!r}, expected a section")
    config = _build(Config, values, "config")
    validate(config)
    return config


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """A hint that lists the most similar names, or all of them when none is similar."""
    names = sorted(names)
    similar = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"nearest: {', '.join(similar)}" if similar else f"known: {', '.join(names)}"


def nested_keys(section: type, path: typing.Sequence[str]) -> set[str]:
    """Keys of the section at a path of keys; none if there is no section."""
    for name in path:
        hint = typing.get_type_hints(section).get(name)
        kinds = [
            kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and dataclasses.is_dataclass(kind)
        ]
        if not kinds:
            return set()
        section = kinds[0]
    return set(typing.get_type_hints(section))


def _build(cls: type[_T], values: Mapping[str, Any], path: str) -> _T:
    """Fills a dataclass from a mapping, checking names and types."""
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown key {path}.{key}; {nearest(key, hints)}")
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType] - a dataclass, by the callers
        if field.name not in values and field.default is field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"key {path}.{field.name} is missing")
    converted = {key: _convert(value, hints[key], f"{path}.{key}") for key, value in values.items()}
    try:
        return cls(**converted)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _convert(value: Any, hint: Any, path: str) -> Any:
    """Checks one value against its annotation; integers are accepted where a float is expected, lists as tuples."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} is {value!r}, expected a section")
        return _build(hint, value, path)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (hint,) = [argument for argument in arguments if argument is not types.NoneType]
        return None if value is None else _convert(value, hint, path)
    if origin is tuple:
        return _convert_tuple(value, arguments, path)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{path} is {value!r}, expected one of {', '.join(map(str, arguments))}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(
            f"{path} is {value!r} of type {type(value).__name__}, expected {getattr(hint, '__name__', hint)}"
        )
    return value


def _convert_tuple(value: Any, arguments: tuple[Any, ...], path: str) -> tuple[Any, ...]:
    """Checks a tuple: any length for `tuple[int, ...]`, else one entry per annotation."""
    if not isinstance(value, (tuple, list)):
        raise ConfigError(f"{path} is {value!r}, expected a tuple")
    hints = (arguments[0],) * len(value) if arguments[-1] is Ellipsis else arguments
    if len(value) != len(hints):
        raise ConfigError(f"{path} is {value!r}, expected {len(hints)} entries")
    pairs = enumerate(zip(value, hints, strict=True))
    return tuple(_convert(item, hint, f"{path}[{index}]") for index, (item, hint) in pairs)
