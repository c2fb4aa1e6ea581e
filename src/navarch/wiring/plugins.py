"""Classes of others: found by name or by import path, and checked before anything is called.

A name is looked up among the entry points of the plugin's kind; ``package.module:Class`` is
imported as it stands. What is found must be a class with the methods of its kind: a configuration
can come over the wire, and must not be able to call whatever it likes.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from msgspec import Struct

from navarch.errors import PluginError


class Kind(Struct, frozen=True):
    """What plugins of one kind are called, where they are found and what they must have."""

    noun: str
    group: str
    """The group of their entry points."""
    methods: tuple[str, ...]


# The kind says which protocol it is; which one that is, only the caller's annotation can tell.
def make(kind: Kind, use: str, config: Mapping[str, object] | None = None) -> Any:  # noqa: ANN401
    """Find a class and make one of it, with `config` as keyword arguments.

    Raises `PluginError` that names the plugin, what is wrong and what was expected.
    """
    found = _found(kind, use)
    if not isinstance(found, type) or any(not _has(found, name) for name in kind.methods):
        wanted = " and ".join(f"{name}()" for name in kind.methods)
        raise PluginError(f"{kind.noun} {use}: expected a class with {wanted}, got {found!r}")
    try:
        made = found(**(config or {}))
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        keys = ", ".join(config or {}) or "nothing"
        message = f"{kind.noun} {use}: cannot be made with {keys} as its config: {told}"
        raise PluginError(message) from error
    name: object = getattr(made, "name", None)
    if not isinstance(name, str) or not name:
        raise PluginError(f"{kind.noun} {use}: its name is {name!r}, expected a text")
    return made


def _has(found: type, method: str) -> bool:
    return callable(getattr(found, method, None))


def _found(kind: Kind, use: str) -> object:
    try:
        if ":" in use:
            return _imported(use)
        points = metadata.entry_points(group=kind.group)
        if use in points.names:
            return points[use].load()
    except Exception as error:  # whatever a foreign module does while it is imported
        message = f"{kind.noun} {use}: cannot be imported: {type(error).__name__}: {error}"
        raise PluginError(message) from error
    have = ", ".join(sorted(points.names)) or "none"
    raise PluginError(
        f"{kind.noun} {use}: no such entry point in the group {kind.group}, there are: {have}; "
        "or write package.module:Class"
    )


def _imported(path: str) -> object:
    module, _, name = path.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
