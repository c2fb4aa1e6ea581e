"""What plugins did: every call with its duration and outcome, and who is left alone for a while.

`Traced` is the `Caller` of a running control plane. Of each kind it keeps the newest calls in a
ring, of each method of each plugin how often it was called, how often it failed and how long it
took. A trace says how a call went, and never holds a text that a guardrail was given.

A plugin that fails `FAILURES_MAX` times in a row is isolated: it is not called for `ISOLATION_MIN`,
after that once, and again not for twice as long if that call fails too, up to `ISOLATION_MAX`. A
call that is left out is an answer like every other failure: what becomes of it is the host's error
policy for the kind.

A call costs about 2 µs more than without (``bench/plugins.py``): loops over nodes belong inside of
one call, not around many.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

from msgspec import Struct

from navarch.plugins.calls import About, Failed, tell_failure
from navarch.plugins.histograms import Durations
from navarch.plugins.protocols import PluginKind
from navarch.plugins.threads import Busy, Workers
from navarch.plugins.verdicts import verdict_of
from navarch.telemetry import tracing
from navarch.telemetry.log import Log

log = Log(__name__)

_T = TypeVar("_T")

RING: Final = 1_000
"""Calls of each kind that are kept."""
SERIES_MAX: Final = 2_000
"""Methods of plugins that are counted; what comes later is counted as one, under no name."""
FAILURES_MAX: Final = 5
"""Failures in a row after which a plugin is isolated."""
ISOLATION_MIN: Final = timedelta(seconds=30)
ISOLATION_MAX: Final = timedelta(minutes=10)
CANCEL_GRACE: Final = timedelta(seconds=1)
"""How long a coroutine that is cancelled may take to end before it is abandoned."""
ABANDONED_MAX: Final = 4
"""Coroutines of one plugin that were abandoned and still run; then it is not called."""

Outcome = Literal["ok", "failed", "timed out", "skipped"]


class Trace(Struct, frozen=True):
    """One call of a plugin."""

    at: datetime
    kind: PluginKind
    plugin: str
    point: str
    pool: str
    subject: str
    seconds: float
    outcome: Outcome
    verdict: str
    """What it said, or what went wrong, in one line."""
    shadow: bool = False


class Standing(Struct):
    """How a plugin does, and whether it is left alone."""

    failures_in_row: int = 0
    isolated_until: datetime | None = None
    """None: it is called."""
    because: str = ""
    """Why it is isolated; empty: it is not."""
    times: int = 0
    """How often it was isolated since a call of it last went well."""
    last_failure: str = ""
    """What went wrong last; empty: nothing did."""
    failed_at: datetime | None = None
    abandoned: int = 0
    """Calls that were given up and still run."""


class Series:
    """The calls of one method of one plugin."""

    __slots__ = ("durations", "failures", "kind", "plugin", "point", "skipped", "timeouts")

    def __init__(self, kind: PluginKind, plugin: str, point: str) -> None:
        """Begin with none."""
        self.kind = kind
        self.plugin = plugin
        self.point = point
        self.durations = Durations()
        self.failures = 0
        """Calls that raised or took too long."""
        self.timeouts = 0
        """Those among them that took too long."""
        self.skipped = 0
        """Calls that were not made, because it was isolated."""


class Summary(Struct, frozen=True):
    """What is known of a plugin's calls, over all its methods."""

    calls: int = 0
    failures: int = 0
    skipped: int = 0
    p50_seconds: float = 0.0
    """Of the newest calls of each method."""
    p99_seconds: float = 0.0
    last_failure: str = ""
    isolated: str = ""
    """Why it is left alone, and until when; empty: it is not."""


_Kept = tuple[datetime, About, float, Outcome, object, bool]


class Traced:
    """Calls plugins, times them, remembers, and isolates those that only fail.

    Plain calls may come from any thread, those that are awaited from the one loop.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        timer: Callable[[], float],
        *,
        ring: int = RING,
        trusts: Callable[[PluginKind, str], bool] | None = None,
    ) -> None:
        """Time by `timer`, in seconds, and date by `now`.

        `trusts` says whose coroutines end when they are cancelled, such as our own: those of
        others run in a task each, so that one which does not end can be left behind. None: nobody.
        """
        self._now = now
        self._timer = timer
        self._trusts = trusts
        self._rings: dict[PluginKind, deque[_Kept]] = {
            kind: deque(maxlen=ring) for kind in PluginKind
        }
        self._series: dict[tuple[str, str], list[tuple[Series, deque[_Kept], Standing]]] = {}
        self._count = 0
        self._standings: dict[tuple[str, str], Standing] = {}
        self._shadows: frozenset[tuple[PluginKind, str]] = frozenset()
        self._abandoned: set[asyncio.Future[object]] = set()
        self._lock = threading.Lock()
        self._workers = Workers()
        self._tells = log.tells(logging.DEBUG)

    # --- calling -------------------------------------------------------------------------

    def call(self, about: About, function: Callable[[], _T]) -> _T | Failed:
        """Call a plain method here and now, without a limit of time."""
        series, ring, standing = self._counted(about)
        if standing.isolated_until is not None and self._is_skipped(standing):
            return self._skip(about, series, ring, standing)
        started = self._timer()
        try:
            result = function()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the plugin guard: it is logged
            return self._failed(about, self._timer() - started, tell_failure(about, error))
        self._done(about, series, ring, standing, self._timer() - started, result)
        return result

    async def call_async(
        self, about: About, function: Callable[[], Awaitable[_T]], deadline: timedelta
    ) -> _T | Failed:
        """Await a method, for as long as `deadline` at most."""
        series, ring, standing = self._counted(about)
        if standing.isolated_until is not None and self._is_skipped(standing):
            return self._skip(about, series, ring, standing)
        started = self._timer()
        seconds = deadline.total_seconds()
        limit = asyncio.timeout(seconds)
        try:
            if self._trusts is not None and self._trusts(about.kind, about.plugin):
                async with limit:
                    result = await function()
            else:
                result = await self._in_task(about, standing, function, seconds)
        except _NoAnswer as silence:
            return self._failed(about, self._timer() - started, str(silence), timed_out=True)
        except Exception as error:  # noqa: BLE001 - the plugin guard: it is logged
            took = self._timer() - started
            if isinstance(error, TimeoutError) and limit.expired():
                return self._failed(about, took, _late(seconds), timed_out=True)
            return self._failed(about, took, tell_failure(about, error))
        self._done(about, series, ring, standing, self._timer() - started, result)
        return result

    async def call_in_thread(
        self, about: About, function: Callable[[], _T], deadline: timedelta
    ) -> _T | Failed:
        """Call a plain method in the plugin's own thread, for as long as `deadline` at most.

        Calls of one plugin wait for each other. A thread that hangs is left behind and another one
        takes its place, as often as `navarch.plugins.threads` allows.
        """
        series, ring, standing = self._counted(about)
        if standing.isolated_until is not None and self._is_skipped(standing):
            return self._skip(about, series, ring, standing)
        started = self._timer()
        try:
            result = await self._workers.call(_who(about), function, deadline.total_seconds())
        except Exception as error:  # noqa: BLE001 - the plugin guard: it is logged there
            return self._broke_in_thread(about, self._timer() - started, error)
        self._done(about, series, ring, standing, self._timer() - started, result)
        return result

    def call_waiting(
        self, about: About, function: Callable[[], _T], deadline: timedelta
    ) -> _T | Failed:
        """Do as `call_in_thread` does, from a thread that may wait."""
        series, ring, standing = self._counted(about)
        if standing.isolated_until is not None and self._is_skipped(standing):
            return self._skip(about, series, ring, standing)
        started = self._timer()
        try:
            result = self._workers.wait(_who(about), function, deadline.total_seconds())
        except Exception as error:  # noqa: BLE001 - the plugin guard: it is logged there
            return self._broke_in_thread(about, self._timer() - started, error)
        self._done(about, series, ring, standing, self._timer() - started, result)
        return result

    def _broke_in_thread(self, about: About, took: float, error: Exception) -> Failed:
        if isinstance(error, Busy):
            return self._failed(about, took, str(error), timed_out=True)
        return self._failed(about, took, tell_failure(about, error))

    async def _in_task(
        self,
        about: About,
        standing: Standing,
        function: Callable[[], Awaitable[_T]],
        seconds: float,
    ) -> _T:
        """Await a coroutine that may not end even when it is cancelled."""
        if standing.abandoned >= ABANDONED_MAX:
            raise _NoAnswer(f"{standing.abandoned} calls of it were given up and still run")
        task = asyncio.ensure_future(_awaited(function))
        try:
            done, _ = await asyncio.wait([task], timeout=seconds)
            if task.cancelled():
                raise _NoAnswer("it cancelled itself")
            if done:
                return task.result()
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=CANCEL_GRACE.total_seconds())
        except asyncio.CancelledError:
            task.cancel()
            self._leave(standing, task)
            raise
        if not done:
            self._leave(standing, task)
            log.error("plugin_abandoned", kind=about.kind, plugin=about.plugin, point=about.point)
        elif not task.cancelled():
            task.exception()  # looked at, so that nobody else reports it
        raise _NoAnswer(_late(seconds))

    def _leave(self, standing: Standing, task: asyncio.Future[_T]) -> None:
        """Forget a call that is no longer waited for, once it ends."""

        def ended(task: asyncio.Future[object]) -> None:
            standing.abandoned -= 1
            self._abandoned.discard(task)
            if not task.cancelled():
                task.exception()  # as above

        standing.abandoned += 1
        self._abandoned.add(task)  # type: ignore[arg-type]
        task.add_done_callback(ended)  # type: ignore[arg-type]

    # --- remembering ---------------------------------------------------------------------

    def shadows_are(self, shadows: Iterable[tuple[PluginKind, str]]) -> None:
        """Mark the calls of these plugins as without effect from now on."""
        self._shadows = frozenset(shadows)

    def _counted(self, about: About) -> tuple[Series, deque[_Kept], Standing]:
        for found in self._series.get((about.plugin, about.point), ()):
            if found[0].kind is about.kind:
                return found
        with self._lock:
            plugin, point = about.plugin, about.point
            if self._count >= SERIES_MAX:
                plugin = point = ""
            listed = self._series.setdefault((plugin, point), [])
            for found in listed:
                if found[0].kind is about.kind:
                    return found
            self._count += 1
            standing = self._standings.setdefault((about.kind.value, plugin), Standing())
            made = (Series(about.kind, plugin, point), self._rings[about.kind], standing)
            listed.append(made)
            return made

    def _done(
        self,
        about: About,
        series: Series,
        ring: deque[_Kept],
        standing: Standing,
        seconds: float,
        result: object,
    ) -> None:
        shadow = bool(self._shadows) and (about.kind, about.plugin) in self._shadows
        if self._tells:
            log.debug(
                "plugin_called",
                kind=about.kind,
                plugin=about.plugin,
                point=about.point,
                seconds=round(seconds, 6),
            )
        if tracing.active is not None:
            tracing.active.past(_span(about), _attributes(about), seconds=seconds)
        kept = result if result is None or type(result) in _PLAIN else verdict_of(result)
        ring.append((self._now(), about, seconds, "ok", kept, shadow))
        with self._lock:
            series.durations.add(seconds)
            if standing.failures_in_row or standing.times:
                standing.failures_in_row = standing.times = 0
                standing.isolated_until, standing.because = None, ""

    def _failed(
        self, about: About, seconds: float, text: str, *, timed_out: bool = False
    ) -> Failed:
        series, ring, standing = self._counted(about)
        text = " ".join(text.split())[:500]
        now = self._now()
        shadow = (about.kind, about.plugin) in self._shadows
        outcome: Outcome = "timed out" if timed_out else "failed"
        if tracing.active is not None:
            tracing.active.past(_span(about), _attributes(about), seconds=seconds, failed=text)
        ring.append((now, about, seconds, outcome, text, shadow))
        with self._lock:
            series.durations.add(seconds)
            series.failures += 1
            series.timeouts += timed_out
            standing.failures_in_row += 1
            standing.last_failure, standing.failed_at = f"{about.point}: {text}", now
            if standing.failures_in_row >= FAILURES_MAX or standing.times:
                self._isolate(about, standing, now)
        return Failed(about.plugin, about.point, text, timed_out=timed_out)

    def _isolate(self, about: About, standing: Standing, now: datetime) -> None:
        pause = min(ISOLATION_MIN * 2 ** min(standing.times, 10), ISOLATION_MAX)
        standing.times += 1
        standing.isolated_until = now + pause
        standing.because = (
            f"{standing.failures_in_row} failures in a row, the last: {standing.last_failure}"
        )
        log.error(
            "plugin_isolated",
            kind=about.kind,
            plugin=about.plugin,
            seconds=pause,
            because=standing.because,
        )

    def _is_skipped(self, standing: Standing) -> bool:
        """Whether an isolated plugin is not called now; one call is let through when time is up."""
        now = self._now()
        with self._lock:
            if standing.isolated_until is None:
                return False
            if now < standing.isolated_until:
                return True
            standing.isolated_until = now + ISOLATION_MIN  # until this call has shown how it does
            return False

    def _skip(self, about: About, series: Series, ring: deque[_Kept], standing: Standing) -> Failed:
        text = f"left alone after {standing.because}"
        shadow = (about.kind, about.plugin) in self._shadows
        ring.append((self._now(), about, 0.0, "skipped", text, shadow))
        with self._lock:
            series.skipped += 1
        return Failed(about.plugin, about.point, text)

    # --- telling -------------------------------------------------------------------------

    def traces(
        self, kind: PluginKind | None = None, *, pool: str = "", limit: int = 100
    ) -> list[Trace]:
        """Return the newest calls, the newest last; of every kind where none is named."""
        kinds = list(PluginKind) if kind is None else [kind]
        kept = [each for one in kinds for each in list(self._rings[one])]
        if kind is None:
            kept.sort(key=lambda each: each[0])
        told = [each for each in kept if pool in ("", each[1].pool)]
        return [_trace(each) for each in told[-limit:]] if limit > 0 else []

    def summary(self, kind: PluginKind, plugin: str) -> Summary:
        """Sum a plugin's calls up."""
        mine = [each for each in self.series() if each.kind is kind and each.plugin == plugin]
        newest = sorted(second for each in mine for second in each.durations.newest)
        standing = self._standings.get((kind.value, plugin), Standing())
        return Summary(
            calls=sum(each.durations.count for each in mine),
            failures=sum(each.failures for each in mine),
            skipped=sum(each.skipped for each in mine),
            p50_seconds=_percentile(newest, 0.50),
            p99_seconds=_percentile(newest, 0.99),
            last_failure=standing.last_failure,
            isolated=self._isolated(standing),
        )

    def series(self) -> Iterator[Series]:
        """Every method that has been called."""
        with self._lock:
            found = [each[0] for listed in self._series.values() for each in listed]
        yield from found

    def isolated(self) -> dict[tuple[PluginKind, str], str]:
        """Who is left alone now, and why."""
        with self._lock:
            standings = dict(self._standings)
        told = {
            (PluginKind(kind), plugin): self._isolated(each)
            for (kind, plugin), each in standings.items()
        }
        return {who: why for who, why in told.items() if why}

    def release(self, kind: PluginKind, plugin: str) -> None:
        """Call a plugin again at once, as after an operator has looked at it."""
        with self._lock:
            standing = self._standings.get((kind.value, plugin))
            if standing is not None:
                standing.failures_in_row = standing.times = 0
                standing.isolated_until, standing.because = None, ""

    def _isolated(self, standing: Standing) -> str:
        until = standing.isolated_until
        if until is None:
            return ""
        return f"until {until:%H:%M:%S} UTC after {standing.because}"


_PLAIN: Final = frozenset({bool, int, float})


class _NoAnswer(Exception):
    """A coroutine was given up."""


async def _awaited(function: Callable[[], Awaitable[_T]]) -> _T:
    try:
        return await function()
    except SystemExit as error:  # which would end the whole loop
        raise RuntimeError("it raised SystemExit") from error


def _span(about: About) -> str:
    return f"plugin {about.kind}.{about.point}"


def _attributes(about: About) -> dict[str, tracing.Value]:
    found = {"kind": about.kind.value, "plugin": about.plugin, "point": about.point}
    return {**found, "pool": about.pool} if about.pool else {**found}


def _who(about: About) -> str:
    return f"{about.kind} {about.plugin}"


def _late(seconds: float) -> str:
    return f"no answer within {seconds:g} s"


def _trace(kept: _Kept) -> Trace:
    at, about, seconds, outcome, said, shadow = kept
    verdict = said if isinstance(said, str) else verdict_of(said)
    return Trace(
        at,
        about.kind,
        about.plugin,
        about.point,
        about.pool,
        about.subject[:200],
        seconds,
        outcome,
        verdict,
        shadow,
    )


def _percentile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0
