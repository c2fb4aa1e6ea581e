"""The ledger: what the control plane decided, counted by kind and held against the truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct, field

from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.ladder import Outcome
from navarch.core.model.node import Node
from navarch.core.model.pool import Pool
from navarch.core.model.report import GRAVITY, Health
from navarch.core.repair import beginning, breaker, candidates
from navarch.core.settings import Settings
from navarch.simulator.report.model import Purchases, Repairs, Rule
from navarch.simulator.report.truth import Truth

HOUR = timedelta(hours=1)

RULES_MAX = 1_000
"""Rules counted; a policy has fewer."""


class _Rule(Struct):
    status: Health = Health.HEALTHY
    verdicts: int = 0
    failures: int = 0
    nodes: set[str] = field(default_factory=set)


class _Bought(Struct):
    requested: int = 0
    launched: int = 0
    uncertain: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Everything that is counted of decisions."""

    def __init__(self, truth: Truth, settings: Settings) -> None:
        """Begin with nothing decided."""
        self.interruptions = 0
        self._truth = truth
        self._settings = settings
        self._counts: Counter[str] = Counter()
        self._condemned: dict[str, tuple[str, bool]] = {}
        """Right or wrong, and whether too late, by instance."""
        self._providers: dict[str, str] = {}
        self._purchases: dict[str, _Bought] = {}
        self._rules: dict[str, _Rule] = {}
        self._waiting: dict[str, str] = {}
        self._waited: dict[str, float] = dict.fromkeys(("budget", "brake", "room"), 0.0)
        """Node-hours of waiting, by what for."""

    def hear(self, fact: ev.Fact) -> None:
        """Count a fact. Cost: O(1), of a verdict O(its findings)."""
        match fact:
            case ev.HealthJudged():
                self._hear_verdict(fact)
            case ev.InstanceCondemned():
                right = self._truth.justifies(fact.instance_id, fact.at)
                verdict = "right" if right else "wrong"
                is_late = right and self._truth.is_late(fact.instance_id, fact.at)
                self._condemned[fact.instance_id] = verdict, is_late
                self._counts[verdict] += 1
                self._counts["late"] += is_late
            case ev.InstanceReprieved():
                taken = self._condemned.pop(fact.instance_id, None)
                if taken is not None:
                    verdict, is_late = taken
                    self._counts[verdict] -= 1
                    self._counts["late"] -= is_late
                    self._counts["withdrawn"] += 1
            case ev.RepairStarted():
                right = self._truth.justifies(fact.node_id, fact.at)
                self._counts["in place right" if right else "in place wrong"] += 1
            case ev.RepairEnded():
                self._counts[fact.outcome.value] += 1
            case ev.NodeHandedOver() | ev.RepairWithheld() | ev.RepairHalted():
                self._counts[ev.kind(fact)] += 1
            case ev.InterruptionNoticed():
                self.interruptions += 1
            case _:
                self._hear_purchase(fact)

    def _hear_verdict(self, fact: ev.HealthJudged) -> None:
        for finding in fact.findings:
            if finding.seen == fact.at:
                rule = self._rule(finding.rule)
                rule.verdicts += 1
                rule.nodes.add(fact.node_id)
                rule.status = max(rule.status, finding.status, key=lambda each: GRAVITY[each])
        for failed in fact.failed:
            self._rule(failed.partition(":")[0]).failures += 1

    def _rule(self, name: str) -> _Rule:
        if name not in self._rules and len(self._rules) >= RULES_MAX:
            name = "(others)"
        return self._rules.setdefault(name, _Rule())

    def _hear_purchase(self, fact: ev.Fact) -> None:
        match fact:
            case ev.LaunchRequested():
                self._providers[fact.instance_id] = fact.provider
                self._of(fact.instance_id).requested += 1
            case ev.InstanceLaunched():
                self._of(fact.instance_id).launched += 1
            case ev.LaunchUncertain():
                self._of(fact.instance_id).uncertain += 1
            case ev.LaunchFailed():
                self._of(fact.instance_id).refused[fact.failure] += 1
                self._providers.pop(fact.instance_id, None)
            case ev.InstanceTerminated() | ev.InstanceVanished():
                self._providers.pop(fact.instance_id, None)
                self._condemned.pop(fact.instance_id, None)
            case _:
                return

    def _of(self, instance_id: str) -> _Bought:
        provider = self._providers.get(instance_id, "")
        return self._purchases.setdefault(provider, _Bought())

    # --- who waits -------------------------------------------------------------------------

    def sample(self, machine: Machine, now: datetime, since_last: timedelta) -> None:
        """See whose repair is due and put off. Cost: O(nodes in trouble), seldom O(nodes)."""
        waiting = dict(self._put_off(machine, now))
        for node_id, why in waiting.items():
            self._counts[why] += self._waiting.get(node_id) != why
            self._waited[why] += since_last / HOUR
        self._waiting = waiting

    def _put_off(self, machine: Machine, now: datetime) -> Iterator[tuple[str, str]]:
        """Say who waits for what; what holds for a whole pool is looked up once."""
        fleet = machine.fleet
        known: dict[tuple[str, str, bool], str] = {}
        for node in (*candidates.lost(fleet), *candidates.sick(fleet)):
            pool = fleet.pools.get(node.pool)
            if pool is None or pool.asleep or pool.spec.dry_run:
                continue
            rung = beginning.due(fleet, pool, node, now, self._settings)
            if rung in (Remedy.NONE, Remedy.INSPECT) or not self._is_sure(machine, node, now):
                continue
            zone = node.zone if pool.spec.disruption.max_unavailable_per_zone else ""
            needs_room = node.connected and rung is Remedy.REPLACE
            key = (pool.name, zone, needs_room)
            if key not in known:
                known[key] = self._obstacle(machine, pool, node, now)
            if known[key]:
                yield node.id, known[key]

    def _obstacle(self, machine: Machine, pool: Pool, node: Node, now: datetime) -> str:
        fleet = machine.fleet
        if breaker.shut(pool, now, self._settings):
            return "brake"
        if candidates.over_budget(fleet, pool, node, now):
            return "budget"
        if beginning.obstacle(fleet, machine.sightings, node, now, self._settings):
            return "room"
        return ""

    def _is_sure(self, machine: Machine, node: Node, now: datetime) -> bool:
        """Whether enough reports, or two witnesses, say that it is out."""
        fleet = machine.fleet
        if node.connected:
            return not candidates.unconfirmed(fleet, node)
        return not candidates.unwitnessed(fleet, machine.sightings, node, now, self._settings)

    # --- the end ---------------------------------------------------------------------------

    def repairs(self, harmless: int) -> Repairs:
        """Sum up what was decided about nodes."""
        counts = self._counts
        return Repairs(
            replacements_right=counts["right"],
            replacements_wrong=counts["wrong"],
            replacements_late=counts["late"],
            replacements_withdrawn=counts["withdrawn"],
            in_place_right=counts["in place right"],
            in_place_wrong=counts["in place wrong"],
            in_place_succeeded=counts[Outcome.SUCCEEDED.value],
            in_place_failed=counts[Outcome.FAILED.value],
            in_place_revoked=counts[Outcome.REVOKED.value],
            handed_over=counts["node_handed_over"],
            withheld=counts["repair_withheld"],
            budget_hits=counts["budget"],
            brake_hits=counts["brake"],
            room_hits=counts["room"],
            hours_waited=round(sum(self._waited.values(), 0.0), 6),
            budget_hours_waited=round(self._waited["budget"], 6),
            brakes_opened=counts["repair_halted"],
            harmless_verdicts=harmless,
        )

    def purchases(self) -> Iterator[Purchases]:
        """Say what was asked of each provider, by name."""
        for provider, bought in sorted(self._purchases.items()):
            yield Purchases(
                provider=provider,
                requested=bought.requested,
                launched=bought.launched,
                uncertain=bought.uncertain,
                refused=dict(sorted(bought.refused.items())),
            )

    def rules(self) -> list[Rule]:
        """Say which rules spoke, those that spoke most first."""
        rules = [
            Rule(
                name=name,
                status=rule.status.value,
                verdicts=rule.verdicts,
                nodes=len(rule.nodes),
                failures=rule.failures,
            )
            for name, rule in self._rules.items()
        ]
        return sorted(rules, key=lambda rule: (-rule.verdicts, -rule.failures, rule.name))
