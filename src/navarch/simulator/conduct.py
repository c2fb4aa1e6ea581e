"""Conduct: how agents misbehave on badly kept machines, drawn from a seed.

Their processes come and go, their clocks are wrong, jump or drift, their disks are full, they
change what they are in the middle of their lives, and for a while they report what is not so.
None of it may lead to more than it says: a clock that is wrong is no silence, and a GPU that a
machine does not have is not made sick by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from navarch.agent import turns
from navarch.core.model.gpu import GPUSample, NodeSample
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.hardware import Hardware
from navarch.simulator.incidents import Incident
from navarch.simulator.markets import MINUTE, SECOND, ZERO
from navarch.simulator.policies import RESET
from navarch.simulator.timeline import EPOCH

DAY = timedelta(days=1)

OFFSETS = (
    -2 * SECOND,
    40 * SECOND,
    -10 * MINUTE,
    3 * MINUTE,
    DAY,
    -20_454 * DAY,  # in 1970: a board without a battery
    3_650 * DAY,
)
"""How wrong a clock may be."""

DRIFTS = (0.01, -0.01, 0.5, -0.5)
"""Seconds that a clock gains in one; far more than any does, for runs are short."""


class Conduct(Struct, frozen=True):
    """How likely each kind of misconduct is in the life of one agent; from 0 to 1."""

    flapping: float = 0.0
    flaps_max: int = 6
    """How often its process goes and comes."""
    lying: float = 0.0
    lies_max: timedelta = 5 * MINUTE
    clock_off: float = 0.0
    clock_jumps: float = 0.0
    clock_drifts: float = 0.0
    redescribed: float = 0.0
    disk_full: float = 0.0
    disk_full_max: timedelta = 4 * MINUTE


HONEST = Conduct()


def draw_conduct(rolls: Stream) -> Conduct:
    """Draw how the agents of a run behave; well, in half of the runs."""
    if rolls.chance(0.5):
        return HONEST

    def share() -> float:
        return 0.2 + 0.5 * rolls.fraction() if rolls.chance(0.3) else 0.0

    return Conduct(
        flapping=share(),
        lying=share(),
        clock_off=share(),
        clock_jumps=share(),
        clock_drifts=share(),
        redescribed=share(),
        disk_full=share(),
    )


class Lie(StrEnum):
    """One thing that is not so."""

    CHECKS = "checks"
    SAMPLE = "sample"
    FOREIGN_GPU = "foreign gpu"
    NO_SUCH_GPU = "no such gpu"


class Behaviour:
    """How one agent behaves: its clock, its disk and its honesty."""

    def __init__(self, hardware: Hardware, dice: Dice, purpose: str) -> None:
        """Behave well; `purpose` names the dice."""
        self.clock = ZERO
        """How far the clock of the machine is ahead of true time."""
        self.disk_is_full = False
        self.uuids: Callable[[], Sequence[str]] = tuple
        """The GPUs of all machines, of which it may name one; to be set for liars."""
        self._drift = 0.0
        self._drifts_since = EPOCH
        self._lies_until = EPOCH
        self._hardware = hardware
        self._dice = dice
        self._rolls = dice.stream("lies", purpose)

    def heal(self) -> None:
        """Tell the truth and have room on the disk; a clock that is wrong stays wrong."""
        self._lies_until = EPOCH
        self.disk_is_full = False

    def wall(self, now: datetime) -> datetime:
        """Tell what its clock shows."""
        drifted = (now - self._drifts_since) * self._drift if self._drift else ZERO
        return now + self.clock + drifted

    # --- what may happen to it --------------------------------------------------------------

    def set_clock(self, what: Incident, rolls: Stream) -> None:
        """Let its clock be wrong by another amount."""
        self.clock = rolls.pick(OFFSETS)
        self._dice.happened[what] += 1

    def let_drift(self, now: datetime, rolls: Stream) -> None:
        """Let its clock go wrong from now on."""
        self.clock = self.wall(now) - now
        self._drift, self._drifts_since = rolls.pick(DRIFTS), now
        self._dice.happened[Incident.CLOCK_DRIFTS] += 1

    def lie(self, until: datetime) -> None:
        """Report what is not so."""
        self._lies_until = until

    # --- what it says -----------------------------------------------------------------------

    def told(self, reading: turns.SensorsRead, now: datetime) -> turns.SensorsRead:
        """Say what a reading becomes on its way through this agent."""
        if now < self._lies_until:
            reading = self._distorted(reading, now)
        if self.clock or self._drift:
            reading = replace(
                reading,
                results=tuple(replace(each, at=self.wall(now)) for each in reading.results),
                events=tuple(replace(each, timestamp=self.wall(now)) for each in reading.events),
            )
        return reading

    def _distorted(self, reading: turns.SensorsRead, now: datetime) -> turns.SensorsRead:
        hardware, rolls, happened = self._hardware, self._rolls, self._dice.happened
        match rolls.pick(tuple(Lie)):
            case Lie.CHECKS if reading.results:
                happened[Incident.CONTRADICTION] += 1
                hardware.cried_wolf = True
                other = Health.HEALTHY
                if reading.results[-1].status is Health.HEALTHY:
                    other = Health.UNHEALTHY
                result = CheckResult("nvml", other, "on second thoughts", at=now)
                return replace(reading, results=(*reading.results, result))
            case Lie.SAMPLE:
                happened[Incident.CONTRADICTION] += 1
                idle = GPUSample(0, temperature_celsius=20, utilization_percent=100.0)
                busy = GPUSample(0, power_watts=700, memory_used=2**40)
                return replace(reading, sample=NodeSample(100.0, 0.0, (idle, busy)))
            case Lie.FOREIGN_GPU if others := self._foreign():
                happened[Incident.FOREIGN_GPU] += 1
                hardware.cried_wolf = True
                event = _xid(rolls.pick(sorted(RESET)), 0, rolls.pick(others), now)
                return replace(reading, events=(*reading.events, event))
            case Lie.NO_SUCH_GPU:
                happened[Incident.NO_SUCH_GPU] += 1
                hardware.cried_wolf = True
                event = _xid(rolls.pick(sorted(RESET)), len(hardware.gpus) + 1, "", now)
                return replace(reading, events=(*reading.events, event))
            case _:
                return reading

    def _foreign(self) -> list[str]:
        ours = {gpu.uuid for gpu in self._hardware.gpus}
        return [uuid for uuid in self.uuids() if uuid not in ours]


def _xid(code: str, gpu: int, uuid: str, now: datetime) -> HealthEvent:
    return HealthEvent("xid", gpu, uuid, metrics={"xid_code": code}, timestamp=now)
