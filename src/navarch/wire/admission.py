"""Who is let in when not everybody can be: rates, the lag of the event loop, and when to come back.

Three questions, each answered in constant time and before a body is read where that is possible:

- Does one caller ask too often? `RateLimits`: a bucket of tokens for each node, and one for each
  token of an operator. A node in a tight loop is slowed down; the others do not notice.
- Is this process late? `LoopLag`: once the event loop has been late for a while, new heartbeats are
  refused before they are decoded, until it has caught up. Nothing else is refused for that.
- When should somebody come back who was refused? `Appointments`: each is told a later moment, so
  that they come back one after another, as quickly as they can be served, and not all at once.

Time arrives as seconds of the event loop's clock, chance as one number at the beginning: multiples
of the golden ratio added to it fall evenly over the unit interval.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from msgspec import Struct

from navarch.wire.auth import ANONYMOUS, Principal
from navarch.wire.limits import LimitExceeded

GOLDEN_RATIO: Final = 0.618033988749895
"""Its fractional part: the multiples of no other number are spread more evenly."""

COSTLY: Final = ("RegisterNode", "ReportHealth")
"""Methods that are costly to read. Of each only `Rates.costly_at_once` may be under way; one more
is refused before it is read."""

WAIT_MIN: Final = 1.0
"""Seconds: the header counts in whole ones."""
RATE_FIRST: Final = 1_000.0
"""Calls a second that are believed to be served before that was measured."""
WAIT_MAX: Final = 30.0
"""Seconds that anybody is told to wait at most: as long as the longest wait of our agents when
nobody answers."""

HEARTBEATS: Final = frozenset({"Heartbeat", "SendHeartbeat", "HeartbeatBatch"})
"""Methods that are refused while the event loop is late: what they say is said again soon."""

NODE_COUNTED: Final = frozenset(
    {
        "Heartbeat",
        "SendHeartbeat",
        "RegisterNode",
        "ReportHealth",
        "PollCommands",
        "GetNodeCommands",
        "AckCommand",
    }
)
"""Methods that the bucket of a node counts, whoever speaks for it; of others the caller's does."""


class Rates(Struct, frozen=True):
    """How often callers may ask, and how many connections one address may have."""

    node_rate: float = 10.0
    """Calls a second of one node, in the long run: a hundred times what an agent needs."""
    node_burst: int = 50
    """Calls of one node at once: an agent that starts on a large node makes a dozen."""
    caller_rate: float = 500.0
    """Calls a second of one operator's token that are not for a node, batches included."""
    caller_burst: int = 2_000
    """Calls of one operator's token at once."""
    connections_per_address: int = 4_096
    """Connections from one address at one time. A quarter of all: several hosts can not be locked
    out by one, and thousands of agents may sit behind one relay or NAT."""
    watchers: int = 1_000
    """Callers of `WatchEvents` at one time."""
    costly_at_once: int = 500
    """Calls of each of `COSTLY` that may be under way. At half a millisecond each, nobody else
    waits longer than a quarter of a second for them."""


DEFAULT_RATES: Final = Rates()


def whole_seconds(wait: timedelta) -> int:
    """A wait as the header ``retry-after`` says it: whole seconds, rounded up, at least 1."""
    return max(1, math.ceil(wait.total_seconds()))


class Spread:
    """Numbers from 0 up to and without 1, as even as any sequence can be."""

    def __init__(self, chance: float = 0.0) -> None:
        """Begin at `chance`, from 0 up to and without 1."""
        self._at = chance % 1.0

    def roll(self) -> float:
        """The next one."""
        self._at = (self._at + GOLDEN_RATIO) % 1.0
        return self._at


class Appointments:
    """Moments to come back, no more of them a second than can be served."""

    def __init__(self, rate: float, spread: Spread | None = None) -> None:
        """Give out `rate` a second; it may be changed. `spread` has the chance in it."""
        self.rate = rate
        self._spread = spread or Spread()
        self._next = 0.0

    def wait(self, now: float, weight: int = 1) -> timedelta:
        """How long to wait, between `WAIT_MIN` and `WAIT_MAX` seconds.

        When more were sent away than `WAIT_MAX` seconds can serve, the rest is spread over the
        later half of them. `now` is in seconds, of any clock that only goes forward.
        """
        self._next = max(self._next, now + WAIT_MIN) + weight / self.rate
        latest = now + WAIT_MAX
        if self._next > latest:
            self._next = latest
            return timedelta(seconds=WAIT_MAX * (1 + self._spread.roll()) / 2)
        return timedelta(seconds=self._next - now)


class RateLimits:
    """A bucket of tokens for each caller, in one number each.

    The number is the moment when the bucket is full again (the "theoretical arrival time" of the
    generic cell rate algorithm), so a bucket that is full need not be kept at all.
    """

    def __init__(self, rate: float, burst: int, *, callers_max: int = 262_144) -> None:
        """Let each caller make `rate` calls a second, and `burst` at once.

        At most `callers_max` buckets are kept; callers beyond share one. Raises `ValueError` when
        a number is not above zero.
        """
        if rate <= 0 or burst < 1 or callers_max < 1:
            raise ValueError(f"rate {rate}, burst {burst}, {callers_max} callers: above 0 expected")
        self._every = 1.0 / rate
        self._patience = (burst - 1) / rate
        self._full_at: dict[str, float] = {}
        self._callers_max = callers_max
        self._prune_at = min(1_024, callers_max)
        self._pruned_at = -math.inf
        self.refused = 0
        """Calls that came too early, since the start."""

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._full_at)

    def admit(self, key: str, now: float) -> float:
        """Take a token out of the caller's bucket.

        Returns 0.0 when there was one, else the seconds until there is one. Cost: O(1), 0.2 µs.
        """
        full_at = self._full_at
        at = full_at.get(key, now)
        if at <= now:
            if len(full_at) >= self._prune_at and key not in full_at:
                key = self._make_room(key, now)
                full_at = self._full_at
                at = max(full_at.get(key, now), now)
            else:
                at = now
        early = at - now - self._patience
        if early > 1e-9:  # what adding up fractions of a second leaves over is not early
            self.refused += 1
            return early
        full_at[key] = at + self._every
        return 0.0

    def wait(self, key: str, now: float) -> float:
        """Say how many seconds a call would come too early, and take nothing. Cost: O(1)."""
        return max(0.0, self._full_at.get(key, now) - now - self._patience)

    def _make_room(self, key: str, now: float) -> str:
        """Drop the buckets that are full; say under which key the caller is counted.

        Cost: O(buckets), once for as many new ones, and at most once a second.
        """
        if len(self._full_at) >= self._callers_max and now - self._pruned_at < 1.0:
            return ""
        self._pruned_at = now
        self._full_at = {each: at for each, at in self._full_at.items() if at > now}
        kept = len(self._full_at)
        self._prune_at = min(max(2 * kept, 1_024), self._callers_max)
        return key if kept < self._callers_max else ""


class LoopLag:
    """Whether the event loop has been late for so long that heartbeats are refused."""

    EVERY: Final = 0.1
    """Seconds between two measurements."""

    def __init__(self, *, target: float = 1.0, sustained: float = 2.0) -> None:
        """Refuse once the loop was later than `target` seconds at all times for `sustained`."""
        self._target = target
        self._sustained = sustained
        self._above_since: float | None = None
        self.seconds = 0.0
        """How late it was when it was last measured."""
        self.refusing = False
        """Whether heartbeats are refused now."""

    def note(self, late: float, now: float) -> None:
        """Take a measurement: a timer was `late` seconds late at `now`.

        It goes on refusing until the loop is late by less than half of the target, so that a queue
        that has not been worked off is not added to.
        """
        self.seconds = late
        if late < (self._target / 2 if self.refusing else self._target):
            self._above_since, self.refusing = None, False
        elif self._above_since is None:
            self._above_since = now
        elif now - self._above_since >= self._sustained:
            self.refusing = True


class _Work:
    """The calls of one method that are under way, and how quickly they are done."""

    def __init__(self, bound: int, spread: Spread) -> None:
        self.bound = bound
        self.now = 0
        self.appointments = Appointments(RATE_FIRST, spread)
        self._done = 0
        self._since = 0.0

    def end(self, now: float) -> None:
        """Count a call out; learn from each second how many that were."""
        self.now -= 1
        self._done += 1
        if now - self._since >= 1.0:
            if now - self._since < 2.0:  # else there were pauses, in which more could be done
                self.appointments.rate += (self._done - self.appointments.rate) / 2
            self._since, self._done = now, 0


class Admission:
    """All of it for one process, and what was refused."""

    def __init__(self, rates: Rates = DEFAULT_RATES, *, chance: float = 0.0) -> None:
        """Hold callers to `rates`; `chance`, from 0 up to 1, spreads the waits of two processes."""
        self.rates = rates
        self.lag = LoopLag()
        self.nodes = RateLimits(rates.node_rate, rates.node_burst)
        self.callers = RateLimits(rates.caller_rate, rates.caller_burst)
        self.watching = 0
        """Callers of `WatchEvents` now."""
        self.connections: Counter[str] = Counter()
        """Connections now, by the address that they come from."""
        self.unheard = 0
        """Heartbeats that were refused because we were late, since the start: no silence of
        theirs."""
        self._spread = Spread(chance)
        self._work = {name: _Work(rates.costly_at_once, self._spread) for name in COSTLY}
        self._refused: Counter[str] = Counter()

    @property
    def refused(self) -> Mapping[str, int]:
        """How many calls were refused since the start, by the bound that refused them."""
        return dict(self._refused)

    def check_lag(self, method: str) -> None:
        """Refuse a heartbeat while the event loop is late; ask before the body is read.

        Raises `LimitExceeded` with ``resource_exhausted``.
        """
        if self.lag.refusing and method in HEARTBEATS:
            self.unheard += 1
            self._refused["event_loop_lag"] += 1
            wait = timedelta(seconds=1 + 9 * self._spread.roll())
            text = f"the control plane is {self.lag.seconds:.1f} s late: try again later"
            raise LimitExceeded("event_loop_lag", text, code="resource_exhausted", retry_after=wait)

    def check_crowd(self, method: str) -> None:
        """Refuse a costly call while many are under way; ask before the body is read.

        Raises `LimitExceeded` with ``resource_exhausted``.
        """
        work = self._work.get(method)
        if work is not None and work.now >= work.bound:
            self._refused["calls_at_once"] += 1
            raise LimitExceeded(
                "calls_at_once",
                f"{work.now} calls of {method} are under way already: try again later",
                code="resource_exhausted",
                retry_after=work.appointments.wait(asyncio.get_running_loop().time()),
            )

    @contextmanager
    def working(self, method: str) -> Iterator[None]:
        """Count a call that was read and may be costly, for as long as it is under way."""
        work = self._work.get(method)
        if work is None:
            yield
            return
        work.now += 1
        try:
            yield
        finally:
            work.end(asyncio.get_running_loop().time())

    def hears(self, principal: Principal, node_id: str) -> bool:
        """Count a heartbeat or a poll about a node; an empty id stands for a batch.

        False: it comes too early. Ask in an event loop. Cost: O(1).
        """
        now = asyncio.get_running_loop().time()
        if node_id:
            counted = principal is not ANONYMOUS
            return not counted or not self.nodes.admit(node_id, now)
        return principal is ANONYMOUS or not self.callers.admit(principal.name, now)

    def check_node(self, node_id: str, now: float) -> None:
        """Count a call of a node. Raises `LimitExceeded` with ``resource_exhausted``."""
        early = self.nodes.admit(node_id, now)
        if early:
            rates = self.rates
            self._refuse_early(
                "node_rate", early, f"node {node_id}", rates.node_rate, rates.node_burst
            )

    def check_caller(self, name: str, now: float) -> None:
        """Count a call of an operator. Raises `LimitExceeded` with ``resource_exhausted``."""
        early = self.callers.admit(name, now)
        if early:
            rates = self.rates
            self._refuse_early("caller_rate", early, name, rates.caller_rate, rates.caller_burst)

    def begin_connection(self, address: str) -> int:
        """Count a connection in; return by how many its address has more than it may have."""
        self.connections[address] += 1
        beyond = self.connections[address] - self.rates.connections_per_address
        if beyond > 0:
            self._refused["connections_per_address"] += 1
        return max(0, beyond)

    def end_connection(self, address: str) -> None:
        """Count a connection out."""
        self.connections[address] -= 1
        if not self.connections[address]:
            del self.connections[address]

    def count(self, bound: str) -> None:
        """Note that a bound was enforced elsewhere."""
        self._refused[bound] += 1

    def begin_watch(self) -> None:
        """Count a watcher in. Raises `LimitExceeded` when there are too many."""
        if self.watching >= self.rates.watchers:
            self._refused["watchers"] += 1
            raise LimitExceeded(
                "watchers",
                f"{self.watching} callers watch already: try again later, or read ListEvents",
                code="resource_exhausted",
                retry_after=timedelta(seconds=5 + 5 * self._spread.roll()),
            )
        self.watching += 1

    def end_watch(self) -> None:
        """Count a watcher out."""
        self.watching -= 1

    def _refuse_early(self, bound: str, early: float, who: str, rate: float, burst: int) -> None:
        self._refused[bound] += 1
        wait = timedelta(seconds=early + WAIT_MIN * self._spread.roll())
        text = f"{who} calls too often: {rate:g} calls a second are allowed, {burst} at once"
        raise LimitExceeded(bound, text, code="resource_exhausted", retry_after=wait)


async def measure(lag: LoopLag) -> None:
    """Measure how late the event loop is, until it is cancelled. Costs ten timers a second."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + lag.EVERY
        await asyncio.sleep(lag.EVERY)
        now = loop.time()
        lag.note(max(0.0, now - due), now)
