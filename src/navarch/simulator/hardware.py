"""Hardware: what is wrong with a machine in truth, and what its sensors say of it.

The two differ. Programs crash on hardware that is well, sensors cry wolf, and a broken GPU is quiet
between two errors. What is true is kept here, out of the control plane's sight, and what was ever
claimed is remembered beside it: whoever repairs a machine must have been told something, and it
counts as a false alarm when that was not so.

===========  ==========================================================  ======================
ailment      what it says                                                what ends it
===========  ==========================================================  ======================
storm        XIDs of applications, many at once                          time; nothing is wrong
strange      XIDs that nobody knows, and corrected memory errors         time; nothing is wrong
lie          one XID that asks for a reset                               nothing is wrong
alarm        failed checks                                               time; nothing is wrong
heat         temperatures                                                time
missing      failed checks                                               time
flapping     failed checks, every other moment                           time
spent        an XID that asks for a reset, again and again               a reset
fallen       XID 79, again and again                                     a reboot
broken       an XID that asks for a reset, again and again               another machine
===========  ==========================================================  ======================
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from navarch.core.model.finding import RUNG, Remedy
from navarch.core.model.gpu import GPU
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.simulator.dice import Stream
from navarch.simulator.policies import APPLICATION, FALLEN, RESET, VERDICT

AGAIN_AFTER = timedelta(minutes=2)
"""How soon a fault that is still there says so again."""

FLAP = timedelta(seconds=75)
"""How long a flapping GPU stays as it is."""

STORM_MAX = 40
"""Events of one kind in one reading of a storm."""

HOTTEST = 99
COOLEST = 82
"""The temperatures of a GPU that is too warm, in °C."""


class Kind(StrEnum):
    """What may ail a machine; the table above says what each means."""

    STORM = "storm"
    STRANGE = "strange"
    LIE = "lie"
    ALARM = "alarm"
    HEAT = "heat"
    MISSING = "missing"
    FLAPPING = "flapping"
    SPENT = "spent"
    FALLEN = "fallen"
    BROKEN = "broken"


NOISE = frozenset({Kind.STORM, Kind.STRANGE})
"""Nothing is wrong, and nothing that is said claims that anything is."""

FALSE = frozenset({Kind.LIE, Kind.ALARM})
"""Something is said to be wrong, and is not."""

CURES = {
    Kind.SPENT: Remedy.RESET_GPU,
    Kind.FALLEN: Remedy.REBOOT,
    Kind.BROKEN: Remedy.REPLACE,
}
"""What ends an ailment that time does not end."""


class Ailment(Struct):
    """One thing that ails a machine."""

    kind: Kind
    gpu: int
    since: datetime
    until: datetime | None
    """None: until it is cured."""
    cure: Remedy
    """What cures it; `Remedy.NONE`: time alone."""
    code: str
    verdict: str = ""
    """What the driver says to each of its XIDs; empty: nothing."""
    said_at: datetime | None = None
    """When it was in an event last; None: never yet."""


class Hardware:
    """The hardware of one machine."""

    def __init__(self, gpus: tuple[GPU, ...], rolls: Stream) -> None:
        """Be well."""
        self.gpus = gpus
        self.ailments: list[Ailment] = []
        self.was_sick = False
        """Whether anything was ever wrong in truth."""
        self.cried_wolf = False
        """Whether its sensors ever claimed something that was not so."""
        self.notices: list[datetime] = []
        """When the machine will be taken away, by each notice that its seller gave."""
        self._rolls = rolls

    @property
    def lemons(self) -> tuple[str, ...]:
        """UUIDs of the GPUs that no repair puts right."""
        bad = {each.gpu for each in self.ailments if each.kind is Kind.BROKEN}
        return tuple(gpu.uuid for gpu in self.gpus if gpu.index in bad)

    # --- falling ill, and getting well ------------------------------------------------------

    def fall_ill(
        self, kind: Kind, now: datetime, lasts: timedelta, *, verdict: str = "", gpu: int = -1
    ) -> None:
        """Let something be wrong from now on, or be said to be; `gpu` -1 picks one."""
        if gpu < 0:
            gpu = self._rolls.integer(0, max(len(self.gpus) - 1, 0))
        cure = CURES.get(kind, Remedy.NONE)
        code = FALLEN if kind is Kind.FALLEN else self._rolls.pick(sorted(RESET))
        if kind is Kind.SPENT and verdict == "Node Reboot Required":
            cure = Remedy.REBOOT
        passes = cure is Remedy.NONE
        until = now + lasts if passes else None
        if kind not in NOISE:
            self.cried_wolf = self.cried_wolf or kind in FALSE
            self.was_sick = self.was_sick or kind not in FALSE
        self.ailments.append(Ailment(kind, gpu, now, until, cure, code, verdict))

    def treat(self, remedy: Remedy, gpu: int | None = None) -> None:
        """Reset one GPU, or all for None, or reboot: what that can cure is cured."""
        self.ailments = [
            each
            for each in self.ailments
            if each.cure is Remedy.NONE
            or RUNG[each.cure] > RUNG[remedy]
            or (remedy is Remedy.RESET_GPU and gpu not in (None, each.gpu))
        ]

    def heal(self) -> None:
        """Be well again, as if somebody had put new parts in."""
        self.ailments = []

    def notice(self, deadline: datetime, now: datetime) -> HealthEvent:
        """Be told that the machine will be taken away; return what its agent reads of it."""
        self.notices.append(deadline)
        return HealthEvent(
            "interruption",
            metrics={"deadline": deadline.isoformat()},
            message="its seller takes it back",
            timestamp=now,
        )

    # --- what its sensors say ---------------------------------------------------------------

    def events(self, now: datetime) -> tuple[HealthEvent, ...]:
        """Say what has happened since the last time."""
        self.ailments = [each for each in self.ailments if not self._is_over(each, now)]
        events: list[HealthEvent] = []
        for each in self.ailments:
            events += self._events_of(each, now)
        return tuple(events)

    def checks(self, now: datetime) -> tuple[CheckResult, ...]:
        """Say what the checks find."""
        for each in self.ailments:
            if self._fails_checks(each, now):
                text = f"GPU {each.gpu} is lost"
                return (CheckResult("nvml", Health.UNHEALTHY, text, at=now),)
        return (CheckResult("nvml", Health.HEALTHY, at=now),)

    def _is_over(self, each: Ailment, now: datetime) -> bool:
        if each.kind is Kind.LIE:
            return each.said_at is not None
        return each.until is not None and now >= each.until

    def _fails_checks(self, each: Ailment, now: datetime) -> bool:
        if each.until is not None and now >= each.until:
            return False
        if each.kind is Kind.FLAPPING:
            return (now - each.since) // FLAP % 2 == 0
        return each.kind in (Kind.ALARM, Kind.MISSING)

    def _events_of(self, each: Ailment, now: datetime) -> list[HealthEvent]:
        match each.kind:
            case Kind.STORM:
                return self._storm(each, now)
            case Kind.STRANGE:
                corrected = HealthEvent("ecc_sbe", each.gpu, timestamp=now, count=3)
                return [self._xid("999", each.gpu, now), corrected]
            case Kind.HEAT:
                metrics: dict[str, str | int | float] = {
                    "temperature": self._rolls.integer(COOLEST, HOTTEST)
                }
                return [HealthEvent("thermal", each.gpu, metrics=metrics, timestamp=now)]
            case Kind.SPENT | Kind.FALLEN | Kind.BROKEN | Kind.LIE:
                return self._errors(each, now)
            case _:
                return []

    def _storm(self, each: Ailment, now: datetime) -> list[HealthEvent]:
        codes = self._rolls.some(sorted(APPLICATION), self._rolls.integer(1, 3))
        pid = self._rolls.integer(1000, 9999)
        return [
            self._xid(code, each.gpu, now, count=self._rolls.integer(1, STORM_MAX), pid=pid)
            for code in codes
        ]

    def _errors(self, each: Ailment, now: datetime) -> list[HealthEvent]:
        if each.said_at is not None and now - each.said_at < AGAIN_AFTER:
            return []
        each.said_at = now
        events = [self._xid(each.code, each.gpu, now)]
        if each.verdict:
            events.append(self._xid(VERDICT, each.gpu, now, recovery_action=each.verdict))
        if each.verdict == "None" and each.kind is Kind.SPENT:
            each.cure, each.until = Remedy.NONE, now  # it has settled by itself
        return events

    def _xid(
        self, code: str, gpu: int, now: datetime, *, count: int = 1, **metrics: str | float
    ) -> HealthEvent:
        return HealthEvent(
            "xid",
            gpu,
            gpu_uuid=self.gpus[gpu].uuid if gpu < len(self.gpus) else "",
            metrics=dict(sorted({"xid_code": code, **metrics}.items())),  # as in the journal
            timestamp=now,
            count=count,
        )
