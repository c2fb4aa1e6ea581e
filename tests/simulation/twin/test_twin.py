"""The twin: runs that depend on their seed alone, nodes at rest, and faults that are dealt with."""

from __future__ import annotations

import collections
import hashlib
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.node import NodeStatus
from navarch.simulator.twin.blueprint import Hazard, Owned
from navarch.simulator.twin.faults import Fault
from navarch.simulator.twin.twin import Twin
from simulation.twin.blueprints import (
    APPLICATION,
    BACKEND,
    BLINK,
    CRASH,
    CUT,
    HEAT,
    HOUR,
    POOL,
    RESET,
    VANISH,
    blueprint,
    often,
    seller,
    spot_market,
)

FAULTS = (APPLICATION, RESET, CRASH, CUT, HEAT, BACKEND, VANISH)


def kinds(twin: Twin) -> collections.Counter[str]:
    """Count the facts of a run by their kind."""
    return collections.Counter(ev.kind(fact) for fact in twin.facts())


def settled(twin: Twin) -> list[str]:
    """Return the ids of the nodes that serve now."""
    assert twin.fleet is not None
    nodes = twin.fleet.nodes.values()
    return sorted(node.id for node in nodes if node.status is NodeStatus.ACTIVE)


def begun(*hazards: Hazard, **changes: object) -> Twin:
    """Return a twin whose pool is filled and at rest."""
    twin = Twin(blueprint(*hazards, **changes), 1)
    twin.run_until(timedelta(minutes=10))
    assert len(twin.herd.members) == POOL.min_nodes
    return twin


# --- determinism -----------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(FAULTS), unique=True, max_size=4),
    st.sampled_from([0.0, 0.3]),
)
def test_nodes_that_rest_and_nodes_that_speak_give_the_same_journal(
    seed: int, faults: list[Fault], never_starts: float
) -> None:
    plan = blueprint(*map(often, faults), sellers=(seller(never_starts=never_starts),))
    together, alone = (Twin(replace(plan, batched=batched), seed) for batched in (True, False))
    together.run()
    alone.run()
    assert together.journal == alone.journal


def test_a_crash_of_the_control_plane_keeps_them_alike() -> None:
    plan = blueprint(*map(often, FAULTS))
    runs = [
        Twin(replace(plan, batched=batched), 3, crashes=range(40, 400, 60))
        for batched in (True, False)
    ]
    for run in runs:
        run.run()
    assert runs[0].journal == runs[1].journal
    assert kinds(runs[0])["resumed"] > 3


RUN = """
import hashlib, sys
from simulation.twin.test_twin import FAULTS
from simulation.twin.blueprints import blueprint, often
from navarch.simulator.twin.twin import Twin
twin = Twin(blueprint(*map(often, FAULTS)), 7)
twin.run()
print(hashlib.sha256(twin.journal).hexdigest())
"""


def test_two_processes_write_the_same_bytes() -> None:
    twin = Twin(blueprint(*map(often, FAULTS)), 7)
    twin.run()
    expected = hashlib.sha256(twin.journal).hexdigest()
    tests = str(Path(__file__).parents[2])
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": tests}
        run = subprocess.run(
            [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == expected


def test_another_seed_is_another_run() -> None:
    plan = blueprint(often(CRASH))
    runs = [Twin(plan, seed) for seed in (1, 2)]
    for run in runs:
        run.run()
    assert runs[0].journal != runs[1].journal


# --- rest ------------------------------------------------------------------------------------


def test_a_quiet_fleet_rests_and_is_never_lost() -> None:
    twin = begun()
    before = len(twin.facts())
    twin.run()
    assert len(twin.facts()) == before


def test_a_command_wakes_the_node_it_is_for() -> None:
    twin = begun()
    node_id = min(twin.herd.members)
    answers: list[msg.Answer | None] = []
    twin.command(node_id, CommandType.RUN_DIAGNOSTIC, {}, "a test", answers.append)
    twin.run_until(timedelta(minutes=15))
    assert isinstance(answers[0], msg.CommandAccepted)
    assert kinds(twin)["command_finished"] >= 1
    assert node_id in twin.herd.members


def test_nothing_about_a_node_that_rests_would_have_been_learned() -> None:
    twin = begun()
    assert twin.fleet is not None
    assert all(twin.herd.is_settled(twin.fleet, node_id) for node_id in twin.herd.members)


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [CRASH, RESET, BACKEND, VANISH], ids=lambda each: each.label)
def test_a_node_that_is_broken_is_replaced(fault: Fault) -> None:
    twin = begun()
    victim = min(twin.herd.members)
    assert twin.afflict(victim, fault)
    twin.run_until(timedelta(hours=1))
    assert victim not in settled(twin)
    assert len(settled(twin)) == POOL.min_nodes
    assert kinds(twin)["launch_requested"] == POOL.min_nodes + 1


@pytest.mark.parametrize("fault", [APPLICATION, BLINK], ids=lambda each: each.label)
def test_what_is_no_fault_of_a_node_costs_no_node(fault: Fault) -> None:
    twin = begun()
    victim = min(twin.herd.members)
    assert twin.afflict(victim, fault)
    twin.run_until(timedelta(hours=1))
    assert victim in settled(twin)
    assert kinds(twin)["launch_requested"] == POOL.min_nodes


def test_nobody_else_can_be_afflicted() -> None:
    twin = begun()
    assert not twin.afflict("nobody", CRASH)
    assert not twin.recover("nobody")


def test_a_node_that_is_put_right_in_time_is_kept() -> None:
    twin = begun()
    victim = min(twin.herd.members)
    twin.afflict(victim, CRASH)
    twin.run_until(timedelta(minutes=11))
    twin.recover(victim)
    twin.run_until(timedelta(minutes=40))
    assert victim in settled(twin)


def test_hazards_come_at_their_rate() -> None:
    hazard = Hazard(APPLICATION, per_node_day=12.0)
    twin = Twin(blueprint(hazard, lasts=48 * HOUR), 5)
    twin.run()
    said = sum(
        event.count
        for fact in twin.facts()
        if isinstance(fact, ev.HealthReported)
        for event in fact.events
    )
    expected = 12.0 * 2 * POOL.min_nodes
    assert 0.7 * expected < said < 1.3 * expected


# --- sellers ---------------------------------------------------------------------------------


def test_spot_machines_are_taken_away_and_bought_again() -> None:
    pool = replace(POOL, spot_percent=100.0)
    twin = Twin(blueprint(pools=(pool,), sellers=(seller(spot=spot_market()),), lasts=4 * HOUR), 2)
    twin.run()
    seen = kinds(twin)
    assert seen["interruption_noticed"] >= 6
    assert seen["launch_requested"] >= POOL.min_nodes + seen["interruption_noticed"] - 2


def test_a_closed_market_takes_all_of_them_and_ordinary_ones_are_bought() -> None:
    pool = replace(POOL, spot_percent=100.0)
    market = spot_market(mean_hours_to_interruption=0.0, share_open=0.5, mean_hours_closed=1.0)
    plan = blueprint(pools=(pool,), sellers=(seller(spot=market),), lasts=6 * HOUR)
    twin = Twin(plan, 2)
    twin.run()
    bought = collections.Counter(
        fact.spot for fact in twin.facts() if isinstance(fact, ev.LaunchRequested)
    )
    assert min(bought[True], bought[False]) >= POOL.min_nodes
    assert len(settled(twin)) >= POOL.min_nodes - 2


def test_machines_that_never_speak_are_given_up() -> None:
    twin = Twin(blueprint(sellers=(seller(never_starts=0.5),)), 4)
    twin.run()
    assert len(settled(twin)) == POOL.min_nodes
    assert kinds(twin)["launch_requested"] > POOL.min_nodes


def test_what_was_bought_is_what_is_paid() -> None:
    twin = Twin(blueprint(lasts=HOUR), 1)
    twin.run()
    assert twin.cost() == pytest.approx(POOL.min_nodes * 20.0, rel=0.02)


def test_owned_nodes_register_and_can_be_lost() -> None:
    twin = Twin(blueprint(pools=(), sellers=(), owned=(Owned("lab-1"), Owned("lab-2"))), 1)
    for owned in twin.blueprint.owned:
        twin.welcome(owned, timedelta(seconds=5))
    twin.run_until(timedelta(minutes=5))
    assert settled(twin) == ["lab-1", "lab-2"]
    twin.afflict("lab-2", VANISH)
    twin.run_until(timedelta(minutes=10))
    assert settled(twin) == ["lab-1"]
