"""The people of a world: how many requests come, and how they wait."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.scaling.base import Reading
from navarch.core.serving.scaling import signals
from navarch.simulator.dice import Stream

SECOND = timedelta(seconds=1)


class Wave(Struct, frozen=True):
    """Requests that come for a while."""

    begins: datetime
    ends: datetime
    per_second: float


class People:
    """Sends requests to the replicas of one pool, which queue when those are busy."""

    def __init__(self, waves: tuple[Wave, ...], *, per_replica: float) -> None:
        """Send what the waves say; a ready replica answers `per_replica` a second."""
        self._waves = waves
        self._per_replica = per_replica
        self.waiting = 0.0
        self.served = 0.0
        self.came = 0.0

    @property
    def gone_at(self) -> datetime:
        """When the last of them has come."""
        return max(wave.ends for wave in self._waves)

    def rate(self, now: datetime) -> float:
        """How many requests a second come."""
        return sum(wave.per_second for wave in self._waves if wave.begins <= now < wave.ends)

    def pass_second(self, ready: int, now: datetime) -> None:
        """Let a second's requests come, and be answered as far as replicas are there."""
        came = self.rate(now)
        answered = min(self.waiting + came, ready * self._per_replica)
        self.waiting += came - answered
        self.came += came
        self.served += answered

    def samples(self, now: datetime) -> dict[str, Reading]:
        """Say what a gateway would see."""
        rate = signals.REQUESTS_PER_SECOND
        depth = signals.QUEUE_DEPTH
        return {
            depth: signals.fresh(depth, round(self.waiting), "gateway", observed_at=now),
            rate: signals.fresh(rate, self.rate(now), "gateway", observed_at=now),
        }


def drawn(stream: Stream, begins: datetime, *, waves: int, per_second_max: int) -> tuple[Wave, ...]:
    """Draw some waves that come one after the other, with a pause between them."""
    found: list[Wave] = []
    at = begins
    for _ in range(waves):
        lasts = SECOND * stream.integer(60, 400)
        found.append(Wave(at, at + lasts, float(stream.integer(1, per_second_max))))
        at += lasts + SECOND * stream.integer(0, 200)
    return tuple(found)
