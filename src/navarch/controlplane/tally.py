"""What became of things, counted from the facts as they are written to the journal.

A tally is a fold like the fleet's own: it looks at one fact after the other, knows what it has to
know of those before, and asks nobody. What stood in the journal when this process began to lead is
not counted again, only remembered where the next fact needs it (`Tally.begin`): counters begin
at zero, as Prometheus expects.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Final, get_args

from msgspec.structs import replace

from navarch.controlplane.described import BOOT_BOUNDS
from navarch.controlplane.measures import OTHER, Names, Values
from navarch.core import fold
from navarch.core.model import events as ev
from navarch.core.model.finding import Finding, Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Pool
from navarch.core.model.report import Health
from navarch.plugins.histograms import Histogram

POOLS_MAX: Final = 200
"""Pools that have series of their own; the others are one together."""
PROVIDERS_MAX: Final = 50
"""Providers that have series of their own."""
RULES_MAX: Final = 200
"""Rules that have series of their own."""
CHECK: Final = "check:"
"""What the rule of a finding begins with that a check of an agent has made."""

REFUSALS: Final = (
    *("no_capacity", "quota_exceeded", "throttled", "unauthorized", "invalid_request"),
    *("not_found", "unavailable", "outcome_unknown"),
)
"""The kinds of errors of providers, as labels have them."""
OUTCOMES: Final = ("launched", *REFUSALS, OTHER)
"""What may become of a launch."""
ERRORS: Final = (*REFUSALS, "timed_out", OTHER)
"""What may be wrong with a call of a provider."""
_IN_PLACE: Final = ("started", "succeeded", "failed", "revoked", "withheld")
REPAIRS: Final = (
    *((rung.value, outcome) for rung in (Remedy.RESET_GPU, Remedy.REBOOT) for outcome in _IN_PLACE),
    *((Remedy.REPLACE.value, outcome) for outcome in _IN_PLACE if outcome != "failed"),
    (Remedy.INSPECT.value, "started"),
)
"""What may become of repairs, by rung and outcome."""
KINDS: Final = tuple(str(each.__struct_config__.tag) for each in get_args(ev.Fact))
"""The kinds of facts."""


def error_word(class_name: str) -> str:
    """Write the class of a provider's error as a label; ``other`` for one of nobody's."""
    word = re.sub(r"(?<!^)(?=[A-Z])", "_", class_name).lower()
    return word if word in ERRORS else OTHER


class Tally:
    """Counts of one process."""

    def __init__(self, checks: frozenset[str] = frozenset(), pools: Names | None = None) -> None:
        """Begin with none. Only these `checks` of agents are told apart as rules.

        `pools` says which pools have series of their own; None: the first ones.
        """
        self.facts: Counter[Values] = Counter()
        """By kind."""
        self.provisions: Counter[Values] = Counter()
        """By provider and outcome."""
        self.boots: dict[Values, Histogram] = {}
        """By provider."""
        self.verdicts: Counter[Values] = Counter()
        """By rule and status."""
        self.lost: Counter[Values] = Counter()
        """By pool."""
        self.repairs: Counter[Values] = Counter()
        """By rung and outcome."""
        self.scalings: Counter[Values] = Counter()
        """By pool and direction."""
        self.interruptions: Counter[Values] = Counter()
        """By provider."""
        self.pools = pools or Names(POOLS_MAX)
        self.providers = Names(PROVIDERS_MAX)
        self._rules = Names(RULES_MAX)
        self._checks = checks
        self._bought: dict[str, tuple[str, datetime]] = {}
        """Provider and beginning of the machines that have not registered yet."""
        self._condemned: set[str] = set()
        self._repairing: dict[str, Remedy] = {}
        self._pools: dict[str, Pool] = {}

    def begin(self, fleet: Fleet) -> None:
        """Know what is under way. Cost: O(pools + what is under way)."""
        self._pools = dict(fleet.pools)
        # One that is to end may still be bought: its answer is under way, or was lost.
        under_way = (fleet.instances[id_] for id_ in {*fleet.booting, *fleet.ending})
        self._bought = {
            each.id: (each.provider, each.requested_at)
            for each in under_way
            if each.registered_at is None
        }
        self._condemned = set(fleet.condemned)
        self._repairing = {
            id_: repair.rung
            for id_ in fleet.repairing
            if (repair := fleet.nodes[id_].repair) is not None
        }

    def hear(self, fact: ev.Fact, fleet: Fleet) -> None:
        """Count a fact that is in the journal. Cost: O(1).

        Of `fleet`, which may be further already, only what never changes is read.
        """
        self.facts[ev.kind(fact),] += 1
        if isinstance(fact, ev.InstanceFact):
            self._of_instance(fact)
        elif isinstance(fact, ev.NodeFact):
            self._of_node(fact, fleet)
        elif isinstance(fact, ev.PoolFact):
            self._of_pool(fact)

    def _of_instance(self, fact: ev.InstanceFact) -> None:
        id_ = fact.instance_id
        match fact:
            case ev.LaunchRequested():
                self._bought[id_] = (fact.provider, fact.at)
            case ev.InstanceLaunched():
                self._provisioned(id_, "launched")
            case ev.LaunchUncertain():
                self._provisioned(id_, "outcome_unknown")
            case ev.LaunchFailed():
                self._provisioned(id_, error_word(fact.failure))
                self._bought.pop(id_, None)
                self._condemned.discard(id_)
            case ev.InstanceCondemned():
                if id_ not in self._condemned:
                    self._condemned.add(id_)
                    self.repairs[Remedy.REPLACE.value, "started"] += 1
            case ev.InstanceReprieved():
                self._replaced(id_, "revoked")
            case ev.InstanceTerminated() | ev.InstanceVanished():
                self._bought.pop(id_, None)
                self._repairing.pop(id_, None)
                self._replaced(id_, "succeeded")
            case _:
                return

    def _provisioned(self, id_: str, outcome: str) -> None:
        bought = self._bought.get(id_)
        if bought is not None:
            self.provisions[self.providers.label(bought[0]), outcome] += 1

    def _replaced(self, id_: str, outcome: str) -> None:
        if id_ in self._condemned:
            self._condemned.discard(id_)
            self.repairs[Remedy.REPLACE.value, outcome] += 1

    def _of_node(self, fact: ev.NodeFact, fleet: Fleet) -> None:
        id_ = fact.node_id
        match fact:
            case ev.NodeRegistered():
                bought = self._bought.pop(fact.instance_id, None)
                if bought is not None:
                    provider = (self.providers.label(bought[0]),)
                    taken = (fact.at - bought[1]).total_seconds()
                    self.boots.setdefault(provider, Histogram(BOOT_BOUNDS)).add(taken)
            case ev.NodeLost():
                node = fleet.nodes.get(id_)
                pool = node.pool if node is not None and node.pool in fleet.pools else ""
                self.lost[self.pools.label(pool),] += 1
            case ev.InterruptionNoticed():
                instance = fleet.instances.get(id_)
                seller = "" if instance is None else instance.provider
                self.interruptions[self.providers.label(seller),] += 1
            case ev.HealthJudged():
                self.verdicts[self._rule(fact), fact.health.value] += 1
            case ev.RepairStarted():
                self._repairing[id_] = fact.rung
                self.repairs[fact.rung.value, "started"] += 1
            case ev.RepairEnded():
                rung = self._repairing.pop(id_, None)
                if rung is not None:
                    self.repairs[rung.value, fact.outcome.value] += 1
            case ev.NodeRetired():
                self._repairing.pop(id_, None)
            case ev.RepairWithheld():
                self.repairs[fact.rung.value, "withheld"] += 1
            case ev.NodeHandedOver():
                self.repairs[Remedy.INSPECT.value, "started"] += 1
            case _:
                return

    def _rule(self, fact: ev.HealthJudged) -> str:
        """Return the rule that decided: of the findings as grave as the verdict, the newest."""
        if fact.health not in (Health.DEGRADED, Health.UNHEALTHY):
            return ""
        grave = [each for each in fact.findings if each.status is fact.health]
        newest: Finding | None = max(grave, key=lambda each: each.seen, default=None)
        if newest is None:
            return ""
        check = newest.rule.removeprefix(CHECK)
        if newest.rule.startswith(CHECK) and check not in self._checks:
            return OTHER  # agents may call their checks what they like
        return self._rules.label(newest.rule)

    def _of_pool(self, fact: ev.PoolFact) -> None:
        if isinstance(fact, ev.PoolConfigured):
            name = fact.spec.name
            self._pools[name] = fold.configured(self._pools.get(name), fact)
        elif isinstance(fact, ev.TargetChanged):
            before = self._pools[fact.pool]
            if fact.target != before.target:
                direction = "up" if fact.target > before.target else "down"
                self.scalings[self.pools.label(fact.pool), direction] += 1
            self._pools[fact.pool] = replace(before, target=fact.target)
