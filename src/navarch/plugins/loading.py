"""Classes of others: found by name or by import path, and made with their configuration.

A name is looked up among the entry points of the plugin's kind; ``package.module:Class`` is
imported as it stands. What is found must be a class with the methods of its kind: a configuration
can come over the wire, and must not be able to call whatever it likes.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from difflib import get_close_matches
from importlib import metadata
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import Struct, structs

from navarch.config.values import parse_duration
from navarch.errors import PluginError
from navarch.plugins import checks


class Wanted(Struct, frozen=True):
    """What plugins of one kind are called, where they are found and what they must have."""

    noun: str
    group: str
    """The group of their entry points."""
    methods: tuple[str, ...]


def locate(wanted: Wanted, use: str) -> type:
    """Find a class by the name of its entry point, or where it is.

    Raises `PluginError` that names the plugin, what is wrong and what was expected.
    """
    found = _found(wanted, use)
    if not isinstance(found, type) or any(not _has(found, name) for name in wanted.methods):
        methods = " and ".join(f"{name}()" for name in wanted.methods)
        expected = f"a class with {methods}" if methods else "a class"
        raise PluginError(f"{wanted.noun} {use}: expected {expected}, got {found!r}")
    return found


def construct(
    noun: str, who: str, factory: Callable[..., object], config: Mapping[str, object] | None = None
) -> object:
    """Make a plugin with `config` as keyword arguments.

    Where its class has a `Config`, that says which keys there are and of which types; a plugin
    whose constructor takes one argument ``config`` is given the whole of it. Words may be joined by
    dashes in the configuration. Raises `PluginError` that names the plugin, the key and what was
    expected.
    """
    given = dict(config or {})
    shape = config_of(factory)
    if shape is not None:
        typed = typed_config(noun, who, shape, given)
        whole = _takes_whole(factory)
        given = {"config": typed} if whole else _fields(typed)
    else:
        given = _spelt(factory, given)
    try:
        return factory(**given)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        keys = checks.named(config or {})
        message = f"{noun} {who}: cannot be made with {keys} as its config: {told}"
        raise PluginError(message) from error


def _takes_whole(factory: object) -> bool:
    """Whether a constructor takes the configuration as one argument."""
    found = _parameters(factory).get("config")
    return found is not None and found.kind not in (found.VAR_KEYWORD, found.VAR_POSITIONAL)


def config_of(factory: object) -> type[Struct] | None:
    """Return the type of a plugin's configuration; None where its class does not say it."""
    shape: object = getattr(factory, "Config", None)
    return shape if isinstance(shape, type) and issubclass(shape, Struct) else None


def needs_config(factory: object) -> bool:
    """Whether a class cannot be made without being configured."""
    shape = config_of(factory)
    if shape is not None:
        return any(field.required for field in structs.fields(shape))
    return any(
        each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in _parameters(factory).values()
    )


class BadKey(PluginError):
    """A plugin's configuration has a key that does not fit; `key` is its path in there."""

    def __init__(self, message: str, key: str) -> None:
        """Say what is wrong, and with which key."""
        self.key = key
        super().__init__(message)


def typed_config(noun: str, who: str, shape: type[Struct], given: Mapping[str, object]) -> Struct:
    """Check a configuration against its type, and return it with its defaults.

    Raises `BadKey` at the first key that is unknown, missing or of another type.
    """
    known = {field.encode_name: field for field in structs.fields(shape)}
    hints = get_type_hints(shape)
    plain: dict[str, object] = {}
    for key, value in given.items():
        name = key if key in known else key.replace("-", "_")
        if name not in known:
            raise BadKey(_unknown(noun, who, key, known), key)
        plain[name] = _duration(noun, who, key, hints.get(known[name].name), value)
    for name, field in known.items():
        if field.required and name not in plain:
            raise BadKey(f"{noun} {who}: its config lacks {name}", name)
    try:
        return msgspec.convert(plain, shape)
    except (msgspec.ValidationError, ValueError, TypeError) as error:
        told, _, place = str(error).partition(" - at `$")
        key = place.rstrip("`").lstrip(".")
        spot = f"{key}: " if key else ""
        raise BadKey(f"{noun} {who}: its config does not fit: {spot}{told}", key) from error


def _duration(noun: str, who: str, key: str, hint: object, value: object) -> object:
    """Read ``500ms`` or ``1m`` where a field is a duration."""
    if not isinstance(value, str) or (hint is not timedelta and timedelta not in get_args(hint)):
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        text = f"expected a duration such as 500ms, 30s or 5m, got {value!r}"
        raise BadKey(f"{noun} {who}: its config does not fit: {key}: {text}", key) from error


def _spelt(factory: Callable[..., object], given: Mapping[str, object]) -> dict[str, object]:
    """Give the keys the names that the constructor knows."""
    takes = _parameters(factory)
    if any(each.kind is each.VAR_KEYWORD for each in takes.values()) or not takes:
        return dict(given)
    names = {}
    for key, value in given.items():
        name = key if key in takes else key.replace("-", "_")
        names[name if name in takes else key] = value
    return names


def _unknown(noun: str, who: str, key: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(key.replace("-", "_"), known, n=1)
    have = ", ".join(known) or "no keys"
    hint = f" did you mean {near[0]}?" if near else ""
    return f"{noun} {who}: its config has no key {key};{hint} it takes {have}"


def _parameters(factory: object) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters if callable(factory) else {}
    except (TypeError, ValueError):  # written in another language: nobody can tell
        return {}


def _fields(typed: Struct) -> dict[str, object]:
    return {name: getattr(typed, name) for name in typed.__struct_fields__}


class EntryPoint(Struct, frozen=True):
    """A plugin that an installed package brings."""

    name: str
    value: str
    """Where it is: ``package.module:Class``."""
    package: str
    """The distribution that brings it, and its version; empty where nobody says."""


def entry_points(group: str) -> Iterator[EntryPoint]:
    """List what the installed packages bring, by name, without importing any of it."""
    for point in sorted(metadata.entry_points(group=group), key=lambda each: each.name):
        dist = point.dist
        package = "" if dist is None else f"{dist.name} {dist.version}"
        yield EntryPoint(point.name, point.value, package)


def import_module(name: str) -> None:
    """Import a module that registers its plugins itself.

    Raises `PluginError` with whatever went wrong.
    """
    try:
        importlib.import_module(name)
    except Exception as error:  # whatever a foreign module does while it is imported
        told = f"{type(error).__name__}: {error}"
        raise PluginError(f"module {name}: cannot be imported: {told}") from error


def _has(found: type, method: str) -> bool:
    return callable(getattr(found, method, None))


def _found(wanted: Wanted, use: str) -> object:
    try:
        if ":" in use:
            return _imported(use)
        points = metadata.entry_points(group=wanted.group)
        if use in points.names:
            return points[use].load()
    except Exception as error:  # whatever a foreign module does while it is imported
        message = f"{wanted.noun} {use}: cannot be imported: {type(error).__name__}: {error}"
        raise PluginError(message) from error
    have = ", ".join(sorted(points.names)) or "none"
    raise PluginError(
        f"{wanted.noun} {use}: no such entry point in the group {wanted.group}, there are: {have}; "
        "or write package.module:Class"
    )


def _imported(path: str) -> Any:  # noqa: ANN401 - whatever is there
    module, _, name = path.partition(":")
    found: object = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found
