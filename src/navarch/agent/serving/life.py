"""What becomes of one replica on its node, and when. Pure: time and chance arrive with inputs.

::

    waiting ──Start──▶ starting ──answers──▶ ready
       ▲                  │  ▲                 │
       │                  │  └──no answers─────┤
       └──ended, too slow─┴────────────────────┘
                          any ──told to stop──▶ stopping ──▶ over

Rules that hold:

1. There is never more than one program: the next one starts only when all processes of the one
   before are gone.
2. A program that ends, cannot be started, or does not answer for `Readiness.startup_timeout` is
   started again, after a wait that doubles. After `FAILURES_MAX` failures in a row the replica is
   over: somewhere else it may do better. Having answered for `STEADY` ends the row.
3. One answer makes it ready; `Readiness.failure_threshold` failures in a row make it not ready.
4. What has to end is asked by SIGTERM, and after the grace period killed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from navarch.agent.backoff import Backoff
from navarch.core.model.replica import ReplicaSeen, ReplicaState
from navarch.core.model.resources import Runtime

FAILURES_MAX: Final = 5
"""Starts in a row that fail before the replica is given up: a quarter of a minute of waits."""

RESTART_FIRST: Final = timedelta(seconds=1)
"""The longest first wait before the program is started again."""

RESTART_MAX: Final = timedelta(minutes=1)

STEADY: Final = timedelta(minutes=1)
"""How long a program has to have been ready for its failures to be forgotten."""

PERIOD_MIN: Final = timedelta(milliseconds=100)
"""No program is asked more often."""

# --- in --------------------------------------------------------------------------------------


class Tick(Struct, frozen=True):
    """Time has passed."""


class Started(Struct, frozen=True):
    """The program runs."""

    port: int


class StartFailed(Struct, frozen=True):
    """The program could not be started, and does not run."""

    text: str


class Ended(Struct, frozen=True):
    """The program has ended, and so have all processes that it has left."""

    text: str
    """How, such as ``ended with 1``, and what it said last."""


class Probed(Struct, frozen=True):
    """The program was asked whether it serves."""

    run: int
    """Of the `Probe`."""
    good: bool
    text: str = ""
    """What was wrong; empty when it is good."""


class Stuck(Struct, frozen=True):
    """Processes do not end although they were killed."""

    text: str


class StopWanted(Struct, frozen=True):
    """The replica shall not run here any more."""


Input = Tick | Started | StartFailed | Ended | Probed | Stuck | StopWanted

# --- out -------------------------------------------------------------------------------------


class Start(Struct, frozen=True):
    """Start the program: answer with `Started`, and later `Ended`; or with `StartFailed`."""

    port: int
    """Where it should listen if that is free; 0: on any free port."""
    must: bool
    """Whether no other port will do."""


class Probe(Struct, frozen=True):
    """Ask it: answer with `Probed`. There is never more than one at a time."""

    run: int
    port: int


class Signal(Struct, frozen=True):
    """Tell all its processes to end, or end them."""

    kill: bool


Output = Start | Probe | Signal

_Phase = Literal["waiting", "starting-up", "up", "ending", "over"]


class Found(Struct, frozen=True):
    """What an agent that starts finds of a replica that an earlier one has started."""

    restarts: int = 0
    port: int = 0
    """Where its program listens, or did."""
    lives: bool = False
    """Whether its program runs."""
    ready: bool = False
    """Whether it was ready when the earlier agent ended."""


class Life:
    """One replica. Not thread-safe: one caller steps it."""

    def __init__(
        self,
        replica: str,
        runtime: Runtime,
        *,
        start: datetime,
        spread: float,
        found: Found | None = None,
    ) -> None:
        """Begin with a program that is to be started at once, or with the one that was `found`."""
        self._replica = replica
        self._fixed_port = runtime.port
        self._readiness = runtime.readiness
        self._grace = runtime.grace_period
        self._backoff = Backoff(spread, until=start)
        found = found or Found()
        self._starts = found.restarts + bool(found.port)
        self._port = found.port
        self._phase: _Phase = "waiting"
        self._message = "its program is being started"
        self._stopping = False
        self._ready_since: datetime | None = None
        self._was_ready = found.ready
        self._run = 0
        self._unready_since = start
        self._misses = 0
        self._probe_due = start
        self._probing = False
        self._kill_due: datetime | None = None
        self._ends_for = ""
        if found.lives:
            self._phase = "up"
            self._ready_since = start if found.ready else None
            self._message = "its program was found running"

    @property
    def over(self) -> bool:
        """Whether nothing of it runs here, nor will."""
        return self._phase == "over"

    @property
    def stopped(self) -> bool:
        """Whether it is over, or going to be, because it was told to stop."""
        return self._stopping

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self._phase == "up" and self._ready_since is not None

    @property
    def starts(self) -> int:
        """How often its program was started."""
        return self._starts

    @property
    def restarts(self) -> int:
        """How often its program was started again."""
        return max(self._starts - 1, 0)

    @property
    def seen(self) -> ReplicaSeen:
        """What there is to be told of it."""
        if self.over:
            state = ReplicaState.ENDED
        elif self._stopping:
            state = ReplicaState.STOPPING
        else:
            state = ReplicaState.READY if self.ready else ReplicaState.STARTING
        port = self._port if self._phase in ("up", "ending") else 0
        return ReplicaSeen(self._replica, state, port, self.restarts, self._message)

    def step(self, given: Input, now: datetime) -> list[Output]:
        """Learn from one input, and say what is to be done. `now` never goes backwards."""
        if self.over:
            return []
        outputs = self._learn(given, now)
        if not outputs:
            outputs = self._owed(now)
        return outputs

    def next_due(self) -> datetime | None:
        """Tell when a `Tick` will bring something if nothing else comes first; None: never."""
        match self._phase:
            case "waiting":
                return self._backoff.until
            case "up":
                limit = self._limit()
                moments = [] if self._probing else [self._probe_due]
                if limit is not None:
                    moments.append(limit)
                return min(moments, default=None)
            case "ending":
                return self._kill_due
            case _:
                return None

    # --- learning ----------------------------------------------------------------------------

    def _learn(self, given: Input, now: datetime) -> list[Output]:
        match given:
            case Tick():
                return []
            case Started():
                return self._started(given, now)
            case StartFailed() | Ended():
                self._failed(given.text, now)
            case Probed():
                self._probed(given, now)
            case Stuck():
                self._message = given.text
            case StopWanted():
                return self._stop(now)
        return []

    def _started(self, given: Started, now: datetime) -> list[Output]:
        self._starts += 1
        self._run += 1
        self._port = given.port
        self._phase = "up"
        self._ready_since = None
        self._unready_since = now
        self._misses = 0
        self._probing = False
        self._probe_due = now + self._readiness.initial_delay
        again = f", {self.restarts} times again" if self.restarts else ""
        self._message = f"its program was started{again}"
        return self._end(now) if self._stopping else []

    def _probed(self, given: Probed, now: datetime) -> None:
        if given.run != self._run or self._phase != "up":
            return
        self._probing = False
        self._probe_due = now + max(self._readiness.period, PERIOD_MIN)
        if given.good:
            self._misses = 0
            if self._ready_since is None:
                self._ready_since = now
                self._was_ready = True
                self._message = "it answers"
            elif now - self._ready_since >= STEADY:
                self._backoff.worked()
            return
        self._misses += 1
        if self._ready_since is None:
            self._message = f"does not serve yet: {given.text}"
        elif self._misses >= max(self._readiness.failure_threshold, 1):
            self._ready_since = None
            self._unready_since = now
            self._message = f"does not serve any more: {given.text}"

    def _failed(self, text: str, now: datetime) -> None:
        """Take note that nothing of it runs: it is over, or started again after a wait."""
        self._probing, self._kill_due = False, None
        if self._stopping:
            self._phase, self._message = "over", text
            return
        if self._ready_since is not None and now - self._ready_since >= STEADY:
            self._backoff.worked()
        because = f"{self._ends_for}; {text}" if self._ends_for else text
        self._ready_since, self._ends_for = None, ""
        self._backoff.failed(now, first=RESTART_FIRST, longest=RESTART_MAX)
        if self._backoff.failures >= FAILURES_MAX:
            self._phase = "over"
            self._message = f"given up after {FAILURES_MAX} failures in a row: {because}"
            return
        self._phase = "waiting"
        wait = (self._backoff.until - now).total_seconds()
        self._message = f"{because}; started again in {wait:.1f} s"

    def _stop(self, now: datetime) -> list[Output]:
        if self._stopping:
            return []
        self._stopping = True
        self._message = "told to stop"
        match self._phase:
            case "waiting":
                self._phase, self._message = "over", "its program did not run"
            case "up":
                return self._end(now)
            case _:  # a start or an end is under way, and what follows looks at this again
                return []
        return []

    # --- what is owed ------------------------------------------------------------------------

    def _owed(self, now: datetime) -> list[Output]:
        match self._phase:
            case "waiting" if now >= self._backoff.until:
                self._phase = "starting-up"
                return [self._start()]
            case "up":
                limit = self._limit()
                if limit is not None and now >= limit:
                    seconds = self._readiness.startup_timeout.total_seconds()
                    self._ends_for = f"not ready within {seconds:g} s: {self._message}"
                    self._message = self._ends_for
                    return self._end(now)
                if not self._probing and now >= self._probe_due:
                    self._probing = True
                    return [Probe(self._run, self._port)]
            case "ending" if self._kill_due is not None and now >= self._kill_due:
                self._kill_due = None
                return [Signal(kill=True)]
            case _:
                return []
        return []

    def _start(self) -> Start:
        """Ask for the port it is known by; one where it never served may be the trouble itself."""
        if self._fixed_port:
            return Start(self._fixed_port, must=True)
        return Start(self._port if self._was_ready else 0, must=False)

    def _limit(self) -> datetime | None:
        """Tell until when it has to be ready; None while it is."""
        if self._ready_since is not None:
            return None
        return self._unready_since + self._readiness.startup_timeout

    def _end(self, now: datetime) -> list[Output]:
        self._phase = "ending"
        self._kill_due = now + self._grace
        return [Signal(kill=False)]
