"""How fast replicas are placed, with the reason for every node that does not fit.

    python bench/placement.py [--runs 7] [--json FILE]

CPU time, medians of 7 runs, one process. 12 shapes of pods on fleets of eight GPUs a node: whole
GPUs, shares, slices, selectors, taints, zones apart, prices, spot, models; two shapes fit nowhere.
Every pod gets its GPUs, its score and what spoke for it; every node that does not fit its reason;
every pod without a node the counts and the change that would help. Making the columns counts.
*Traced* is as in a control plane: each call of a built-in plugin leaves a trace, taken in turns
with runs without.

The threshold beside it is kube-scheduler's: its own performance tests demand of it 180 pods a
second with extended resources, which is how Kubernetes counts GPUs, on 5,000 nodes
(SchedulingWithExtendedResource, 5000pods_5000nodes), and 680 without (SchedulingBasic,
5000Nodes_10000Pods): kubernetes/kubernetes,
test/integration/scheduler_perf/misc/performance-config.yaml at 008b3652959c (read November 2026).
Those go through an API server and bind, which this does not: the two are not the same work.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from figures import Figure, options, write

from navarch.core.model.resources import AgentPool, ReplicaAffinity, Toleration
from navarch.core.serving.scheduling import Snapshot
from navarch.core.serving.views import Node, Placement, Pod, Slot, Taint
from navarch.plugins.scheduling import Scheduler
from navarch.plugins.traces import Traced

RUNS = 7
GOAL = 10_000
KUBE = 180
SLOTS = tuple(
    Slot(at, memory=80 << 30, socket=at // 4, nvlink=at // 4, bandwidth=int(450e9))
    for at in range(8)
)
SLICED = (Slot(0, mig_free={"1g.10gb": 7}), *SLOTS[1:])
ZONES = ("a", "b", "c")


def fleet(size: int) -> list[Node]:
    """Make nodes of three zones, some of them spot, tainted, divided, or cordoned."""
    return [
        Node(
            f"gpu-{at:06d}",
            labels={"topology.kubernetes.io/zone": ZONES[at % 3], "tier": f"t{at % 4}"},
            capacity={"nvidia.com/gpu": 8},
            gpu_type="NVIDIA H100 80GB HBM3" if at % 5 else "NVIDIA A100-SXM4-80GB",
            gpus=SLICED if at % 50 == 0 else SLOTS,
            taints=(Taint("dedicated", "batch"),) if at % 20 == 0 else (),
            unschedulable=at % 33 == 0,
            spot=at % 4 == 0,
            price_per_hour=40.0 + at % 7,
            region="east" if at % 2 else "west",
            models=frozenset({f"default/m{at % 10}"}),
        )
        for at in range(size)
    ]


def shapes() -> list[Pod]:
    """Make 12 shapes; the last two fit nowhere."""
    apart = (ReplicaAffinity(anti=True),)
    return [
        Pod("p", gpu_request=1),
        Pod("p", gpu_request=2, gpu_type="H100"),
        Pod("p", gpu_request=4, locality="nvlink", gpu_memory=80 << 30),
        Pod("p", gpu_request=0.25),
        Pod("p", gpu_request=0.5, model="default/m3", model_bytes=int(40e9)),
        Pod("p", gpu_request=1, node_selector={"tier": "t1"}, strategy="spread"),
        Pod("p", gpu_request=1, mig_profile="1g.10gb"),
        Pod("p", gpu_request=2, spot_allowed=False, cost_max=12.0),
        Pod("p", gpu_request=1, agent_pool="default/apart", replica_affinity=apart),
        Pod("p", gpu_request=8, tolerations=(Toleration("dedicated", "Exists"),)),
        Pod("p", gpu_request=1, gpu_type="B200"),
        Pod("p", gpu_request=8, cost_max=1.0, node_selector={"tier": "t9"}),
    ]


def pods(count: int) -> list[Pod]:
    """Make pods of all shapes in turn."""
    made = shapes()
    return [
        Pod(**{name: getattr(made[at % 12], name) for name in Pod.__struct_fields__})
        for at in range(count)
    ]


class Tier:
    """A plugin in the documents' form: nothing but Python, for each node."""

    name = "tier"
    priority = 200

    def filter(self, pod: Pod, node: Node, pool: AgentPool) -> bool:
        """Refuse one tier of four."""
        return node.labels.get("tier") != "t3"

    def score(self, pod: Pod, node: Node, pool: AgentPool) -> int:
        """Prefer another."""
        return 80 if node.labels.get("tier") == "t1" else 50


class Registered:
    """The built-in plugins, and those of others."""

    def __init__(self, *plugins: object) -> None:
        """Hold these."""
        self.schedulers = plugins


def timed(scheduler: Scheduler, nodes: list[Node] | Snapshot, wanted: list[Pod]) -> float:
    """Place; return microseconds of CPU a placement."""
    began = time.process_time()
    placed = scheduler.place(wanted, nodes, AgentPool())
    spent = (time.process_time() - began) * 1e6 / len(wanted)
    check(placed)
    return spent


def check(placed: list[Placement]) -> None:
    """Refuse to measure what is not an answer."""
    assert placed[0].node
    assert placed[0].gpus
    assert placed[10].cure
    assert len(placed[10].why_not) == sum(placed[10].counts.values())


def row(what: str, spent: list[float], goal: str = "") -> Figure:
    """Print a line of the table."""
    figure = Figure(what.strip(), "/s", [1e6 / each for each in spent])
    print(f"{what:<58} {1e6 / figure.value:9.1f} µs {figure.value:9,.0f}/s   {goal}")
    return figure


def tracing(nodes: list[Node], runs: int) -> list[Figure]:
    """Print what it costs that calls of built-in plugins leave traces."""
    figures = []
    calls = Traced(lambda: datetime.now(UTC), time.perf_counter)
    bare, traced = Scheduler(), Scheduler(caller=calls)
    for count in (12, 2_400):
        pairs = [
            (timed(bare, nodes, pods(count)), timed(traced, nodes, pods(count)))
            for _ in range(2 * runs)
        ]
        figures.append(
            row(f"{count:,} pods, {len(nodes):,} nodes, traced", [with_ for _, with_ in pairs])
        )
        added = [100 * (with_ / without - 1) for without, with_ in pairs]
        figures.append(Figure(f"tracing adds, {count:,} pods", "%", added))
        print(f"  tracing adds {figures[-1].value:.1f} % (goal: 5 % at most)")
    return figures


def main() -> None:
    """Print the table."""
    asked = options("how fast replicas are placed")
    asked.set_defaults(runs=RUNS)
    given = asked.parse_args()
    runs, figures = given.runs, []
    scheduler = Scheduler()
    for size in (1_000, 5_000, 20_000):
        nodes, wanted = fleet(size), pods(2_400)
        goal = f"goal {GOAL:,}/s; kube-scheduler's threshold {KUBE}/s" if size == 5_000 else ""
        whole = [timed(scheduler, nodes, wanted) for _ in range(runs)]
        made = [timed(scheduler, Snapshot(nodes), wanted) for _ in range(runs)]
        figures.append(row(f"2,400 pods, {size:,} nodes, columns included", whole, goal))
        figures.append(row(f"  {size:,} nodes, from columns", made, goal))
    nodes = fleet(5_000)
    once = [timed(scheduler, nodes, pods(12)) * 12 / 1000 for _ in range(runs)]
    figures.append(Figure("12 pods of 12 shapes, once, columns included", "ms", once))
    print(f"{figures[-1].name}: {figures[-1].value:.1f} ms")
    theirs = Scheduler(Registered(Tier()))
    slow = [timed(theirs, nodes, pods(2_400)) for _ in range(runs)]
    figures.append(row("2,400 pods, 5,000 nodes, and a plugin asked node by node", slow))
    figures += tracing(nodes, runs)
    write(figures, given.json)


if __name__ == "__main__":
    main()
