"""Shortcuts: what is looked at once for many nodes comes to what looking at each one comes to."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from datetime import datetime

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from navarch.core import fold
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.replica import NodeServing
from navarch.core.model.samples import Columns, Readings
from navarch.core.repair import breaker
from strategies import NODE_IDS, structs
from worlds import Run, finished, in_every_run, played, runs


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


READ = Columns(50.0, 25.0, [0, 3], [60, 61], [400, 401], [12.5, 100.0], [1024, 2**36])
"""A sample, as the wire reads it."""
SAMPLE = NodeSample(
    50.0, 25.0, (GPUSample(0, 60, 400, 12.5, 1024), GPUSample(3, 61, 401, 100.0, 2**36))
)
"""The same."""
READINGS = Readings(
    np.array([50.0]),
    np.array([25.0]),
    np.array([2]),
    np.array([[0, 3]]),
    np.array([[60, 61]]),
    np.array([[400, 401]]),
    np.array([[12.5, 100.0]]),
    np.array([[1024, 2**36]]),
)
"""The same, as of many nodes."""


def twin(machine: Machine) -> Machine:
    """Return another machine that knows the same."""
    other = Machine(machine.fleet.copy(), machine.strategies)
    other.sightings = copy.deepcopy(machine.sightings)
    return other


NOBODY: frozenset[str] = frozenset()


def answered(answer: msg.Answer) -> object:
    """Return what a sign of life is answered with at once; None where it can not be."""
    match answer:
        case msg.HeartbeatAccepted():
            return answer.commands_pending
        case msg.HeartbeatBatchAccepted():
            return list(answer.commands_pending) if not answer.unknown else None
        case msg.CommandsHanded():
            return not answer.commands or None
        case _:
            return None


def check(
    machine: Machine,
    now: datetime,
    take: Callable[[Machine, frozenset[str]], object],
    message: msg.Message,
    about: frozenset[str],
) -> None:
    """Check that taking a sign of life at once comes to what a step with it comes to.

    It is taken whenever a step would learn nothing from it, and never while facts about one of its
    nodes are on their way to the journal.
    """
    taken, left = twin(machine), twin(machine)
    assert not take(left, about)
    assert (left.fleet, left.sightings) == (machine.fleet, machine.sightings)
    said = take(taken, NOBODY)
    step = left.step([message], now)
    assert said == (None if step.facts else answered(step.answers[0]))
    expected = machine if said is None else left
    assert (taken.fleet, taken.sightings) == (expected.fleet, expected.sightings)


def _account(
    heartbeat: msg.Heartbeat, now: datetime, one: Machine, unsettled: frozenset[str], id_: str
) -> bool | None:
    assert heartbeat.node_id == id_
    return one.hear_serving(heartbeat, now, unsettled)


@given(runs, st.frozensets(st.sampled_from(NODE_IDS), min_size=1, max_size=3), structs(NodeServing))
def test_a_sign_of_life_taken_at_once_is_what_a_step_with_it_comes_to(
    run: Run, speaking: frozenset[str], serving: NodeServing
) -> None:
    machine, _, now = finished(run)
    for node_id in speaking:
        about = frozenset({node_id})
        account = msg.Heartbeat(node_id, SAMPLE, serving=serving)
        for take, message in (
            (lambda one, un, id_: one.hear(id_, READ, now, un), msg.Heartbeat(node_id, SAMPLE)),
            (lambda one, un, id_: one.hear_poll(id_, now, un) or None, msg.PollCommands(node_id)),
            (functools.partial(_account, account, now), account),
        ):
            check(machine, now, functools.partial(take, id_=node_id), message, about)
    first = min(speaking)
    batch = msg.HeartbeatBatch(speaking, {first: SAMPLE})
    samples = ([first], READINGS)
    check(
        machine,
        now,
        lambda one, un: one.hear_many(speaking, samples, now, un),
        batch,
        frozenset({first}),
    )


def shown(fleet: Fleet, node_id: str) -> object:
    """Return all of a node that the answer to a sign of life may depend on."""
    node = fleet.nodes.get(node_id)
    told = None if node is None else (node.contact, node.phase, node.ended_at)
    return told, fleet.commands_for(node_id)


@given(runs)
def test_a_fact_that_changes_what_a_node_is_told_names_it(run: Run) -> None:
    fleet = Fleet()
    for _, step, _ in played(run):
        for fact in step.facts:
            before = fleet.copy()
            fold.apply(fleet, fact)
            known = before.nodes.keys() | fleet.nodes.keys()
            changed = {id_ for id_ in known if shown(before, id_) != shown(fleet, id_)}
            assert changed <= set(ev.subjects(fact)), fact


@in_every_run
def test_no_alarm_is_missed_by_looking_only_at_who_is_in_trouble(run: Run) -> None:
    for machine, _, _ in played(run):
        survey = breaker._Survey(machine.fleet)  # noqa: SLF001 - the long way round
        if any(survey.alarm(pool) for pool in machine.fleet.pools.values()):
            assert breaker._may_be_many(machine.fleet)  # noqa: SLF001
