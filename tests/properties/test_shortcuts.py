"""Shortcuts: what is looked at once for many nodes comes to what looking at each one comes to."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from navarch.core import fold
from navarch.core.machine import Machine
from navarch.core.model import messages as msg
from navarch.core.repair import breaker
from strategies import NODE_IDS
from worlds import Run, finished, played, runs


@given(runs, st.frozensets(st.sampled_from(NODE_IDS), max_size=8))
def test_a_batch_teaches_what_its_heartbeats_teach(run: Run, speaking: frozenset[str]) -> None:
    machine, journal, now = finished(run)
    other = Machine(strategies=machine.strategies)
    for fact in journal:
        fold.apply(other.fleet, fact)
    other.sightings = copy.deepcopy(machine.sightings)
    (batched,) = machine.step([msg.HeartbeatBatch(speaking)], now).answers
    alone = other.step([msg.Heartbeat(node_id) for node_id in sorted(speaking)], now).answers
    assert (machine.fleet, machine.sightings) == (other.fleet, other.sightings)
    if isinstance(batched, msg.Refused):
        assert all(isinstance(answer, msg.Refused) for answer in alone)
        return
    assert isinstance(batched, msg.HeartbeatBatchAccepted)
    answered = dict(zip(sorted(speaking), alone, strict=True))
    assert batched.unknown == tuple(
        node_id for node_id, answer in answered.items() if isinstance(answer, msg.Refused)
    )
    assert batched.commands_pending == tuple(
        node_id
        for node_id, answer in answered.items()
        if answer == msg.HeartbeatAccepted(commands_pending=True)
    )


@given(runs)
def test_no_alarm_is_missed_by_looking_only_at_who_is_in_trouble(run: Run) -> None:
    for machine, _, _ in played(run):
        survey = breaker._Survey(machine.fleet)  # noqa: SLF001 - the long way round
        if any(survey.alarm(pool) for pool in machine.fleet.pools.values()):
            assert breaker._may_be_many(machine.fleet)  # noqa: SLF001
