"""From a file to a scenario, or to every mistake in it, each with its line."""

from __future__ import annotations

from pathlib import Path

import yaml
from msgspec import Struct

from navarch import documents
from navarch.config import reading as config_reading
from navarch.config import shapes
from navarch.config.reading import Reader, Tag
from navarch.errors import ConfigError
from navarch.simulator.scenarios import mistakes
from navarch.simulator.scenarios.schema import Document, Scenario

FILE_MAX = 4_194_304
"""Bytes: ten thousand events with everything that they can say fit in half of it."""
DEPTH_MAX = 32
"""Levels of nesting; the schema uses nine."""


class Examined(Struct, frozen=True):
    """Everything that can be said about a scenario's file."""

    scenario: Scenario | None
    """None when there are mistakes."""
    faults: tuple[ConfigError, ...]
    """Each mistake, in the order of the lines."""


def load(path: Path) -> Scenario:
    """Read the scenario in `path`; `ConfigError` names its first mistake."""
    examined = examine(path)
    if examined.scenario is None:
        raise examined.faults[0]
    return examined.scenario


def examine(path: Path) -> Examined:
    """Read `path` and name every mistake; what is no YAML has one. Raises nothing."""
    try:
        text = documents.read_text(path, most=FILE_MAX, expected="a scenario")
    except documents.Unreadable as error:
        fault = ConfigError(error.message, file=str(path), line=error.line)
        return Examined(None, (fault,))
    return examine_text(text, path=path)


def examine_text(text: str, *, path: Path) -> Examined:
    """Do the same with a text that is at hand; `path` says where it would be."""
    file = str(path)
    try:
        root = documents.compose(text, deepest=DEPTH_MAX)
    except documents.Unreadable as error:
        return Examined(None, (ConfigError(error.message, file=file, line=error.line),))
    if root is None:
        return Examined(None, (ConfigError("is empty, expected a scenario", file=file),))
    _name_xids(root)
    defaults = _entry(root, "defaults")
    fallbacks = {"pools": defaults} if isinstance(defaults, yaml.MappingNode) else {}
    reader = Reader(file=file, environ={}, fallbacks=fallbacks)
    written: object = None
    try:
        written = reader.read(shapes.block_of(Document), [root], "")
        if isinstance(written, Document):
            for fault in mistakes.found(written, reader):
                reader.note(fault)
    except config_reading.TooManyFaults:
        written = None
    if not isinstance(written, Document) or reader.faults:
        return Examined(None, tuple(sorted(reader.faults, key=lambda each: each.line or 0)))
    scenario = Scenario(
        written,
        path.absolute(),
        _lines(reader, "events", len(written.events)),
        _lines(reader, "assertions", len(written.assertions)),
        {one.key: one.line for one in reader.readings.values() if one.line is not None},
    )
    return Examined(scenario, ())


def _lines(reader: Reader, key: str, count: int) -> tuple[int, ...]:
    required = {"events": "action", "assertions": "type"}[key]
    places = (reader.readings.get(f"{key}[{number}].{required}") for number in range(count))
    return tuple((place.line or 0) if place is not None else 0 for place in places)


def _name_xids(root: yaml.Node) -> None:
    """Let the numbers of XIDs be keys without quotes, which other keys may not."""
    node: yaml.Node | None = root
    for name in ("stress", "chaos", "xid_distribution"):
        node = None if node is None else _entry(node, name)
    if isinstance(node, yaml.MappingNode):
        for key, _value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag == Tag.WHOLE:
                key.tag = Tag.TEXT


def _entry(node: yaml.Node, name: str) -> yaml.Node | None:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.value == name and isinstance(value, yaml.Node):
            return value
    return None
