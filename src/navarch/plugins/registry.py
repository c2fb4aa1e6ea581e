"""The one registry: every plugin of every kind, built in or not, comes through its door.

A plugin is registered by a call, by a decorator, as an entry point of an installed package or by
its import path, and is checked then: one that does not fit is refused with its name, the method and
what was expected. Those with a higher priority come first, ties go by name, and a name is taken
once in a kind.

What is asked of every call of the hosts, `Registry.plugins`, is a look into a tuple that is made
anew when something changes; any thread may ask while another changes. No foreign code runs under
the registry's lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Final, cast

from msgspec import structs

from navarch.core.model.fleet import PluginSetting
from navarch.errors import PluginError
from navarch.plugins import builtin, checks, loading
from navarch.plugins.candidates import BUILT_IN, Candidate, Filler
from navarch.plugins.entries import REGISTERED, Configured, Entry
from navarch.plugins.kinds import KINDS, KindSpec
from navarch.plugins.protocols import (
    AutoscalerPlugin,
    GuardrailPlugin,
    MetricsProviderPlugin,
    ModelLoaderPlugin,
    PluginKind,
    SchedulerPlugin,
)
from navarch.plugins.terms import Terms, TermsOf

__all__ = ["Configured", "Entry", "Registry", "get_global_registry"]

PLUGINS_MAX: Final = 1_000
"""Plugins of one kind."""


class Registry:
    """Plugins by kind and name."""

    def __init__(self, *, filler: Filler | None = None) -> None:
        """Begin empty; `filler` names the plugins of a kind when that is first asked for."""
        self._lock = threading.RLock()
        self._filler = filler
        self._filled = set(PluginKind) if filler is None else set()
        self._filling = threading.local()
        self._known: dict[PluginKind, dict[str, Entry]] = {kind: {} for kind in PluginKind}
        self._bases: dict[PluginKind, dict[str, Entry]] = {kind: {} for kind in PluginKind}
        self._settings: dict[str, PluginSetting] = {}
        self._entries: dict[PluginKind, tuple[Entry, ...]] = {}
        self._plugins: dict[PluginKind, tuple[object, ...]] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """How often anything has changed: who keeps something made of plugins looks at this."""
        return self._generation

    def register(
        self,
        kind: PluginKind,
        plugin: object,
        *,
        priority: int | None = None,
        origin: str = REGISTERED,
        config: Mapping[str, object] | None = None,
        replace: bool = False,
    ) -> object | None:
        """Take a plugin in; a class is made with `config`.

        Returns the plugin; None for a class that has to be configured and is not yet: then it is
        listed, and not asked. `priority` counts instead of the plugin's own. Raises `PluginError`
        when it does not fit, or when its name is taken and not to be replaced.
        """
        entry = self.enter(
            kind, plugin, priority=priority, origin=origin, config=config, replace=replace
        )
        return entry.plugin

    def enter(
        self,
        kind: PluginKind,
        plugin: object,
        *,
        priority: int | None = None,
        origin: str = REGISTERED,
        config: Mapping[str, object] | None = None,
        replace: bool = False,
    ) -> Entry:
        """Do as `register` does, and return the entry."""
        self._fill(kind)
        spec = KINDS[kind]
        if isinstance(plugin, type):
            entry = self._made(spec, plugin, config, origin)
        elif config:
            raise PluginError(
                f"{spec.noun} {checks.name_of(spec, plugin)}: is an object, expected a class where "
                "a config is given"
            )
        else:
            entry = _entry(spec, plugin, origin)
        if priority is not None:
            given = checks.check_priority(spec, entry.name, priority)
            entry = structs.replace(entry, priority=given)
        with self._lock:
            self._add(entry, replace=replace)
        return entry

    def draft(
        self,
        kind: PluginKind,
        plugin: type,
        *,
        origin: str,
        config: Mapping[str, object] | None = None,
    ) -> Entry:
        """Make the entry of a class, which `hold` may take in later; changes nothing.

        Raises `PluginError` as `register` does.
        """
        self._fill(kind)
        entry = self._made(KINDS[kind], plugin, config, origin)
        self._demand_room(entry)
        return entry

    def configure(self, kind: PluginKind, name: str, written: Configured) -> Entry:
        """Give a registered plugin what the configuration says of it.

        What operators decided at run time still counts more. Raises `PluginError` when there is
        none, or it cannot be made so.
        """
        entry = self.prepare(kind, name, written)
        self.hold([entry])
        return entry

    def prepare(
        self, kind: PluginKind, name: str, written: Configured, *, draft: Entry | None = None
    ) -> Entry:
        """Make what `configure` would hold, and change nothing yet.

        One with a config is made anew. `draft` is its entry while it is not registered. Raises as
        `configure` does.
        """
        self._fill(kind)
        spec = KINDS[kind]
        had = self._known[kind].get(name, draft)
        entry = self._bases[kind].get(name, draft)
        if had is None or entry is None:
            raise self._absent(kind, name)
        if written.config and written.config == had.config and had.plugin is not None:
            entry = structs.replace(entry, plugin=had.plugin, config=had.config, broken="")
        elif written.enabled and (written.config or entry.plugin is None):
            entry = self._configured(spec, entry, written.config)
        priority = entry.priority
        if written.priority is not None:
            priority = checks.check_priority(spec, name, written.priority)
        return structs.replace(
            entry,
            enabled=written.enabled,
            priority=priority,
            shadow=written.shadow,
            on_error=written.on_error,
            deadline=written.deadline,
            rank=written.rank,
            configured=True,
        )

    def hold(self, entries: Iterable[Entry], drafts: Iterable[Entry] = ()) -> None:
        """Take entries that `prepare` made in the places of those that are there.

        `drafts` are registered first. Raises `PluginError` when a name is taken by now, or one is
        not registered any more; nothing is changed then.
        """
        with self._lock:
            listed, new = list(entries), list(drafts)
            for draft in new:
                self._demand_room(draft)
            there = {(each.kind, each.name) for each in new}
            for entry in listed:
                known = entry.name in self._known[entry.kind]
                if not known and (entry.kind, entry.name) not in there:
                    raise self._absent(entry.kind, entry.name)
            for draft in new:
                self._bases[draft.kind][draft.name] = draft
            for entry in listed:
                self._known[entry.kind][entry.name] = entry
            for kind in {entry.kind for entry in listed}:
                self._changed(kind)

    def restore(self, kind: PluginKind, name: str) -> None:
        """Put a plugin back as it was registered, as though nobody had configured it.

        Raises `PluginError` when there is none of that name.
        """
        self._fill(kind)
        with self._lock:
            if name not in self._bases[kind]:
                raise self._absent(kind, name)
            self._known[kind][name] = self._bases[kind][name]
            self._changed(kind)

    def unregister(self, kind: PluginKind, name: str) -> None:
        """Take a plugin out.

        Raises `PluginError` when there is none of that name.
        """
        self._fill(kind)
        with self._lock:
            if name not in self._known[kind]:
                raise self._absent(kind, name)
            del self._known[kind][name], self._bases[kind][name]
            self._changed(kind)

    def set(
        self,
        kind: PluginKind,
        name: str,
        *,
        enabled: bool | None = None,
        priority: int | None = None,
        shadow: bool | None = None,
        because: str = "",
    ) -> Entry:
        """Change a plugin at run time, on top of what it declares; None: as it is.

        Raises `PluginError` when there is none of that name, or the priority cannot be used.
        """
        self._fill(kind)
        if priority is not None:
            checks.check_priority(KINDS[kind], name, priority)
        with self._lock:
            if name not in self._known[kind]:
                raise self._absent(kind, name)
            key = f"{kind}/{name}"
            had = self._settings.get(key, PluginSetting(because))
            self._settings[key] = PluginSetting(
                because,
                had.enabled if enabled is None else enabled,
                had.priority if priority is None else priority,
                had.shadow if shadow is None else shadow,
            )
            self._changed(kind)
            return next(each for each in self._entries[kind] if each.name == name)

    def follow(self, settings: Mapping[str, PluginSetting]) -> None:
        """Hold what operators decided, by ``kind/name``, and nothing else that was set before.

        Plugins that are not registered may be named; it counts when they are.
        """
        with self._lock:
            if settings == self._settings:
                return
            self._settings = dict(settings)
            for kind in self._filled:
                self._changed(kind)

    def entries(self, kind: PluginKind) -> tuple[Entry, ...]:
        """All plugins of a kind, disabled ones too, in the order in which they are asked."""
        self._fill(kind)
        return self._entries.get(kind, ())

    def known(self) -> tuple[Entry, ...]:
        """All plugins of the kinds that anybody has asked for so far; imports nothing."""
        return tuple(each for kind in list(self._filled) for each in self._entries.get(kind, ()))

    def plugins(self, kind: PluginKind) -> tuple[object, ...]:
        """Those that are to be asked, the highest priority first; ties go by name."""
        if kind not in self._filled:
            self._fill(kind)
        return self._plugins.get(kind, ())

    def shadows(self, kind: PluginKind) -> tuple[object, ...]:
        """Those that are to be asked without effect, in the same order."""
        return tuple(
            each.plugin
            for each in self.entries(kind)
            if each.enabled and each.shadow and each.plugin is not None
        )

    def find(self, kind: PluginKind, name: str) -> Entry | None:
        """Look a plugin up, in whatever state it is; None where there is none."""
        return next((each for each in self.entries(kind) if each.name == name), None)

    def terms(self, kind: PluginKind) -> TermsOf:
        """What holds for the calls of plugins of a kind, by name and at the time of asking."""

        def of(name: str) -> Terms:
            entry = self.find(kind, name)
            return Terms() if entry is None else Terms(entry.on_error, entry.deadline)

        return of

    def require(self, kind: PluginKind, name: str) -> Entry:
        """Do the same. Raises `PluginError` that says which there are, when there is none."""
        entry = self.find(kind, name)
        if entry is None:
            raise self._absent(kind, name)
        return entry

    def declared(self, kind: PluginKind, name: str) -> Entry | None:
        """Look a plugin up as it is without what operators decided at run time."""
        self._fill(kind)
        return self._known[kind].get(name)

    def get(self, kind: PluginKind, name: str) -> object:
        """Return a plugin that is to be asked.

        Raises `PluginError` when there is none of that name, it is disabled, or it is broken.
        """
        entry = self.require(kind, name)
        noun = KINDS[kind].noun
        if entry.plugin is None:
            raise PluginError(f"{noun} {name}: cannot be asked: {entry.broken}")
        if not entry.enabled:
            why = f": {entry.because}" if entry.because else ""
            raise PluginError(f"{noun} {name}: is disabled{why}")
        return entry.plugin

    @property
    def schedulers(self) -> tuple[SchedulerPlugin, ...]:
        """The schedulers, the highest priority first."""
        return cast("tuple[SchedulerPlugin, ...]", self.plugins(PluginKind.SCHEDULER))

    @property
    def autoscalers(self) -> tuple[AutoscalerPlugin, ...]:
        """The autoscalers of replicas, the highest priority first."""
        return cast("tuple[AutoscalerPlugin, ...]", self.plugins(PluginKind.REPLICA_AUTOSCALER))

    @property
    def model_loaders(self) -> tuple[ModelLoaderPlugin, ...]:
        """The model loaders, the highest priority first."""
        return cast("tuple[ModelLoaderPlugin, ...]", self.plugins(PluginKind.MODEL_LOADER))

    @property
    def metrics_providers(self) -> tuple[MetricsProviderPlugin, ...]:
        """The metrics providers, in the configured order."""
        return cast("tuple[MetricsProviderPlugin, ...]", self.plugins(PluginKind.METRICS_PROVIDER))

    @property
    def guardrails(self) -> tuple[GuardrailPlugin, ...]:
        """The guardrails, the highest priority first."""
        return cast("tuple[GuardrailPlugin, ...]", self.plugins(PluginKind.GUARDRAIL))

    def _fill(self, kind: PluginKind) -> None:
        """Take in what the filler names; what it imports may register plugins itself."""
        if kind in self._filled or self._filler is None:
            return
        busy: set[PluginKind] = self._filling.__dict__.setdefault("kinds", set())
        if kind in busy:
            return
        busy.add(kind)
        try:
            entries = [self._from(kind, candidate) for candidate in self._filler(kind)]
        finally:
            busy.discard(kind)
        with self._lock:
            if kind in self._filled:
                return
            for entry in entries:
                if entry.name not in self._known[kind]:
                    self._add(entry, replace=False)
            self._filled.add(kind)
            self._changed(kind)

    def _from(self, kind: PluginKind, candidate: Candidate) -> Entry:
        """Make a candidate; one that cannot be made is listed with the reason."""
        if candidate.factory is None:
            name, why = candidate.name, candidate.broken
        else:
            try:
                return self._made(KINDS[kind], candidate.factory, None, candidate.origin)
            except PluginError as error:
                if candidate.origin == BUILT_IN:
                    raise
                name, why = candidate.name or repr(candidate.factory), str(error)
        return Entry(
            kind=kind, name=name, plugin=None, origin=candidate.origin, enabled=False, broken=why
        )

    def _made(
        self,
        spec: KindSpec,
        factory: Callable[..., object],
        config: Mapping[str, object] | None,
        origin: str,
    ) -> Entry:
        who: object = getattr(factory, "name", None)
        if not isinstance(who, str) or not who:
            who = getattr(factory, "__name__", repr(factory))
        if config is None and loading.needs_config(factory):
            why = "it has to be configured: its config is needed"
            own: object = getattr(factory, "priority", 0)  # of the class; a property says nothing
            return Entry(
                kind=spec.kind,
                name=str(who),
                plugin=None,
                priority=own if isinstance(own, int) else 0,
                origin=origin,
                broken=why,
                factory=factory,
            )
        plugin = loading.construct(spec.noun, str(who), factory, config)
        entry = _entry(spec, plugin, origin)
        return structs.replace(entry, factory=factory, config=config or {})

    def _configured(self, spec: KindSpec, entry: Entry, config: Mapping[str, object]) -> Entry:
        if entry.factory is None:
            why = entry.broken or "is registered as an object, which cannot be given a config"
            raise PluginError(f"{spec.noun} {entry.name}: {why}")
        made = self._made(spec, entry.factory, config, entry.origin)
        if made.name != entry.name:
            raise PluginError(
                f"{spec.noun} {entry.name}: calls itself {made.name} with this config, expected "
                "the same name"
            )
        return structs.replace(entry, plugin=made.plugin, config=made.config, broken="")

    def _add(self, entry: Entry, *, replace: bool) -> None:
        known = self._known[entry.kind]
        had = known.get(entry.name)
        if had is None or not replace:
            if had is not None and entry.factory is not None and had.factory is entry.factory:
                return
            self._demand_room(entry)
        known[entry.name] = self._bases[entry.kind][entry.name] = entry
        self._changed(entry.kind)

    def _demand_room(self, entry: Entry) -> None:
        """Raise `PluginError` where a new plugin's name is taken, or there are too many."""
        known = self._known[entry.kind]
        noun = KINDS[entry.kind].noun
        had = known.get(entry.name)
        if had is not None:
            raise PluginError(
                f"{noun} {entry.name}: the name is taken by one that is {had.origin}, expected "
                "another name"
            )
        if len(known) >= PLUGINS_MAX:
            raise PluginError(f"{noun} {entry.name}: there are {PLUGINS_MAX:,} already, the most")

    def _changed(self, kind: PluginKind) -> None:
        entries = sorted(
            map(self._effective, self._known[kind].values()),
            key=lambda each: (-each.priority, each.rank, each.name),
        )
        asked = (each.plugin for each in entries if each.enabled and not each.shadow)
        self._entries[kind] = tuple(entries)
        self._plugins[kind] = tuple(plugin for plugin in asked if plugin is not None)
        self._generation += 1

    def _effective(self, entry: Entry) -> Entry:
        setting = self._settings.get(f"{entry.kind}/{entry.name}")
        if setting is None:
            return entry
        return structs.replace(
            entry,
            enabled=entry.enabled if setting.enabled is None else setting.enabled,
            priority=entry.priority if setting.priority is None else setting.priority,
            shadow=entry.shadow if setting.shadow is None else setting.shadow,
            because=setting.because,
        )

    def _absent(self, kind: PluginKind, name: str) -> PluginError:
        have = ", ".join(sorted(self._known[kind])) or "none"
        return PluginError(f"no {KINDS[kind].noun} is called {name}; there are: {have}")


def _entry(spec: KindSpec, plugin: object, origin: str) -> Entry:
    """Check a plugin, and enter it as it describes itself."""
    checks.check(spec.kind, plugin)
    name = checks.name_of(spec, plugin)
    return Entry(
        kind=spec.kind,
        name=name,
        plugin=plugin,
        priority=checks.priority_of(spec, plugin, name),
        origin=origin,
    )


@cache
def get_global_registry() -> Registry:
    """Return the registry of this process, with what is built in and what packages bring."""
    return Registry(filler=builtin.candidates)
