"""Placing by example: what goes where, what is said about it, and what would help."""

from __future__ import annotations

import pytest

from navarch.core.model.resources import AgentPool, AgentPoolSpec, ReplicaAffinity, Scheduling
from navarch.core.serving.scheduling import BUILT_IN, Batch, Planner, Running, Snapshot, bind
from navarch.core.serving.views import Node, NodeCondition, Placement, Pod, Slot, Taint

BOUND = bind([each() for each in BUILT_IN])
ZONE = "topology.kubernetes.io/zone"


def eight(name: str, *busy: int, **more: object) -> Node:
    """Make a node of two NVLink groups of four GPUs, some of them busy."""
    slots = tuple(
        Slot(at, free=0.0 if at in busy else 1.0, socket=at // 4, nvlink=at // 4, bandwidth=450)
        for at in range(8)
    )
    return Node(name, gpus=slots, gpu_type="NVIDIA H100", **more)  # type: ignore[arg-type]


def place(pods: list[Pod], nodes: list[Node], *running: Running) -> list[Placement]:
    return Planner(BOUND, Snapshot(nodes), AgentPool(), running).place(pods)


def test_equal_nodes_are_taken_by_name() -> None:
    placed = place(
        [Pod("p", gpu_request=1)], [Node("b", gpus=(Slot(0),)), Node("a", gpus=(Slot(0),))]
    )
    assert placed[0].node == "a"


def test_gpus_are_taken_where_no_group_has_to_be_broken() -> None:
    pods = [Pod("one", gpu_request=1), Pod("four", gpu_request=4, locality="nvlink")]
    one, four = place(pods, [eight("n", 0)])
    assert one.gpus == (1,)
    assert four.gpus == (4, 5, 6, 7)


def test_fractions_go_to_the_gpu_that_has_some_already() -> None:
    slots = (Slot(0), Slot(1, free=0.5), Slot(2, free=0.75))
    placed = place([Pod("p", gpu_request=0.5), Pod("q", gpu_request=0.5)], [Node("n", gpus=slots)])
    assert [(each.gpus, each.share) for each in placed] == [((1,), 0.5), ((2,), 0.5)]


def test_slices_are_counted_by_gpu_and_never_by_whole_gpus() -> None:
    slots = (Slot(0, mig_free={"1g.10gb": 2}), Slot(1, mig_free={"1g.10gb": 1}))
    pods = [Pod("a", mig_profile="1g.10gb", gpu_request=2), Pod("b", gpu_request=1)]
    sliced, whole = place(pods, [Node("n", gpus=slots)])
    assert sliced.gpus == (0, 1)
    assert whole.node is None
    assert whole.counts == {"no free GPUs": 1}


def test_a_node_that_lists_no_gpus_has_as_many_as_its_capacity_says() -> None:
    node = Node("n", capacity={"nvidia.com/gpu": 2}, allocatable={"nvidia.com/gpu": 1})
    first, second = place([Pod("a", gpu_request=1), Pod("b", gpu_request=1)], [node])
    assert (first.node, first.gpus, second.node) == ("n", (0,), None)


def test_the_reasons_come_with_counts_and_a_cure() -> None:
    nodes = [eight(f"full-{at}", *range(8)) for at in range(3)]
    nodes += [eight("shut", unschedulable=True), Node("cpu")]
    placement = place([Pod("p", gpu_request=2)], nodes)[0]
    assert placement.reasons[0] == "5 nodes: 3 no free GPUs, 1 cordoned, 1 no GPUs"
    assert placement.counts == {"no free GPUs": 3, "cordoned": 1, "no GPUs": 1}
    assert dict(placement.why_not)["shut"] == "cordoned"
    assert placement.cure == "uncordon shut"


@pytest.mark.parametrize(
    "pod,node,cure",
    [
        (Pod("p", gpu_request=4), eight("n", 0, 1, 2, 3, 4, 5), "free 2 more GPUs on n (0 and 1)"),
        (
            Pod("p", gpu_request=0.5),
            Node("n", gpus=(Slot(0, free=0.25),)),
            "free 0.5 of GPU 0 on n",
        ),
        (Pod("p", gpu_request=9), eight("n"), "ask for 8 GPUs"),
        (Pod("p", node_selector={"a": "b"}), Node("n"), "drop the selector a=b"),
        (Pod("p", spot_allowed=False), Node("n", spot=True), "allow spot machines"),
        (
            Pod("p", gpu_request=2, cost_max=1),
            eight("n", price_per_hour=32.001),
            "raise maxCostPerHour to $8.01",
        ),
        (
            Pod("p"),
            Node("n", taints=(Taint("a", "b"),)),
            "tolerate the taint a=b:NoSchedule, or remove it",
        ),
        (Pod("p", gpu_request=1, gpu_type="B200"), eight("n"), "ask for NVIDIA H100"),
        (Pod("p", gpu_request=8, locality="nvlink"), eight("n"), "ask for locality any"),
        (Pod("p", gpu_request=2, min_bandwidth=900), eight("n"), "ask for no minBandwidth"),
        (Pod("p"), Node("n", why_not="lost"), "bring n back into service (lost)"),
        (Pod("p", node_selector={"a": "b"}, spot_allowed=False), Node("n", spot=True), ""),
    ],
)
def test_the_cure_is_one_change_that_helps(pod: Pod, node: Node, cure: str) -> None:
    placement = place([pod], [node])[0]
    assert placement.node is None
    assert placement.cure == cure


def test_what_is_no_question_is_answered_as_such() -> None:
    for asked in (1.5, -1.0, float("nan"), float("inf"), 1e-9):
        placement = place([Pod("p", gpu_request=asked)], [eight("n")])[0]
        assert placement.node is None
        assert placement.reasons[0].startswith("asks for ")


def test_the_higher_priority_is_served_first_whatever_the_order() -> None:
    pods = [Pod("low", gpu_request=8), Pod("high", gpu_request=8, priority=1)]
    low, high = place(pods, [eight("n")])
    assert (low.node, high.node) == (None, "n")


def test_each_member_of_a_gang_hears_who_blocked_it_and_how_many_fitted() -> None:
    pods = [Pod(f"g{at}", gpu_request=8, gang="train") for at in range(3)]
    nodes = [eight("a"), eight("b")]
    placed = place([*pods, Pod("alone", gpu_request=8)], nodes)
    said = "gang train: 2 of 3 fit, g2 does not (no room beside them)"
    assert [each.reasons[0] for each in placed[:3]] == [said] * 3
    assert placed[3].node == "a"


def test_whoever_wants_company_is_tried_again_after_it_has_come() -> None:
    near = ReplicaAffinity("d/db", ZONE)
    pods = [
        Pod("web", agent_pool="d/web", replica_affinity=(near,), priority=5),
        Pod("db", agent_pool="d/db"),
    ]
    web, database = place(pods, [Node("a", labels={ZONE: "x"}), Node("b", labels={ZONE: "y"})])
    assert web.node == database.node == "a"


def test_replicas_of_a_pool_are_kept_apart_by_zone() -> None:
    apart = (ReplicaAffinity("", ZONE, anti=True),)
    pods = [Pod(f"p{at}", agent_pool="d/a", replica_affinity=apart) for at in range(3)]
    nodes = [Node(name, labels={ZONE: name[0]}) for name in ("x1", "x2", "y1")]
    placed = place(pods, nodes)
    assert [each.node for each in placed] == ["x1", "y1", None]
    assert placed[2].cure == f"drop the anti-affinity to d/a by {ZONE}"


def test_a_node_where_it_could_not_start_is_taken_last() -> None:
    pod = Pod("p", gpu_request=1, avoid=("a",))
    assert place([pod], [eight("a", 0, 1, 2), eight("b")])[0].node == "b"
    assert place([pod], [eight("a")])[0].node == "a"


def test_the_node_is_preferred_where_the_weights_are() -> None:
    pod = Pod("p", gpu_request=1, model="d/m", model_bytes=10**11, strategy="spread")
    placed = place([pod], [eight("a"), eight("b", models=frozenset({"d/m"}))])
    assert placed[0].node == "b"
    assert "model-cache 100" in placed[0].reasons


def test_no_node_at_all_is_a_reason_too() -> None:
    assert place([Pod("p")], [])[0].reasons == ("0 nodes",)


def test_the_least_important_makes_room_and_no_more_than_needed() -> None:
    nodes = [eight("a", *range(8)), eight("b", *range(8))]
    running = [Running(f"a{at}", "a", (at,), priority=3) for at in range(8)]
    running += [Running(f"b{at}", "b", (at,), priority=at % 2) for at in range(8)]
    placement = place([Pod("p", gpu_request=2, priority=5)], nodes, *running)[0]
    assert (placement.node, placement.preempts) == ("b", ("b4", "b6"))


def test_what_stops_anyway_goes_before_all_others() -> None:
    running = [Running(f"a{at}", "a", (at,), priority=1, stopping=at == 7) for at in range(8)]
    placement = place([Pod("p", gpu_request=1, priority=1)], [eight("a", *range(8))], *running)[0]
    assert placement.preempts == ("a7",)


def test_a_gang_that_finds_no_room_stops_nobody() -> None:
    nodes = [eight("a", *range(8))]
    running = [Running("r", "a", tuple(range(8)))]
    pods = [Pod(f"g{at}", gpu_request=8, priority=1, gang="g") for at in range(2)]
    snapshot = Snapshot(nodes)
    planner = Planner(BOUND, snapshot, AgentPool(), running)
    assert [each.node for each in planner.place(pods)] == [None, None]
    assert snapshot.reserved() == Snapshot(nodes).reserved()
    assert planner.place([Pod("p", gpu_request=8, priority=1)])[0].preempts == ("r",)


def test_a_pool_may_forbid_that_others_make_room() -> None:
    meek = AgentPool(spec=AgentPoolSpec(scheduling=Scheduling(preemption="never")))
    running = [Running("r", "a", tuple(range(8)))]
    planner = Planner(BOUND, Snapshot([eight("a", *range(8))]), meek, running)
    assert planner.place([Pod("p", gpu_request=1, priority=9)])[0].node is None


def test_more_changes_than_are_remembered_are_worked_out_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("navarch.core.serving.scheduling.snapshot.LOG_MAX", 2)
    pods = [Pod(f"p{at}", gpu_request=1 + at % 2) for at in range(8)]
    placed = place(pods, [eight("n")])
    taken = [gpu for each in placed for gpu in each.gpus]
    assert len(taken) == len(set(taken)) == 8


def test_shapes_beyond_the_limit_are_worked_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("navarch.core.serving.scheduling.placing.SHAPES_MAX", 1)
    pods = [Pod(f"p{at}", gpu_request=1 + at % 3) for at in range(6)]
    placed = place(pods, [eight("n")])
    taken = [gpu for each in placed for gpu in each.gpus]
    assert len(taken) == len(set(taken)) == 7
    assert placed[5].node is None


def test_cures_are_looked_for_so_often_only_and_the_rest_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("navarch.core.serving.scheduling.placing.CURES_MAX", 1)
    first, second = place([Pod("p", gpu_request=9), Pod("q", gpu_request=10)], [eight("n")])
    assert first.cure == "ask for 8 GPUs"
    assert second.cure == ""
    assert "no cure was looked for" in second.reasons[-1]


def test_plugins_are_bound_once_each_with_weights_that_mean_something() -> None:
    one, two = Batch(), Batch()
    one.name = two.name = "twin"
    with pytest.raises(ValueError, match="two scheduler plugins are called 'twin'"):
        bind([one, two])
    with pytest.raises(ValueError, match="expected one of twin"):
        bind([one], {"other": 1})
    with pytest.raises(ValueError, match="at least 0"):
        bind([one], {"twin": float("nan")})


def test_a_node_that_is_not_ready_by_its_conditions_is_out_of_service() -> None:
    node = Node("n", conditions=(NodeCondition("Ready", "False"),))
    assert place([Pod("p")], [node])[0].counts == {"not ready": 1}


@pytest.mark.parametrize(
    "node,why",
    [
        (
            Node("n", capacity={"nvidia.com/gpu": 1e18}),
            "has no possible number of nvidia.com/gpu: expected 0 to 64",
        ),
        (
            Node("n", capacity={"nvidia.com/gpu": 8}, allocatable={"nvidia.com/gpu": float("nan")}),
            "has no possible number of nvidia.com/gpu: expected 0 to 64",
        ),
        (
            Node("n", capacity={"nvidia.com/gpu": -1}),
            "has no possible number of nvidia.com/gpu: expected 0 to 64",
        ),
        (
            Node("n", capacity={"nvidia.com/mig-1g.10gb": 1e300}),
            "has no possible number of nvidia.com/mig-1g.10gb: expected 0 to 4,096",
        ),
        (
            Node("n", capacity={f"nvidia.com/mig-{at}g.1gb": 1 for at in range(65)}),
            "has more than 64 GPUs and kinds of slices",
        ),
        (Node("n", gpus=tuple(Slot(at) for at in range(65))), "lists more than 64 GPUs"),
    ],
)
def test_a_node_that_claims_too_many_gpus_offers_none_and_says_why(node: Node, why: str) -> None:
    good = Node("z", capacity={"nvidia.com/gpu": 64})
    snapshot = Snapshot([node, good])
    assert snapshot.free.shape == (2, 64)
    small, big = Planner(BOUND, snapshot, AgentPool()).place(
        [Pod("small", gpu_request=1), Pod("big", gpu_request=64)]
    )
    assert (small.node, small.why_not["n"]) == ("z", why)
    assert big.counts[why] == 1
    assert big.node is None
    assert "n" not in big.cure.split()
