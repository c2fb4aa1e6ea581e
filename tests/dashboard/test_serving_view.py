"""The view of the serving plane: pools of agents, replicas, weights, and plugins."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from factories import SETTINGS, START, at, name
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.controlplane.serving import ServingParts
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.replica import Blocker, ModelSeen, NodeServing
from navarch.core.model.resources import AgentPool, Autoscaling, MetricTarget
from navarch.core.scaling.base import Reading
from navarch.core.serving.scaling import signals
from navarch.core.serving.views import Node, Pod
from navarch.dashboard import agent_pools
from navarch.dashboard.seen import Seen
from navarch.dashboard.views import serving
from navarch.dashboard.views.serving import LiveView, ServingView, TracesView
from navarch.plugins.builtin import candidates
from navarch.plugins.calls import About
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.stores.memory import MemoryStore
from serving_world import A_CLASS, A_MODEL, MODEL, POOL, ServingWorld, a_pool, want
from views_seen import refused, shown


def seen_of(world: ServingWorld, control_plane: ControlPlane | None = None) -> Seen:
    return Seen(
        world.fleet,
        world.machine.sightings,
        world.now,
        SETTINGS,
        MemoryStore(),
        control_plane=control_plane,
    )


def whole(world: ServingWorld, control_plane: ControlPlane | None = None) -> ServingView:
    found = shown(serving.view, seen_of(world, control_plane))
    assert isinstance(found, ServingView)
    return found


def settled(nodes: int = 2) -> ServingWorld:
    world = ServingWorld(nodes)
    world.settle()
    return world


# --- pools of agents -------------------------------------------------------------------------


def test_a_pool_says_how_many_it_wants_has_and_why() -> None:
    (pool,) = whole(settled()).agent_pools
    assert (pool.name, pool.agent_class, pool.model) == (POOL, "assistant", MODEL)
    assert (pool.wanted, pool.replicas, pool.ready, pool.pending) == (2, 2, 2, 0)
    assert (pool.because, pool.decided_at) == ("minReplicas is 2", None)
    assert pool.problem == ""


def test_the_last_decision_stands_with_its_reason_and_when() -> None:
    world = settled()
    world.turn(want(5, world.now))
    (pool,) = whole(world).agent_pools
    assert (pool.wanted, pool.because, pool.decided_at) == (5, "to 5 at 12:00", world.now)


def test_a_pool_that_lacks_a_part_says_which() -> None:
    world = ServingWorld(1, resources=(A_CLASS, a_pool()))
    world.turn()
    found = whole(world)
    assert found.agent_pools[0].problem == "model default/llama is not there"
    assert found.problems[0].subject == POOL


def test_a_pool_that_is_wanted_no_more_and_still_runs_is_shown() -> None:
    world = settled()
    world.deaf.add(name(1))
    world.turn(msg.DeleteResource("AgentPool", POOL, "not needed"))
    (pool,) = whole(world).agent_pools
    assert (pool.wanted, pool.because) == (0, "it is wanted no more")


# --- replicas --------------------------------------------------------------------------------


def test_who_waits_comes_first_and_says_why_and_what_would_help() -> None:
    world = settled()
    world.turn(want(3, world.now))
    (waiting,) = world.fleet.replicas_pending
    blocker = Blocker("2 nodes: 2 no free GPUs", {"no free GPUs": 2}, "one GPU more", "training")
    world.turn(msg.PlacementsProposed((msg.Proposed(waiting, blocker=blocker),)))
    found = whole(world)
    first = found.replicas[0]
    assert (first.id, first.state, first.node) == (waiting, "pending", "")
    assert (first.blocked, first.cure) == ("2 nodes: 2 no free GPUs", "one GPU more")
    assert first.counts == {"no free GPUs": 2}
    assert found.agent_pools[0].waits_for == {"training": 1}
    assert "no free GPUs" in found.problems[0].text
    assert found.problems[0].tone == "bad"


def test_a_replica_says_where_it_runs() -> None:
    first = whole(settled()).replicas[0]
    assert (first.state, first.node) == ("ready", name(1))
    assert first.place == f"{name(1)} (GPU 0)"


def test_no_more_replicas_are_shown_than_fit_and_the_rest_is_counted() -> None:
    world = settled()
    seen = seen_of(world)
    rows, left_out = agent_pools.replicas_of(seen, POOL)
    assert (len(rows), left_out) == (2, 0)
    pool = a_pool(min_replicas=600, max_replicas=600)
    world.apply(pool)
    world.turn()
    rows, left_out = agent_pools.replicas_of(seen)
    assert (len(rows), left_out) == (agent_pools.REPLICAS_MAX, 100)


def test_the_replicas_of_one_pool_alone_can_be_seen() -> None:
    found = shown(serving.view, seen_of(settled()), pool=POOL)
    assert isinstance(found, ServingView)
    assert {each.agent_pool for each in found.replicas} == {POOL}
    assert refused(serving.view, seen_of(settled()), pool="default/x").code == "not_found"


# --- weights ---------------------------------------------------------------------------------


def test_weights_are_shown_by_model_and_by_node() -> None:
    found = whole(settled())
    (model,) = found.models
    assert (model.name, model.uri, model.cached) == (MODEL, "file:///llama", 1)
    (cache,) = found.caches
    assert (cache.node, cache.models, cache.replicas) == (name(1), {MODEL: 10}, 2)


def test_weights_that_do_not_come_are_a_problem() -> None:
    world = settled()
    stuck = ModelSeen("default/qwen", "", 40, 100, problem="no space left")
    world.machine.sightings.serving[name(2)] = NodeServing(models=(stuck,))
    found = whole(world)
    assert [each.name for each in found.models] == [MODEL, "default/qwen"]
    (loading,) = found.models[1].loading
    assert (loading.node, loading.bytes_done, loading.problem) == (name(2), 40, "no space left")
    assert found.caches[0].loading == ["default/qwen"]
    assert "no space left" in found.problems[0].text


# --- signals ---------------------------------------------------------------------------------


def control_plane_of(*plugins: tuple[PluginKind, object]) -> ControlPlane:
    registry = Registry(filler=candidates)
    for kind, plugin in plugins:
        registry.register(kind, plugin)
    config = ServerConfig(clock=FakeClock(START))
    return ControlPlane(config, serving=ServingParts(plugins=registry))


def with_queue(value: Reading) -> tuple[ServingWorld, ControlPlane]:
    target = Autoscaling(metrics=(MetricTarget("queue-depth", 10),))
    world = ServingWorld(1, resources=(A_MODEL, A_CLASS, a_pool(autoscaling=target)))
    world.settle()
    control_plane = control_plane_of()
    read = {"queue-depth": value}
    assert control_plane.serving.turns.asking(world.fleet, POOL, read, world.now) is not None
    return world, control_plane


def test_a_signal_has_its_value_its_target_and_its_age() -> None:
    when = at(seconds=3)
    world, plane = with_queue(signals.fresh("queue-depth", 42, "gateway", observed_at=when))
    (signal,) = whole(world, plane).agent_pools[0].signals
    assert (signal.name, signal.value, signal.target) == ("queue-depth", 42.0, 10.0)
    assert (signal.unit, signal.source, signal.observed_at) == ("requests", "gateway", when)
    assert (signal.quality, signal.times, signal.values) == ("ok", [when], [42.0])


def test_a_signal_that_nobody_has_is_no_zero() -> None:
    world, plane = with_queue(signals.absent("queue-depth", "gateway: does not have it", ""))
    found = whole(world, plane)
    (signal,) = found.agent_pools[0].signals
    assert (signal.value, signal.quality, signal.values) == (None, "absent", [])
    assert any("queue-depth is absent" in each.text for each in found.problems)


def test_a_signal_that_is_too_old_is_stale() -> None:
    world, plane = with_queue(signals.fresh("queue-depth", 42, "gateway", observed_at=at()))
    world.now += timedelta(minutes=5)
    (signal,) = whole(world, plane).agent_pools[0].signals
    assert (signal.value, signal.quality) == (42.0, "stale")


def test_without_a_control_plane_there_are_no_values_and_no_plugins() -> None:
    found = whole(settled())
    assert (found.agent_pools[0].signals, found.kinds) == ([], [])
    assert refused(serving.view, seen_of(settled()), traces="scheduler/x").code == "not_found"


# --- plugins ---------------------------------------------------------------------------------


class Likes:
    """Takes every node."""

    name = "likes"
    priority = 7

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        return True

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        return 1


ABOUT = About(PluginKind.SCHEDULER, "likes", "score", POOL, "1 pod, 2 nodes")


def test_plugins_stand_by_kind_in_their_order() -> None:
    plane = control_plane_of((PluginKind.SCHEDULER, Likes()))
    kinds = {each.kind: each for each in whole(settled(), plane).kinds}
    schedulers = kinds["scheduler"]
    assert schedulers.switchable
    names = [each.name for each in schedulers.plugins]
    entries = plane.plugins.registry.entries(PluginKind.SCHEDULER)
    assert names == [each.name for each in entries]
    assert "likes" in names
    assert next(iter(kinds)) == "scheduler"


def test_the_calls_of_a_plugin_say_what_it_was_asked_and_what_it_said() -> None:
    plane = control_plane_of((PluginKind.SCHEDULER, Likes()))
    plane.plugins.calls.call(ABOUT, lambda: 17)
    other = replace(ABOUT, plugin="others")
    plane.plugins.calls.call(other, lambda: 1)
    found = shown(serving.view, seen_of(settled(), plane), traces="scheduler/likes")
    assert isinstance(found, TracesView)
    (trace,) = found.traces
    assert (trace.asked, trace.said, trace.outcome) == ("1 pod, 2 nodes", "17", "ok")
    assert trace.at == START
    error = refused(serving.view, seen_of(settled(), plane), traces="scheduler/nobody")
    assert error.code == "not_found"


def test_a_plugin_that_is_left_alone_is_a_problem() -> None:
    plane = control_plane_of((PluginKind.SCHEDULER, Likes()))

    def broken() -> int:
        raise ValueError("no")

    for _ in range(5):
        plane.plugins.calls.call(ABOUT, broken)
    live = shown(serving.view, seen_of(settled(), plane), part="live")
    assert isinstance(live, LiveView)
    (problem,) = live.problems
    assert problem.subject == "scheduler/likes"
    assert problem.text.startswith("is left alone until")
    assert problem.tone == "bad"
    (shown_,) = (each for kind in live.kinds for each in kind.plugins if each.name == "likes")
    assert (shown_.calls, shown_.failures) == (5, 5)


def test_what_nobody_has_configured_is_no_problem() -> None:
    assert whole(settled(), control_plane_of()).problems == []


def test_a_path_below_or_another_key_is_refused() -> None:
    seen = seen_of(settled())
    assert refused(serving.view, seen, "x").code == "invalid_argument"
    assert refused(serving.view, seen, what="x").code == "invalid_argument"
    assert refused(serving.view, seen, part="half").code == "invalid_argument"


def test_a_pool_of_which_nothing_was_ever_placed_has_everything_waiting() -> None:
    world = ServingWorld(1)
    facts = world.turn()
    assert sum(isinstance(fact, ev.ReplicaRequested) for fact in facts) == 2
    (pool,) = whole(world).agent_pools
    assert (pool.pending, pool.states) == (2, {"pending": 2})
