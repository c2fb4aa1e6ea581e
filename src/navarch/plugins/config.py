"""From what the configuration says under ``plugins`` to a registry in which it holds.

First the modules are imported, which register what they bring; then each entry is found and made
with its configuration; then all of them are used. Whatever is wrong is told with file, line and
key, and then no plugin is used otherwise than before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from navarch.config.plugin_file import load_plugins
from navarch.config.plugins import PLUGINS_MAX, Plugins, PluginUse
from navarch.errors import ConfigError, PluginError
from navarch.plugins import loading
from navarch.plugins.kinds import KINDS, SERVING, KindSpec, word_of
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Configured, Entry, Registry

_Drafts = dict[tuple[PluginKind, str], Entry]

KIND_OF_KEY: Final[Mapping[str, PluginKind]] = {KINDS[kind].key: kind for kind in SERVING}
"""The kind by its key under ``plugins``."""


class Written(Struct, frozen=True):
    """What is said of plugins, and where it stands."""

    plugins: Plugins
    file: str
    lines: Mapping[str, int]
    """The line of every key that was written, from 1."""
    prefix: str = ""
    """What the keys begin with, such as ``plugins.``."""

    def fault(self, message: str, key: str) -> ConfigError:
        """Make a mistake's message with the place of its key, or of the nearest one around it."""
        place = f"{self.prefix}{key}"
        line = None
        while line is None and place:
            below = (f"{place}.", f"{place}[")
            lines = [
                number
                for name, number in self.lines.items()
                if name == place or name.startswith(below)
            ]
            line = min(lines, default=None)
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return ConfigError(message, file=self.file, line=line, key=f"{self.prefix}{key}")


def written(
    plugins: Plugins,
    file: Path,
    lines: Mapping[str, int],
    environ: Mapping[str, str] = os.environ,
) -> Written:
    """Take what stands in a configuration, or in the file that it names instead.

    Raises `ConfigError` that names the first mistake in that file.
    """
    if plugins.file is None:
        return Written(plugins, str(file), lines, "plugins.")
    found = load_plugins(plugins.file, environ)
    return Written(found.plugins, str(plugins.file), found.lines)


class Prepared(Struct, frozen=True):
    """Plugins that are made, and not used yet."""

    entries: tuple[Entry, ...]
    restored: tuple[tuple[PluginKind, str], ...]
    """Those that an earlier configuration named and this one does not."""
    drafts: tuple[Entry, ...] = ()
    """Those that are not registered yet: classes that are named by their place."""


def prepare(said: Written, registry: Registry) -> Prepared:
    """Find and make every plugin that is named, and change nothing of those in use.

    Modules are imported, and what they register is. Raises `ConfigError` for the first one that
    does not fit: unknown, broken, or with a configuration that its plugin does not take.
    """
    drafts: _Drafts = {}
    for number, module in enumerate(said.plugins.modules):
        try:
            loading.import_module(module)
        except PluginError as error:
            raise said.fault(str(error), f"modules[{number}]") from error
    made = tuple(
        _made(said, registry, drafts, KIND_OF_KEY[key], f"{key}[{number}]", use)
        for key, uses in said.plugins.uses().items()
        for number, use in enumerate(uses)
    )
    named = {(each.kind, each.name) for each in made}
    restored = tuple(
        (kind, entry.name)
        for kind in SERVING
        for entry in registry.entries(kind)
        if entry.configured and (kind, entry.name) not in named
    )
    return Prepared(made, restored, tuple(drafts.values()))


def hold(prepared: Prepared, registry: Registry) -> tuple[str, ...]:
    """Use what was prepared from now on; return which plugins are used otherwise than before."""
    before = [(each, registry.declared(each.kind, each.name)) for each in prepared.entries]
    registry.hold(prepared.entries, prepared.drafts)
    for kind, name in prepared.restored:
        had = registry.declared(kind, name)
        if had is not None and ":" in had.origin:  # nobody but the configuration brought it
            registry.unregister(kind, name)
        else:
            registry.restore(kind, name)
    changed = [
        f"{word_of(each.kind)} {each.name}"
        for each, old in before
        if old is None or _use(old) != _use(each)
    ]
    restored = [f"{word_of(kind)} {name}" for kind, name in prepared.restored]
    return (*changed, *restored)


def apply(said: Written, registry: Registry) -> tuple[str, ...]:
    """Do both at once."""
    return hold(prepare(said, registry), registry)


def _use(entry: Entry) -> tuple[object, ...]:
    return (
        *(entry.enabled, entry.priority, entry.shadow, entry.on_error),
        *(entry.deadline, entry.rank, dict(entry.config)),
    )


def _made(
    said: Written, registry: Registry, drafts: _Drafts, kind: PluginKind, key: str, use: PluginUse
) -> Entry:
    spec = KINDS[kind]
    if use.on_error is not None and use.on_error not in spec.on_error:
        words = " or ".join(spec.on_error)
        message = f"expected {words} for a {spec.noun}, got {use.on_error}"
        raise said.fault(message, f"{key}.on_error")
    try:
        name = _name(said, registry, drafts, spec, key, use)
        configured = Configured(
            config=use.config,
            enabled=use.enabled,
            priority=use.priority,
            shadow=use.shadow,
            on_error=use.on_error or "",
            deadline=use.deadline,
            rank=_rank(kind, key),
        )
        return registry.prepare(kind, name, configured, draft=drafts.get((kind, name)))
    except loading.BadKey as error:
        inner = f".{error.key}" if error.key in use.config else ""
        raise said.fault(str(error), f"{key}.config{inner}") from error
    except PluginError as error:
        raise said.fault(str(error), f"{key}.name") from error


def _name(
    said: Written, registry: Registry, drafts: _Drafts, spec: KindSpec, key: str, use: PluginUse
) -> str:
    """Find a plugin; one that is named by its place, and is not registered, is a draft."""
    if ":" in use.name:
        there = (*registry.entries(spec.kind), *drafts.values())
        known = next((e for e in there if (e.kind, e.origin) == (spec.kind, use.name)), None)
        if known is not None:
            return known.name
        wanted = loading.Wanted(spec.noun, spec.group, ())
        found = loading.locate(wanted, use.name)
        draft = registry.draft(spec.kind, found, config=use.config, origin=use.name)
        if (other := drafts.setdefault((spec.kind, draft.name), draft)) is not draft:
            taken = f"{spec.noun} {draft.name}: the name is taken by {other.origin}"
            raise PluginError(f"{taken}, expected another name")
        return draft.name
    names = [each.name for each in registry.entries(spec.kind)]
    if use.name not in names:
        near = get_close_matches(use.name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}"
        raise said.fault(f"no {spec.noun} is called {use.name}; {hint}", f"{key}.name")
    return use.name


def _rank(kind: PluginKind, key: str) -> int:
    """Metrics providers answer in the order of the list; those that nobody lists come behind."""
    if kind is not PluginKind.METRICS_PROVIDER:
        return 0
    return int(key.partition("[")[2].rstrip("]")) - PLUGINS_MAX


def schema_of(entry: Entry) -> Mapping[str, object]:
    """Describe a plugin's configuration as JSON Schema, draft 2020-12.

    Raises `PluginError` when its class does not say which keys it takes.
    """
    shape = loading.config_of(entry.factory or type(entry.plugin))
    if shape is None:
        noun = KINDS[entry.kind].noun
        raise PluginError(
            f"{noun} {entry.name}: has no Config, which would say which keys it takes"
        )
    (described,), definitions = msgspec.json.schema_components(
        [shape], ref_template="#/$defs/{name}"
    )
    top = dict(definitions.pop(shape.__name__, described))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "title": f"Configuration of the {KINDS[entry.kind].noun} {entry.name}",
        "additionalProperties": False,
        **({"$defs": definitions} if definitions else {}),
    }
