"""All keys in words: of one configuration for the terminal, and of the schema as docs/configuration.md.

python -m inr_gan_jax.config.describe > docs/configuration.md
"""

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from inr_gan_jax.config.schema import Config
from inr_gan_jax.models.release.settings import CoordinateSettings
from inr_gan_jax.setting import meaning_of, range_of

_INTRODUCTION = """# Configuration

All keys, generated from the schema by `make docs`.

A file in `configs/` starts from these defaults and changes what differs;
`--config.section.key=value` overrides one key.
`python -m inr_gan_jax.main --config=configs/lsun.py --print_config` prints every key of a configuration.
Durations (`..._kimg`) are in thousands of real images shown to the discriminator.
"""


def describe_config(config: Config) -> str:
    """One line per key of a configuration: its value, the default if it is another, and the meaning."""
    rows = list(_rows(config, Config(), "config"))
    width = min(60, max(len(assigned) for assigned, _ in rows))
    return "\n".join(f"{assigned:<{width}}  # {explained}" for assigned, explained in rows)


def _rows(section: Any, default: Any, path: str) -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(section):
        value, usual = getattr(section, field.name), getattr(default, field.name)
        key = f"{path}.{field.name}"
        if dataclasses.is_dataclass(value):
            yield from _rows(value, usual, key)
        else:
            mark = "default" if value == usual else f"default {usual!r}"
            yield f"{key} = {_shown(value)}", f"({mark}) {meaning_of(field)}".rstrip()


def _shown(value: Any) -> str:
    """A value as a configuration file would give it; an entry of the schema as a dict of what is not its default."""
    if dataclasses.is_dataclass(value):
        pairs = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return repr({field.name: item for field, item in pairs if item != field.default})
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' * (len(value) == 1)})"
    return repr(value)


def configuration_page() -> str:
    """The documentation page of all keys."""
    fields = dataclasses.fields(Config)
    sections = [field.name for field in fields if field.default is dataclasses.MISSING]
    hints = typing.get_type_hints(Config)
    parts = [_INTRODUCTION, *_table("The run", Config, without=sections)]
    for name in sections:
        (kind,) = [each for each in (hints[name], *typing.get_args(hints[name])) if dataclasses.is_dataclass(each)]
        parts += _table(f"`{name}`", kind)
        if name == "release":
            parts += _table("Entries of `release.coordinates`", CoordinateSettings)
    return "\n".join(parts)


def _table(title: str, section: Any, without: typing.Collection[str] = ()) -> list[str]:
    hints = typing.get_type_hints(section)
    lines = [f"## {title}", "", section.__doc__, "", "| key | default | allowed | meaning |", "|---|---|---|---|"]
    for field in dataclasses.fields(section):
        if field.name not in without:
            default = "required" if field.default is dataclasses.MISSING else f"`{_shown(field.default)}`"
            allowed = range_of(field)
            kind = _kind(hints[field.name]) + (f", {allowed.text}" if allowed else "")
            meaning = meaning_of(field).replace("|", "\\|")
            lines.append(f"| `{field.name}` | {default} | {kind} | {meaning} |")
    return [*lines, ""]


def _kind(hint: Any) -> str:
    """The type of a key in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments)
    if origin is tuple:
        return f"tuple of {'' if arguments[-1] is Ellipsis else f'{len(arguments)} '}{_kind(arguments[0])}"
    if hint is types.NoneType:
        return "None"
    return "entry" if dataclasses.is_dataclass(hint) else hint.__name__
