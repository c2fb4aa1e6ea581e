"""Agents that all lost their control plane at one moment, in virtual time."""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from navarch.agent.backoff import Backoff
from navarch.agent.duties import RETRY_FIRST, Duties
from navarch.agent.turns import (
    CallFailed,
    CommandsReceived,
    RegisterAnswered,
    Send,
    SensorsRead,
    Tick,
)
from navarch.core.model.messages import Heartbeat, RegisterNode, ReportHealth
from navarch.core.model.report import CheckResult, Health
from navarch.wire.admission import GOLDEN_RATIO, Appointments, whole_seconds

START = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(seconds=10)


def arrivals(agents: int, rate: float, away: timedelta) -> Counter[int]:
    """When all agents lost a control plane at `START`: how many calls reach it in each second.

    It is away for so long, and serves `rate` calls a second from then on: whoever comes when there
    is no room is told when to come back, in whole seconds, as the header says it.
    """
    backoffs = [Backoff(number * GOLDEN_RATIO % 1.0) for number in range(agents)]
    due = []
    for number, backoff in enumerate(backoffs):
        backoff.failed(START, first=RETRY_FIRST, longest=INTERVAL)
        due.append((backoff.until, number))
    heapq.heapify(due)
    back = START + away
    appointments = Appointments(rate)
    calls: Counter[int] = Counter()
    served: Counter[int] = Counter()
    while due:
        now, number = heapq.heappop(due)
        second = int((now - START).total_seconds())
        if now < back:
            backoffs[number].failed(now, first=RETRY_FIRST, longest=INTERVAL)
        else:
            calls[second] += 1
            if served[second] < rate:
                served[second] += 1
                continue
            wait = appointments.wait((now - START).total_seconds())
            advice = timedelta(seconds=whole_seconds(wait))
            backoffs[number].failed(now, first=RETRY_FIRST, longest=INTERVAL, advice=advice)
        heapq.heappush(due, (backoffs[number].until, number))
    return calls


@pytest.mark.parametrize("agents", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_agents_come_back_without_a_storm(agents: int) -> None:
    rate = agents / 20
    calls = arrivals(agents, rate, away=timedelta(seconds=40))
    first = min(calls)
    # They were spread over the half to the whole of an interval when it came back.
    storm = [calls[second] for second in range(first, first + 11)]
    assert max(storm) <= 0.3 * agents
    # From then on no more come than can be served, but for those who came when nobody could know.
    later = [count for second, count in calls.items() if second > first + 11]
    assert max(later) <= 2 * rate
    # Nobody is left out: all are served in little more than the time that their number takes.
    assert max(calls) - first <= 2.5 * agents / rate
    assert sum(calls.values()) <= 3 * agents


def registering(spread: float) -> tuple[Duties, int]:
    """Return an agent that has just asked to be registered, and the number of its call."""
    duties = Duties(RegisterNode("n1"), start=START, spread=spread)
    sent = [each for each in duties.step(Tick(), START) if isinstance(each, Send)]
    assert isinstance(sent[0].request, RegisterNode)
    return duties, sent[0].call


def asks_again(duties: Duties) -> datetime:
    """Return when an agent sends the next call, stepped twenty times a second."""
    now = START
    while True:
        now += timedelta(milliseconds=50)
        if any(isinstance(each, Send) for each in duties.step(Tick(), now)):
            return now


def test_an_agent_waits_at_least_as_long_as_it_was_told_and_not_much_longer() -> None:
    moments = []
    for number in range(20):
        duties, call = registering(number / 20)
        advice = timedelta(seconds=8)
        outputs = duties.step(CallFailed(call, "resource_exhausted", "full", advice), START)
        assert [each.what for each in outputs if hasattr(each, "what")] == ["server_busy"]
        moments.append(asks_again(duties))
    assert min(moments) >= START + timedelta(seconds=8)
    assert max(moments) <= START + timedelta(seconds=10.1)
    assert len(set(moments)) > 10  # not all of them at one moment


def test_a_control_plane_that_stops_may_say_when_it_is_back() -> None:
    duties, call = registering(0.5)
    duties.step(CallFailed(call, "unavailable", "stopping", timedelta(seconds=4)), START)
    assert asks_again(duties) >= START + timedelta(seconds=4)


def test_mistyped_advice_does_not_silence_a_node() -> None:
    duties, call = registering(0.5)
    duties.step(CallFailed(call, "resource_exhausted", "?", timedelta(days=9)), START)
    assert asks_again(duties) <= START + timedelta(minutes=7)


def test_a_request_that_is_too_large_is_not_taken_for_a_crowd() -> None:
    duties, call = registering(0.5)
    outputs = duties.step(CallFailed(call, "resource_exhausted", "too large"), START)
    assert [each.what for each in outputs if hasattr(each, "what")] == ["registration_refused"]
    assert asks_again(duties) >= START + timedelta(seconds=15)


def test_a_refused_heartbeat_keeps_nothing_else_waiting() -> None:
    duties, call = registering(0.5)
    now, outputs = START, duties.step(RegisterAnswered(call, heartbeat_interval=INTERVAL), START)
    while not (sent := [each for each in outputs if isinstance(each, Send)]):
        now += timedelta(milliseconds=100)
        assert now < START + INTERVAL
        outputs = duties.step(Tick(), now)
    # The sensors are being read, so the poll goes first; then the heartbeat is refused.
    requests = [sent[0].request]
    while not isinstance(requests[-1], Heartbeat):
        duties.step(CommandsReceived(sent[0].call), now)
        now += timedelta(seconds=3)
        sent = [each for each in duties.step(Tick(), now) if isinstance(each, Send)]
        requests.append(sent[0].request)
    refused = CallFailed(sent[0].call, "resource_exhausted", "full", timedelta(seconds=20))
    duties.step(refused, now)
    outputs = duties.step(SensorsRead(results=(CheckResult("nvml", Health.HEALTHY),)), now)
    sent = [each for each in outputs if isinstance(each, Send)]
    assert isinstance(sent[0].request, ReportHealth)
