"""What a simulated fleet goes through: everything that the sweep claims to have tried."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from navarch.core.model import events as ev
from navarch.core.model.pool import PoolSpec
from navarch.core.repair import candidates
from navarch.core.settings import Settings
from navarch.simulator.broken import Broken
from navarch.simulator.checks import Checks
from navarch.simulator.faults import AgentPlan, CloudPlan, Plan
from navarch.simulator.server import facts_of
from navarch.simulator.timeline import Timeline
from navarch.simulator.world import Failed, World


def a_calm_plan(nodes: int = 3) -> Plan:
    return Plan(
        settings=Settings(),
        pools=(PoolSpec("train", "alpha", min_nodes=nodes, max_nodes=nodes + 1),),
        clouds=(CloudPlan("alpha"),),
        agents=AgentPlan(),
    )


def kinds_of(world: World) -> Counter[str]:
    return Counter(ev.kind(fact) for fact in facts_of(world.server.store))


def test_without_faults_a_pool_is_filled_and_nothing_else_happens() -> None:
    world = World(1, a_calm_plan())
    outcome = world.run()
    assert kinds_of(world) == {
        "fleet_founded": 1,
        "resumed": 1,
        "pool_configured": 1,
        "launch_requested": 3,
        "instance_launched": 3,
        "node_registered": 3,
        "health_reported": 3,
        "health_judged": 3,
    }
    assert outcome.recovered_after <= timedelta(minutes=1)


def test_machines_of_others_are_left_alone() -> None:
    for seed in range(30):
        world = World(seed)
        world.run()
        for cloud in world.server.clouds.values():
            strangers = [each for each in cloud.machines() if each.instance.name == "stranger"]
            assert [each.terminating_at for each in strangers] == [None, None]


def test_commands_reach_agents_and_come_back() -> None:
    finished: Counter[str] = Counter()
    for seed in range(40):
        world = World(seed)
        world.run()
        facts = facts_of(world.server.store)
        finished += Counter(fact.state for fact in facts if isinstance(fact, ev.CommandFinished))
        issued = {fact.command_id for fact in facts if isinstance(fact, ev.CommandIssued)}
        assert set(world.operators.commands) <= issued
    assert {"succeeded", "expired"} <= set(finished)


def test_a_failure_says_how_to_run_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "unwitnessed", lambda *_: "")
    monkeypatch.setattr(Checks, "_is_dead", _never)
    for seed in range(20):
        try:
            World(seed, crashes=(5,)).run()
        except Failed as failed:
            lines = str(failed).splitlines()
            assert lines[0] == "unsafe: never"
            assert lines[1].startswith(f"World({seed}, crashes=(5,)) at +0:")
            assert lines[2].startswith("crashes: 5 (")
            assert any('"kind":"instance_condemned"' in line for line in lines[3:])
            return
    pytest.fail("nothing was condemned")


def _never(*_: object) -> None:
    raise Broken("unsafe", "never")


def test_time_moves_from_act_to_act() -> None:
    time = Timeline()
    begun_at = time.now
    seen: list[tuple[str, timedelta]] = []

    def note(what: str) -> None:
        seen.append((what, time.now - begun_at))
        if what == "second":
            time.after(timedelta(seconds=1), note, "third")
            time.after(timedelta(hours=1), time.stop)
            time.after(timedelta(hours=2), note, "never")

    time.after(timedelta(seconds=5), note, "second")
    time.after(timedelta(seconds=5), note, "beside")
    time.after(timedelta(), note, "first")
    time.run()
    seconds = [(what, at.total_seconds()) for what, at in seen]
    assert seconds == [("first", 0), ("second", 5), ("beside", 5), ("third", 6)]
