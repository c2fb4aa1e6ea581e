"""What waits to be looked at: six lanes, each bounded, each with a share of every step.

Whatever arrives waits in the lane of its class. A step takes from all of them, the most urgent
first, so that an operator's command is not stuck behind ten thousand heartbeats; and of each at
least its share, so that no class starves another.

Within a class the order of arrival is kept. Between classes it is not, and need not be: an agent
makes one call at a time, and whoever wants one request before another waits for its answer.

What happens when a lane is full:

- **Heartbeats** are shed, the oldest first: a newer one says the same, and more truly. Whoever
  waits for a shed one is told ``resource_exhausted``, and when to come back.
- **Requests** of every other class are refused at the door with ``resource_exhausted``, and when
  to come back. One that was let in is never dropped.
- **Our own** messages are never refused, for nobody would send them twice; their number is bounded
  by the effects that may be under way, and by the parts that ask.

When to come back follows from how quickly the lane has been emptied of late: see
`navarch.wire.admission.Appointments`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from enum import IntEnum
from typing import Final

from msgspec import Struct

from navarch.core.model import messages as msg
from navarch.core.model.messages import Answer, Message
from navarch.errors import WireError
from navarch.telemetry import tracing
from navarch.wire.admission import RATE_FIRST, Appointments, Spread
from navarch.wire.limits import LimitExceeded

REQUESTS_MAX: Final = 10_000
"""Requests of one class that may wait. At 25 µs each this is a quarter of a second of work."""

BATCH_MAX: Final = 1_000
"""Messages that one step takes, so that an answer never waits for a whole flood."""

RATE_MIN: Final = 50.0
"""The least that a lane is believed to serve, however slow the disk is: 30 seconds of waits then
spread 1,500 callers one by one."""
RATE_WEIGHT: Final = 0.2
"""How much one measurement counts: the last dozen make up nine tenths."""


class Lane(IntEnum):
    """The classes of what waits, the most urgent first."""

    OWN = 0
    """Outcomes of our own effects, the passing of time, and what our own parts ask."""
    OPERATORS = 1
    """What people and programs want of the fleet."""
    COMMANDS = 2
    """Agents that fetch commands and tell what came of them."""
    REPORTS = 3
    """Health reports; each counts with the events and results in it."""
    REGISTRATIONS = 4
    """Nodes that join."""
    HEARTBEATS = 5
    """Heartbeats; a batch counts with the number of them in it."""


class Bounds(Struct, frozen=True):
    """How much of each class may wait, and how many messages of it every step takes if it can."""

    operators: int = 1_000
    commands: int = REQUESTS_MAX
    reports: int = 50_000
    """Events and results: a report holds up to 2,000 of them."""
    registrations: int = REQUESTS_MAX
    heartbeats: int = 2 * REQUESTS_MAX
    """Two of the largest batches."""

    def of(self, lane: Lane) -> int:
        """What may wait in a lane."""
        return int(getattr(self, lane.name.lower()))


SHARES: Final[Mapping[Lane, int]] = {
    Lane.OWN: 300,
    Lane.OPERATORS: 100,
    Lane.COMMANDS: 200,
    Lane.REPORTS: 100,
    Lane.REGISTRATIONS: 150,
    Lane.HEARTBEATS: 150,
}
"""Of the messages of a step. What a lane leaves of its share is for the others, by urgency."""

assert sum(SHARES.values()) == BATCH_MAX


class Envelope:
    """Messages that came together, and who waits for the answers."""

    __slots__ = ("messages", "origin", "reply", "weight")

    def __init__(
        self,
        messages: Sequence[Message],
        reply: asyncio.Future[list[Answer]] | None,
        weight: int = 1,
    ) -> None:
        """Hold `messages`; `reply` is None when nobody waits. `weight` is what counts."""
        self.messages = messages
        self.reply = reply
        self.weight = weight
        self.origin = None if tracing.active is None else tracing.active.here()
        """Where in a trace they were sent; None: nobody traces, or in none."""


_BY_OPERATORS: Final = (
    msg.IssueCommand,
    msg.ScalePool,
    msg.PausePool,
    msg.SetPlugin,
    msg.ClearHealth,
    msg.ApplyResources,
    msg.DeleteResource,
)
"""All others are our own: whoever asks them waits for the answer before asking again."""


def lane_of(message: Message) -> Lane:
    """The class of a request."""
    match message:
        case msg.Heartbeat() | msg.HeartbeatBatch():
            return Lane.HEARTBEATS
        case msg.PollCommands() | msg.AckCommand():
            return Lane.COMMANDS
        case msg.ReportHealth():
            return Lane.REPORTS
        case msg.RegisterNode():
            return Lane.REGISTRATIONS
        case _:
            return Lane.OPERATORS if isinstance(message, _BY_OPERATORS) else Lane.OWN


def weight_of(message: Message) -> int:
    """How much of its lane's bound a request takes."""
    match message:
        case msg.HeartbeatBatch():
            return max(1, len(message.node_ids))
        case msg.ReportHealth():
            return 1 + len(message.events) + len(message.results)
        case _:
            return 1


class _Waiting:
    """What waits in one lane."""

    def __init__(self, lane: Lane, bound: int, spread: Spread) -> None:
        self.lane = lane
        self.bound = bound
        self.envelopes: deque[Envelope] = deque()
        self.weight = 0
        self.refused = 0
        self.shed = 0
        self.appointments = Appointments(RATE_FIRST, spread)
        self._left_at: float | None = None

    def put(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)
        self.weight += envelope.weight

    def pop(self) -> Envelope:
        envelope = self.envelopes.popleft()
        self.weight -= envelope.weight
        return envelope

    def is_full_for(self, weight: int) -> bool:
        """Whether this much more does not fit; one request that is larger than all does, alone.

        What is our own always fits.
        """
        if self.lane is Lane.OWN or not self.envelopes:
            return False
        return self.weight + weight > self.bound

    def full(self, now: float, weight: int, what: str) -> LimitExceeded:
        word = self.lane.name.lower()
        return LimitExceeded(
            f"inbox_{word}",
            f"{self.weight} {word} wait already, {self.bound} may: {what}",
            code="resource_exhausted",
            retry_after=self.appointments.wait(now, weight),
        )

    def taken(self, weight: int, now: float) -> None:
        """Learn how quickly the lane is emptied, from steps between which something waited."""
        if self._left_at is not None and now > self._left_at and weight:
            rate = weight / (now - self._left_at)
            known = self.appointments.rate
            self.appointments.rate = max(RATE_MIN, known + RATE_WEIGHT * (rate - known))
        self._left_at = now if self.envelopes else None


class Inbox:
    """Bounded queues with one reader."""

    def __init__(self, bounds: Bounds | None = None, *, chance: float = 0.0) -> None:
        """Let as much wait as `bounds` say; `chance`, from 0 up to 1, is mixed into advice."""
        bounds = bounds or Bounds()
        spread = Spread(chance)
        self._own = _Waiting(Lane.OWN, 0, spread)
        others = [_Waiting(each, bounds.of(each), spread) for each in Lane if each is not Lane.OWN]
        self._lanes = [self._own, *others]
        self._arrived = asyncio.Event()
        self._closed_because = ""
        self.on_shed: Callable[[Envelope], None] | None = None
        """Who is told of heartbeats that are shed: whoever sent them lives all the same."""

    def __len__(self) -> int:
        """How many envelopes wait."""
        return sum(len(lane.envelopes) for lane in self._lanes)

    @property
    def waiting(self) -> Mapping[str, int]:
        """How much waits, by class, as it counts for the bound."""
        return {lane.lane.name.lower(): lane.weight for lane in self._lanes}

    @property
    def refused_by_class(self) -> Mapping[str, int]:
        """Requests refused at the door since the start, by class."""
        return {lane.lane.name.lower(): lane.refused for lane in self._lanes if lane.bound}

    @property
    def refused(self) -> int:
        """Requests refused because too many waited, since the start."""
        return sum(lane.refused for lane in self._lanes)

    @property
    def shed(self) -> int:
        """Heartbeats that were let in and dropped for newer ones, since the start."""
        return self._lanes[Lane.HEARTBEATS].shed

    @property
    def closed(self) -> bool:
        """Whether requests are refused because the control plane is stopping."""
        return bool(self._closed_because)

    def ask(self, messages: Sequence[Message]) -> asyncio.Future[list[Answer]]:
        """Let a request wait; the future brings an answer to each message, in order.

        The first message says which class it is. Raises `WireError`: ``resource_exhausted`` when
        too much waits, ``unavailable`` when the control plane is stopping. The future raises the
        same when a heartbeat is shed.
        """
        if self._closed_because:
            wait = timedelta(seconds=2)  # a restart takes about one
            raise WireError("unavailable", self._closed_because, retry_after=wait)
        loop = asyncio.get_running_loop()
        lane = self._lanes[lane_of(messages[0])]
        weight = sum(map(weight_of, messages))
        if lane.is_full_for(weight):
            if lane.lane is not Lane.HEARTBEATS:
                lane.refused += 1
                raise lane.full(loop.time(), weight, "try again later")
            self._shed(lane, weight, loop.time())
        reply: asyncio.Future[list[Answer]] = loop.create_future()
        lane.put(Envelope(messages, reply, weight))
        self._arrived.set()
        return reply

    def post(self, message: Message) -> None:
        """Let a message of our own wait; nobody waits for an answer to it."""
        self._own.put(Envelope((message,), None))
        self._arrived.set()

    def _shed(self, lane: _Waiting, weight: int, now: float) -> None:
        """Make room for newer heartbeats."""
        while lane.is_full_for(weight):
            oldest = lane.pop()
            lane.shed += oldest.weight
            if self.on_shed is not None:
                self.on_shed(oldest)
            if oldest.reply is not None and not oldest.reply.done():
                error = lane.full(now, oldest.weight, "an older heartbeat made room")
                oldest.reply.set_exception(error)

    async def take(self) -> list[Envelope]:
        """Wait for something, and take what waits: `BATCH_MAX` messages, or one larger request.

        An empty list means that the inbox is closed and nothing waits any more.
        """
        while not len(self) and not self._closed_because:
            self._arrived.clear()
            await self._arrived.wait()
        now = asyncio.get_running_loop().time()
        left = BATCH_MAX
        taken: dict[Lane, list[Envelope]] = {}
        for lane in self._lanes:
            taken[lane.lane], size = _take(lane, SHARES[lane.lane], least=1)
            left -= size
        weights = {lane: sum(each.weight for each in some) for lane, some in taken.items()}
        for lane in self._lanes:
            if left > 0 and lane.envelopes:
                more, size = _take(lane, left, least=0)
                taken[lane.lane] += more
                weights[lane.lane] += sum(each.weight for each in more)
                left -= size
            lane.taken(weights[lane.lane], now)
        return [envelope for some in taken.values() for envelope in some]

    def close(self, because: str) -> None:
        """Refuse further requests; what waits is still taken."""
        self._closed_because = because
        self._arrived.set()

    @property
    def closed_because(self) -> str:
        """Why requests are refused; empty while they are not."""
        return self._closed_because

    def drop(self) -> list[Envelope]:
        """Forget what waits, and return it."""
        return [lane.pop() for lane in self._lanes for _ in range(len(lane.envelopes))]

    def open(self) -> None:
        """Take requests, also after a `close`."""
        self._closed_because = ""


def _take(lane: _Waiting, share: int, *, least: int) -> tuple[list[Envelope], int]:
    """Take up to `share` messages, but `least` requests at least; say how many they are."""
    some: list[Envelope] = []
    size = 0
    waiting = lane.envelopes
    while waiting and (len(some) < least or size + len(waiting[0].messages) <= share):
        envelope = lane.pop()
        size += len(envelope.messages)
        some.append(envelope)
    return some, size
