"""Policies: two tables that judge events, small enough to be known by heart.

The product judges by CEL rules; a sweep of thousands of runs needs something that costs nothing,
and checks need something whose every verdict can be told in advance. Both tables agree that what
applications do is harmless, for that is what no policy may get wrong; about the rest they differ,
so that changing from one to the other in the middle of a run moves verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from msgspec import Struct

from navarch.core.judging import Counts, HealthPolicy, Match, NothingBefore, Verdict, verdict_of
from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health, HealthEvent

APPLICATION = frozenset({"13", "31", "43", "45"})
"""XIDs that programs cause on hardware that is well (NVIDIA, XID catalogue; read November 2026)."""

RESET = frozenset({"48", "64", "95"})
"""XIDs after which a GPU has to be reset (the same)."""

FALLEN = "79"
"""The XID of a GPU that is off the bus: nothing less than a reboot can bring it back (the same)."""

VERDICT = "154"
"""The XID in which the driver says itself what has to be done (the same)."""

ACTIONS: Mapping[str, tuple[Health, Remedy]] = {
    "None": (Health.HEALTHY, Remedy.NONE),
    "GPU Reset Required": (Health.UNHEALTHY, Remedy.RESET_GPU),
    "Drain and Reset": (Health.UNHEALTHY, Remedy.RESET_GPU),
    "Node Reboot Required": (Health.UNHEALTHY, Remedy.REBOOT),
}
"""What the driver may say there, and what follows from it."""

CORRECTED_MAX = 20
"""Corrected memory errors within `CORRECTED_WINDOW` from which on they are no noise any more."""

CORRECTED_WINDOW = timedelta(minutes=10)


class Line(Struct, frozen=True):
    """What a table says about one kind of event."""

    rule: str
    status: Health
    remedy: Remedy
    lasting: bool = False
    settles: bool = False


class Table:
    """A policy in one table."""

    def __init__(
        self,
        name: str,
        *,
        hot: float,
        hot_remedy: Remedy,
        fallen_remedy: Remedy,
        unknown: Health,
    ) -> None:
        """Differ from other tables in these: from which °C on it is too hot, and so on."""
        self.name = name
        self.digest = f"table-{name}"
        self._hot = hot
        self._hot_remedy = hot_remedy
        self._fallen_remedy = fallen_remedy
        self._unknown = unknown

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Look every event up."""
        lately = counts or NothingBefore(events)
        return verdict_of(tuple(self._match(event, lately) for event in events))

    def _match(self, event: HealthEvent, counts: Counts) -> Match:
        line = self.line(event, counts)
        return Match(
            event,
            line.rule,
            line.status,
            line.remedy,
            because=f"the table {self.name} says {line.remedy.value}",
            lasting=line.lasting,
            settles=line.settles,
        )

    def line(self, event: HealthEvent, counts: Counts) -> Line:
        """Find what the table says."""
        match event.event_type:
            case "xid":
                return self._xid(event)
            case "thermal" if float(event.metrics.get("temperature", 0)) >= self._hot:
                return Line("hot", Health.UNHEALTHY, self._hot_remedy)
            case "thermal":
                return Line("warm", Health.DEGRADED, Remedy.OBSERVE)
            case "ecc_sbe":
                many = counts.of("ecc_sbe", event.gpu_index, CORRECTED_WINDOW) >= CORRECTED_MAX
                if many:
                    return Line("many-corrected", Health.DEGRADED, Remedy.OBSERVE)
                return Line("corrected", Health.HEALTHY, Remedy.NONE)
            case _:
                return Line("unknown", self._unknown, Remedy.OBSERVE)

    def _xid(self, event: HealthEvent) -> Line:
        code = str(event.metrics.get("xid_code", ""))
        if code in APPLICATION:
            return Line("application", Health.HEALTHY, Remedy.RESTART_APP)
        if code in RESET:
            return Line("reset", Health.UNHEALTHY, Remedy.RESET_GPU, lasting=True)
        if code == FALLEN:
            return Line("fallen", Health.UNHEALTHY, self._fallen_remedy, lasting=True)
        if code == VERDICT:
            action = str(event.metrics.get("recovery_action", ""))
            status, remedy = ACTIONS.get(action, (Health.DEGRADED, Remedy.OBSERVE))
            lasting = status is Health.UNHEALTHY
            return Line(f"driver says {action}", status, remedy, lasting=lasting, settles=True)
        return Line("unknown", self._unknown, Remedy.OBSERVE)


PATIENT = Table(
    "patient",
    hot=95,
    hot_remedy=Remedy.OBSERVE,
    fallen_remedy=Remedy.REBOOT,
    unknown=Health.DEGRADED,
)
"""Tries what may help before it gives a machine up."""

STRICT = Table(
    "strict",
    hot=88,
    hot_remedy=Remedy.REPLACE,
    fallen_remedy=Remedy.REPLACE,
    unknown=Health.HEALTHY,
)
"""Gives a machine up sooner, and is not impressed by what it does not know."""

TABLES: Mapping[str, HealthPolicy] = {PATIENT.name: PATIENT, STRICT.name: STRICT}
"""By name."""
