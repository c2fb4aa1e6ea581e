"""From a file to a `Config`: read, checked key by key, then checked as a whole.

`load` is for programs, which need a configuration or the first mistake. `examine` is for people,
who want every mistake at once and where each value came from. The rules: relative paths count from
the folder of the file, wherever the process was started; nothing is opened but the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar, cast

import yaml
from msgspec import Struct, structs

from navarch.config import contradictions, document, doubts, reading, shapes
from navarch.config.reading import Reader, Reading
from navarch.config.schema import Config, Document
from navarch.errors import ConfigError


class Examination(Struct, frozen=True):
    """Everything that can be said about a file."""

    config: Config | None
    """None when there are mistakes."""
    readings: tuple[Reading, ...]
    """Each effective value, in the order of the schema."""
    faults: tuple[ConfigError, ...]
    """Each mistake, in the order of the lines."""
    warnings: tuple[ConfigError, ...] = ()
    """What is no mistake and probably not meant, in the order of the lines; none beside faults."""


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration in `path`; `ConfigError` names its first mistake."""
    examination = examine(path, environ)
    if examination.config is None:
        raise examination.faults[0]
    return examination.config


def examine(path: Path, environ: Mapping[str, str] = os.environ) -> Examination:
    """Read `path` and tell everything about it.

    Raises `ConfigError` when there is nothing to tell: no file, no text, no YAML.
    """
    text = document.read_text(path)
    return examine_text(text, path=path, environ=environ)


def examine_text(
    text: str, *, path: Path, environ: Mapping[str, str], name: str = ""
) -> Examination:
    """Do the same with a text that is at hand; `path` says where it would be.

    `name` is what the text is called in messages; empty: the path.
    """
    file = name or str(path)
    return examine_node(document.compose(text, file=file), path=path, environ=environ, name=name)


def examine_node(
    root: yaml.Node, *, path: Path, environ: Mapping[str, str], name: str = ""
) -> Examination:
    """Do the same with nodes that are at hand, of a text or put together."""
    file = name or str(path)
    inherited = _entry(root, "defaults")
    fallbacks = {} if inherited is None else {"pools": inherited}
    reader = Reader(file=file, environ=environ, fallbacks=fallbacks)
    written: object = None
    try:
        written = reader.read(shapes.document(), [root], "")
        if isinstance(written, Document):
            for fault in contradictions.found(written, reader):
                reader.note(fault)
    except reading.TooManyFaults:
        written = None
    config = None
    warnings: list[ConfigError] = []
    if isinstance(written, Document) and not reader.faults:
        config = _usable(written, path.absolute(), reader.readings)
        warnings.extend(doubts.found(written, reader))
    return Examination(
        config=config,
        readings=tuple(reader.readings.values()),
        faults=_by_line(reader.faults),
        warnings=_by_line(warnings),
    )


def _by_line(told: Iterable[ConfigError]) -> tuple[ConfigError, ...]:
    """Put messages in the order of their lines, each once: pools inherit what is said of them."""
    once: dict[tuple[int | None, str], ConfigError] = {}
    for each in told:
        once.setdefault((each.line, each.message), each)
    return tuple(sorted(once.values(), key=lambda each: each.line or 0))


def _entry(root: yaml.Node, name: str) -> yaml.Node | None:
    """Find a mapping at the top; None when there is none, whatever else stands there."""
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == name and isinstance(value, yaml.MappingNode):
            return value
    return None


def _usable(written: Document, file: Path, readings: Mapping[str, Reading]) -> Config:
    """Turn what was written into what is used."""
    anchored = _anchored(written, file.parent)
    pools = anchored.pools
    return Config(
        server=anchored.server,
        providers=anchored.providers,
        pools={name: pool.spec(name) for name, pool in pools.items()},
        autoscaling={name: pool.autoscaling for name, pool in pools.items() if pool.autoscaling},
        metrics={name: pool.metrics for name, pool in pools.items() if pool.metrics},
        file=file,
        plugins=anchored.plugins,
        lines={
            key: each.line
            for key, each in readings.items()
            if key.startswith("plugins.") and each.line is not None
        },
    )


_T = TypeVar("_T")


def _anchored(value: _T, folder: Path) -> _T:
    """Make each path absolute, wherever in a value it is."""
    anchored: object = value
    match value:
        case Path():
            anchored = folder / value
        case Struct():
            fields = {name: getattr(value, name) for name in value.__struct_fields__}
            changed = {name: _anchored(inner, folder) for name, inner in fields.items()}
            anchored = structs.replace(value, **changed)
        case tuple():
            anchored = tuple(_anchored(inner, folder) for inner in value)
        case dict():
            anchored = {name: _anchored(inner, folder) for name, inner in value.items()}
        case _:
            pass
    return cast("_T", anchored)
