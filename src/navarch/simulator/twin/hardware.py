"""The hardware of one node of a twin: the faults it has, in truth, and what its sensors say."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from navarch.core.model.finding import RUNG, Remedy
from navarch.core.model.gpu import GPU
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.simulator.dice import Stream
from navarch.simulator.hardware import Hardware
from navarch.simulator.twin.faults import (
    AGAIN_AFTER,
    FAILS_CHECKS,
    SHOWN_ALWAYS,
    Fault,
    events_of,
)

CHECKS = ("boot", "nvml")


class Wound(Struct):
    """A fault that a node has."""

    fault: Fault
    gpu: int
    since: datetime
    said_at: datetime | None = None
    """When the sensors read it last; None: never yet."""

    @property
    def passes(self) -> bool:
        """Whether it is over as soon as it was said."""
        return self.fault.cure is Remedy.NONE and self.fault.lasts is None

    def is_over(self, now: datetime) -> bool:
        """Whether time has ended it."""
        if self.fault.kind in FAILS_CHECKS and self.fault.lasts is None:
            return False
        if self.passes:
            return self.said_at is not None
        return self.fault.lasts is not None and now >= self.since + self.fault.lasts

    def reads(self, now: datetime) -> bool:
        """Whether the sensors read something of it now."""
        is_shown = self.fault.kind in SHOWN_ALWAYS
        return self.said_at is None or is_shown or now - self.said_at >= AGAIN_AFTER


class Body(Hardware):
    """The hardware of one node."""

    def __init__(self, gpus: tuple[GPU, ...], rolls: Stream) -> None:
        """Be well."""
        super().__init__(gpus, rolls)
        self.wounds: list[Wound] = []

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong with it in truth, and its sensors have nothing left to say."""
        return not self.wounds and not self.ailments

    @property
    def is_broken(self) -> bool:
        """Whether work on it fails until something is done about it."""
        return any(wound.fault.is_hardware for wound in self.wounds)

    def afflict(self, fault: Fault, now: datetime) -> Wound:
        """Let something be wrong from now on."""
        gpu = fault.gpu
        if gpu < 0:
            gpu = self._rolls.integer(0, max(len(self.gpus) - 1, 0))
        wound = Wound(fault, gpu, now)
        self.wounds.append(wound)
        self.was_sick = self.was_sick or fault.is_hardware
        return wound

    def treat(self, remedy: Remedy, gpu: int | None = None) -> None:
        """Reset one GPU, or all for None, or reboot: what that can cure is cured."""
        super().treat(remedy, gpu)
        self.wounds = [wound for wound in self.wounds if not _is_cured(wound, remedy, gpu)]

    def heal(self) -> None:
        """Be well again, as if somebody had put new parts in."""
        super().heal()
        self.wounds = []

    # --- what its sensors say ----------------------------------------------------------------

    def events(self, now: datetime) -> tuple[HealthEvent, ...]:
        """Say what has happened since the last time."""
        said = list(super().events(now))
        self.wounds = [wound for wound in self.wounds if not wound.is_over(now)]
        for wound in self.wounds:
            if wound.reads(now):
                said += events_of(wound.fault, wound.gpu, self._uuid(wound.gpu), now)
                wound.said_at = now
        return tuple(said)

    def checks(self, now: datetime) -> tuple[CheckResult, ...]:
        """Say what the checks find."""
        failing = {
            FAILS_CHECKS[wound.fault.kind]: wound.fault.message or f"GPU {wound.gpu}: no answer"
            for wound in self.wounds
            if wound.fault.kind in FAILS_CHECKS and not wound.is_over(now)
        }
        if not failing:
            return super().checks(now)
        return tuple(
            CheckResult(name, Health.UNHEALTHY, failing[name], at=now)
            if name in failing
            else CheckResult(name, Health.HEALTHY, at=now)
            for name in CHECKS
        )

    def _uuid(self, gpu: int) -> str:
        return self.gpus[gpu].uuid if 0 <= gpu < len(self.gpus) else ""


def _is_cured(wound: Wound, remedy: Remedy, gpu: int | None) -> bool:
    cure = wound.fault.cure
    if cure is Remedy.NONE or RUNG[cure] > RUNG[remedy]:
        return False
    return remedy is not Remedy.RESET_GPU or gpu in (None, wound.gpu)
