"""The scheduler with plugins of others: their order, their weight, and what they do wrong."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

import navarch.plugins
from navarch.core.model.resources import AgentPool
from navarch.core.serving.scheduling import Snapshot
from navarch.core.serving.scheduling.snapshot import Rows
from navarch.core.serving.views import Node, Placement, Pod, Slot
from navarch.plugins import Scheduler
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Configured, Registry
from navarch.plugins.scheduling import BUILT_IN, FAILURES_MAX

NODES = [Node(name, labels={"tier": name}, gpus=(Slot(0), Slot(1))) for name in "abc"]
POOL = AgentPool()
POD = Pod("p", gpu_request=1)


class Tier:
    """The documents' form."""

    name = "tier"
    priority = 200

    def __init__(self) -> None:
        self.filtered: list[str] = []
        self.scored: list[str] = []

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        self.filtered.append(node.name)
        return node.name != "a"

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        self.scored.append(node.name)
        return 90 if node.name == "c" else 10


class Columns:
    """The batch form, and nothing inherited."""

    name = "columns"
    priority = 50

    def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> str | None:
        return pod.labels.get("wants")

    def mask(self, state: str, snapshot: Snapshot, rows: Rows) -> ArrayLike:
        codes, words = snapshot.label("tier")
        return np.where(codes[rows] == words.index(state), 0, 1)

    def texts(self, state: str, snapshot: Snapshot) -> Sequence[str]:
        return (f"tier is not {state}",)

    def score(self, state: str, snapshot: Snapshot, rows: Rows) -> ArrayLike:
        return np.full(len(snapshot), 300.0)[rows]


class Registered:
    """Who knows the plugins."""

    def __init__(self, *plugins: object) -> None:
        self.schedulers = plugins


def place(
    *plugins: object,
    pod: Pod = POD,
    weights: dict[str, float] | None = None,
    policies: dict[str, Any] | None = None,
) -> Placement:
    scheduler = Scheduler(Registered(*plugins), weights, policies=policies)
    return scheduler.place([pod], NODES, POOL)[0]


def test_a_plugin_filters_and_scores_node_by_node() -> None:
    tier = Tier()
    placement = place(tier)
    assert placement.node == "c"
    assert placement.why_not == {"a": "refused by tier"}
    assert placement.reasons == ("tier 90",)
    assert (tier.filtered, tier.scored) == (["a", "b", "c"], ["b", "c"])


def test_the_built_in_filters_take_part_whatever_the_registry_holds() -> None:
    tier = Tier()
    full = [Node(name, gpus=(Slot(0, free=0.0),)) for name in "bc"]
    placement = Scheduler(Registered(tier)).place([POD], full, POOL)[0]
    assert placement.counts == {"no free GPUs": 2}
    assert placement.cure == "free 1 more GPU on b (0)"
    assert tier.filtered == ["b"], "asked whether the cure would help, and nothing else"


def test_a_plugin_sees_what_was_reserved_a_moment_ago_and_is_asked_about_that_only() -> None:
    class Free(Tier):
        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            self.filtered.append(node.name)
            return sum(slot.free for slot in node.gpus) > 1

    free = Free()
    pods = [Pod(f"p{at}", gpu_request=1) for at in range(4)]
    placed = Scheduler(Registered(free)).place(pods, NODES, POOL)
    assert [each.node for each in placed] == ["c", "a", "b", None]
    assert free.filtered == ["a", "b", "c", "c", "a", "b"]


def test_weights_decide_between_plugins() -> None:
    class Other(Tier):
        name = "other"

        def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
            return 90 if node.name == "b" else 10

    assert place(Tier(), Other(), weights={"other": 2.0}).node == "b"
    assert place(Tier(), Other(), weights={"tier": 2.0}).node == "c"
    assert place(Tier(), Other(), weights={"tier": 3.0}).score == pytest.approx(70)


@pytest.mark.parametrize("policy,node", [("closed", None), ("open", "b"), ("neutral", "c")])
def test_who_answers_for_a_broken_score(
    policy: str, node: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Tier):
        def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
            if node.name == "b":
                return 20
            raise RuntimeError("no such tier")

    class Worse(Broken):
        def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
            raise RuntimeError("no such tier")

    plugin = Worse() if policy == "closed" else Broken()
    with caplog.at_level(logging.CRITICAL):
        assert place(plugin, policies={"tier": policy}).node == node


def test_a_broken_filter_rules_the_node_out_and_says_so() -> None:
    class Broken(Tier):
        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            raise KeyError("tier")

    assert place(Broken()).counts == {"tier failed: KeyError: 'tier'": 3}
    assert place(Broken(), policies={"tier": "open"}).node == "c"


def test_an_answer_that_is_none_is_a_failure() -> None:
    class Vague(Tier):
        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            return "yes"  # type: ignore[return-value]

    text = "tier failed: TypeError: filter answered 'yes': expected True or False"
    assert place(Vague()).counts == {text: 3}


def test_who_keeps_failing_is_not_asked_any_more() -> None:
    class Broken(Tier):
        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            self.filtered.append(node.name)
            raise RuntimeError("down")

    broken = Broken()
    many = [Node(f"n{at:03d}", gpus=(Slot(0),)) for at in range(50)]
    placement = Scheduler(Registered(broken)).place([POD], many, POOL)[0]
    assert placement.counts == {"tier failed: RuntimeError: down": 50}
    assert len(broken.filtered) == FAILURES_MAX


def test_scores_beyond_the_scale_are_cut() -> None:
    class Loud(Tier):
        def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
            return 10_000

    assert place(Loud()).score == 100


def test_a_batch_plugin_is_asked_by_columns() -> None:
    pod = Pod("p", gpu_request=1, labels={"wants": "b"})
    placement = place(Columns(), pod=pod)
    assert (placement.node, placement.score) == ("b", 100)
    assert placement.why_not == {"a": "tier is not b", "c": "tier is not b"}


def test_a_batch_plugin_with_nothing_to_say_is_left_out() -> None:
    assert place(Columns()).node == "a"


@pytest.mark.parametrize("answer", [np.array([0]), np.array([0.5, 1, 1]), np.array([-1, 0, 0])])
def test_a_batch_answer_of_the_wrong_shape_is_a_failure(answer: ArrayLike) -> None:
    class Odd(Columns):
        def mask(self, state: str, snapshot: Snapshot, rows: Rows) -> ArrayLike:
            return answer

    placement = place(Odd(), pod=Pod("p", labels={"wants": "b"}))
    assert placement.node is None
    assert "expected 3 whole numbers of at least 0" in placement.reasons[0]


def test_a_batch_plugin_that_cannot_prepare_is_answered_for() -> None:
    class Odd(Columns):
        def prepare(self, pod: Pod, pool: AgentPool, snapshot: Snapshot) -> str | None:
            raise RuntimeError("no")

    assert place(Odd()).counts == {"columns failed: RuntimeError: no": 3}
    assert place(Odd(), policies={"columns": "neutral"}).node == "a"


def test_the_plugin_that_alone_is_in_the_way_is_named() -> None:
    class No(Tier):
        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            return False

    assert place(No()).cure == "disable the plugin tier, which alone refuses a"


def test_an_unknown_failure_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="tier: on_error 'maybe'"):
        place(Tier(), policies={"tier": "maybe"})


def test_the_registry_says_who_goes_first_and_who_answers_for_failures() -> None:
    class Broken(Tier):
        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            raise KeyError("tier")

    class Second(Tier):
        name = "second"

        def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
            return False

    registry = Registry()
    registry.register(PluginKind.SCHEDULER, Broken())
    registry.configure(PluginKind.SCHEDULER, "tier", Configured(on_error="open"))
    assert Scheduler(registry).place([POD], NODES, POOL)[0].node is not None
    registry.register(PluginKind.SCHEDULER, Second())
    registry.configure(PluginKind.SCHEDULER, "tier", Configured(on_error="closed"))
    registry.set(PluginKind.SCHEDULER, "second", priority=900)
    assert Scheduler(registry).place([POD], NODES, POOL)[0].counts == {"refused by second": 3}
    registry.set(PluginKind.SCHEDULER, "second", enabled=False)
    told = Scheduler(registry).place([POD], NODES, POOL)[0].counts
    assert told == {"tier failed: KeyError: 'tier'": 3}


def test_without_a_registry_the_plugins_of_the_process_place() -> None:
    assert Scheduler().place([POD], NODES, POOL)[0].node == "a"
    assert navarch.plugins.Scheduler is Scheduler
    assert all(each().name and each.__doc__ for each in BUILT_IN)
