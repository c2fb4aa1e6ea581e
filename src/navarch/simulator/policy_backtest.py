"""Judging the past: what a health policy would have done, had it judged what a journal holds.

Two fleets are folded side by side: the real one, by every fact of the journal, and a *shadow*
(`policy_shadow`), by what happened and by what the candidate decides. What became of each node that
seemed ill on either side is kept as a story (`policy_stories`) and compared at the end
(`policy_comparison`). The journal is read once, front to back; what is kept is the two fleets and
the stories.

The same journal, policy and conditions give the same result, for ever. With the policy that was in
use, every verdict comes out as it really did.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from navarch.core import fold
from navarch.core.judging import HealthPolicy
from navarch.core.model import events as ev
from navarch.core.model import ids
from navarch.core.model.fleet import Fleet
from navarch.core.model.instance import Instance, InstanceState
from navarch.core.model.node import Node
from navarch.core.model.pool import PoolSpec
from navarch.core.model.report import GRAVITY
from navarch.errors import NavarchError
from navarch.simulator import policy_shadow
from navarch.simulator.policy_backtest_report import Backtest, InUse, numbers
from navarch.simulator.policy_comparison import Class, Comparison, compare
from navarch.simulator.policy_shadow import Conditions, Shadow
from navarch.simulator.policy_stories import Stories

NODES_MAX: Final = 100_000
"""How many nodes a pool may have of whose configuration nothing is known."""

_INSTANCE_ID: Final = re.compile(f"({ids.POOL_NAME.pattern})-{ids.FLEET_TAG.pattern}-[0-9]{{4,}}")

UNKNOWN: Final = "unknown"
"""The provider of a machine of which only later facts are known."""

_TURNS = ev.RepairHalted | ev.RepairHalfOpened | ev.RepairContinued
"""What is decided before repairs are begun."""

_BEGUN = ev.InstanceCondemned | ev.RepairStarted | ev.RepairWithheld | ev.NodeHandedOver
"""What is decided last in a step: the shadow decides at the same moment."""

_OF_UNBORN = (
    ev.LaunchFailed
    | ev.LaunchUncertain
    | ev.LaunchCleared
    | ev.InstanceLaunched
    | ev.NodeRegistered
)
"""What is said of machines that have not registered yet."""

_IN_VAIN = ev.CommandFact | ev.OrphanCondemned | ev.OrphanRemoved
"""What teaches nothing about health; commands of a journal whose beginning is gone do not fold."""


def replay(
    facts: Iterable[ev.Event],
    policy: HealthPolicy,
    conditions: Conditions | None = None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    pool: str = "",
    known: Fleet | None = None,
) -> Backtest:
    """Try a policy on the facts of a journal, in their order.

    Counted is what happened from `since` on, when the candidate takes over the findings that stand;
    None means from the first fact. `until` is how long the journal was written, for a quiet fleet
    has no facts; None means until its last one. `pool` empty means all. `known` is a later state of
    the fleet, for those who were there before the first fact. Raises `NavarchError` when there is
    nothing to judge, and whatever `facts` raises.
    """
    trial = Trial(policy, conditions or Conditions(), since=since, pool=pool, known=known)
    for fact in facts:
        trial.take(fact)  # type: ignore[arg-type]  # only facts are journaled
    return trial.result(until)


class Trial:
    """A journal on its way past two policies."""

    def __init__(
        self,
        policy: HealthPolicy,
        conditions: Conditions,
        *,
        since: datetime | None = None,
        pool: str = "",
        known: Fleet | None = None,
    ) -> None:
        """Begin before the first fact."""
        self.truth = Fleet()
        self.shadow: Shadow | None = None
        self._policy = policy
        self._conditions = conditions
        self._since = since
        self._pool = pool
        self._known = known or Fleet()
        self._stories = Stories(self.truth, lambda name: pool in ("", name))
        self._in_use: list[InUse] = []
        self._facts = 0
        self._now: datetime | None = None
        self._began_at: datetime | None = None
        self._is_stirred = False

    def take(self, fact: ev.Fact) -> None:
        """Learn the next fact."""
        now = fact.at if self._now is None else max(self._now, fact.at)
        if self._now is not None and now > self._now:
            self._settle(self._now)
            self._pass_time(self._now, now)
        if self._now is None:
            for each in _before(self._known, now):
                self._learn(each, now)
        self._now = now
        self._facts += 1
        if self.shadow is None and (self._since is None or fact.at >= self._since):
            self._begin(now)
        if isinstance(fact, _IN_VAIN):
            return
        for each in (*self._introductions(fact), fact):
            self._learn(each, now)

    def _begin(self, now: datetime) -> None:
        self._began_at = now

        def told(fact: ev.Fact) -> None:
            if self.shadow is not None:
                self._stories.supposedly(fact, self.shadow.fleet)

        self.shadow = Shadow(self.truth, now, self._policy, self._conditions, told)
        self.shadow.settle(now)

    def _learn(self, fact: ev.Fact, now: datetime) -> None:
        shadow = self.shadow
        if shadow is None:
            fold.apply(self.truth, fact)
            return
        if isinstance(fact, ev.HealthJudged):
            shadow.judge(now)
        elif isinstance(fact, ev.InstanceReprieved):
            shadow.reprieve(now)
        elif isinstance(fact, _TURNS):
            shadow.advance(now)
        elif isinstance(fact, _BEGUN) and not self._is_for_silence(fact):
            shadow.decide(now)
        elif isinstance(fact, ev.TerminationRequested | ev.InstanceVanished):
            self._note_waiting(fact.instance_id, now)
        self._fold(fact)
        if isinstance(fact, ev.HealthJudged):
            self._note_judge(fact)
        self._stories.really(fact)
        shadow.take(fact)

    def _fold(self, fact: ev.Fact) -> None:
        """Fold a fact into the real fleet, and see whether it may have changed who waits."""
        if isinstance(fact, ev.HealthJudged):
            before = policy_shadow.standing(self.truth, fact.node_id)
            fold.apply(self.truth, fact)
            changed = policy_shadow.standing(self.truth, fact.node_id) != before
            self._is_stirred = self._is_stirred or changed
        else:
            fold.apply(self.truth, fact)
            self._is_stirred = self._is_stirred or not isinstance(fact, ev.HealthReported)

    def _is_for_silence(self, fact: ev.Fact) -> bool:
        """Whether it is about a lost node: those come first, and their end is no verdict's."""
        return isinstance(
            fact, ev.InstanceCondemned | ev.RepairWithheld
        ) and policy_shadow.is_for_silence(self.truth, fact)

    def _note_judge(self, fact: ev.HealthJudged) -> None:
        """Keep which policy was in use; older journals do not say."""
        if fact.policy and (not self._in_use or self._in_use[-1].digest != fact.policy):
            name = self.truth.policy_name if self.truth.policy == fact.policy else ""
            self._in_use.append(InUse(name, fact.policy, fact.at))

    def _note_waiting(self, id_: str, now: datetime) -> None:
        """Keep what the candidate waited for when a machine really ended."""
        story = self._stories.of.get(id_)
        if story is None or self.shadow is None or id_ in self.shadow.gone:
            return
        node = self.shadow.fleet.nodes.get(id_)
        if node is not None and not node.over:
            settings = self._conditions.settings
            waits = policy_shadow.waits_for(self.shadow.fleet, node, now, settings)
            story.would.waits_for = waits

    # --- time ------------------------------------------------------------------------------

    def _settle(self, now: datetime) -> None:
        """End a step: what the control plane decided then is in the journal."""
        if self.shadow is None:
            return
        settings = self._conditions.settings
        if self.shadow.settle(now):
            held = policy_shadow.held_back(self.shadow.fleet, now, settings)
            self._stories.held_back(self._stories.would, list(held))
        if self._is_stirred:
            self._is_stirred = False
            held = policy_shadow.held_back(self.truth, now, settings)
            self._stories.held_back(self._stories.real, list(held))

    def _pass_time(self, now: datetime, until: datetime) -> None:
        """Let happen in the shadow what is due before the next fact."""
        shadow = self.shadow
        if shadow is None:
            return
        moment = shadow.next_at(now)
        while moment is not None and moment < until:
            gone = set(shadow.gone)
            shadow.wake(moment)
            for id_ in shadow.gone - gone:
                self._stories.replaced(id_, moment)
            held = policy_shadow.held_back(shadow.fleet, moment, self._conditions.settings)
            self._stories.held_back(self._stories.would, list(held))
            moment = shadow.next_at(moment)

    # --- who was there before the first fact -------------------------------------------------

    def _introductions(self, fact: ev.Fact) -> Iterator[ev.Fact]:
        """Introduce who is not known because the beginning of the journal is gone."""
        pool = getattr(fact, "pool", "")
        if pool and pool not in self.truth.pools and not isinstance(fact, ev.PoolConfigured):
            yield _pool(self._known, pool, fact.at)
        id_ = getattr(fact, "instance_id", "") or getattr(fact, "node_id", "")
        if not id_ or id_ in self.truth.instances or isinstance(fact, ev.LaunchRequested):
            if id_ and id_ not in self.truth.nodes and _is_of_node(fact):
                yield _node(self._known, id_, fact.at, self._pool_of(id_))
            return
        if isinstance(fact, ev.InstanceFact) or self._pool_of(id_):
            yield from self._machine(id_, fact.at)
        if id_ not in self.truth.nodes and not isinstance(fact, _OF_UNBORN):
            yield _node(self._known, id_, fact.at, self._pool_of(id_))

    def _pool_of(self, id_: str) -> str:
        known = self.truth.instances.get(id_) or self._known.instances.get(id_)
        return known.pool if known is not None else _pool_in(id_)

    def _machine(self, id_: str, at: datetime) -> Iterator[ev.Fact]:
        pool = self._pool_of(id_)
        if pool and pool not in self.truth.pools:
            yield _pool(self._known, pool, at)
        yield from _launched(self._known.instances.get(id_), id_, pool, at)

    # --- the end -----------------------------------------------------------------------------

    def result(self, until: datetime | None = None) -> Backtest:
        """Let time pass `until` then, and sum up.

        Raises `NavarchError` when there was nothing to judge.
        """
        if self._now is not None:
            end = max(self._now, until or self._now)
            self._settle(self._now)
            self._pass_time(self._now, end)
            self._now = end
        stories, now = self._stories, self._now
        if self._pool and self._pool not in self.truth.pools:
            have = ", ".join(sorted(self.truth.pools)) or "none"
            raise NavarchError(f"the journal knows no pool {self._pool}; there are: {have}")
        if now is None or self.shadow is None or self._began_at is None or not stories.reports:
            when = "" if self._since is None else f" since {self._since:%Y-%m-%d %H:%M}Z"
            where = f" of pool {self._pool}" if self._pool else ""
            raise NavarchError(f"nothing to judge: the journal holds no health report{where}{when}")
        for id_ in stories.of:
            self._note_waiting(id_, now)
        every = [compare(story, now) for _, story in sorted(stories.of.items())]
        compared = tuple(each for each in every if each.classed is not Class.NOTHING or _ill(each))
        takes = self._conditions.replacement
        would, really = numbers(stories, compared, now, takes)
        return Backtest(
            policy=self._policy.name,
            digest=self._policy.digest,
            in_use=tuple(self._in_use),
            since=self._began_at,
            until=now,
            facts=self._facts,
            nodes=len(stories.nodes),
            reports=stories.reports,
            events=stories.events,
            made_up=self.shadow.made_up,
            unannounced=stories.unannounced,
            compared=compared,
            would=would,
            really=really,
        )


def _ill(compared: Comparison) -> bool:
    """Whether a node was degraded or unhealthy by anybody's word."""
    sides = (compared.story.real, compared.story.would)
    return any(GRAVITY[change.status] > 1 for side in sides for change in side.changes)


def _is_of_node(fact: ev.Fact) -> bool:
    """Whether only a node that has registered can be meant."""
    return isinstance(fact, ev.NodeFact) and not isinstance(fact, ev.NodeRegistered)


# --- introductions ---------------------------------------------------------------------------


def _before(known: Fleet, now: datetime) -> Iterator[ev.Fact]:
    """Say what was before the first fact, as far as a later state of the fleet shows it."""
    for pool in known.pools.values():
        yield _pool(known, pool.name, now)
    for instance in known.instances.values():
        if instance.requested_at < now and not instance.ended:
            yield from _launched(instance, instance.id, instance.pool, now)
    for node in known.nodes.values():
        instance_lives = not node.instance_id or node.instance_id in known.instances
        if node.registered_at < now and not node.over and instance_lives:
            yield _node(known, node.id, now, node.pool)


def _pool(known: Fleet, name: str, at: datetime) -> ev.PoolConfigured:
    pool = known.pools.get(name)
    spec = PoolSpec(name, UNKNOWN, max_nodes=NODES_MAX) if pool is None else pool.spec
    return ev.PoolConfigured(at, spec)


def _launched(
    known: Instance | None, id_: str, pool: str, at: datetime
) -> Iterator[ev.LaunchRequested | ev.InstanceLaunched]:
    because = "it was there before the journal begins"
    one = known or Instance(id_, pool, UNKNOWN, InstanceState.RUNNING, at, because)
    yield ev.LaunchRequested(
        at, id_, pool, one.provider, because, one.instance_type, one.region, one.zone
    )
    yield ev.InstanceLaunched(at, id_, one.ref or UNKNOWN, because)


def _node(known: Fleet, id_: str, at: datetime, pool: str) -> ev.NodeRegistered:
    one = known.nodes.get(id_) or Node(id_, at, at, UNKNOWN, pool=pool)
    return ev.NodeRegistered(
        at,
        id_,
        provider=one.provider,
        region=one.region,
        zone=one.zone,
        instance_type=one.instance_type,
        pool=one.pool,
        instance_id=id_ if pool else "",
        gpus=one.gpus,
        metadata=one.metadata,
    )


def _pool_in(id_: str) -> str:
    """Read the pool out of the id of a machine of ours; empty for a foreign one."""
    found = _INSTANCE_ID.fullmatch(id_)
    return found[1] if found else ""
