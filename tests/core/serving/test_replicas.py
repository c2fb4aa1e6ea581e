"""The life of replicas: wanted, placed, loaded, started, moved, replaced and stopped."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from factories import at, name
from navarch.core import fold
from navarch.core.explain_serving import explain_agent_pool, explain_replica
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.node import Intent
from navarch.core.model.replica import Blocker, NodeServing, ReplicaSeen, ReplicaState
from navarch.core.model.resources import CachePolicy, ModelSpec, Ref, Runtime, Scheduling
from navarch.core.serving import balance
from serving_world import A_CLASS, A_MODEL, MODEL, POOL, ServingWorld, a_pool, want


def test_a_pool_gets_its_minimum_and_the_replicas_become_ready() -> None:
    world = ServingWorld()
    world.turn()
    assert world.states() == ["pending", "pending"]
    facts = world.settle()
    assert world.states() == ["ready", "ready"]
    kinds = world.kinds(facts)
    assert kinds.count("replica_placed") == 2
    assert kinds.count("model_cached") == 1
    assert world.living()[0].port == 8000


def test_deciding_again_decides_nothing() -> None:
    world = ServingWorld()
    for facts in (world.turn(), world.place()):
        assert facts
        assert world.machine.step([msg.Tick()], world.now).facts == []


def test_a_replica_is_started_only_when_its_weights_are_there() -> None:
    world = ServingWorld()
    world.turn()
    world.deaf = set(world.replicas)
    world.place()
    world.turns(3)
    assert world.states() == ["loading", "loading"]
    orders = [command.type for command in world.fleet.commands.values()]
    assert orders == [CommandType.LOAD_MODEL]  # one for both
    world.deaf.clear()
    world.turns(6)
    assert world.states() == ["ready", "ready"]


def test_more_replicas_are_requested_and_the_least_useful_are_stopped() -> None:
    world = ServingWorld()
    world.settle()
    world.turn(want(5, world.now))
    assert world.states().count("pending") == 3
    world.settle()
    facts = world.turn(want(3, world.now))
    stopped = [fact for fact in facts if isinstance(fact, ev.ReplicaStopping)]
    assert [fact.because.split(":")[0] for fact in stopped] == ["5 replicas, 3 wanted"] * 2
    world.turns(4)
    assert world.states() == ["ready"] * 3


def test_a_target_stays_inside_of_the_limits_and_of_whole_gangs() -> None:
    world = ServingWorld()
    world.turn(want(50, world.now))
    assert world.fleet.agent_pools[POOL].target == 8
    world.turn(want(0, world.now))
    assert world.fleet.agent_pools[POOL].target == 2
    world.apply(a_pool(scheduling=Scheduling(gang=3)))
    world.turn(want(4, world.now))
    assert world.fleet.agent_pools[POOL].target == 6
    world.turn(want(8, world.now))
    assert world.fleet.agent_pools[POOL].target == 6  # nine are more than the maximum


def test_every_pool_has_a_target_also_one_that_nothing_scales_or_that_lacks_its_class() -> None:
    world = ServingWorld()
    assert dict(balance.targets(world.fleet)) == {POOL: 2}
    world.turn(want(5, world.now))
    assert dict(balance.targets(world.fleet)) == {POOL: 5}
    world.apply(a_pool(max_replicas=3, agent_class_ref=Ref("nowhere")))
    assert dict(balance.targets(world.fleet)) == {POOL: 3}


def test_a_gang_is_placed_wholly_or_not_at_all() -> None:
    world = ServingWorld(resources=[A_MODEL, A_CLASS, a_pool(scheduling=Scheduling(gang=2))])
    world.turn()
    one, other = world.living()
    assert one.gang == other.gang != ""
    half = msg.Proposed(one.id, name(1), (0,), because="free")
    why = Blocker("2 nodes: 2 no free GPUs")
    world.turn(msg.PlacementsProposed((half, msg.Proposed(other.id, blocker=why))))
    assert world.states() == ["pending", "pending"]
    world.settle()
    assert world.states() == ["ready", "ready"]


def test_two_proposals_for_one_gpu_are_not_both_taken() -> None:
    world = ServingWorld()
    world.turn()
    proposals = [msg.Proposed(each.id, name(1), (0,), because="free") for each in world.living()]
    world.turn(msg.PlacementsProposed(tuple(proposals)))
    assert world.states().count("pending") == 1


def test_shares_of_one_gpu_are_taken_up_to_the_whole() -> None:
    world = ServingWorld()
    world.turn(want(3, world.now))
    proposals = [
        msg.Proposed(each.id, name(1), (0,), share=0.4, because="free") for each in world.living()
    ]
    world.turn(msg.PlacementsProposed(tuple(proposals)))
    assert world.states().count("pending") == 1


@pytest.mark.parametrize("gpu", [8, -1])
def test_a_gpu_that_is_not_there_is_not_taken(gpu: int) -> None:
    world = ServingWorld()
    world.turn()
    bad = msg.Proposed(world.living()[0].id, name(1), (gpu,), because="free")
    world.turn(msg.PlacementsProposed((bad,)))
    assert world.states() == ["pending", "pending"]


def test_a_blocker_is_a_fact_once() -> None:
    world = ServingWorld()
    world.turn()
    first = world.living()[0].id
    why = Blocker("2 nodes: 2 no free GPUs", {"no free GPUs": 2}, "1 more free GPU", "training")
    proposal = msg.PlacementsProposed((msg.Proposed(first, blocker=why),))
    assert world.kinds(world.turn(proposal)) == ["replica_blocked", "condition_changed"]
    assert world.kinds(world.turn(proposal)) == []
    lines = list(explain_replica(world.fleet, world.machine.sightings, world.living()[0], at()))
    assert any("1 more free GPU" in line for line in lines)
    assert any("wait for pool training" in line for line in lines)


def test_a_lost_node_displaces_its_replicas_and_they_come_up_elsewhere() -> None:
    world = ServingWorld()
    world.turn()
    world.place(on=name(1))
    world.turns(6)
    world.deaf.add(name(1))
    world.turns(5, seconds=30)
    assert {each.node_id for each in world.living()} == {""}
    world.place(on=name(2))
    world.turns(6)
    assert [(each.node_id, each.state.value) for each in world.living()] == [
        (name(2), "ready"),
        (name(2), "ready"),
    ]
    world.deaf.clear()  # it was only cut off: what still runs there has no place
    world.turns(3)
    assert world.replicas[name(1)] == {}


def test_a_replica_that_gives_up_waits_and_avoids_the_node() -> None:
    world = ServingWorld()
    world.settle()
    victim = world.living()[0]
    world.replicas[victim.node_id][victim.id] = ReplicaState.ENDED
    facts = world.turn()
    displaced = [fact for fact in facts if isinstance(fact, ev.ReplicaDisplaced)]
    assert [fact.failed for fact in displaced] == [True]
    again = world.fleet.replicas[victim.id]
    assert (again.failures, again.failed_nodes) == (1, (victim.node_id,))
    assert again.retry_at == world.now + timedelta(seconds=5)


def test_a_refused_start_displaces_the_replica() -> None:
    world = ServingWorld()
    world.turn()
    world.weights[name(1)].add(MODEL)
    world.turn()
    world.deaf = set(world.replicas)
    world.place(on=name(1))
    command = next(
        each for each in world.fleet.commands.values() if each.type is CommandType.START_REPLICA
    )
    refusal = msg.AckCommand(name(1), command.id, CommandState.REFUSED, "no such program")
    world.turn(refusal)
    replica = world.fleet.replicas[command.parameters["replica"]]
    assert replica.state is ReplicaState.PENDING
    assert "no such program" in replica.because


def test_weights_that_can_not_be_had_displace_whoever_waits_for_them() -> None:
    world = ServingWorld()
    world.turn()
    world.deaf = set(world.replicas)
    world.place(on=name(1))
    load = next(iter(world.fleet.commands.values()))
    world.turn(msg.AckCommand(name(1), load.id, CommandState.FAILED, "404"))
    assert world.states() == ["pending", "pending"]
    assert all("404" in each.because for each in world.living())


def test_an_agent_that_forgets_a_replica_is_told_again() -> None:
    world = ServingWorld()
    world.settle()
    node_id = world.living()[0].node_id
    world.replicas[node_id].clear()
    world.turn()
    assert "starting" in world.states()
    world.turns(8, seconds=10)
    assert world.states() == ["ready", "ready"]


def test_a_drained_node_keeps_its_replicas_until_others_are_ready() -> None:
    world = ServingWorld()
    world.turn()
    world.place(on=name(1))
    world.turns(6)
    fold.apply(world.fleet, ev.IntentChanged(world.now, name(1), Intent.DRAINING, "maintenance"))
    world.turn()
    assert world.states() == ["ready", "ready", "pending", "pending"]
    world.place(on=name(2))
    for _ in range(8):
        ready = [each for each in world.living() if each.state is ReplicaState.READY]
        assert len(ready) >= 2
        world.turn()
    assert {each.node_id for each in world.living()} == {name(2)}


def test_another_command_replaces_replicas_one_after_the_other() -> None:
    world = ServingWorld()
    world.settle()
    before = {each.id for each in world.living()}
    world.apply(a_pool(runtime=Runtime(command=("serve", "--better"))))
    for _ in range(12):
        world.turn()
        ready = sum(each.state is ReplicaState.READY for each in world.living())
        assert ready >= 2
        assert len(world.living()) <= 4
        world.place()
    after = {each.id for each in world.living()}
    assert (len(after), after & before) == (2, set())


def test_without_room_for_another_one_is_stopped_to_make_some() -> None:
    world = ServingWorld()
    world.settle()
    world.apply(a_pool(runtime=Runtime(command=("serve", "--better"))))
    world.turn()
    newest = world.living()[-1]
    assert newest.state is ReplicaState.PENDING
    why = Blocker("2 nodes: 2 no free GPUs")
    world.turn(msg.PlacementsProposed((msg.Proposed(newest.id, blocker=why),)))
    assert world.states().count("stopping") == 1


def test_a_pool_that_is_deleted_ends_all_of_its_replicas() -> None:
    world = ServingWorld()
    world.settle()
    fold.apply(world.fleet, ev.ResourceDeleted(world.now, "AgentPool", POOL))
    fold.apply(world.fleet, ev.ResourceDeleted(world.now, "Model", MODEL))
    world.turns(5)
    assert world.living() == []
    assert all(not weights for weights in world.weights.values())
    world.turn(seconds=90_000)
    assert world.fleet.replicas == {}


def test_a_pool_without_its_class_keeps_what_it_has_and_says_what_is_missing() -> None:
    world = ServingWorld()
    world.settle()
    fold.apply(world.fleet, ev.ResourceDeleted(world.now, "AgentClass", "default/assistant"))
    world.turns(3)
    assert world.states() == ["ready", "ready"]
    lines = list(explain_agent_pool(world.fleet, world.machine.sightings, POOL, world.now))
    assert "agent class default/assistant is not there" in lines[0]


def test_preemption_stops_only_lower_priorities() -> None:
    world = ServingWorld()
    world.settle()
    victim = world.living()[0]
    fold.apply(world.fleet, ev.ReplicaRequested(world.now, "vip", "default/vip", "w", priority=5))
    fold.apply(world.fleet, ev.ReplicaRequested(world.now, "low", "default/low", "w", priority=0))
    for asker in ("low", "vip"):
        proposal = msg.Proposed(asker, victim.node_id, victim.gpus, preempts=(victim.id,))
        facts = world.machine.step([msg.PlacementsProposed((proposal,))], world.now).facts
        assert any(isinstance(fact, ev.ReplicaStopping) for fact in facts) == (asker == "vip")


def test_models_are_loaded_before_anybody_asks_for_them() -> None:
    policy = CachePolicy(preload_nodes=1)
    model = replace(A_MODEL, spec=ModelSpec(weights_uri="file:///llama", cache_policy=policy))
    world = ServingWorld(resources=[model])
    world.turns(4)
    assert [bool(weights) for weights in world.weights.values()] == [True, False]


def test_a_snapshot_keeps_all_of_it() -> None:
    world = ServingWorld()
    world.settle()
    again = fleets.decode(fleets.encode(world.fleet))
    assert again == world.fleet
    assert again.replicas_on == world.fleet.replicas_on


def test_kubernetes_runs_replicas_that_are_not_placed_here() -> None:
    world = ServingWorld(resources=[A_MODEL, A_CLASS, a_pool(runtime=Runtime("kubernetes"))])
    world.turn()
    first = world.living()[0]
    seen = ReplicaSeen(first.id, ReplicaState.READY, port=80, node="gke-1")
    world.turn(msg.ReplicasObserved("kubernetes", (seen,)))
    world.turns(3)
    assert (world.states()[0], world.living()[0].node_id) == ("ready", "gke-1")
    world.turn(msg.ReplicasObserved("kubernetes", ()))
    assert world.states() == ["pending", "pending"]


def test_an_explanation_goes_from_the_load_down_to_who_sold_the_machines() -> None:
    world = ServingWorld()
    world.settle()
    world.turn(want(3, world.now))
    world.settle()
    lines = list(explain_agent_pool(world.fleet, world.machine.sightings, POOL, world.now))
    text = "\n".join(lines)
    assert "wants 3 replicas, has 3 ready: to 3 at" in lines[0]
    assert "its weights are on" in text
    assert "of pool training, bought from fake; it wants 2 of at most 10 nodes" in text


def test_other_weights_under_the_same_name_are_loaded_before_replicas_start_with_them() -> None:
    world = ServingWorld()
    world.settle()
    other = replace(A_MODEL, spec=ModelSpec(weights_uri="file:///llama-2"))
    before = len([each for each in world.fleet.commands.values() if each.type in LOADS])
    world.turn()
    world.apply(other)
    for _ in range(12):
        world.turn()
        world.place()
    loads = [each for each in world.fleet.commands.values() if each.type in LOADS][before:]
    assert loads
    assert all("llama-2" in each.parameters["spec"] for each in loads)
    assert world.states() == ["ready", "ready"]


LOADS = frozenset({CommandType.LOAD_MODEL})


def test_an_explanation_tells_what_an_agent_says_before_it_gives_up() -> None:
    world = ServingWorld()
    world.settle()
    replica = world.living()[0]
    said = ReplicaSeen(replica.id, ReplicaState.STARTING, message="there is no such program")
    world.machine.sightings.serving[replica.node_id] = NodeServing((said,))
    lines = explain_replica(world.fleet, world.machine.sightings, replica, world.now)
    assert "  its agent says: there is no such program" in list(lines)
