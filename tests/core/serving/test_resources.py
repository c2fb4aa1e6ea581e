"""Resources are applied, all or none, and deleted; conditions follow from the fleet."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from factories import a_fleet, a_stranger, at
from navarch.core import fold
from navarch.core.decide import decide
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model import resources as res
from navarch.core.model.fleet import Fleet
from navarch.core.model.replica import Blocker, ModelSeen, NodeServing, ReplicaState
from navarch.core.model.sightings import Sightings
from navarch.core.serving import conditions, resources
from navarch.core.strategies import Strategies

NOW = at(minutes=1)
LATER = at(minutes=2)


def a_model(name: str = "llama", **spec: object) -> res.Model:
    """Return weights."""
    wanted = res.ModelSpec("s3://models/llama/")
    return res.Model(metadata=res.ObjectMeta(name), spec=replace(wanted, **spec))


def a_class(model: str = "llama") -> res.AgentClass:
    """Return a class of agents that serves a model."""
    return res.AgentClass(
        metadata=res.ObjectMeta("chat"), spec=res.AgentClassSpec(model_ref=res.Ref(model))
    )


def an_agent_pool(**spec: object) -> res.AgentPool:
    """Return a pool of agents that wants two."""
    wanted = res.AgentPoolSpec(res.Ref("chat"), min_replicas=2, max_replicas=4)
    return res.AgentPool(metadata=res.ObjectMeta("chat"), spec=replace(wanted, **spec))


def a_tool(pool: str = "chat") -> res.ToolBinding:
    """Return a tool of a pool's agents."""
    spec = res.ToolBindingSpec(res.Ref(pool), type="http", http_config=res.HTTPConfig("http://x"))
    return res.ToolBinding(metadata=res.ObjectMeta("search"), spec=spec)


def hear(fleet: Fleet, facts: Iterable[ev.Fact]) -> None:
    """Fold facts into a fleet."""
    for fact in list(facts):
        fold.apply(fleet, fact)


def applied(*wanted: res.Resource) -> list[ev.Fact]:
    """Return the facts of resources that somebody wants."""
    return [ev.ResourceApplied(NOW, each) for each in wanted]


def a_fleet_with(*wanted: res.Resource, facts: Iterable[ev.Fact] = ()) -> Fleet:
    """Return a fleet that has resources, and has heard these facts."""
    fleet = a_fleet()
    hear(fleet, [*applied(*wanted), *facts])
    return fleet


def replicas(*states: ReplicaState, pool: str = "default/chat") -> list[ev.Fact]:
    """Return the facts of replicas that are in these states."""
    facts: list[ev.Fact] = []
    for number, state in enumerate(states, 1):
        id_ = f"chat-r{number}"
        facts.append(ev.ReplicaRequested(NOW, id_, pool, "wanted", model="default/llama"))
        if state is ReplicaState.PENDING:
            continue
        facts.append(ev.ReplicaPlaced(NOW, id_, "n1", "fits", gpus=(number,)))
        if state is not ReplicaState.LOADING:
            facts.append(ev.ReplicaAdvanced(NOW, id_, state, "so it says", port=8000))
    return facts


def readiness(facts: Iterable[ev.Fact]) -> res.Condition:
    """Return the statement about readiness that is among the facts."""
    changes = [fact.condition for fact in facts if isinstance(fact, ev.ConditionChanged)]
    (ready,) = (each for each in changes if each.type == "Ready")
    return ready


def said(fleet: Fleet, key: str) -> dict[str, tuple[str, str]]:
    """Return the status and the reason of each condition that a resource would have."""
    hear(fleet, list(conditions.changed(fleet, LATER)))
    found = fleet.resources[key].conditions
    return {each.type: (each.status, each.reason) for each in found}


# --- applying --------------------------------------------------------------------------------


def outcomes(machine: Machine, *wanted: res.Resource) -> list[str]:
    """Apply resources, and say what became of each."""
    (answer,) = machine.step([msg.ApplyResources(wanted, "a test")], NOW).answers
    assert isinstance(answer, msg.ResourcesApplied)
    return [each.outcome for each in answer.outcomes]


def test_a_resource_is_created_then_unchanged_then_configured() -> None:
    machine = Machine(a_fleet())
    model = a_model()
    assert outcomes(machine, model, a_class()) == ["created", "created"]
    assert outcomes(machine, model) == ["unchanged"]
    assert outcomes(machine, a_model(size=7), a_class()) == ["configured", "unchanged"]
    kept = machine.fleet.resources["Model/default/llama"]
    assert (kept.generation, kept.resource) == (2, a_model(size=7))


def test_what_holds_already_leaves_no_fact() -> None:
    machine = Machine(a_fleet())
    outcomes(machine, a_model(), an_agent_pool())
    assert machine.step([msg.ApplyResources((a_model(), an_agent_pool()))], LATER).facts == []


def test_the_status_of_a_document_is_not_a_wish() -> None:
    machine = Machine(a_fleet())
    outcomes(machine, replace(a_model(), status=res.ModelStatus(("n1",))))
    assert machine.fleet.resources["Model/default/llama"].resource == a_model()
    assert outcomes(machine, replace(a_model(), status=res.ModelStatus(("n2",)))) == ["unchanged"]


def test_a_gang_of_one_is_another_wish_than_a_gang_of_all() -> None:
    machine = Machine(a_fleet())
    outcomes(machine, an_agent_pool(scheduling=res.Scheduling(gang=True)))
    assert outcomes(machine, an_agent_pool(scheduling=res.Scheduling(gang=1))) == ["configured"]


def test_what_would_become_is_told_and_nothing_happens() -> None:
    fleet = a_fleet_with(a_model())
    before = fleet.copy()
    told = resources.foretold(fleet, msg.ApplyResources((a_model(size=1), a_class())), NOW)
    assert isinstance(told, msg.ResourcesApplied)
    assert [each.outcome for each in told.outcomes] == ["configured", "created"]
    assert fleet == before


@pytest.mark.parametrize(
    "wanted, code",
    [
        ((a_model(), a_model(size=1)), msg.Refusal.INVALID_ARGUMENT),
        ((res.Model(),), msg.Refusal.INVALID_ARGUMENT),
        (
            tuple(a_model(f"m{n}") for n in range(resources.RESOURCES_MAX + 1)),
            msg.Refusal.RESOURCE_EXHAUSTED,
        ),
    ],
    ids=["twice", "nameless", "too many"],
)
def test_a_request_is_refused_as_a_whole(
    wanted: tuple[res.Resource, ...], code: msg.Refusal
) -> None:
    machine = Machine(a_fleet())
    step = machine.step([msg.ApplyResources((a_class(), *wanted))], NOW)
    (refused,) = step.answers
    assert isinstance(refused, msg.Refused)
    assert refused.code is code
    assert not machine.fleet.resources


def test_a_resource_is_deleted_and_an_unknown_one_is_told_with_those_that_are() -> None:
    machine = Machine(a_fleet_with(a_model(), a_model("qwen")))
    machine.step([msg.DeleteResource("Model", "default/llama", "done")], NOW)
    assert list(machine.fleet.resources) == ["Model/default/qwen"]
    (refused,) = machine.step([msg.DeleteResource("Model", "default/llama")], NOW).answers
    assert refused == msg.Refused(
        msg.Refusal.NOT_FOUND, "there is no Model default/llama; there are: default/qwen"
    )
    (refused,) = machine.step([msg.DeleteResource("Pod", "default/llama")], NOW).answers
    assert isinstance(refused, msg.Refused)
    assert refused.code is msg.Refusal.INVALID_ARGUMENT


# --- conditions ------------------------------------------------------------------------------


def test_what_is_missing_shows_and_goes_when_it_is_there() -> None:
    fleet = a_fleet_with(an_agent_pool(), a_tool("other"))
    found = said(fleet, "AgentPool/default/chat")
    assert found["ClassFound"] == ("False", "NotFound")
    assert found["ModelFound"] == ("Unknown", "ClassNotFound")
    assert said(fleet, "ToolBinding/default/search")["PoolFound"] == ("False", "NotFound")
    hear(fleet, applied(a_class(), a_tool()))
    found = said(fleet, "AgentPool/default/chat")
    assert (found["ClassFound"], found["ModelFound"][0]) == (("True", "Found"), "False")
    assert said(fleet, "ToolBinding/default/search")["PoolFound"] == ("True", "Found")
    assert said(fleet, "AgentClass/default/chat")["ModelFound"] == ("False", "NotFound")
    hear(fleet, applied(a_model()))
    assert said(fleet, "AgentPool/default/chat")["ModelFound"] == ("True", "Found")


@pytest.mark.parametrize(
    "states, ready, scheduled",
    [
        ([], "NoneReady", "AllPlaced"),
        ([ReplicaState.PENDING, ReplicaState.READY], "SomeReady", "Waiting"),
        ([ReplicaState.LOADING, ReplicaState.STARTING], "NoneReady", "AllPlaced"),
        ([ReplicaState.READY, ReplicaState.READY], "AllReady", "AllPlaced"),
    ],
)
def test_a_pool_says_how_many_serve_and_whether_all_have_a_place(
    states: list[ReplicaState], ready: str, scheduled: str
) -> None:
    fleet = a_fleet_with(an_agent_pool(), facts=replicas(*states))
    found = said(fleet, "AgentPool/default/chat")
    assert (found["Ready"][1], found["Scheduled"][1]) == (ready, scheduled)


def test_a_pool_says_why_a_replica_has_no_place_and_what_would_help() -> None:
    blocker = Blocker("3 nodes: 3 have no free GPU", cure="one node more")
    facts = [*replicas(ReplicaState.PENDING), ev.ReplicaBlocked(NOW, "chat-r1", blocker)]
    fleet = a_fleet_with(an_agent_pool(), facts=facts)
    said(fleet, "AgentPool/default/chat")
    (condition,) = (
        each
        for each in fleet.resources["AgentPool/default/chat"].conditions
        if each.type == "Scheduled"
    )
    assert condition.reason == "Unschedulable"
    assert condition.message == (
        "1 of 1 replicas have no place: 3 nodes: 3 have no free GPU; one node more"
    )


def test_a_pool_of_zero_is_ready_and_one_at_its_maximum_says_so() -> None:
    wanted = [ev.ReplicasWanted(NOW, "default/chat", 0, "no load")]
    fleet = a_fleet_with(an_agent_pool(min_replicas=0), facts=wanted)
    assert said(fleet, "AgentPool/default/chat")["Ready"] == ("True", "ScaledToZero")
    assert said(fleet, "AgentPool/default/chat")["ScalingLimited"][0] == "False"
    fold.apply(fleet, ev.ReplicasWanted(NOW, "default/chat", 4, "much load", needed=9))
    assert said(fleet, "AgentPool/default/chat")["ScalingLimited"] == ("True", "AtMaximum")


def test_a_model_says_whether_it_is_there_and_on_as_many_nodes_as_wanted() -> None:
    model = a_model(cache_policy=res.CachePolicy(preload_nodes=2))
    fleet = a_fleet_with(model, facts=[a_stranger("n1"), a_stranger("n2")])
    key = "Model/default/llama"
    assert said(fleet, key) == {"Loaded": ("False", "NotCached"), "Preloaded": ("False", "Loading")}
    fold.apply(fleet, ev.ModelCached(NOW, "n1", "default/llama"))
    assert said(fleet, key)["Loaded"] == ("True", "Cached")
    fold.apply(fleet, ev.ModelCached(NOW, "n2", "default/llama"))
    assert said(fleet, key)["Preloaded"] == ("True", "Cached")


def test_a_condition_that_changes_its_words_alone_keeps_its_time() -> None:
    fleet = a_fleet_with(an_agent_pool())
    hear(fleet, list(conditions.changed(fleet, NOW)))
    hear(fleet, replicas(ReplicaState.READY))
    ready = readiness(conditions.changed(fleet, LATER))
    assert (ready.status, ready.message) == ("False", "1 of 2 replicas are ready")
    assert ready.last_transition_time == NOW
    hear(fleet, [*replicas(ReplicaState.READY, ReplicaState.READY)])
    ready = readiness(conditions.changed(fleet, LATER))
    assert (ready.status, ready.last_transition_time) == ("True", LATER)


def test_deciding_makes_conditions_once() -> None:
    fleet = a_fleet_with(an_agent_pool(), a_class(), a_model(), a_tool())
    seen, how = Sightings(), Strategies()
    first = decide(fleet, seen, NOW, how)
    assert any(isinstance(fact, ev.ConditionChanged) for fact in first)
    hear(fleet, first)
    assert decide(fleet, seen, NOW, how) == []


def test_a_fleet_without_resources_says_nothing() -> None:
    assert list(conditions.changed(a_fleet(), NOW)) == []


# --- status ----------------------------------------------------------------------------------


def test_the_status_of_a_pool_counts_its_replicas() -> None:
    states = [ReplicaState.READY, ReplicaState.READY, ReplicaState.LOADING, ReplicaState.PENDING]
    wanted = ev.ReplicasWanted(NOW, "default/chat", 4, "load", needed=1)
    fleet = a_fleet_with(an_agent_pool(), facts=[*replicas(*states), wanted])
    shown = conditions.shown(fleet, Sightings(), fleet.resources["AgentPool/default/chat"])
    assert isinstance(shown, res.AgentPool)
    assert shown.status == res.AgentPoolStatus(4, 2, 1, 1)


def test_the_status_of_a_model_names_its_nodes() -> None:
    cached = ev.ModelCached(NOW, "n2", "default/llama")
    fleet = a_fleet_with(a_model(), facts=[a_stranger("n1"), a_stranger("n2"), cached])
    coming = ModelSeen("default/llama", bytes_done=1, bytes_total=9)
    seen = Sightings(serving={"n1": NodeServing(models=(coming,))})
    shown = conditions.shown(fleet, seen, fleet.resources["Model/default/llama"])
    assert isinstance(shown, res.Model)
    assert shown.status == res.ModelStatus(("n2",), ("n1",))
