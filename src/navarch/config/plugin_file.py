"""The file that ``plugins.file`` names: the keys of ``plugins``, plain or in a ConfigMap."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from msgspec import Struct

from navarch.config import contradictions, document, reading, shapes
from navarch.config.plugins import Plugins, nodes_of
from navarch.config.reading import Reader
from navarch.errors import ConfigError


class PluginFile(Struct, frozen=True):
    """What a file says, and where."""

    plugins: Plugins
    lines: Mapping[str, int]
    """The line of every key that was written, from 1."""


def load_plugins(path: Path, environ: Mapping[str, str] = os.environ) -> PluginFile:
    """Read a file of plugins. Raises `ConfigError` that names its first mistake."""
    return read_plugins(document.read_text(path), file=str(path), environ=environ)


def read_plugins(text: str, *, file: str, environ: Mapping[str, str]) -> PluginFile:
    """Do the same with a text that is at hand; `file` is for messages."""
    root = document.compose(text, file=file)
    reader = Reader(file=file, environ=environ, fallbacks={})
    written: object = None
    try:
        written = reader.read(shapes.block_of(Plugins), [_plain(root, file)], "")
        if isinstance(written, Plugins):
            for fault in contradictions.of_plugins(written, "", reader):
                reader.note(fault)
    except reading.TooManyFaults:
        written = None
    if reader.faults:
        raise min(reader.faults, key=lambda each: each.line or 0)
    assert isinstance(written, Plugins)
    if written.file is not None:
        raise reader.fault("names another file, expected the plugins themselves", key="file")
    lines = {key: each.line for key, each in reader.readings.items() if each.line is not None}
    return PluginFile(written, lines)


def _plain(root: yaml.Node, file: str) -> yaml.Node:
    """Put the texts of a ConfigMap together as though they were written plainly."""
    data = nodes_of(root)
    if not data:
        return root
    entries = []
    for name, value in data.items():
        key = yaml.ScalarNode("tag:yaml.org,2002:str", name, value.start_mark, value.start_mark)
        entries.append((key, _inner(name, value, file)))
    return yaml.MappingNode("tag:yaml.org,2002:map", entries, root.start_mark, root.end_mark)


def _inner(name: str, value: yaml.Node, file: str) -> yaml.Node:
    """Read the YAML in a text; its lines count as those of the file."""
    line = value.start_mark.line
    if not isinstance(value, yaml.ScalarNode) or value.tag != "tag:yaml.org,2002:str":
        message = "expected a text that holds YAML, as ConfigMaps do: write | behind the key"
        raise ConfigError(message, file=file, line=line + 1, key=f"data.{name}")
    # The text of a block begins on the line below its sign.
    above = line + 1 if value.style in ("|", ">") else line
    try:
        return document.compose("\n" * above + value.value, file=file)
    except ConfigError as error:
        message = f"{error.message} (inside of the text)"
        raise ConfigError(message, file=file, line=error.line, key=f"data.{name}") from error
