"""Stories: what became of each node that ever seemed ill, really and by another policy.

Only such nodes have a story, and a story has limits, so that a journal of any length fits into
memory: of what is more, the beginning is kept and the rest counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from navarch.core.judging import UNJUDGED
from navarch.core.model import events as ev
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent, Node
from navarch.core.model.report import GRAVITY, Health
from navarch.core.repair import ladder
from navarch.simulator.policy_shadow import is_for_silence

CHANGES_MAX: Final = 200
"""Verdicts kept of one node and side: one an hour for a week."""
ACTS_MAX: Final = 50
"""Repairs kept of one node and side."""
REMARKS_MAX: Final = 50
"""Other remarkable facts kept of one node."""
SIGN_AGE: Final = timedelta(hours=24)
"""For how long something that a node reported may announce its failure."""

BY_OPERATOR: Final = " by an operator"
"""How the reason of an operator's wish can be told from ours."""


class Change(Struct, frozen=True):
    """A verdict that differs from the one before."""

    at: datetime
    status: Health
    rule: str = ""
    """The rule that speaks; empty when nothing is wrong."""
    event: str = ""
    """What it speaks about, such as "xid 79 on GPU 3"; empty when nothing is wrong."""


class Act(Struct):
    """Something that was done about a node, or would have been."""

    at: datetime
    remedy: Remedy
    """The rung; `Remedy.INSPECT` means that the node was cordoned for a person."""
    rule: str
    because: str
    sick_since: datetime | None = None
    """Since when the same policy had called the node unhealthy."""
    withheld: bool = False
    """Whether its pool is a dry run, so that it was only said."""
    ended_at: datetime | None = None
    """When it was over; None: never, as far as the journal goes."""
    outcome: str = ""
    """``succeeded``, ``failed``, ``revoked``; empty while it is not over."""
    cleared: bool = False
    """Whether an operator said meanwhile that the node is well."""

    @property
    def stands(self) -> bool:
        """Whether it counts: one that was taken back does not, unless it took a person to do so."""
        return self.cleared or self.outcome != "revoked"


class Side(Struct):
    """A node by one policy."""

    changes: list[Change] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    left_out: int = 0
    """Verdicts and acts beyond the limits."""
    status: Health = Health.UNKNOWN
    """The newest verdict."""
    sick_since: datetime | None = None
    """Since when it is unhealthy; None while it is not."""
    waits_for: str = ""
    """What the repair that was due waited for when the node ended."""

    def judged(self, at: datetime, node: Node) -> None:
        """Note the verdict over a node, if it is another one."""
        finding = speaker(node.findings) if GRAVITY[node.health] > 1 else None
        rule = finding.rule if finding else ""
        event = finding.event.described if finding and finding.event else ""
        same = self.changes and (self.changes[-1].status, self.changes[-1].rule) == (
            node.health,
            rule,
        )
        if node.health is not Health.UNHEALTHY:
            self.sick_since = None
        elif self.sick_since is None:
            self.sick_since = at
        self.status = node.health
        if same:
            return
        if len(self.changes) < CHANGES_MAX:
            self.changes.append(Change(at, node.health, rule, event))
        else:
            self.left_out += 1

    def acted(self, act: Act) -> None:
        """Note something that is done."""
        act.sick_since = self.sick_since
        if len(self.acts) < ACTS_MAX:
            self.acts.append(act)
        else:
            self.left_out += 1

    def cleared(self, at: datetime, node: Node) -> None:
        """Note that an operator has set aside all that stood against a node."""
        self.judged(at, node)
        for act in self.acts:
            act.cleared = act.cleared or not act.outcome

    def ended(self, at: datetime, outcome: str, *remedies: Remedy) -> None:
        """Note that what was begun last of these is over."""
        for act in reversed(self.acts):
            if act.remedy in remedies and not act.outcome:
                act.ended_at, act.outcome = at, outcome
                return


class End(StrEnum):
    """How a machine really ended."""

    REPLACED = "replaced"
    LOST = "lost"
    VANISHED = "vanished"
    TERMINATED = "terminated"
    """By an operator."""
    RELEASED = "released"
    """It was not needed any more, or never served."""


class Remark(Struct, frozen=True):
    """What somebody else than repair did, or said."""

    at: datetime
    what: str
    because: str


class Story(Struct):
    """What became of one node."""

    node_id: str
    pool: str
    gpus: int
    began_at: datetime
    """When it registered."""
    real: Side = field(default_factory=Side)
    would: Side = field(default_factory=Side)
    signs: int = 0
    """Events and failed checks that it reported."""
    signed_at: datetime | None = None
    """When it reported the last of them."""
    ended_at: datetime | None = None
    """When it was lost, or its end was asked for; None: it lives."""
    end: End | None = None
    end_because: str = ""
    remarks: list[Remark] = field(default_factory=list)
    cleared_at: list[datetime] = field(default_factory=list)
    """When an operator said that it is well."""

    @property
    def failed(self) -> bool:
        """Whether it ended because something was wrong with it, and had announced it."""
        announced = (
            self.signed_at is not None
            and self.ended_at is not None
            and self.ended_at - self.signed_at <= SIGN_AGE
        )
        ill = Health.UNHEALTHY in (self.real.status, self.would.status)
        return self.end not in (None, End.RELEASED) and (
            announced or ill or self.end is End.REPLACED
        )


class Sums(Struct):
    """What is counted over all nodes of one side."""

    unjudged_events: int = 0
    """Verdicts about events that no rule could judge."""
    failing_rules: Counter[str] = field(default_factory=Counter)
    """Verdicts that a rule is missing from, because it could not be evaluated."""
    budget_hits: int = 0
    """Times that a repair was due and only a budget was in its way."""
    breaker_openings: int = 0


class Stories:
    """Every story, told while the journal is read."""

    def __init__(self, truth: Fleet, is_counted: Callable[[str], bool]) -> None:
        """Tell of the nodes of those pools that are counted."""
        self.of: dict[str, Story] = {}
        self.real = Sums()
        self.would = Sums()
        self.nodes: set[str] = set()
        """All that reported, by id."""
        self.reports = 0
        self.events = 0
        self.unannounced = 0
        """Machines that were lost or vanished without having reported anything bad."""
        self._truth = truth
        self._is_counted = is_counted
        self._held = {id(self.real): set[str](), id(self.would): set[str]()}

    def _story(self, node: Node, now: datetime) -> Story:
        story = self.of.get(node.id)
        if story is None:
            gpus = max(len(node.gpus), 1)
            story = Story(node.id, node.pool, gpus, min(node.registered_at, now))
            story.real.status = node.health
            self.of[node.id] = story
        return story

    # --- what really happened --------------------------------------------------------------

    def really(self, fact: ev.Fact) -> None:
        """Learn a fact of the journal, after the real fleet did."""
        match fact:
            case ev.RepairHalted() if self._is_counted(fact.pool):
                self.real.breaker_openings += 1
            case ev.HealthReported():
                self._reported(fact)
            case ev.HealthJudged():
                self._judged(fact, self._truth, self.real, lambda story: story.real)
            case ev.InstanceCondemned() | ev.InstanceReprieved():
                self._replacement(fact)
            case ev.TerminationRequested() | ev.NodeDismissed():
                self._ends(fact)
            case ev.InstanceVanished():
                self._vanished(fact)
            case ev.RepairWithheld() if is_for_silence(self._truth, fact):
                self._silent(fact.node_id, fact)
            case ev.HealthCleared() | ev.IntentChanged() | ev.NodeLost() | ev.NodeReturned():
                self._remarked(fact)
            case _:
                self._acted(fact, self._truth, lambda story: story.real)

    def _node(self, id_: str) -> Node | None:
        node = self._truth.nodes.get(id_)
        return node if node is not None and self._is_counted(node.pool) else None

    def _reported(self, fact: ev.HealthReported) -> None:
        node = self._node(fact.node_id)
        if node is None:
            return
        self.nodes.add(node.id)
        self.reports += 1
        self.events += len(fact.events)
        failed = sum(GRAVITY[result.status] > 1 for result in fact.results)
        if fact.events or failed:
            story = self._story(node, fact.at)
            story.signs += len(fact.events) + failed
            story.signed_at = fact.at

    def _judged(
        self, fact: ev.HealthJudged, fleet: Fleet, sums: Sums, side: Callable[[Story], Side]
    ) -> None:
        node = self._node(fact.node_id)
        if node is None:
            return
        sums.unjudged_events += sum(
            finding.rule == UNJUDGED and finding.seen == fact.at for finding in fact.findings
        )
        sums.failing_rules.update(text.partition(":")[0] for text in fact.failed)
        if node.id in self.of or GRAVITY[fact.health] > 1:
            judged = fleet.nodes[fact.node_id]
            side(self._story(node, fact.at)).judged(fact.at, judged)

    def _replacement(self, fact: ev.InstanceCondemned | ev.InstanceReprieved) -> None:
        node = self._node(fact.instance_id)
        if node is None:
            return
        if isinstance(fact, ev.InstanceReprieved):
            if node.id in self.of:
                self.of[node.id].real.ended(fact.at, "revoked", Remedy.REPLACE)
        elif is_for_silence(self._truth, fact):
            self._silent(node.id, fact)
        else:
            self._story(node, fact.at).real.acted(_act(fact, Remedy.REPLACE, node))

    def _silent(self, id_: str, fact: ev.InstanceCondemned | ev.RepairWithheld) -> None:
        node = self._node(id_)
        if node is not None:
            self._remark(node, fact.at, "condemned for silence", fact.because)

    def _ends(self, fact: ev.TerminationRequested | ev.NodeDismissed) -> None:
        """Note why a machine is told to end; what is asked for again says nothing new."""
        id_ = fact.instance_id if isinstance(fact, ev.TerminationRequested) else fact.node_id
        instance = self._truth.instances.get(id_)
        end = End.RELEASED
        if BY_OPERATOR in fact.because and not (instance and instance.releasing):
            end = End.TERMINATED
        elif instance is not None and instance.condemned:
            end = End.LOST if instance.condemned_for in ("", "silence") else End.REPLACED
            if not instance.condemned_for and self._was_replaced(id_):
                end = End.REPLACED
        self._end(id_, fact.at, end, fact.because)

    def _was_replaced(self, id_: str) -> bool:
        """Whether a node of an older journal was condemned while it spoke."""
        acts = self.of[id_].real.acts if id_ in self.of else ()
        return any(act.remedy is Remedy.REPLACE and act.stands for act in acts)

    def _vanished(self, fact: ev.InstanceVanished) -> None:
        story = self.of.get(fact.instance_id)
        if story is None or story.end is None:
            self._end(fact.instance_id, fact.at, End.VANISHED, fact.because)

    def _end(self, id_: str, at: datetime, end: End, because: str) -> None:
        node = self._node(id_)
        if node is None:
            return
        story = self.of.get(id_)
        if story is None:
            self.unannounced += end in (End.LOST, End.VANISHED)
            return
        if story.end is None:
            silent = end in (End.LOST, End.VANISHED)
            story.ended_at = (node.lost_at or at) if silent else at
            story.end, story.end_because = end, because
            story.real.ended(at, "succeeded", Remedy.REPLACE)
            self.unannounced += silent and not story.failed

    def _remarked(
        self, fact: ev.HealthCleared | ev.IntentChanged | ev.NodeLost | ev.NodeReturned
    ) -> None:
        node = self._node(fact.node_id)
        if node is None or node.id not in self.of:
            return
        match fact:
            case ev.HealthCleared():
                self.of[node.id].cleared_at.append(fact.at)
                del self.of[node.id].cleared_at[REMARKS_MAX:]
                for side in (self.of[node.id].real, self.of[node.id].would):
                    side.cleared(fact.at, node)
                self._remark(node, fact.at, "cleared", fact.because)
            case ev.IntentChanged():
                if fact.intent is not Intent.DRAINED:
                    self._remark(node, fact.at, fact.intent.value, fact.because)
            case ev.NodeLost():
                self._remark(node, fact.at, "lost", fact.because)
            case ev.NodeReturned():
                self._remark(node, fact.at, "returned", fact.because)

    def _remark(self, node: Node, at: datetime, what: str, because: str) -> None:
        story = self.of.get(node.id)
        if story is not None and len(story.remarks) < REMARKS_MAX:
            story.remarks.append(Remark(at, what, because))

    def _acted(self, fact: ev.Fact, fleet: Fleet, side: Callable[[Story], Side]) -> None:
        match fact:
            case ev.RepairStarted():
                self._act(fact, fact.node_id, fact.rung, fleet, side)
            case ev.RepairWithheld():
                self._act(fact, fact.node_id, fact.rung, fleet, side)
            case ev.NodeHandedOver():
                self._act(fact, fact.node_id, Remedy.INSPECT, fleet, side)
            case ev.RepairEnded() if fact.node_id in self.of:
                one = side(self.of[fact.node_id])
                one.ended(fact.at, fact.outcome.value, Remedy.RESET_GPU, Remedy.REBOOT)
                one.judged(fact.at, fleet.nodes[fact.node_id])
            case _:
                pass

    def _act(
        self,
        fact: ev.RepairStarted | ev.RepairWithheld | ev.NodeHandedOver,
        id_: str,
        remedy: Remedy,
        fleet: Fleet,
        side: Callable[[Story], Side],
    ) -> None:
        if self._node(id_) is not None:
            node = fleet.nodes[id_]
            side(self._story(self._truth.nodes[id_], fact.at)).acted(_act(fact, remedy, node))

    # --- what would have happened ----------------------------------------------------------

    def supposedly(self, fact: ev.Fact, fleet: Fleet) -> None:
        """Learn a fact that the shadow has made, after it was folded there."""
        match fact:
            case ev.RepairHalted() if self._is_counted(fact.pool):
                self.would.breaker_openings += 1
            case ev.HealthJudged():
                self._judged(fact, fleet, self.would, lambda story: story.would)
            case ev.InstanceCondemned():
                node = self._node(fact.instance_id)
                if node is not None:
                    act = _act(fact, Remedy.REPLACE, fleet.nodes[node.id])
                    self._story(node, fact.at).would.acted(act)
            case ev.InstanceReprieved() if fact.instance_id in self.of:
                self.of[fact.instance_id].would.ended(fact.at, "revoked", Remedy.REPLACE)
            case _:
                self._acted(fact, fleet, lambda story: story.would)

    def replaced(self, id_: str, at: datetime) -> None:
        """Learn that the shadow's machine is gone while the real one lives on."""
        if id_ in self.of:
            self.of[id_].would.ended(at, "succeeded", Remedy.REPLACE)

    def held_back(self, sums: Sums, nodes: Sequence[str]) -> None:
        """Learn who has to wait for a budget now; whoever goes on waiting is counted once."""
        held = self._held[id(sums)]
        counted = {id_ for id_ in nodes if self._node(id_) is not None}
        sums.budget_hits += len(counted - held)
        self._held[id(sums)] = counted


def speaker(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding that gives a node its health: the worst, the newest of equals."""
    bad = (finding for finding in findings if finding.bad)
    return max(bad, key=lambda each: (GRAVITY[each.status], each.seen), default=None)


def _act(
    fact: ev.InstanceCondemned | ev.RepairStarted | ev.RepairWithheld | ev.NodeHandedOver,
    remedy: Remedy,
    node: Node,
) -> Act:
    finding = ladder.gravest(node) or speaker(node.findings)
    rule = finding.rule if finding else ""
    withheld = isinstance(fact, ev.RepairWithheld)
    return Act(fact.at, remedy, rule, fact.because, withheld=withheld)
