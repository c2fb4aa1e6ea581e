"""Chains: facts tied to what they follow from, from a fault to the end of its repair.

A chain is opened by the first thing that concerns a node, an instance or a pool, and gathers what
follows from it: what was sensed, the verdict and its rule, the decision, the purchase of the
replacement, the drain, the end. A purchase for something that was lost belongs to the chain of what
was lost. What was sensed and found harmless is counted, and kept nowhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct, field, structs

from navarch.core import sentences
from navarch.core.model import events as ev
from navarch.core.model.command import FINISHED
from navarch.core.model.ladder import Outcome
from navarch.core.model.node import Intent
from navarch.core.model.report import Health
from navarch.simulator.report import model
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.faults import Fault

ENTRIES_MAX = 20_000
"""Entries kept: the newest."""

STEPS_MAX = 60
"""Entries of one chain; what comes after them is counted."""

REPEATING = frozenset({"launch_requested", "launch_failed"})
"""Kinds of entries that come again and again where a machine is sold out."""

REPEATING_MAX = 30
"""How many entries a chain may have for another of those to be added."""

SENSED_MAX = 4
"""Reports of one node that wait for a verdict, the newest."""

CONFIRMATIONS = 3
"""Verdicts with one word that a chain holds; more of them say nothing new."""

SHORT_MAX = 4_096
"""Chains of one pool that wait for a purchase; the oldest wait no longer."""

TEXT_MAX = 400
"""Characters of a sentence and of a reason."""

QUIET = (
    ev.CommandDelivered,
    ev.RecordsForgotten,
    ev.TerminationAccepted,
    ev.WorkloadTelling,
)
"""Facts that explain nothing."""

NOTICES = (
    ev.NodeLost,
    ev.InterruptionNoticed,
    ev.InstanceVanished,
    ev.InstanceCondemned,
)
"""Facts by which something is taken for wrong, apart from verdicts."""

DECIDES = (
    ev.InstanceCondemned,
    ev.RepairStarted,
    ev.RepairWithheld,
    ev.NodeHandedOver,
    ev.ReleaseRequested,
    ev.TerminationRequested,
    ev.LaunchRequested,
    ev.CommandIssued,
    ev.TargetChanged,
)
"""Facts that are decisions."""

WORRIES = (Health.DEGRADED, Health.UNHEALTHY)


class Chain(Struct, eq=False):
    """One chain while it grows."""

    number: int
    kind: str
    title: str
    pool: str
    began: datetime
    last_at: datetime
    subjects: dict[str, int] = field(default_factory=dict)
    """With the number of the newest entry about each."""
    steps: deque[int] = field(default_factory=deque)
    taken: int = 0
    """How many steps it was ever given."""
    left_out: int = 0
    outcome: str = ""
    noticed: datetime | None = None
    decided: datetime | None = None
    justified: bool | None = None
    said: tuple[str, int] = ("", 0)
    """The newest verdict, and how often it was repeated."""
    is_short_of: int = 0
    """How many replacements are still to be bought."""
    waits_for: set[str] = field(default_factory=set)
    """Subjects whose end it waits for."""
    served_by: int = 0
    """The entry by which its replacement registered; 0: not yet."""


class Chains:
    """All chains of a run."""

    def __init__(self, pool_of: Callable[[str], str]) -> None:
        """Know nothing yet; `pool_of` tells the pool of a node or instance."""
        self.harmless = 0
        """Verdicts that found nothing wrong."""
        self._pool_of = pool_of
        self._number = 0
        self._entries: deque[tuple[model.Entry, Chain]] = deque()
        self._dropped = 0
        self._chains: dict[int, Chain] = {}
        self._chain_number = 0
        self._chains_dropped = 0
        self._open: dict[str, Chain] = {}
        self._short: dict[str, deque[Chain]] = {}
        self._target: dict[str, int] = {}
        self._sensed: dict[str, deque[tuple[datetime, str, str]]] = {}

    # --- taking down -----------------------------------------------------------------------

    def afflict(self, node_id: str, fault: Fault, now: datetime, *, counts: bool) -> None:
        """Take down what happened in truth; `counts`: it needs a repair."""
        which = f", GPU {fault.gpu}" if fault.gpu >= 0 else ""
        text = f"{fault.label} on node {node_id}{which}"
        if counts or node_id in self._open:
            chain = self._chain(node_id, "trouble", f"{fault.label} on {node_id}", now)
            self._add(chain, node_id, "fault", text, "", now)
        else:
            self._remember(node_id, now, "fault", text)

    def judge(self, id_: str, *, justified: bool) -> None:
        """Take down whether the repair that was just begun was needed."""
        chain = self._open.get(id_)
        if chain is not None:
            chain.justified = justified

    def recover(self, node_id: str, now: datetime) -> None:
        """Take down that a node is well again in truth."""
        chain = self._open.get(node_id)
        if chain is None:
            return
        self._add(chain, node_id, "recovery", f"node {node_id} is well again", "", now)
        if chain.noticed is None and chain.decided is None:
            self._end(chain, node_id, "passed unnoticed")

    def hear(self, fact: ev.Fact, id_: str) -> None:
        """Take a fact down; `id_` is the node, instance or pool that it is about."""
        if isinstance(fact, QUIET):
            return
        if isinstance(fact, ev.HealthReported):
            self._hear_report(fact)
        elif isinstance(fact, ev.HealthJudged):
            self._hear_verdict(fact)
        elif isinstance(fact, ev.LaunchRequested):
            self._hear_purchase(fact)
        elif isinstance(fact, ev.PoolFact | ev.FleetFact | ev.ServingFact):
            self._hear_alone(fact, id_)
        elif id_ in self._open or not isinstance(fact, ev.NodeRegistered):
            self._hear_about(fact, id_)

    def _hear_alone(self, fact: ev.PoolFact | ev.FleetFact | ev.ServingFact, id_: str) -> None:
        kind = "pool" if isinstance(fact, ev.PoolFact) else "fleet"
        text = sentences.sentence(fact)
        chain = self._begin(kind, _short(text), id_ if kind == "pool" else "", fact.at)
        chain.outcome = "done"
        number = self._add_fact(chain, id_, fact)
        if isinstance(fact, ev.TargetChanged):
            self._target[fact.pool] = number

    def _hear_report(self, fact: ev.HealthReported) -> None:
        kinds = ", ".join(dict.fromkeys(event.kind for event in fact.events))
        text = sentences.sentence(fact) + (f": {kinds}" if kinds else "")
        self._remember(fact.node_id, fact.at, ev.kind(fact), text)

    def _hear_verdict(self, fact: ev.HealthJudged) -> None:
        node_id, chain = fact.node_id, self._open.get(fact.node_id)
        if chain is None and fact.health not in WORRIES:
            self.harmless += 1
            self._sensed.pop(node_id, None)
            return
        if chain is None:
            what = f"{node_id} is {fact.health.value}"
            chain = self._chain(node_id, "trouble", what, fact.at)
        word, times = chain.said
        times = times + 1 if word == fact.health.value else 1
        chain.said = (fact.health.value, times)
        if times > CONFIRMATIONS:
            chain.left_out += 1 + len(self._sensed.pop(node_id, ()))
            return
        self._flush(chain, node_id)
        if chain.noticed is None and fact.health in WORRIES:
            chain.noticed = fact.at
        self._add_fact(chain, node_id, fact)
        if fact.health is Health.HEALTHY and not chain.waits_for and not chain.is_short_of:
            self._end(chain, node_id, "healed")

    def _hear_purchase(self, fact: ev.LaunchRequested) -> None:
        short = self._short.get(fact.pool)
        if short:
            chain = short.popleft()
            chain.is_short_of -= 1
            chain.decided = chain.decided or fact.at
        else:
            title = f"{fact.instance_id} for pool {fact.pool}"
            chain = self._begin("purchase", title, fact.pool, fact.at)
        self._open[fact.instance_id] = chain
        chain.waits_for.add(fact.instance_id)
        cause = self._target.get(fact.pool, 0) if chain.kind == "purchase" else 0
        self._add_fact(chain, fact.instance_id, fact, cause)

    def _hear_about(self, fact: ev.InstanceFact | ev.NodeFact | ev.CommandFact, id_: str) -> None:
        chain = self._open.get(id_)
        if chain is None:
            chain = self._chain(id_, _kind(fact), _title(fact, id_), fact.at)
        self._flush(chain, id_)
        if chain.noticed is None and isinstance(fact, NOTICES):
            chain.noticed = fact.at
        if chain.decided is None and isinstance(fact, DECIDES) and chain.kind != "purchase":
            chain.decided = fact.at
        replaced = isinstance(fact, ev.DrainBegun | ev.TerminationRequested)
        number = self._add_fact(chain, id_, fact, chain.served_by if replaced else 0)
        self._follow(chain, fact, id_, number)

    def _follow(self, chain: Chain, fact: ev.Event, id_: str, number: int) -> None:
        """Keep what the chain waits for."""
        match fact:
            case ev.InstanceCondemned() | ev.InterruptionNoticed():
                chain.waits_for.add(id_)
                self._is_short(chain)
            case ev.InstanceReprieved():
                self._is_short_no_more(chain)
                chain.waits_for.discard(id_)
                self._end(chain, id_, "kept")
            case ev.InstanceVanished():
                if id_ not in chain.waits_for:
                    self._is_short(chain)
                self._leave(chain, id_, "vanished")
            case ev.TerminationRequested(trouble=True):
                self._is_short(chain)
                chain.waits_for.add(id_)
            case ev.TerminationRequested() | ev.ReleaseRequested():
                chain.waits_for.add(id_)
            case ev.LaunchFailed():
                self._is_short(chain)
                self._leave(chain, id_, "refused")
            case ev.InstanceTerminated() | ev.NodeRetired():
                self._leave(chain, id_, "replaced" if chain.served_by else "ended")
            case ev.NodeRegistered() if id_ in chain.waits_for:
                chain.served_by = number
                self._leave(chain, id_, "bought" if chain.kind == "purchase" else "replaced")
            case ev.NodeReturned() if not chain.waits_for and chain.kind == "trouble":
                self._end(chain, id_, "returned")
            case ev.RepairEnded() if fact.outcome is not Outcome.FAILED:
                self._end(chain, id_, fact.outcome.value)
            case ev.ReleaseRevoked():
                chain.waits_for.discard(id_)
                self._end(chain, id_, "kept")
            case ev.IntentChanged(intent=Intent.IN_SERVICE) if chain.kind == "operator":
                self._end(chain, id_, "in service")
            case ev.CommandFinished() if chain.kind == "operator" and fact.state in FINISHED:
                if not any(one != id_ for one in chain.waits_for):
                    chain.outcome = fact.state.value
            case _:
                return

    def _is_short(self, chain: Chain) -> None:
        """A replacement is to be bought for something in this chain."""
        if chain.kind == "purchase" and chain.served_by:
            chain.kind = "trouble"
        chain.is_short_of += 1
        self._short.setdefault(chain.pool, deque(maxlen=SHORT_MAX)).append(chain)

    def _is_short_no_more(self, chain: Chain) -> None:
        waiting = self._short.get(chain.pool, deque())
        if chain in waiting:
            waiting.remove(chain)
            chain.is_short_of -= 1

    def _leave(self, chain: Chain, id_: str, outcome: str) -> None:
        """One subject is done with; the chain ends with the last of them."""
        chain.waits_for.discard(id_)
        self._open.pop(id_, None)
        self._sensed.pop(id_, None)
        chain.outcome = "" if chain.waits_for or chain.is_short_of else outcome

    def _end(self, chain: Chain, id_: str, outcome: str) -> None:
        self._open.pop(id_, None)
        chain.outcome = "" if chain.waits_for else outcome

    # --- chains and entries ----------------------------------------------------------------

    def _chain(self, id_: str, kind: str, title: str, now: datetime) -> Chain:
        chain = self._open.get(id_)
        if chain is None:
            chain = self._open[id_] = self._begin(kind, title, self._pool_of(id_), now)
            self._flush(chain, id_)
        return chain

    def _begin(self, kind: str, title: str, pool: str, now: datetime) -> Chain:
        self._chain_number += 1
        chain = Chain(self._chain_number, kind, title, pool, now, now)
        self._chains[chain.number] = chain
        return chain

    def _remember(self, node_id: str, at: datetime, kind: str, text: str) -> None:
        sensed = self._sensed.setdefault(node_id, deque(maxlen=SENSED_MAX))
        sensed.append((at, kind, text))

    def _flush(self, chain: Chain, node_id: str) -> None:
        for at, kind, text in self._sensed.pop(node_id, ()):
            chain.began = min(chain.began, at)
            self._add(chain, node_id, kind, text, "", at)

    def _add_fact(self, chain: Chain, id_: str, fact: ev.Fact, cause: int = 0) -> int:
        because = str(getattr(fact, "because", "") or getattr(fact, "reason", ""))
        text = sentences.sentence(fact).removesuffix(f": {because}")
        return self._add(chain, id_, ev.kind(fact), text, because, fact.at, cause)

    def _add(
        self,
        chain: Chain,
        id_: str,
        kind: str,
        text: str,
        because: str,
        at: datetime,
        cause: int = 0,
    ) -> int:
        """Add an entry; it follows from the newest of its subject, of its chain, and a cause."""
        chain.last_at = max(chain.last_at, at)
        most = REPEATING_MAX if kind in REPEATING else STEPS_MAX
        if chain.taken >= most:
            chain.left_out += 1
            return chain.subjects.get(id_, 0)
        self._number += 1
        last = chain.steps[-1] if chain.steps else 0
        after = sorted({chain.subjects.get(id_, 0) or last, cause or last} - {0})
        seconds = round((at - EPOCH) / timedelta(seconds=1), 6)
        entry = model.Entry(
            number=self._number,
            at=seconds,
            subject=id_,
            kind=kind,
            text=text[:TEXT_MAX],
            because=because[:TEXT_MAX],
            after=tuple(after),
        )
        if chain.number not in self._chains:
            self._chains[chain.number] = chain
            self._chains_dropped -= 1
        chain.steps.append(self._number)
        chain.taken += 1
        chain.subjects[id_] = self._number
        self._entries.append((entry, chain))
        if len(self._entries) > ENTRIES_MAX:
            self._drop()
        return self._number

    def _drop(self) -> None:
        """Let the oldest entry go, and its chain with the last of it."""
        _, chain = self._entries.popleft()
        self._dropped += 1
        chain.steps.popleft()
        chain.left_out += 1
        if not chain.steps:
            self._chains.pop(chain.number, None)
            self._chains_dropped += 1

    # --- the end ---------------------------------------------------------------------------

    def timeline(self) -> model.Timeline:
        """Everything that is still here. Cost: O(entries)."""
        first = self._entries[0][0].number if self._entries else 1
        chains = [_written(chain) for chain in self._chains.values() if chain.steps]
        return model.Timeline(
            entries=tuple(_trimmed(entry, first) for entry, _ in self._entries),
            chains=tuple(sorted(chains, key=lambda chain: (chain.began, chain.number))),
            entries_left_out=self._dropped,
            chains_left_out=self._chains_dropped,
        )


def _trimmed(entry: model.Entry, first: int) -> model.Entry:
    """Without references to entries that were let go."""
    if all(number >= first for number in entry.after):
        return entry
    kept = tuple(number for number in entry.after if number >= first)
    return structs.replace(entry, after=kept)


def _written(chain: Chain) -> model.Chain:
    return model.Chain(
        number=chain.number,
        kind=chain.kind,
        title=chain.title[:TEXT_MAX],
        pool=chain.pool,
        subjects=tuple(sorted(filter(None, chain.subjects))),
        began=_seconds(chain.began),
        ended=_seconds(chain.last_at) if chain.outcome else None,
        outcome=chain.outcome,
        noticed=None if chain.noticed is None else _seconds(chain.noticed),
        decided=None if chain.decided is None else _seconds(chain.decided),
        justified=chain.justified,
        steps=tuple(chain.steps),
        left_out=chain.left_out,
    )


def _seconds(moment: datetime) -> float:
    return round((moment - EPOCH) / timedelta(seconds=1), 6)


def _kind(fact: ev.Event) -> str:
    if isinstance(fact, ev.ReleaseRequested):
        return "release"
    if isinstance(fact, ev.CommandFact | ev.IntentChanged | ev.NodeDismissed):
        return "operator"
    return "trouble"


def _title(fact: ev.Fact, id_: str) -> str:
    match fact:
        case ev.NodeLost():
            return f"{id_} is silent"
        case ev.InterruptionNoticed():
            return f"{id_} will be taken away"
        case ev.InstanceVanished():
            return f"{id_} is gone by itself"
        case ev.ReleaseRequested():
            return f"{id_} is too many"
        case ev.CommandIssued():
            return f"{fact.type.value} of {id_}"
        case _:
            return _short(sentences.sentence(fact))


def _short(text: str) -> str:
    return text.partition(": ")[0]
