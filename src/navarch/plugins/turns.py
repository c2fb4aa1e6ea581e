"""Turns: what the host of scheduler and autoscaler plugins does each time it looks.

A turn is plain computing: it is given the fleet, the time and what was read, and answers with
messages to the core. The control plane takes turns in real time and asks plugins of others in
threads, the simulator takes the same turns in virtual time.

Nothing here is kept that matters: samples, history and templates are built anew after a restart,
and an empty history takes nothing away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import PoolSpec
from navarch.core.model.replica import Blocker, ReplicaState
from navarch.core.model.resources import AgentClass, AgentPool
from navarch.core.model.sightings import Sightings
from navarch.core.scaling.base import Reading
from navarch.core.serving import balance, gangs, nodes
from navarch.core.serving.kept_views import KeptViews
from navarch.core.serving.recipes import Missing, Recipe, recipe
from navarch.core.serving.scaling.history import ScalingHistory, begun
from navarch.core.serving.scaling.proposal import Proposal
from navarch.core.serving.scaling.series import Series
from navarch.core.serving.scaling.shaping import decide
from navarch.core.serving.scheduling import BUILT_IN as BUILT_IN_SCHEDULERS
from navarch.core.serving.scheduling import Running
from navarch.core.serving.scheduling.placing import summary
from navarch.core.serving.views import Node, Placement, Pod
from navarch.plugins import scaling
from navarch.plugins.calls import About, Caller
from navarch.plugins.protocols import PluginKind
from navarch.plugins.registry import Registry
from navarch.plugins.scheduling import Scheduler
from navarch.plugins.shadow import Shadows

PODS_MAX: Final = 2_000
"""Replicas that are looked for a place in one turn: those that wait longest, gangs in full."""
SHADOW_PODS_MAX: Final = 50
"""Pods of a turn about which schedulers in shadow are asked: they cost as much as those that
count."""

Facts = Callable[[PoolSpec], "MachineFacts | None"]


class MachineFacts(Struct, frozen=True):
    """What a catalogue knows about the machines that a pool buys."""

    gpu_count: int
    gpu_type: str = ""
    gpu_memory: int = 0
    """Bytes each; 0: not known."""
    price_per_hour: float = 0.0
    """US dollars; 0: not known."""


class Asking(Struct, frozen=True):
    """All that autoscalers are asked about one pool of agents."""

    pool: AgentPool
    agent_class: AgentClass | None
    series: Mapping[str, Series]
    current: int
    ready: int
    changed_at: datetime | None = None
    """When the number that is wanted last changed; None: never, or nobody knows."""


class Problem(Struct, frozen=True):
    """Replicas that wait for a place, and where there may be one."""

    pods: Sequence[Pod]
    pools: Mapping[str, AgentPool]
    nodes: Sequence[Node]
    running: Sequence[Running]
    templates: Mapping[str, Node]
    """A new node of each pool of machines that is not asleep, by the pool's name."""
    roomy: frozenset[str]
    """Those of them that may still grow, or have machines that boot."""


class Turns:
    """Asks plugins, and makes messages of what they say."""

    def __init__(
        self,
        registry: Registry,
        caller: Caller,
        *,
        facts: Facts | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        """Ask the plugins of `registry` through `caller`.

        `facts` know what a pool of machines would buy; None: only pools that have a node already
        are known to fit anything.
        """
        self.registry = registry
        self.caller = caller
        self._facts = facts
        self._shadows = shadows
        self._book = scaling.SignalBook()
        self._views = KeptViews()
        self._histories: dict[str, ScalingHistory] = {}

    # --- how many ------------------------------------------------------------------------

    def signals_of(self, fleet: Fleet, agent_pool: str) -> tuple[AgentPool, tuple[str, ...]] | None:
        """Say which signals have to be read for a pool; None: it is not there, or lacks a part."""
        made = recipe(fleet, agent_pool)
        if isinstance(made, Missing):
            return None
        autoscalers = self.registry.autoscalers
        return made.pool, scaling.wanted_signals(autoscalers, made.pool, made.agent_class)

    def signals_read(self, agent_pool: str) -> Mapping[str, Series]:
        """What was read of a pool's load so far, by signal; empty: nothing was."""
        return self._book.known(agent_pool)

    def asking(
        self, fleet: Fleet, agent_pool: str, samples: Mapping[str, Reading], now: datetime
    ) -> Asking | None:
        """Take what was read of a pool, and say what its autoscalers are asked; None: nothing."""
        made = recipe(fleet, agent_pool)
        if isinstance(made, Missing):
            return None
        current, _ = balance.wanted(fleet, made)
        ready = sum(each.state is ReplicaState.READY for each in fleet.replicas_in(agent_pool))
        series = self._book.take(made.pool, samples, now)
        held = fleet.agent_pools.get(agent_pool)
        changed_at = held.changed_at if held is not None else None
        return Asking(made.pool, made.agent_class, series, current, ready, changed_at)

    def ask(self, asked: Asking, now: datetime) -> list[Proposal]:
        """Ask here and now, without a limit of time."""
        return scaling.ask(
            self._panel(self.registry.autoscalers),
            asked.pool,
            asked.agent_class,
            asked.series,
            current=asked.current,
            ready=asked.ready,
            now=now,
        )

    async def ask_in_time(self, asked: Asking, now: datetime) -> list[Proposal]:
        """Ask those of others in threads, with a deadline each; those in shadow come after."""
        proposals = await scaling.ask_in_time(
            self._panel(self.registry.autoscalers),
            asked.pool,
            asked.agent_class,
            asked.series,
            current=asked.current,
            ready=asked.ready,
            now=now,
        )
        await self._ask_shadows(asked, proposals, now)
        return proposals

    def recommended(
        self, asked: Asking, proposals: Sequence[Proposal], now: datetime
    ) -> msg.ReplicasRecommended:
        """Combine and shape what was proposed."""
        name = asked.pool.full_name
        if name not in self._histories:  # after a restart cooldown goes on as before
            self._histories[name] = begun(asked.current, now, asked.changed_at)
        shaped, self._histories[name] = decide(
            asked.pool,
            asked.agent_class,
            asked.current,
            proposals,
            self._histories[name],
            now,
        )
        return msg.ReplicasRecommended(name, shaped.target, shaped.because, shaped.needed)

    def forget(self, agent_pool: str) -> None:
        """Forget a pool, ``namespace/name``, that is no more."""
        self._histories.pop(agent_pool, None)
        self._book.forget(agent_pool)

    def _panel(self, autoscalers: Sequence[object]) -> scaling.Panel:
        terms = self.registry.terms(PluginKind.REPLICA_AUTOSCALER)
        return scaling.Panel(autoscalers, self.caller, terms)

    async def _ask_shadows(
        self, asked: Asking, proposals: Sequence[Proposal], now: datetime
    ) -> None:
        watching = self.registry.shadows(PluginKind.REPLICA_AUTOSCALER)
        if not watching or self._shadows is None or not proposals:
            return
        effective = max(each.replicas for each in proposals)
        for plugin in watching:
            said = await scaling.ask_in_time(
                self._panel([plugin]),
                asked.pool,
                asked.agent_class,
                asked.series,
                current=asked.current,
                ready=asked.ready,
                now=now,
            )
            for proposal in said:
                about = About(
                    PluginKind.REPLICA_AUTOSCALER,
                    proposal.by,
                    "propose",
                    asked.pool.full_name,
                    "replicas",
                )
                if proposal.by:
                    self._shadows.compare(about, effective, proposal.replicas)

    # --- where ---------------------------------------------------------------------------

    def problem(self, fleet: Fleet, sightings: Sightings, now: datetime) -> Problem | None:
        """Gather the replicas that wait for a place, and where there may be one; None: none wait.

        Cost: O(nodes, their GPUs and replicas) when some do.
        """
        pods: list[Pod] = []
        recipes: dict[str, Recipe | Missing] = {}
        entered: set[str] = set()
        for replica in gangs.due(fleet, now):
            if len(pods) >= PODS_MAX and replica.gang not in entered:
                continue  # but never inside of a gang
            made = recipes.get(replica.agent_pool) or recipe(fleet, replica.agent_pool)
            recipes[replica.agent_pool] = made
            if not isinstance(made, Missing):
                pods.append(nodes.pod_of(replica, made))
                entered |= {replica.gang} - {""}
        if not pods:
            return None
        # Who could change a view, as others might, is shown one of its own.
        shown = nodes.views if self.foreign() else self._views.of
        views = shown(fleet, sightings)
        pools = {name: made.pool for name, made in recipes.items() if not isinstance(made, Missing)}
        templates, roomy = self._templates(fleet, views)
        return Problem(pods, pools, views, nodes.running(fleet), templates, roomy)

    def plan(self, problem: Problem) -> msg.PlacementsProposed:
        """Have the scheduler plugins look; may take long, and may be done in a thread."""
        scheduler = Scheduler(self.registry, caller=self.caller)
        placements = scheduler.place(
            problem.pods, problem.nodes, problem.pools, running=problem.running
        )
        self._compare_shadows(problem, placements)
        return self.proposed(problem, placements)

    def unanswered(self, problem: Problem, text: str) -> msg.PlacementsProposed:
        """Say of every replica that its scheduler plugins gave no answer."""
        blocker = Blocker(text)
        return msg.PlacementsProposed(
            tuple(msg.Proposed(pod.name, blocker=blocker) for pod in problem.pods)
        )

    def foreign(self) -> tuple[str, ...]:
        """Name the scheduler plugins that are not built in."""
        plugins: Sequence[object] = self.registry.schedulers
        return tuple(
            str(getattr(plugin, "name", ""))
            for plugin in plugins
            if not isinstance(plugin, BUILT_IN_SCHEDULERS)
        )

    def proposed(self, problem: Problem, placements: Sequence[Placement]) -> msg.PlacementsProposed:
        """Make the message of placements, in the order of the pods."""
        growing = _Growing(problem)
        proposals = []
        for pod, placement in zip(problem.pods, placements, strict=True):
            if placement.node is None:
                blocker = growing.blocker(pod, placement, len(problem.nodes))
                proposals.append(msg.Proposed(pod.name, blocker=blocker))
                continue
            proposals.append(
                msg.Proposed(
                    pod.name,
                    placement.node,
                    placement.gpus,
                    placement.share,
                    pod.mig_profile,
                    placement.score,
                    ", ".join(placement.reasons) or "it fits",
                    placement.preempts,
                )
            )
        return msg.PlacementsProposed(tuple(proposals))

    def _compare_shadows(self, problem: Problem, placements: Sequence[Placement]) -> None:
        watching = self.registry.shadows(PluginKind.SCHEDULER)
        if not watching or self._shadows is None:
            return
        pods = problem.pods[:SHADOW_PODS_MAX]
        for plugin in watching:
            trial = Scheduler(_With(self.registry, plugin), caller=self.caller)
            others = trial.place(pods, problem.nodes, problem.pools, running=problem.running)
            for pod, one, other in zip(pods, placements, others, strict=False):
                name = str(getattr(plugin, "name", ""))
                about = About(PluginKind.SCHEDULER, name, "place", pod.agent_pool, pod.name)
                chosen, other_choice = one.node or "nowhere", other.node or "nowhere"
                self._shadows.compare(about, chosen, other_choice, shown=str)

    def _templates(
        self, fleet: Fleet, views: Sequence[Node]
    ) -> tuple[dict[str, Node], frozenset[str]]:
        """Show what each pool of machines would buy, as far as that is known."""
        known: dict[str, Node] = {}
        for view in views:
            known.setdefault(view.pool, view)
        templates: dict[str, Node] = {}
        roomy: set[str] = set()
        for pool in fleet.pools.values():
            if pool.asleep or pool.spec.max_nodes <= 0:
                continue
            template = self._template(pool.spec, known.get(pool.name))
            if template is None:
                continue
            templates[pool.name] = template
            current = fleet.current.get(pool.name, {})
            if len(current) < pool.spec.max_nodes or fleet.booting.keys() & current.keys():
                roomy.add(pool.name)
        return templates, frozenset(roomy)

    def _template(self, spec: PoolSpec, like: Node | None) -> Node | None:
        if like is not None:
            return nodes.template(spec, like=like)
        facts = self._facts(spec) if self._facts is not None else None
        if facts is None:
            return None
        return nodes.template(
            spec,
            gpu_count=facts.gpu_count,
            gpu_type=facts.gpu_type,
            gpu_memory=facts.gpu_memory,
            price_per_hour=facts.price_per_hour,
        )


class _Growing:
    """Says for which pool of machines a replica waits; pods of one kind wait for the same."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._known: dict[tuple[object, ...], str] = {}

    def blocker(self, pod: Pod, placement: Placement, count: int) -> Blocker:
        """Say why a pod has no node, and what would help."""
        told = placement.reasons[0] if placement.reasons else summary(placement.counts, count)
        return Blocker(told, dict(placement.counts), placement.cure, self._pool_for(pod))

    def _pool_for(self, pod: Pod) -> str:
        key = (pod.agent_pool, pod.avoid)
        if key not in self._known:
            templates, roomy = self._problem.templates, self._problem.roomy
            growing = {name: node for name, node in templates.items() if name in roomy}
            self._known[key] = nodes.growable(pod, growing) or nodes.growable(pod, templates)
        return self._known[key]


class _With:
    """A registry's schedulers, and one more."""

    def __init__(self, registry: Registry, plugin: object) -> None:
        self._registry = registry
        self._plugin = plugin

    @property
    def schedulers(self) -> list[object]:
        """All that are asked, and the one that is tried."""
        return [*self._registry.schedulers, self._plugin]
