"""What every scheduler plugin must do, as checks that its author can run.

::

    class TestMine(SchedulerContract):
        @pytest.fixture
        def make_plugin(self) -> MakePlugin:
            return MyScheduler

It is asked about `pods`, `nodes` and `pool`, which an author may override: a plugin that goes by
labels of its own is shown nothing of what it can do unless some nodes have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

from navarch.core.model.resources import AgentPool, AgentPoolSpec, ObjectMeta, Scheduling
from navarch.core.serving.views import GPU_RESOURCE, Node, NodeCondition, Pod, Slot, Taint
from navarch.plugins.protocols import PluginKind, SchedulerPlugin
from navarch.testing import columns
from navarch.testing.findings import Broken, checked, expect, not_shown, seconds_of, told
from navarch.testing.manners import Manners, is_number, orders, pure, same_twice, untouched

GIB: Final = 1 << 30
SCORE_MAX: Final = 100
TIMED: Final = 1000
"""Nodes for which the time is measured."""

PODS: Final = (
    Pod("chat-1", gpu_request=1, agent_pool="default/chat"),
    Pod("half-1", gpu_request=0.5, gpu_memory=20 * GIB, agent_pool="default/chat"),
    Pod(
        "big-1",
        namespace="research",
        labels={"team": "research"},
        gpu_request=8,
        gpu_memory=80 * GIB,
        gpu_type="H100",
        locality="nvlink",
        gang="research/big",
        priority=100,
        model="research/llama",
        model_bytes=140 * GIB,
        node_selector={"zone": "a"},
        spot_allowed=False,
        cost_max=50.0,
        avoid=("node-3",),
    ),
    Pod("bare"),
)
"""From a pod that says nothing to one that says everything."""


def sample_nodes(count: int) -> list[Node]:
    """Make nodes of all sorts: bare, full, sick, cheap, with and without labels."""
    return [_node(number) for number in range(count)]


def _node(number: int) -> Node:
    if number % 9 == 0:
        return Node(f"node-{number}")
    gpus = (0, 1, 4, 8)[number % 4]
    free = (1.0, 0.5, 0.0)[number % 3]
    labels = {
        "zone": "abc"[number % 3],
        "performance-tier": ("high", "low", "")[number % 3],
        "custom-requirement": ("met", "unmet")[number % 2],
    }
    return Node(
        f"node-{number}",
        labels=labels if number % 5 else {},
        capacity={GPU_RESOURCE: gpus, "cpu": 64} if number % 7 else {},
        conditions=(NodeCondition("Ready", "True" if number % 6 else "False"),),
        taints=(Taint("spot"),) if number % 8 == 1 else (),
        unschedulable=number % 10 == 3,
        gpu_type=("NVIDIA H100 80GB HBM3", "NVIDIA L4", "")[number % 3],
        gpus=tuple(
            Slot(index, free, 80 * GIB, socket=index // 4, nvlink=0) for index in range(gpus)
        ),
        healthy=number % 6 != 0,
        provider=("lambda", "gcp", "")[number % 3],
        region=("us-west-2", "eu-west-1", "")[number % 3],
        zone="abc"[number % 3],
        pool="training",
        spot=number % 8 == 1,
        price_per_hour=number % 4 * 2.5,
        models=frozenset({"research/llama"}) if number % 4 == 2 else frozenset(),
        fetch_bytes_per_second=number % 3 * 1e9,
        replicas={"default/chat": number % 3} if number % 3 else {},
    )


ODD_NODES: Final = (
    Node(""),
    Node("no-gpus", capacity={GPU_RESOURCE: 0}),
    Node("negative", capacity={GPU_RESOURCE: -1}, price_per_hour=-1.0),
    Node("huge", capacity={GPU_RESOURCE: 512, "memory": 1e18}, fetch_bytes_per_second=1e30),
    Node("odd label", labels={"": "", "custom-requirement": "Größe 八\n", "x" * 300: "y" * 3000}),
    Node("twice", gpus=(Slot(0), Slot(0)), models=frozenset({""})),
)
"""Nodes as nobody would write them, and as some cluster has them."""

POOL: Final = AgentPool(
    metadata=ObjectMeta("chat"),
    spec=AgentPoolSpec(max_replicas=8, scheduling=Scheduling(max_cost_per_hour=10.0)),
)


class SchedulerContract(Manners):
    """The kit for schedulers: add the fixture `make_plugin`."""

    kind: ClassVar[str] = PluginKind.SCHEDULER

    samples: ClassVar[tuple[str, ...]] = ("pods", "nodes", "pool")

    pods: ClassVar[Sequence[Pod]] = PODS
    nodes: ClassVar[Sequence[Node]] = tuple(sample_nodes(40))
    pool: ClassVar[AgentPool] = POOL

    seconds_per_1000_nodes: ClassVar[float] = 1.0
    """How long a pod may take to be shown so many nodes. A placement waits for it."""

    def fits(self, plugin: SchedulerPlugin, pod: Pod, node: Node) -> bool:
        """Ask whether a node fits, in the form that the plugin has."""
        if columns.is_batched(plugin):
            return columns.fits(plugin, pod, node, self.pool)
        return plugin.filter(pod, node, self.pool)

    def scored(self, plugin: SchedulerPlugin, pod: Pod, node: Node) -> float:
        """Ask how good a node is, in the form that the plugin has."""
        if columns.is_batched(plugin):
            return columns.score(plugin, pod, node, self.pool)
        return plugin.score(pod, node, self.pool)

    def asked(self, plugin: SchedulerPlugin, pod: Pod, node: Node) -> tuple[bool, float | None]:
        """Ask as the host does: the score of nodes only that the filter lets pass."""
        if not self.fits(plugin, pod, node):
            return False, None
        return True, self.scored(plugin, pod, node)

    @checked
    def test_the_filter_answers_true_or_false(self, plugin: SchedulerPlugin) -> str | None:
        """Whether a node fits is no matter of degree."""
        fitting = 0
        for pod in self.pods:
            for node in self.nodes:
                answer = self.fits(plugin, pod, node)
                expect(
                    type(answer) is bool,
                    f"filter({pod.name}, {node.name}) is {answer!r}, expected True or False",
                )
                fitting += answer
        return f"{fitting} of {len(self.pods) * len(self.nodes)} fit"

    @checked
    def test_the_score_is_a_whole_number_from_0_to_100(self, plugin: SchedulerPlugin) -> str | None:
        """Scores of several plugins are added up, so that they must have one measure."""
        seen: set[float] = set()
        batched = columns.is_batched(plugin)
        for pod in self.pods:
            for node in self.nodes:
                answer = self.scored(plugin, pod, node)
                asked = f"score({pod.name}, {node.name}) is {answer!r}"
                expect(batched or type(answer) is int, f"{asked}, expected a whole number")
                expect(0 <= answer <= SCORE_MAX, f"{asked}, expected 0 to {SCORE_MAX}")
                seen.add(answer)
        return f"{min(seen):g} to {max(seen):g}" if seen else None

    @checked
    def test_the_same_question_has_the_same_answer(self, plugin: SchedulerPlugin) -> None:
        """A decision can be explained, and taken again, long after it was taken."""
        other = self.another()
        for pod in self.pods:
            for node in self.nodes:
                for again in (plugin, other):
                    same_twice(
                        f"the answer about {pod.name} on {node.name}",
                        partial(self.asked, plugin, pod, node),
                        partial(self.asked, again, pod, node),
                    )

    @checked
    def test_the_order_of_the_nodes_changes_nothing(self, plugin: SchedulerPlugin) -> None:
        """Nodes come in any order, and a plugin must not remember the one before."""
        for pod in self.pods:
            answers: dict[str, tuple[bool, float | None]] = {}
            for order in orders(len(self.nodes)):
                for node in (self.nodes[place] for place in order):
                    answer = self.asked(plugin, pod, node)
                    before = answers.setdefault(node.name, answer)
                    expect(
                        answer == before,
                        f"{pod.name} on {node.name}: {before} in one order of the nodes, "
                        f"{answer} in another",
                    )

    @checked
    def test_it_changes_nothing_that_it_is_given(self, plugin: SchedulerPlugin) -> None:
        """All plugins are shown the same objects."""
        for pod in self.pods:
            for node in self.nodes:
                untouched(
                    f"asking about {pod.name} on {node.name}",
                    (pod, node, self.pool),
                    partial(self.asked, plugin, pod, node),
                )

    @checked
    def test_it_uses_neither_clock_nor_chance_nor_network(self, plugin: SchedulerPlugin) -> None:
        """What it needs to know stands in the node's labels and annotations."""
        for pod in self.pods:
            for node in self.nodes:
                pure("filter", partial(self.fits, plugin, pod, node))
                pure("score", partial(self.scored, plugin, pod, node))

    @checked
    def test_a_node_that_says_nothing_is_borne(self, plugin: SchedulerPlugin) -> None:
        """Labels may be missing, and clusters hold nodes that nobody would make up."""
        for pod in self.pods:
            for node in (Node("bare"), *ODD_NODES):
                asked = f"{pod.name} on the node {node.name!r}"
                try:
                    fits, score = self.fits(plugin, pod, node), self.scored(plugin, pod, node)
                except Exception as error:
                    raise Broken(f"{asked}: {told(error)}") from error
                expect(type(fits) is bool, f"filter of {asked} is {fits!r}")
                sound = is_number(score) and 0 <= score <= SCORE_MAX
                expect(sound, f"score of {asked} is {score!r}, expected 0 to {SCORE_MAX}")

    @checked
    def test_all_nodes_can_be_asked_about_at_once(self, plugin: SchedulerPlugin) -> str:
        """In the batch form: a code and a score for each row, and for some rows the same."""
        if not columns.is_batched(plugin):
            not_shown("it has no mask: it is asked about one node at a time")
        rows = 0
        for pod in self.pods:
            rows += columns.expect_rows(plugin, pod, self.nodes, self.pool)
            rows += columns.expect_rows(plugin, pod, (*self.nodes, *ODD_NODES), self.pool)
        return f"{rows} rows"

    @checked
    def test_a_thousand_nodes_are_looked_at_quickly(self, plugin: SchedulerPlugin) -> str:
        """Every pending replica is held against every node."""
        pod, nodes = self.pods[0], sample_nodes(TIMED)

        def all_of_them() -> None:
            if columns.is_batched(plugin):
                columns.expect_rows(plugin, pod, nodes, self.pool)
                return
            for node in nodes:
                plugin.filter(pod, node, self.pool)
                plugin.score(pod, node, self.pool)

        seconds = min(seconds_of(all_of_them) for _ in range(3))
        limit = self.seconds_per_1000_nodes
        expect(seconds <= limit, f"{seconds:.2f} s per 1,000 nodes, expected at most {limit:g} s")
        return f"{seconds * 1000:.1f} ms per 1,000 nodes"
