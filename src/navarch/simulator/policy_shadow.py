"""A shadow fleet: what another policy would have made of the reports that a journal holds.

It is a fleet of the product's own, folded by the product's own code. What happens *to* a fleet it
takes from the journal: launches, registrations, silence, reports, what operators want. What is
*decided* about sick nodes it decides itself, with `health.judge`, `breaker`, `beginning`,
`in_place` and `reprieved`, budgets and all. Where the two courses part, this is assumed:

==============================  ===============================================================
it repairs what really was not  drain, reset, reboot and boot take as long as `Conditions` says;
                                a reset is then judged by what the machine went on to report
it replaces what really stayed  then its place is taken by a machine of which nothing is known:
                                it counts as well and reports nothing, until the real one goes
it keeps what really was ended  the node goes when the real one does: more of it is not known
both do the same thing          it takes as long as it really took
==============================  ===============================================================

A journal holds the reports that its control plane wanted to hear. Where the shadow waits for one
that was of no interest then, it is made up each `health_check_interval`: it says of the agent's
checks what the last one said, and has no events; else the journal would hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from navarch.core import fold, health
from navarch.core.judging import HealthPolicy
from navarch.core.model import events as ev
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.ladder import Stage
from navarch.core.model.node import Contact, Node
from navarch.core.model.pool import HOUR
from navarch.core.model.report import CheckResult, Health
from navarch.core.model.sightings import Sightings
from navarch.core.repair import beginning, breaker, candidates, in_place, ladder, replacing
from navarch.core.settings import Settings

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)


NOTHING_SEEN: Final = Sightings()
"""Lost nodes are condemned as they really were; without an inventory the core does not."""


class Conditions(Struct, frozen=True):
    """What is assumed of a control plane, and of repairs that were not really made."""

    settings: Settings = Settings()
    boot: timedelta = timedelta(minutes=10)
    """How long a new machine takes to serve, and a reboot to end."""
    drain: timedelta = timedelta(minutes=10)
    """How long it takes until nothing runs on a node any more."""
    reset: timedelta = MINUTE
    """How long the reset of a GPU takes."""
    tick: timedelta = timedelta(seconds=5)
    """How late the control plane may have seen that a time was over: what it did then is first."""

    @property
    def replacement(self) -> timedelta:
        """How long a machine is on its way out: its successor boots, then it is drained."""
        return self.boot + self.drain


TOLD = Callable[[ev.Fact], None]
"""Takes each fact that the shadow has made itself, after it was folded."""

_ALIKE = (
    ev.FleetFounded
    | ev.Resumed
    | ev.PoolConfigured
    | ev.PoolRetired
    | ev.TargetChanged
    | ev.PoolPaused
    | ev.PoolUnpaused
    | ev.RepairAcknowledged
    | ev.LaunchRequested
    | ev.InstanceLaunched
    | ev.LaunchFailed
    | ev.LaunchUncertain
    | ev.LaunchCleared
    | ev.ReleaseRequested
    | ev.ReleaseRevoked
    | ev.NodeRegistered
    | ev.NodeLost
    | ev.NodeReturned
    | ev.InterruptionNoticed
    | ev.IntentChanged
    | ev.HealthCleared
)
"""What happens to the shadow exactly as it did."""

_ENDS = (
    ev.TerminationRequested
    | ev.TerminationAccepted
    | ev.InstanceTerminated
    | ev.InstanceVanished
    | ev.NodeDismissed
    | ev.NodeRetired
)
"""What ends a machine, and with it what is known of it."""

_OF_PLACES = ev.ReleaseRequested | ev.ReleaseRevoked | ev.LaunchRequested
"""What is about the place of a machine, whoever stands there."""


class Shadow:
    """What a policy would have done, from a moment on."""

    def __init__(
        self, truth: Fleet, now: datetime, policy: HealthPolicy, conditions: Conditions, told: TOLD
    ) -> None:
        """Adopt the policy in the real fleet as it is, which is not changed; then `settle`."""
        self.fleet = truth.copy()
        self.gone: set[str] = set()
        """Machines that would have been replaced, while their real ones live on."""
        self.made_up = 0
        """Reports that were not in the journal."""
        self._truth = truth
        self._policy = policy
        self._conditions = conditions
        self._settings = replace(conditions.settings, workload_manager=False, drain_overrun="end")
        self._told = told
        self._checks: dict[str, tuple[CheckResult, ...]] = {
            node.id: node.report.results
            for node in truth.nodes.values()
            if node.report is not None and node.report.results
        }
        """What each node's checks said last."""
        self._due: dict[str, datetime] = {}
        """When each node that has to be heard reports next."""
        self._ends: dict[str, datetime] = {}
        """When each machine that only the shadow replaces will be gone."""
        self._followed = set(self.fleet.repairing)
        """Nodes that are really repaired as the shadow repairs them."""
        self._touched = {*self.fleet.ailing, *self.fleet.repairing}
        self._is_stirred = True
        if policy.digest:
            name, digest = policy.name, policy.digest
            fold.apply(self.fleet, ev.PolicyAdopted(now, name, digest, "it is tried"))

    # --- what really happened --------------------------------------------------------------

    def take(self, fact: ev.Fact) -> None:
        """Learn a fact of the journal, after the real fleet did."""
        id_ = _about(fact)
        self._touched.add(id_)
        if not isinstance(fact, ev.HealthReported | ev.HealthJudged):
            self._is_stirred = True
        if id_ in self.gone and not isinstance(fact, _ENDS | _OF_PLACES | ev.RecordsForgotten):
            return
        match fact:
            case ev.RecordsForgotten():  # commands of that name are others than ours
                fold.apply(self.fleet, replace(fact, commands=()))
            case ev.HealthReported():
                if fact.results:
                    self._checks[id_] = fact.results
                self._due.pop(id_, None)
                fold.apply(self.fleet, fact)
            case ev.InstanceCondemned() | ev.InstanceReprieved() | ev.DrainBegun():
                self._take_replacement(fact)
            case ev.RepairStarted() | ev.RepairAdvanced() | ev.RepairEnded():
                self._take_repair(fact)
            case ev.RepairWithheld() if is_for_silence(self._truth, fact):
                fold.apply(self.fleet, fact)
            case _:
                if isinstance(fact, _ENDS):
                    self._forget(id_, fact.at)
                if isinstance(fact, _ENDS | _ALIKE):
                    fold.apply(self.fleet, fact)

    def _take_replacement(
        self, fact: ev.InstanceCondemned | ev.InstanceReprieved | ev.DrainBegun
    ) -> None:
        """Silence is nobody's verdict: who is replaced for it is replaced here too."""
        instance = self.fleet.instances[fact.instance_id]
        match fact:
            case ev.InstanceCondemned():
                applies = is_for_silence(self._truth, fact) and not instance.condemned
            case ev.InstanceReprieved():
                applies = instance.condemned and instance.condemned_for in ("", "silence")
            case _:
                applies = instance.condemned
        if applies:
            fold.apply(self.fleet, fact)
        elif isinstance(fact, ev.InstanceReprieved) and instance.condemned:
            # It will not really go after all, so that its way out is made up from now on.
            end = fact.at + self._conditions.replacement
            self._ends.setdefault(fact.instance_id, end)

    def _take_repair(self, fact: ev.RepairStarted | ev.RepairAdvanced | ev.RepairEnded) -> None:
        """A repair that both have begun goes its real way."""
        id_ = fact.node_id
        repair = self.fleet.nodes[id_].repair
        if isinstance(fact, ev.RepairStarted):
            if repair and repair.rung is fact.rung and repair.stage is Stage.DRAINING:
                self._drop_commands(id_, fact.at)
                self._followed.add(id_)
        elif id_ in self._followed:
            fold.apply(self.fleet, fact)
            if isinstance(fact, ev.RepairEnded):
                self._followed.discard(id_)
                self._told(fact)

    def _forget(self, id_: str, now: datetime) -> None:
        """Wait for nothing of a machine any more whose real one ends."""
        self._drop_commands(id_, now)
        self._followed.discard(id_)
        for waiting in (self._due, self._ends, self._checks):
            waiting.pop(id_, None)

    # --- what is decided -------------------------------------------------------------------

    def judge(self, now: datetime) -> None:
        """Judge every report that has no verdict yet."""
        if not self.fleet.unjudged and not self._is_stirred:
            return
        for verdict in list(health.judge(self.fleet, now, self._policy, self._settings)):
            before = standing(self.fleet, verdict.node_id)
            is_stirred = self._is_stirred
            self._fold([verdict])
            self._is_stirred = is_stirred or standing(self.fleet, verdict.node_id) != before

    def reprieve(self, now: datetime) -> None:
        """Keep machines whose sickness is over."""
        self._fold(list(replacing.reprieved(self.fleet, now, self._settings)))

    def advance(self, now: datetime) -> None:
        """Go on with repairs, and turn the breaker."""
        fleet, settings = self.fleet, self._settings
        halted = any(pool.brake_because for pool in fleet.pools.values())
        if not (fleet.ailing or fleet.lost or fleet.condemned or halted):
            return
        self.reprieve(now)
        advanced = in_place.advanced(fleet, now, settings)
        self._fold([fact for fact in advanced if fact.node_id not in self._followed])
        self._fold(list(breaker.turns(fleet, now, settings)))

    def decide(self, now: datetime) -> None:
        """Begin repairs too, as far as breaker and budgets allow."""
        self.advance(now)
        if self.fleet.ailing or self.fleet.distrusted:
            self._fold(list(beginning.begun(self.fleet, NOTHING_SEEN, now, self._settings)))

    def settle(self, now: datetime) -> bool:
        """Judge and decide all that has come up, and see whom to wait for.

        Says whether there was anything to decide: the same state is not looked at twice.
        """
        self.judge(now)
        was_stirred = self._is_stirred
        if was_stirred:
            self.decide(now)
        self._is_stirred = False
        for id_ in self._touched:
            self._reconsider(id_, now)
        self._touched.clear()
        return was_stirred

    def _fold(self, facts: Iterable[ev.Fact]) -> None:
        for fact in facts:
            if isinstance(fact, ev.CommandIssued) and fact.type is CommandType.UNCORDON:
                continue  # there is nobody to take work again
            fold.apply(self.fleet, fact)
            self._touched.add(_about(fact))
            self._is_stirred = True
            match fact:
                case ev.InstanceCondemned():
                    self._ends[fact.instance_id] = fact.at + self._conditions.replacement
                case ev.InstanceReprieved():
                    self._ends.pop(fact.instance_id, None)
                case ev.RepairEnded():
                    self._drop_commands(fact.node_id, fact.at)
                case _:
                    pass
            self._told(fact)

    # --- what is made up -------------------------------------------------------------------

    def next_at(self, now: datetime) -> datetime | None:
        """When something happens next if the journal brings nothing; None: never."""
        moments = [*self._due.values(), *self._ends.values()]
        for id_ in self.fleet.repairing:
            if id_ not in self._followed:
                moments += self._moments_of_repair(id_)
        moments += self._moments_of_limits()
        return min((moment for moment in moments if moment > now), default=None)

    def _moments_of_repair(self, id_: str) -> Iterator[datetime]:
        for command in self.fleet.commands_for(id_):
            yield command.issued_at + self._takes(command.type)
        repair = self.fleet.nodes[id_].repair
        if repair is not None and repair.stage is Stage.PROBATION:
            yield repair.stage_since + self._settings.probation
            yield repair.stage_since + self._settings.probation_max + SECOND

    def _moments_of_limits(self) -> Iterator[datetime]:
        """When the time is over for which budgets, the breaker and the ladder hold back."""
        tick = self._conditions.tick
        for pool in self.fleet.pools.values():
            if pool.brake_half_open_at is not None:
                yield pool.brake_half_open_at + self._settings.silence_max + tick
            yield from (at + HOUR + tick for at in pool.replacements)
        for id_ in self.fleet.ailing:
            node = self.fleet.nodes[id_]
            if node.health is Health.UNHEALTHY:
                window = self._settings.relapse_window + tick
                yield from (each.at + window for each in node.attempts)

    def _takes(self, type_: CommandType) -> timedelta:
        """How long an order takes that nobody was really given, less than it may take."""
        match type_:
            case CommandType.GPU_RESET:
                return min(self._conditions.reset, self._settings.reset_timeout)
            case CommandType.REBOOT:
                return min(self._conditions.boot, self._settings.reboot_timeout)
            case _:
                return min(self._conditions.drain, self._settings.drain_timeout)

    def wake(self, now: datetime) -> None:
        """Let everything happen that is due, and decide."""
        self._is_stirred = True
        for id_, due in list(self._due.items()):
            if due <= now:
                del self._due[id_]
                self.made_up += 1
                fold.apply(self.fleet, ev.HealthReported(now, id_, self._checks[id_]))
                self._touched.add(id_)
        for id_ in list(self.fleet.repairing):
            for command in self.fleet.commands_for(id_):
                if (
                    id_ not in self._followed
                    and command.issued_at + self._takes(command.type) <= now
                ):
                    done = CommandState.SUCCEEDED
                    fold.apply(self.fleet, ev.CommandFinished(now, command.id, id_, done))
        for id_, end in list(self._ends.items()):
            if end <= now:
                del self._ends[id_]
                self._replace(id_, now)
        self.settle(now)

    def _replace(self, id_: str, now: datetime) -> None:
        """Put an unknown machine into the place of one that is gone only here."""
        if self._truth.instances[id_].condemned:
            return  # it really goes, and takes its time
        node = self.fleet.nodes[id_]
        self._forget(id_, now)
        self.gone.add(id_)
        # It keeps no GPU that the old one had: what is known of those goes on being known.
        self._apply(
            ev.InstanceReprieved(now, id_, "it is replaced"),
            _as_registered(node, now),
            ev.HealthCleared(now, id_, "another machine has taken its place"),
        )
        if node.contact is Contact.LOST:
            self._apply(ev.NodeReturned(now, id_, "another machine has taken its place"))

    def _reconsider(self, id_: str, now: datetime) -> None:
        """Wait for the next report of a node if it matters here and did not matter then."""
        node, real = self.fleet.nodes.get(id_), self._truth.nodes.get(id_)
        checks = self._checks.get(id_)
        if node is None or real is None or not checks or id_ in self.gone:
            self._due.pop(id_, None)
            return
        bad = any(result.status is not Health.HEALTHY for result in checks)
        speaks = not node.over and not real.over and real.contact is Contact.CONNECTED
        matters = health.awaits_report(self.fleet, node, self._settings, bad=bad)
        mattered = health.awaits_report(self._truth, real, self._settings, bad=bad)
        if speaks and matters and not mattered:
            self._due.setdefault(id_, now + self._settings.health_check_interval)
        else:
            self._due.pop(id_, None)

    def _drop_commands(self, id_: str, now: datetime) -> None:
        """Forget what an agent was to do that does not exist."""
        ids = self.fleet.pending.get(id_, ())
        over = (ev.CommandFinished(now, each, id_, CommandState.EXPIRED) for each in ids)
        self._apply(*over)
        ended = tuple(each.id for each in self.fleet.commands.values() if each.node_id == id_)
        if ended:
            self._apply(ev.RecordsForgotten(now, "they are over", commands=ended))

    def _apply(self, *facts: ev.Fact) -> None:
        for fact in facts:
            fold.apply(self.fleet, fact)


def standing(fleet: Fleet, node_id: str) -> tuple[object, ...]:
    """Return what decisions about a node depend on, as far as verdicts move it."""
    node = fleet.nodes[node_id]
    if node.repair is not None:
        return (node.health, node.clean_reports, node.bad_reports, node.findings)
    finding = ladder.gravest(node)
    remedy = finding.remedy if finding is not None else None
    return (node.health, health.confirmed(fleet, node), remedy)


def held_back(fleet: Fleet, now: datetime, settings: Settings) -> Iterator[str]:
    """Name the sick nodes that only a budget keeps from being repaired."""
    for node in candidates.sick(fleet):
        pool = fleet.pools.get(node.pool)
        if pool is None or pool.spec.dry_run:
            continue
        rung = beginning.due(fleet, pool, node, now, settings)
        if rung in (Remedy.NONE, Remedy.INSPECT):
            continue
        if beginning.obstacle(fleet, NOTHING_SEEN, node, now, settings):
            continue
        if candidates.over_budget(fleet, pool, node, now):
            yield node.id


def waits_for(fleet: Fleet, node: Node, now: datetime, settings: Settings) -> str:
    """Say what a due repair waits for; empty if none is due, or nothing is in its way."""
    pool = fleet.pools.get(node.pool)
    if pool is None or node.health is not Health.UNHEALTHY or node.condemned or node.repair:
        return ""
    if beginning.due(fleet, pool, node, now, settings) in (Remedy.NONE, Remedy.INSPECT):
        return ""
    obstacle = beginning.obstacle(fleet, NOTHING_SEEN, node, now, settings)
    return obstacle or candidates.over_budget(fleet, pool, node, now)


def is_for_silence(truth: Fleet, fact: ev.InstanceCondemned | ev.RepairWithheld) -> bool:
    """Whether a machine was to be replaced for its silence; older journals do not say."""
    if isinstance(fact, ev.InstanceCondemned) and fact.cause:
        return fact.cause == "silence"
    node = truth.nodes.get(_about(fact))
    return node is None or node.contact is Contact.LOST


def _about(fact: ev.Event) -> str:
    """The one node or instance that a fact is about; they share their id."""
    return str(getattr(fact, "node_id", "") or getattr(fact, "instance_id", ""))


def _as_registered(node: Node, now: datetime) -> ev.NodeRegistered:
    return ev.NodeRegistered(
        now,
        node.id,
        provider=node.provider,
        region=node.region,
        zone=node.zone,
        instance_type=node.instance_type,
        pool=node.pool,
        instance_id=node.instance_id,
    )
