"""Whatever goes wrong between an agent and its control plane, nothing is lost and nothing doubled.

A small control plane is played: each call may get lost on the way, lose its answer, be refused, or
work. Then the world is healed, and everything must have arrived.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.agent import outbox
from navarch.agent.backoff import Backoff
from navarch.agent.duties import RETRY_MAX, Duties
from navarch.agent.outbox import Outbox
from navarch.agent.turns import (
    AckAnswered,
    Answer,
    CallFailed,
    CommandFinished,
    CommandsReceived,
    Execute,
    HealthAnswered,
    HeartbeatAnswered,
    Input,
    Order,
    Output,
    ReadSensors,
    RegisterAnswered,
    Send,
    SensorsRead,
    Tick,
)
from navarch.core.model.command import CommandState
from navarch.core.model.messages import (
    AckCommand,
    Heartbeat,
    PollCommands,
    RegisterNode,
    ReportHealth,
)
from navarch.core.model.report import HealthEvent

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
INTERVAL = timedelta(seconds=2)


class Fate(Enum):
    """What happens to one call."""

    WORKS = "works"
    LOST = "lost"
    ANSWER_LOST = "answer lost"
    FORGOTTEN = "forgotten"
    BROKEN = "broken"
    OVERLOADED = "overloaded"


class World:
    """An agent, its node and a control plane that may fail."""

    def __init__(self, spread: float) -> None:
        self.now = START
        self.duties = Duties(RegisterNode("n1"), start=START, spread=spread)
        self.known = False
        self.pending: dict[str, Order] = {}
        self.received: list[ReportHealth] = []
        self.sensed = 0
        self.executed: Counter[str] = Counter()
        self.acknowledged: Counter[str] = Counter()
        self.executing: Order | None = None
        self.call: Send | None = None
        self.longest_wait = timedelta(0)

    def give(self, given_input: Input) -> None:
        """Take a turn; what it wants is performed at once, but for calls and commands."""
        outputs: list[Output] = self.duties.step(given_input, self.now)
        for output in outputs:
            match output:
                case Send():
                    assert self.call is None, "two calls at one time"
                    self.call = output
                case Execute(order):
                    assert self.executing is None, "two commands at one time"
                    self.executing = order
                    self.executed[order.id] += 1
                case ReadSensors():
                    self.sense(0)
                case _:
                    pass

    def sense(self, count: int) -> None:
        """Bring new events, each different from all others."""
        numbers = range(self.sensed, self.sensed + count)
        self.sensed += count
        events = tuple(HealthEvent("xid", metrics={"xid_code": str(n)}) for n in numbers)
        self.give(SensorsRead(events=events))

    def finish_command(self) -> None:
        """Let the command that is being executed end."""
        if order := self.executing:
            self.executing = None
            self.give(CommandFinished(order.id, CommandState.SUCCEEDED))

    def settle_call(self, fate: Fate) -> None:
        """Let the call under way end like this."""
        if send := self.call:
            self.call = None
            self.give(self.answer(send, fate))

    def answer(self, send: Send, fate: Fate) -> Answer:
        """Play the control plane and the network in front of it."""
        match fate:
            case Fate.LOST:
                return CallFailed(send.call, "unavailable")
            case Fate.BROKEN:
                return CallFailed(send.call, "internal")
            case Fate.OVERLOADED:
                return CallFailed(send.call, "resource_exhausted")
            case Fate.ANSWER_LOST:
                self.served(send)
                return CallFailed(send.call, "deadline_exceeded")
            case Fate.FORGOTTEN:
                self.known = False
            case Fate.WORKS:
                pass
        return self.served(send)

    def served(self, send: Send) -> Answer:
        """Play the control plane."""
        match send.request:
            case RegisterNode():
                self.known = True
                return RegisterAnswered(send.call, INTERVAL)
            case AckCommand(command_id=command_id):
                self.pending.pop(command_id, None)
                self.acknowledged[command_id] += 1
                return AckAnswered(send.call)
            case _ if not self.known:
                return CallFailed(send.call, "not_found")
            case ReportHealth():
                if send.request not in self.received:
                    self.received.append(send.request)
                return HealthAnswered(send.call)
            case PollCommands():
                return CommandsReceived(send.call, tuple(self.pending.values()))
            case Heartbeat():
                return HeartbeatAnswered(send.call, commands_pending=bool(self.pending))

    def pass_time(self) -> None:
        """Go to the moment when something is due."""
        due = max(self.now, self.duties.next_due())
        self.longest_wait = max(self.longest_wait, due - self.now)
        self.now = due
        self.give(Tick())

    def heal(self) -> None:
        """Let everything work for a while."""
        for _ in range(400):
            self.finish_command()
            self.settle_call(Fate.WORKS)
            if self.call is None:
                self.pass_time()


class Move(NamedTuple):
    """A moment in the life of the world."""

    fate: Fate
    events: int
    commanded: bool
    finishes: bool


MOVES = st.builds(
    Move,
    fate=st.sampled_from([*Fate, Fate.WORKS, Fate.WORKS]),
    events=st.sampled_from([0, 0, 1, 3]),
    commanded=st.sampled_from([False, False, True]),
    finishes=st.booleans(),
)


@given(
    moves=st.lists(MOVES, min_size=10, max_size=60),
    spread=st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_nothing_is_lost_or_doubled(moves: list[Move], spread: float) -> None:
    world = World(spread)
    for number, move in enumerate(moves):
        if move.commanded:
            world.pending[f"c{number}"] = Order(f"c{number}", "cordon")
        if move.events:
            world.sense(move.events)
        if move.finishes:
            world.finish_command()
        world.settle_call(move.fate)
        if world.call is None:
            world.pass_time()
    commands = set(world.pending) | set(world.acknowledged)
    world.heal()

    heard = Counter(
        event.metrics["xid_code"] for report in world.received for event in report.events
    )
    assert heard == Counter(str(number) for number in range(world.sensed))
    assert world.duties.reports_waiting == 0
    assert world.duties.events_dropped == 0
    assert world.executed == Counter(dict.fromkeys(commands, 1))
    assert set(world.acknowledged) == commands
    assert world.pending == {}
    assert world.longest_wait <= timedelta(seconds=10)


@given(
    failures=st.integers(min_value=1, max_value=100),
    spread=st.floats(min_value=0, max_value=1, exclude_max=True),
    first=st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(minutes=1)),
    longest=st.timedeltas(min_value=timedelta(milliseconds=1), max_value=timedelta(hours=1)),
)
def test_a_wait_is_never_too_long_and_never_nothing(
    failures: int, spread: float, first: timedelta, longest: timedelta
) -> None:
    backoff = Backoff(spread)
    for _ in range(failures):
        backoff.failed(START, first=first, longest=longest)
    assert min(first, longest) / 2 <= backoff.until - START <= longest


def test_the_longest_wait_for_an_absent_server_is_half_a_minute() -> None:
    duties = Duties(RegisterNode("n1"), start=START, spread=0.999)
    duties.step(Tick(), START)
    duties.step(SensorsRead(), START)
    duties.step(RegisterAnswered(1, timedelta(hours=1)), START)
    now, call = START, 2
    for _ in range(20):
        duties.step(CallFailed(call, "unavailable"), now)
        assert duties.next_due() - now <= RETRY_MAX
        now = max(now, duties.next_due())
        outputs = duties.step(Tick(), now)
        call = max([output.call for output in outputs if isinstance(output, Send)], default=call)


@given(st.lists(st.lists(st.integers(0, 6), max_size=8), max_size=20))
def test_an_outbox_is_bounded_and_accounts_for_every_event(readings: list[list[int]]) -> None:
    box = Outbox("n1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, "REPORTS_MAX", 2)
        patch.setattr(outbox, "EVENTS_MAX", 3)
        for numbers in readings:
            before = box.first
            events = (HealthEvent("xid", metrics={"xid_code": str(n)}) for n in numbers)
            box.add((), tuple(events))
            assert len(box) <= 2
            assert before in (None, box.first), "a report that may have been sent was changed"
    kept = 0
    while box.first is not None:
        report = box.take_first()
        assert len(report.events) <= 3
        kept += sum(event.count for event in report.events)
    assert kept + box.events_dropped == sum(len(numbers) for numbers in readings)
