"""From a file to a `Config`: read, checked key by key, then checked as a whole.

`load` is for programs, which need a configuration or the first mistake. `examine` is for people,
who want every mistake at once and where each value came from. The rules: relative paths count from
the folder of the file, wherever the process was started; nothing is opened but the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from msgspec import Struct, structs

from navarch.config import document, reading, shapes
from navarch.config.reading import Reader, Reading
from navarch.config.schema import Auth, Config, Document, Server, Token
from navarch.config.values import Store
from navarch.errors import ConfigError


class Examination(Struct, frozen=True):
    """Everything that can be said about a file."""

    config: Config | None
    """None when there are mistakes."""
    readings: tuple[Reading, ...]
    """Each effective value, in the order of the schema."""
    faults: tuple[ConfigError, ...]
    """Each mistake, in the order of the lines."""


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


def examine_text(text: str, *, path: Path, environ: Mapping[str, str]) -> Examination:
    """Do the same with a text that is at hand; `path` says where it would be."""
    root = document.compose(text, file=str(path))
    inherited = _entry(root, "defaults")
    fallbacks = {} if inherited is None else {"pools": inherited}
    reader = Reader(file=str(path), environ=environ, fallbacks=fallbacks)
    written: object = None
    try:
        written = reader.read(shapes.document(), [root], "")
        if isinstance(written, Document):
            for fault in _contradictions(written, reader):
                reader.note(fault)
    except reading.TooManyFaults:
        written = None
    faults = sorted(reader.faults, key=lambda fault: fault.line or 0)
    config = None
    if isinstance(written, Document) and not faults:
        config = _usable(written, path.absolute())
    return Examination(
        config=config, readings=tuple(reader.readings.values()), faults=tuple(faults)
    )


def _entry(root: yaml.Node, name: str) -> yaml.Node | None:
    """Find a mapping at the top; None when there is none, whatever else stands there."""
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == name and isinstance(value, yaml.MappingNode):
            return value
    return None


def _contradictions(written: Document, reader: Reader) -> Iterator[ConfigError]:
    """Find what is wrong between keys that are right one by one."""
    for name, pool in written.pools.items():
        key = f"pools.{name}"
        if pool.min_nodes > pool.max_nodes:
            low, high = (reader.readings[f"{key}.{end}_nodes"].shown for end in ("min", "max"))
            message = f"{low} is above max_nodes, expected at most {high}"
            yield reader.fault(message, key=f"{key}.min_nodes")
        if pool.provider not in written.providers:
            known = ", ".join(written.providers) or "none is configured"
            near = reading.nearest(pool.provider, tuple(written.providers))
            message = f"no such provider, expected one under providers: {known}{near}"
            yield reader.fault(message, key=f"{key}.provider")
    names: set[str] = set()
    for index, token in enumerate(written.server.auth.tokens):
        key = f"server.auth.tokens[{index}]"
        if token.name in names:
            yield reader.fault("another token has this name already", key=f"{key}.name")
        names.add(token.name)
        if (token.token_env is None) == (token.token_file is None):
            both = "both" if token.token_env else "neither"
            message = f"expected either token_env or token_file, got {both}"
            yield reader.fault(message, key=key, line=reader.readings[f"{key}.name"].line)


def _usable(written: Document, file: Path) -> Config:
    """Turn what was written into what is used."""
    return Config(
        server=_server(written.server, file.parent),
        providers=written.providers,
        pools={name: pool.spec(name) for name, pool in written.pools.items()},
        file=file,
    )


def _server(server: Server, folder: Path) -> Server:
    """Make each path absolute."""
    store = server.store
    if store is not None and store.path is not None:
        store = Store(path=folder / store.path)
    tokens = tuple(_token(token, folder) for token in server.auth.tokens)
    return structs.replace(server, data=folder / server.data, store=store, auth=Auth(tokens=tokens))


def _token(token: Token, folder: Path) -> Token:
    if token.token_file is None:
        return token
    return structs.replace(token, token_file=folder / token.token_file)
