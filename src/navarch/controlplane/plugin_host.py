"""The plugins of a running control plane: which there are, how they are called and what they did.

What operators decide about plugins at run time are facts of the fleet. The registry follows them:
after each such fact, and at a restart when the journal has been folded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from navarch.controlplane.answering import Now
from navarch.controlplane.clock import stopwatch
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.errors import PluginError, WireError
from navarch.plugins import exposition
from navarch.plugins.candidates import BUILT_IN
from navarch.plugins.kinds import kind_of, word_of
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Entry, Registry
from navarch.plugins.shadow import Disagreement, Shadows
from navarch.plugins.traces import Summary, Traced
from navarch.wire.pages import Page, Pages
from navarch.wire.plugin_calls import TRACES, TRACES_MAX

PATH: Final = "/debug/plugins"
_KINDS: Final = frozenset(PluginKind)


class Shown(Struct, frozen=True):
    """A plugin, as ``/debug/plugins`` shows it."""

    kind: str
    name: str
    priority: int
    enabled: bool
    shadow: bool
    origin: str
    version: str
    summary: str
    calls: int
    failures: int
    skipped: int
    latency_p50_seconds: float
    latency_p99_seconds: float
    last_failure: str
    isolated: str
    """Why it is left alone, and until when; empty: it is not."""
    broken: str
    """Why it cannot be asked at all; empty: it can."""
    because: str
    """Why an operator changed it; empty: nobody did."""
    on_error: str
    deadline_seconds: float | None
    shadow_same: int
    shadow_different: int


class PluginHost:
    """A registry, the caller of its plugins, and the comparison of those in shadow."""

    def __init__(self, registry: Registry, clock: Now) -> None:
        """Work with the plugins of `registry`."""
        self.registry = registry
        self.calls = Traced(clock.now, stopwatch, trusts=self._trusts)
        """Through this every plugin is called."""
        self.shadows = Shadows(clock.now)
        self._fleet: Fleet | None = None
        self._trusted: tuple[int, frozenset[tuple[PluginKind, str]]] = (-1, frozenset())

    # --- what operators decide -----------------------------------------------------------

    def follow(self, fleet: Fleet) -> None:
        """Hold what operators have decided so far in this fleet."""
        self._fleet = fleet
        self.registry.follow(fleet.plugins)
        self.mark_shadows()

    def mark_shadows(self) -> None:
        """Have traces say whose calls have no effect; to be called when the registry changes."""
        shadows = {(each.kind, each.name) for each in self.registry.known() if each.shadow}
        decided = {} if self._fleet is None else self._fleet.plugins
        for key, setting in decided.items():
            kind, _, name = key.partition("/")
            if setting.shadow and kind in _KINDS:
                shadows.add((PluginKind(kind), name))
        self.calls.shadows_are(shadows)

    def hear(self, fact: ev.Fact) -> None:
        """Follow a fact that is in the journal, where it is about a plugin."""
        if not isinstance(fact, ev.PluginChanged) or self._fleet is None:
            return
        self.follow(self._fleet)
        if fact.enabled:  # somebody has looked at it
            self.calls.release(PluginKind(fact.plugin_kind), fact.name)

    def find(self, word: str, name: str) -> Entry:
        """Look up a plugin that an operator names.

        Raises `WireError`: ``invalid_argument`` for a kind that is none, ``not_found``.
        """
        kind = self.kind(word)
        entry = self.registry.find(kind, name)
        if entry is None:
            have = ", ".join(each.name for each in self.registry.entries(kind)) or "none"
            raise WireError("not_found", f"no {word_of(kind)} is called {name}; there are: {have}")
        return entry

    def kind(self, word: str) -> PluginKind:
        """Find a kind by its word. Raises `WireError` with ``invalid_argument``."""
        try:
            return kind_of(word)
        except PluginError as error:
            raise WireError("invalid_argument", str(error)) from error

    def kinds(self, word: str) -> list[PluginKind]:
        """Find a kind by its word; all of them where there is none. Raises `WireError`."""
        return [self.kind(word)] if word else list(PluginKind)

    def summary(self, entry: Entry) -> Summary:
        """Sum up what a plugin did."""
        return self.calls.summary(entry.kind, entry.name)

    # --- what is shown -------------------------------------------------------------------

    def serve(self, pages: Pages) -> None:
        """Show plugins and their calls under ``/debug/plugins``, and count them in ``/metrics``."""
        pages.add(PATH, self._page)
        pages.add_metrics(self._metrics)

    def shown(self, entry: Entry) -> Shown:
        """Say everything of a plugin."""
        did = self.summary(entry)
        tally = self.shadows.tally(entry.kind, entry.name)
        deadline = entry.deadline
        return Shown(
            kind=word_of(entry.kind),
            name=entry.name,
            priority=entry.priority,
            enabled=entry.enabled,
            shadow=entry.shadow,
            origin=entry.origin,
            version=entry.version,
            summary=entry.summary,
            calls=did.calls,
            failures=did.failures,
            skipped=did.skipped,
            latency_p50_seconds=did.p50_seconds,
            latency_p99_seconds=did.p99_seconds,
            last_failure=did.last_failure,
            isolated=did.isolated,
            broken=entry.broken,
            because=entry.because,
            on_error=entry.on_error,
            deadline_seconds=None if deadline is None else deadline.total_seconds(),
            shadow_same=tally.same,
            shadow_different=tally.different,
        )

    def _page(self, below: str, query: Mapping[str, str]) -> Page:
        word, _, rest = below.partition("/")
        kinds = self.kinds(word)
        match rest:
            case "":
                entries = [each for kind in kinds for each in self.registry.entries(kind)]
                return _json({"plugins": [self.shown(each) for each in entries]})
            case "trace":
                limit = _limit(query.get("limit", ""))
                pool = query.get("pool", "")
                found = self.calls.traces(kinds[0], pool=pool, limit=limit)
                return _json({"traces": found})
            case "shadow":
                differ: list[Disagreement] = self.shadows.disagreements(kinds[0])
                return _json({"disagreements": differ})
            case _:
                raise WireError("not_found", f"no such path: {PATH}/{below[:100]}")

    def _metrics(self) -> Iterator[str]:
        return exposition.lines(self.calls, self.shadows)

    def _trusts(self, kind: PluginKind, name: str) -> bool:
        """Whether a plugin is our own: its coroutines end when they are cancelled."""
        generation, trusted = self._trusted
        if generation != self.registry.generation:
            generation = self.registry.generation
            trusted = frozenset(
                (each.kind, each.name) for each in self.registry.known() if each.origin == BUILT_IN
            )
            self._trusted = (generation, trusted)
        return (kind, name) in trusted


def _json(content: object) -> Page:
    return Page(msgspec.json.encode(content))


def _limit(text: str) -> int:
    if not text:
        return TRACES
    if not text.isdecimal() or not 1 <= int(text[:6]) <= TRACES_MAX:
        message = f"limit: {text[:20]!r} is not a whole number from 1 to {TRACES_MAX:,}"
        raise WireError("invalid_argument", message)
    return int(text)
