"""What holds of every placing: against a slow reference, and against what it must never do."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from navarch.core.model.resources import AgentPool, NodeAffinity, ReplicaAffinity, Toleration
from navarch.core.serving.scheduling import BUILT_IN, Planner, Running, Shape, Snapshot, bind
from navarch.core.serving.scheduling.cures import changed_row, cures
from navarch.core.serving.scheduling.gpus import ask_of
from navarch.core.serving.scheduling.snapshot import units
from navarch.core.serving.views import Node, Placement, Pod, Slot, Taint
from slow_scheduler import fits, score

BOUND = bind([each() for each in BUILT_IN])
GIB = 2**30
PROFILE = "2g.20gb"
ZONE = "topology.kubernetes.io/zone"
CASES = settings(max_examples=50, deadline=None)

taints = st.builds(
    Taint,
    st.sampled_from(["a", "b"]),
    st.sampled_from(["", "v"]),
    st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
)
tolerations = st.builds(
    Toleration,
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["Equal", "Exists"]),
    st.sampled_from(["", "v"]),
    st.sampled_from(["", "NoSchedule", "NoExecute"]),
)
affinities = st.builds(
    NodeAffinity,
    st.sampled_from(["tier", ZONE]),
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.sampled_from([("x",), ("x", "y")]),
    st.sampled_from([0, 0, 10, 50]),
)
company = st.builds(
    ReplicaAffinity,
    st.sampled_from(["", "d/one"]),
    st.sampled_from([ZONE, "kubernetes.io/hostname"]),
    st.booleans(),
    st.sampled_from([0, 0, 20]),
)


@st.composite
def slots(draw: st.DrawFn) -> tuple[Slot, ...]:
    shape = draw(st.sampled_from(["none", "plain", "linked", "odd"]))
    if shape == "none":
        return ()
    found = []
    for index in range(draw(st.integers(1, 4))):
        free = draw(st.sampled_from([1.0, 1.0, 1.0, 0.5, 0.25, 0.0]))
        memory = draw(st.sampled_from([40 * GIB, 80 * GIB])) if shape == "odd" else 80 * GIB
        mig = {PROFILE: draw(st.integers(0, 3))} if shape == "odd" and index == 0 else {}
        linked = shape == "linked"
        nvlink, bandwidth = (index // 2, 10 * (index // 2 + 1)) if linked else (-1, 0)
        found.append(Slot(index, free, memory, index % 2, nvlink, bandwidth, mig))
    return tuple(found)


@st.composite
def nodes(draw: st.DrawFn, most: int = 6) -> list[Node]:
    return [draw(node(f"n{at}")) for at in range(draw(st.integers(1, most)))]


@st.composite
def node(draw: st.DrawFn, name: str) -> Node:
    gpus = draw(slots())
    labels = {"tier": draw(st.sampled_from(["x", "y"]))} if draw(st.booleans()) else {}
    labels |= {ZONE: draw(st.sampled_from(["x", "y"]))} if draw(st.booleans()) else {}
    capacity = {"nvidia.com/gpu": float(len(gpus)), f"nvidia.com/mig-{PROFILE}": 3.0}
    capacity = capacity if gpus else {}
    return Node(
        name,
        labels=labels,
        capacity=capacity,
        taints=tuple(draw(st.lists(taints, max_size=1))),
        unschedulable=draw(st.integers(0, 7)) == 0,
        gpu_type=draw(st.sampled_from(["NVIDIA H100", "NVIDIA A100"])),
        gpus=gpus,
        region=draw(st.sampled_from(["east", "west"])),
        spot=draw(st.booleans()),
        price_per_hour=draw(st.sampled_from([0.0, 8.0, 16.0])),
        models=frozenset(draw(st.lists(st.just("d/m"), max_size=1))),
        fetch_bytes_per_second=draw(st.sampled_from([0.0, 1e8])),
        replicas=draw(st.dictionaries(st.sampled_from(["d/one", "d/two"]), st.integers(1, 2))),
    )


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    mig = draw(st.sampled_from(["", "", "", PROFILE]))
    asked = [1.0, 2.0] if mig else [0.0, 0.25, 0.5, 1.0, 2.0, 3.0]

    def rarely(value: dict[str, str], other: dict[str, str]) -> dict[str, str]:
        return value if draw(st.integers(0, 4)) == 0 else other

    return Pod(
        "p",
        gpu_request=draw(st.sampled_from(asked)),
        gpu_memory=draw(st.sampled_from([0, 0, 0, 60 * GIB])),
        gpu_type=draw(st.sampled_from(["", "", "h100"])),
        mig_profile=mig,
        locality=draw(st.sampled_from(["any", "any", "nvlink", "same-socket", "same-node"])),
        min_bandwidth=draw(st.sampled_from([0, 0, 0, 15])),
        node_selector=rarely({"tier": "x"}, {}),
        affinity=tuple(draw(st.lists(affinities, max_size=1))),
        replica_affinity=tuple(draw(st.lists(company, max_size=1))),
        tolerations=tuple(draw(st.lists(tolerations, max_size=1))),
        agent_pool=draw(st.sampled_from(["d/one", "d/two"])),
        model="d/m" if draw(st.booleans()) else "",
        model_bytes=draw(st.sampled_from([0, 10**10])),
        spot_allowed=draw(st.booleans()),
        cost_max=draw(st.sampled_from([0.0, 0.0, 4.0, 9.0])),
        strategy=draw(st.sampled_from(["bin-pack", "spread"])),
        data_regions=draw(st.sampled_from([(), ("east",)])),
        avoid=draw(st.sampled_from([(), ("n0",)])),
    )


def place(wanted: Sequence[Pod], on: Sequence[Node] | Snapshot) -> list[Placement]:
    snapshot = on if isinstance(on, Snapshot) else Snapshot(on)
    return Planner(BOUND, snapshot, AgentPool()).place(wanted)


def after(pod: Pod, placement: Placement, on: Sequence[Node]) -> list[Node]:
    """Give the nodes with a pod where it was placed, by plain arithmetic."""
    return [_with(pod, placement, each) if each.name == placement.node else each for each in on]


def _with(pod: Pod, placement: Placement, node: Node) -> Node:
    found = []
    for slot in node.gpus:
        times = placement.gpus.count(slot.index)
        if times and pod.mig_profile:
            left = {**slot.mig_free, pod.mig_profile: slot.mig_free[pod.mig_profile] - times}
            assert left[pod.mig_profile] >= 0
            found.append(msgspec.structs.replace(slot, mig_free=left))
        elif times:
            assert times == 1
            assert not slot.mig_free
            free = slot.free - placement.share
            assert free >= -1e-9
            found.append(msgspec.structs.replace(slot, free=free))
        else:
            found.append(slot)
    replicas = dict(Counter(node.replicas) + Counter([pod.agent_pool]))
    return msgspec.structs.replace(node, gpus=tuple(found), replicas=replicas)


@CASES
@given(nodes(), st.lists(pods(), min_size=1, max_size=5))
def test_placing_agrees_with_the_slow_reference(on: list[Node], wanted: list[Pod]) -> None:
    wanted = [msgspec.structs.replace(pod, name=f"p{at}") for at, pod in enumerate(wanted)]
    snapshot = Snapshot(on)
    planner = Planner(BOUND, snapshot, AgentPool())
    for pod in wanted:
        placement = planner.place([pod])[0]
        good = {each.name: score(pod, each, on) for each in on if fits(pod, each, on)}
        assert set(placement.why_not) == {each.name for each in on} - set(good)
        if not good:
            assert placement.node is None
            assert sum(placement.counts.values()) == len(on)
            continue
        assert placement.node in good
        assert placement.score == pytest.approx(good[placement.node], abs=1e-3)
        assert good[placement.node] == pytest.approx(max(good.values()), abs=1e-3)
        on = after(pod, placement, on)


@CASES
@given(nodes(), st.lists(pods(), min_size=1, max_size=12))
def test_no_gpu_is_given_away_twice_and_whoever_is_placed_gets_what_it_asks_for(
    on: list[Node], wanted: list[Pod]
) -> None:
    wanted = [msgspec.structs.replace(pod, name=f"p{at}") for at, pod in enumerate(wanted)]
    for pod, placement in zip(wanted, place(wanted, on), strict=True):
        if placement.node is None:
            assert placement.reasons
            continue
        on = after(pod, placement, on)
        count = ask_of(pod).count
        assert len(placement.gpus) == count
        assert list(placement.gpus) == sorted(placement.gpus)


@CASES
@given(nodes(), st.lists(pods(), min_size=2, max_size=5), pods())
def test_a_gang_is_placed_whole_or_not_at_all(
    on: list[Node], wanted: list[Pod], alone: Pod
) -> None:
    gang = [msgspec.structs.replace(pod, name=f"g{at}", gang="g") for at, pod in enumerate(wanted)]
    snapshot = Snapshot(on)
    before = snapshot.reserved()
    placed = place(gang, snapshot)
    whole = {placement.node is not None for placement in placed}
    assert len(whole) == 1
    if whole == {False}:
        assert snapshot.reserved() == before
        assert all("gang g: " in placement.reasons[0] for placement in placed)
        assert place([alone], snapshot)[0].node == place([alone], on)[0].node


@CASES
@given(nodes(5), pods(), node("zz"))
def test_another_free_node_never_takes_a_place_away(on: list[Node], pod: Pod, more: Node) -> None:
    more = msgspec.structs.replace(more, replicas={})
    if place([pod], on)[0].node is not None:
        assert place([pod], [*on, more])[0].node is not None


@CASES
@given(nodes(), st.lists(pods(), min_size=1, max_size=4))
def test_what_is_reserved_and_given_back_leaves_the_snapshot_as_it_was(
    on: list[Node], wanted: list[Pod]
) -> None:
    snapshot = Snapshot(on)
    before, shown = snapshot.reserved(), [snapshot.node(row) for row in range(len(snapshot))]
    twin = snapshot.copy()
    placed = [pair for pair in zip(wanted, place(wanted, twin), strict=True) if pair[1].node]
    assert snapshot.reserved() == before
    for pod, placement in reversed(placed):
        assert placement.node is not None
        row = twin.row[placement.node]
        at = twin.positions(row, placement.gpus)
        share = ask_of(pod).units
        twin.unreserve(row, at, share, mig=pod.mig_profile, agent_pool=pod.agent_pool)
    assert twin.reserved() == before
    again = [twin.node(row) for row in range(len(twin))]
    assert [place([pod], again)[0].node for pod in wanted] == [
        place([pod], shown)[0].node for pod in wanted
    ]


@CASES
@given(nodes(), pods())
def test_what_is_told_as_a_cure_cures(on: list[Node], pod: Pod) -> None:
    snapshot = Snapshot(on)
    placement = place([pod], snapshot)[0]
    assume(placement.node is None)
    found = list(cures(Shape(pod, AgentPool(), BOUND, snapshot), BOUND, AgentPool()))
    assert placement.cure == (found[0].text if found else "")
    assert [each.order for each in found] == sorted(each.order for each in found)
    for change in found:
        better = change.pod or pod
        cured = [changed_row(each, change) if each.name == change.node else each for each in on]
        assert any(fits(better, each, cured) for each in cured), change


@st.composite
def crowded(draw: st.DrawFn) -> tuple[list[Node], list[Running]]:
    """Nodes of four GPUs, and what runs there."""
    on, running = [], []
    for at in range(draw(st.integers(1, 3))):
        taken: dict[int, float] = defaultdict(float)
        for number in range(draw(st.integers(1, 4))):
            share = draw(st.sampled_from([1.0, 0.5]))
            free = [gpu for gpu in range(4) if taken[gpu] + share <= 1]
            gpus = tuple(free[: 1 if share < 1 else draw(st.integers(1, 2))])
            if gpus:
                priority = draw(st.integers(0, 3))
                name = f"r{at}-{number}"
                running.append(Running(name, f"n{at}", gpus, share, "", priority, "d/one"))
                for gpu in gpus:
                    taken[gpu] += share
        gpus_now = tuple(Slot(gpu, 1 - taken[gpu]) for gpu in range(4))
        on.append(Node(f"n{at}", gpus=gpus_now))
    return on, running


@CASES
@given(crowded(), st.sampled_from([0.5, 1.0, 2.0, 4.0]), st.integers(0, 3))
def test_only_replicas_of_lower_priority_make_room_and_it_is_enough(
    crowd: tuple[list[Node], list[Running]], asked: float, priority: int
) -> None:
    on, running = crowd
    pod = Pod("p", gpu_request=asked, priority=priority)
    snapshot = Snapshot(on)
    placement = Planner(BOUND, snapshot, AgentPool(), running).place([pod])[0]
    by_name = {each.replica: each for each in running}
    if place([pod], on)[0].node is not None:
        assert placement.preempts == ()
        return
    lower = [each for each in running if each.priority < priority]
    rid = [_without(each, lower) for each in on]
    assert (placement.node is not None) == any(fits(pod, each, rid) for each in rid)
    if placement.node is None:
        assert snapshot.reserved() == Snapshot(on).reserved()
        return
    stopped = [by_name[name] for name in placement.preempts]
    assert stopped
    assert all(each.priority < priority for each in stopped)
    assert {each.node for each in stopped} == {placement.node}
    after(pod, placement, [_without(each, stopped) for each in on])
    for spared in stopped:
        fewer = [each for each in stopped if each is not spared]
        host = next(each for each in on if each.name == placement.node)
        assert not fits(pod, _without(host, fewer), on)


@CASES
@given(crowded(), st.lists(st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.integers(1, 3))))
def test_room_that_was_made_once_is_not_made_again(
    crowd: tuple[list[Node], list[Running]], asked: list[tuple[float, int]]
) -> None:
    on, running = crowd
    planner = Planner(BOUND, Snapshot(on), AgentPool(), running)
    left = {each.replica: each for each in running}
    for at, (gpus, priority) in enumerate(asked[:6]):
        pod = Pod(f"p{at}", gpu_request=gpus, priority=priority)
        placement = planner.place([pod])[0]
        stopped = [left.pop(name) for name in placement.preempts]
        assert all(each.priority < priority for each in stopped)
        on = [_without(each, stopped) for each in on]
        lower = [each for each in left.values() if each.priority < priority]
        rid = [_without(each, lower) for each in on]
        assert (placement.node is not None) == any(fits(pod, each, rid) for each in rid)
        on = after(pod, placement, on)


def _without(node: Node, stopped: Sequence[Running]) -> Node:
    found = list(node.gpus)
    for each in stopped:
        if each.node == node.name:
            for gpu in each.gpus:
                free = found[gpu].free + each.share
                found[gpu] = msgspec.structs.replace(found[gpu], free=free)
    return msgspec.structs.replace(node, gpus=tuple(found))


def test_shares_that_are_thirds_fill_a_gpu() -> None:
    thirds = [Pod(f"p{at}", gpu_request=1 / 3) for at in range(4)]
    placed = place(thirds, [Node("n", gpus=(Slot(0),))])
    assert [placement.node for placement in placed] == ["n", "n", "n", None]
    assert units(1 / 3) == 333_333
