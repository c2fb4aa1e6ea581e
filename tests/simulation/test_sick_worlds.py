"""Sick machines in simulated fleets: what is repaired how, and what is left alone."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TypeVar

import pytest

from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.policy import HealthPolicy
from navarch.simulator.faults import Plan
from navarch.simulator.hardware import Kind
from navarch.simulator.policies import TABLES
from navarch.simulator.server import facts_of
from navarch.simulator.sick_faults import Sickness
from navarch.simulator.timeline import EPOCH
from navarch.simulator.world import World
from simulation.sick_plans import MINUTE, a_sick_plan, lemons, long_reboots

REPAIRS = {
    "instance_condemned",
    "repair_started",
    "repair_withheld",
    "node_handed_over",
    "repair_halted",
}

F = TypeVar("F", bound=ev.Event)


def lived(plan: Plan, seed: int = 1) -> World:
    world = World(seed, plan)
    world.run()
    return world


def facts(world: World, kind: type[F]) -> list[F]:
    return [fact for fact in facts_of(world.server.store) if isinstance(fact, kind)]


def kinds_of(world: World) -> Counter[str]:
    return Counter(ev.kind(fact) for fact in facts_of(world.server.store))


@pytest.mark.parametrize("policy", TABLES)
def test_storms_of_application_xids_repair_nobody(policy: str) -> None:
    ailments = ((Kind.STORM, 1.0), (Kind.STRANGE, 1.0))
    world = lived(a_sick_plan(Sickness(policy=policy, ailments=ailments, gpus=2)))
    kinds = kinds_of(world)
    assert kinds["health_reported"] >= 20
    assert REPAIRS & set(kinds) == set()
    assert kinds["launch_requested"] == 4


def test_a_spent_gpu_is_reset_and_serves_again() -> None:
    ailments = ((Kind.SPENT, 0.5),)
    world = lived(a_sick_plan(Sickness(policy="patient", ailments=ailments, gpus=2)))
    started, ended = facts(world, ev.RepairStarted), facts(world, ev.RepairEnded)
    assert {fact.rung for fact in started} == {Remedy.RESET_GPU}
    assert {fact.outcome.value for fact in ended} == {"succeeded"}
    assert facts(world, ev.TerminationRequested) == []


def test_what_no_rung_puts_right_is_replaced_in_the_end() -> None:
    ailments = ((Kind.BROKEN, 0.3),)
    plan = a_sick_plan(Sickness(policy="patient", ailments=ailments, gpus=2), lasts=60 * MINUTE)
    world = lived(plan)
    condemned = facts(world, ev.InstanceCondemned)
    assert condemned
    for sick in condemned:
        rungs = [f.rung for f in facts(world, ev.RepairStarted) if f.node_id == sick.instance_id]
        assert rungs == [Remedy.RESET_GPU, Remedy.REBOOT]
        assert sick.cause == "sickness"


def test_a_machine_may_take_minutes_to_reboot() -> None:
    world = lived(long_reboots())
    lost = {fact.node_id for fact in facts(world, ev.NodeLost)}
    rebooted = {
        fact.node_id for fact in facts(world, ev.RepairStarted) if fact.rung is Remedy.REBOOT
    }
    assert lost & rebooted
    assert [fact for fact in facts(world, ev.InstanceCondemned) if fact.cause == "silence"] == []


def test_a_gpu_that_comes_back_is_known() -> None:
    world = lived(lemons())
    condemned = facts(world, ev.InstanceCondemned)
    returned = [fact for fact in condemned if fact.cause == "lemon"]
    assert returned
    assert "has made 2 machines sick" in returned[0].because
    sick_before = [fact.hardware for fact in condemned if fact.cause == "sickness"]
    assert len(sick_before) >= 2


def test_many_sick_and_many_silent_at_once_are_left_to_a_person() -> None:
    plan = a_sick_plan(
        Sickness(policy="strict", gpus=1), nodes=110, lasts=16 * MINUTE, max_unavailable=2
    )
    world = World(1, plan)
    begins = 6 * MINUTE

    def strike() -> None:
        agents = list(world.agents.values())
        for agent in agents[:50]:
            agent.suffer(Kind.ALARM, 10 * MINUTE)
        for agent in agents[50:100]:
            agent.cut_off = True

    world.time.after(begins, strike)
    outcome = world.run()
    kinds = kinds_of(world)
    assert kinds["instance_condemned"] + kinds["repair_started"] <= 2
    assert kinds["node_lost"] == 50
    (halted,) = facts(world, ev.RepairHalted)
    assert halted.at - EPOCH < begins + 2 * MINUTE
    assert "nodes of the pool are ill together" in halted.because
    turns = [
        ev.kind(fact)
        for fact in facts_of(world.server.store)
        if isinstance(fact, ev.RepairHalted | ev.RepairHalfOpened | ev.RepairContinued)
    ]
    assert turns == ["repair_halted", "repair_half_opened", "repair_continued"]
    assert facts(world, ev.RepairAcknowledged) == []
    assert outcome.recovered_after <= timedelta(minutes=15)


def test_the_default_policy_repairs_what_is_broken_and_nothing_else() -> None:
    ailments = ((Kind.STORM, 1.0), (Kind.FALLEN, 0.3))
    world = World(2, a_sick_plan(Sickness(ailments=ailments, gpus=2), nodes=6))
    policy = HealthPolicy.default()
    world.checks.repair_books.know(policy)
    world.server.judge_by(policy)
    world.run()
    assert [fact.digest for fact in facts(world, ev.PolicyAdopted)] == [policy.digest]
    assert facts(world, ev.RepairStarted) + facts(world, ev.InstanceCondemned)
