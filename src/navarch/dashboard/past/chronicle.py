"""The past of a fleet, read off its journal once and kept up to date by whoever looks.

The first look reads at most `FACTS_MAX` facts and goes back at most `KEPT`; each later one reads
what has come since. Nobody looks: nothing is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import datetime, timedelta
from typing import Final, Protocol

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.dashboard.past import decisions
from navarch.dashboard.past.decisions import Decision
from navarch.dashboard.past.lives import Lives
from navarch.dashboard.past.series import milliseconds
from navarch.stores.base import Recorded

KEPT: Final = timedelta(days=7)
"""How far back charts go."""
FACTS_MAX: Final = 60_000
"""Facts that are read when there is nothing to go on from: about half a second of one core."""
PAGE: Final = 500
"""Facts that are read at once: others' work waits for no longer than they take, some 3 ms."""
DECISIONS_MAX: Final = 400
"""Decisions that are kept of a pool, the newest."""
TARGETS_MAX: Final = 5_000
"""Changes of a pool's target that are kept, the newest."""


class Reader(Protocol):
    """Reads facts from the journal: what every store does."""

    async def read(
        self,
        *,
        after: int = 0,
        limit: int = 1000,
        subject: str | None = None,
        since: datetime | None = None,
        newest_first: bool = False,
    ) -> list[Recorded]:
        """Return up to `limit` facts with a number above `after`."""
        ...


class Chronicle:
    """What was read so far."""

    def __init__(self, *, kept: timedelta = KEPT, facts_max: int = FACTS_MAX) -> None:
        """Know nothing yet."""
        self.lives = Lives()
        self.since: datetime | None = None
        """Before this moment nothing is known; None: nothing was read yet."""
        self.began_at: datetime | None = None
        """When the fleet was founded; None: that is too long ago to be known here."""
        self.seq = 0
        """The newest fact that was read."""
        self._kept = kept
        self._facts_max = facts_max
        self._decisions: dict[str, deque[Decision]] = {}
        self._targets: dict[str, deque[tuple[datetime, int]]] = {}
        self._reading = asyncio.Lock()

    async def catch_up(self, journal: Reader, seq: int, fleet: Fleet, now: datetime) -> None:
        """Read what the journal has up to fact `seq`, which is in `fleet`.

        Cost: O(facts since the last time), in pages between which others work.
        """
        async with self._reading:
            if self.since is None or seq - self.seq > self._facts_max:
                self._begin(seq, now)
            began = self.seq
            while self.seq < seq:
                since = self.since if self.seq == began else None
                page = await journal.read(after=self.seq, limit=PAGE, since=since)
                if not page:
                    break
                for recorded in page:
                    self._read(recorded, fleet)
                await asyncio.sleep(0)  # a journal in memory has not waited for anything
                if len(page) < PAGE and page[-1].seq < seq:
                    break  # the others are not there yet
            self.lives.settle(fleet)
            oldest = now - self._kept
            self.since = max(self.since or oldest, oldest)
            self.lives.forget(oldest.timestamp())

    def _begin(self, seq: int, now: datetime) -> None:
        """Forget all, and begin as far back as may be."""
        self.lives = Lives()
        self._decisions.clear()
        self._targets.clear()
        self.seq = max(seq - self._facts_max, 0)
        self.since = now - self._kept
        self._is_cut = self.seq > 0
        self._is_whole, self.began_at = False, None

    def _read(self, recorded: Recorded, fleet: Fleet) -> None:
        fact = recorded.event
        if self._is_cut and self.since is not None:
            self.since = max(self.since, fact.at)  # what came before was left out
            self._is_cut = False
        self.seq = recorded.seq
        if recorded.seq == 1:
            self._is_whole, self.began_at = True, fact.at
        self.lives.read(fact, fleet)
        if isinstance(fact, ev.PoolConfigured):
            self._configure(fact)
        found = decisions.read(recorded.seq, fact, fleet)
        if found is None:
            return
        pool, decision = found
        kept = self._decisions.setdefault(pool, deque(maxlen=DECISIONS_MAX))
        if decision.target is not None:
            targets = self._targets_of(pool)
            decision.before = targets[-1][1] if targets else None
            targets.append((fact.at, decision.target))
            if decision.before is not None:
                decision.title = f"target {decision.before} → {decision.target}"
        if not (kept and decisions.joined(kept[-1], decision)):
            kept.append(decision)

    def _configure(self, fact: ev.PoolConfigured) -> None:
        """A new pool wants its minimum, one that was there what it wanted, within its limits."""
        spec, targets = fact.spec, self._targets_of(fact.spec.name)
        if targets:
            target = min(max(targets[-1][1], spec.min_nodes), spec.max_nodes)
        elif self._is_whole:
            target = spec.min_nodes
        else:
            return
        if not targets or targets[-1][1] != target:
            targets.append((fact.at, target))

    def _targets_of(self, pool: str) -> deque[tuple[datetime, int]]:
        return self._targets.setdefault(pool, deque(maxlen=TARGETS_MAX))

    _is_cut = False
    """Whether older facts were left out, and none was read yet."""
    _is_whole = False
    """Whether the journal was read from its beginning."""

    # --- asking --------------------------------------------------------------------------

    def decisions(self, pool: str, since: datetime | None = None) -> list[Decision]:
        """The pool's decisions since a moment, or all; the oldest first. Cost: O(those kept)."""
        kept = self._decisions.get(pool, ())
        return [each for each in kept if since is None or each.at >= since]

    def target(self, pool: str, now_wanted: int, since: datetime) -> list[tuple[int, float | None]]:
        """What a pool wanted since a moment, as points; None before anybody knows.

        A pool whose target did not change wants what it wants now.
        """
        known = self._targets.get(pool)
        start = milliseconds(since)
        if not known:
            return [(start, now_wanted)]
        points: list[tuple[int, float | None]] = []
        held: int | None = None
        for at, target in known:
            if at <= since:
                held = target
            else:
                points.append((milliseconds(at), target))
        return [(start, held), *points]
