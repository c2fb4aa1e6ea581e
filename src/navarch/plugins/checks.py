"""Plugins held against what their kind must have, before anything of them is called.

Registration is the moment of truth: a method that is missing, takes other arguments or is async
where it must not be is refused there, by name, and not at three in the morning.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from typing import Final, cast

from navarch.errors import PluginError
from navarch.plugins.kinds import KINDS, Calling, KindSpec, Method
from navarch.plugins.protocols import PluginKind

NAME_MAX: Final = 128
"""Characters of a plugin's name."""
PRIORITY_MAX: Final = 1_000_000
"""Priorities lie between this and its negative."""
LIST_MAX: Final = 256
"""Texts in a list attribute such as ``metric_names``."""


def check(kind: PluginKind, plugin: object) -> None:
    """Refuse a plugin that does not fit its kind. Nothing of it is called but its properties.

    Raises `PluginError` that names the plugin, the method or attribute and what was expected.
    """
    spec = KINDS[kind]
    if isinstance(plugin, type):
        raise PluginError(f"{spec.noun} {plugin.__name__}: is a class, expected an object of it")
    name = name_of(spec, plugin)
    for attribute in spec.texts:
        text = read(spec, plugin, attribute, who=name)
        if not isinstance(text, str) or not text:
            raise PluginError(
                f"{spec.noun} {name}: its {attribute} is {_shown(text)}, expected a text"
            )
    for attribute in spec.lists:
        _check_list(spec, plugin, name, attribute)
    for method in spec.methods:
        if method.unless and callable(getattr(plugin, method.unless, None)):
            continue
        check_method(spec, name, method, getattr(plugin, method.name, None))


def name_of(spec: KindSpec, plugin: object) -> str:
    """What a plugin calls itself.

    Raises `PluginError` when it has no name that can be used.
    """
    who = type(plugin).__name__
    name = read(spec, plugin, "name", who=who)
    if not isinstance(name, str) or not name.strip():
        raise PluginError(f"{spec.noun} {who}: its name is {_shown(name)}, expected a text")
    if len(name) > NAME_MAX:
        raise PluginError(
            f"{spec.noun} {who}: its name has {len(name)} characters, expected {NAME_MAX} at most"
        )
    if not name.isprintable() or "/" in name or name != name.strip():
        raise PluginError(
            f"{spec.noun} {who}: its name is {name!r}, expected a text without slashes, control "
            "characters and outer blanks"
        )
    return name


def priority_of(spec: KindSpec, plugin: object, name: str) -> int:
    """How early a plugin wants to be asked; 0 where it does not say.

    Raises `PluginError` when it is not a whole number within `PRIORITY_MAX`.
    """
    return check_priority(spec, name, read(spec, plugin, "priority", who=name, absent=0))


def check_priority(spec: KindSpec, name: str, priority: object) -> int:
    """Return a priority that can be used.

    Raises `PluginError` when it is not a whole number within `PRIORITY_MAX`.
    """
    if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > PRIORITY_MAX:
        raise PluginError(
            f"{spec.noun} {name}: its priority is {_shown(priority)}, expected a whole number from "
            f"{-PRIORITY_MAX:,} to {PRIORITY_MAX:,}"
        )
    return priority


def read(
    spec: KindSpec, plugin: object, attribute: str, *, who: str, absent: object = None
) -> object:
    """Read an attribute or property of a plugin; `absent` where there is none.

    Raises `PluginError` when the property raises, or is a method.
    """
    try:
        value: object = getattr(plugin, attribute, absent)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        raise PluginError(f"{spec.noun} {who}: its {attribute} cannot be read: {told}") from error
    if callable(value):
        raise PluginError(
            f"{spec.noun} {who}: {attribute} is a method, expected an attribute or a property"
        )
    return value


def check_method(spec: KindSpec, name: str, method: Method, found: object) -> None:
    """Refuse a method that is missing, cannot be called as it will be, or awaits where it must not.

    Raises `PluginError` that shows how it should be written.
    """
    if found is None:
        raise PluginError(f"{spec.noun} {name}: has no {method.name}(), expected: {method}")
    if not callable(found):
        raise PluginError(
            f"{spec.noun} {name}: {method.name} is {_shown(found)}, expected a method: {method}"
        )
    if method.calling is Calling.PLAIN and is_async(found):
        raise PluginError(
            f"{spec.noun} {name}: {method.name}() is async, expected a plain method: {method}"
        )
    if method.calling is Calling.ASYNC and not is_async(found, wrapped=True):
        raise PluginError(f"{spec.noun} {name}: {method.name}() is not async, expected: {method}")
    _check_arguments(spec, name, method, found)


def is_async(function: Callable[..., object], *, wrapped: bool = False) -> bool:
    """Whether calling it gives something to await; `wrapped` looks below decorators as well."""
    # What is called of an object that is no function is the method of its class.
    seen = (function, type(function).__call__, inspect.unwrap(function) if wrapped else None)
    return any(
        asyncio.iscoroutinefunction(each) or inspect.isasyncgenfunction(each)
        for each in seen
        if each is not None
    )


def _check_arguments(
    spec: KindSpec, name: str, method: Method, found: Callable[..., object]
) -> None:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # written in another language: nobody can tell
        return
    try:
        signature.bind(*method.arguments, **dict.fromkeys(method.keywords))
    except TypeError as error:
        raise PluginError(
            f"{spec.noun} {name}: {method.name}{signature} cannot be called as it will be: "
            f"{error}; expected: {method}"
        ) from error


def _check_list(spec: KindSpec, plugin: object, name: str, attribute: str) -> None:
    value = read(spec, plugin, attribute, who=name)
    is_list = isinstance(value, list | tuple | set | frozenset) and len(value) <= LIST_MAX
    if not is_list or not all(
        isinstance(each, str) and each for each in cast("list[object]", value)
    ):
        raise PluginError(
            f"{spec.noun} {name}: its {attribute} is {_shown(value)}, expected a list of texts"
        )


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def summary_of(plugin: object) -> str:
    """Return the first line of what a plugin says of itself; empty where it says nothing."""
    text = inspect.getdoc(plugin if isinstance(plugin, type) else type(plugin)) or ""
    return text.strip().partition("\n")[0][:200]


def version_of(plugin: object) -> str:
    """Return the version that a plugin names; empty where it names none."""
    version: object = getattr(plugin, "version", "")
    return version[:64] if isinstance(version, str) else ""


def named(config: Mapping[str, object]) -> str:
    """Name the keys of a plugin's configuration."""
    return ", ".join(config) or "nothing"
