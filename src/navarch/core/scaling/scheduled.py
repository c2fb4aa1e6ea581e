"""Scaling by the calendar: other limits for another autoscaler, by weekday and hour.

Office hours may need a floor and nights a ceiling, whatever the load says. A schedule is a list of
windows; the first that contains the present gives the limits, and outside of all of them the pool's
own limits hold. The wrapped autoscaler decides within them.

Hours are those on the wall of a time zone. Where clocks are set forward a window loses the hour
that does not exist; where they are set back it holds through both passes of the doubled hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import ClassVar
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import force_setattr, replace

from navarch.core.scaling import limits
from navarch.core.scaling.base import (
    Answer,
    Autoscaler,
    PoolState,
    ScaleRecommendation,
    revised,
)

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class ScheduleEntry(Struct, frozen=True):
    """One window of the week and the limits within it.

    Raises `ValueError` for days outside of 0 to 6, hours outside of the day, a window of no length
    and limits that contradict each other.
    """

    days_of_week: Sequence[int] = ()
    """The days on which it starts, 0 is Monday; none: every day. Kept as a sorted tuple."""
    start_hour: int = 0
    """From 0 to 23."""
    end_hour: int = 24
    """From 0 to 24, not itself in the window. Below `start_hour`: on the next day."""
    min_nodes: int = 0
    max_nodes: int = 0

    def __post_init__(self) -> None:
        """Refuse windows and limits that make no sense."""
        days = tuple(sorted(set(self.days_of_week)))
        force_setattr(self, "days_of_week", days)
        if not set(days) <= set(range(7)):
            raise ValueError(f"days_of_week {list(days)}: expected 0 (Monday) to 6 (Sunday)")
        if not (0 <= self.start_hour <= 23 and 0 <= self.end_hour <= 24):
            raise ValueError(
                f"hours {self.start_hour} to {self.end_hour}: expected a start from 0 to 23 "
                "and an end from 0 to 24"
            )
        if self.start_hour == self.end_hour:
            raise ValueError(
                f"hours {self.start_hour} to {self.end_hour}: an empty window; write 0 to 24 for "
                "a whole day"
            )
        if not 0 <= self.min_nodes <= self.max_nodes:
            raise ValueError(
                f"limits {self.min_nodes} to {self.max_nodes}: expected 0 or more, the first lower"
            )

    def contains(self, local: datetime) -> bool:
        """Tell whether a moment, in the schedule's time zone, is in the window."""
        if self.start_hour < self.end_hour:
            return self._starts_on(local.weekday()) and (
                self.start_hour <= local.hour < self.end_hour
            )
        if local.hour >= self.start_hour:
            return self._starts_on(local.weekday())
        return local.hour < self.end_hour and self._starts_on((local.weekday() - 1) % 7)

    def _starts_on(self, day: int) -> bool:
        return not self.days_of_week or day in self.days_of_week

    def __str__(self) -> str:
        """Write the window for people, such as ``Mon Tue 22-06``."""
        days = " ".join(DAYS[day] for day in self.days_of_week) or "daily"
        return f"{days} {self.start_hour:02}-{self.end_hour:02}"


class ScheduledAutoscaler(Struct, frozen=True):
    """Gives another autoscaler the limits of the present window.

    The limits of a window replace those of the pool, in both directions. A present count outside of
    them goes inside at once, unless there is a cooldown.

    Raises `ValueError` for a time zone that this machine does not know.
    """

    schedule: Sequence[ScheduleEntry]
    """In order: the first that fits counts. Kept as a tuple."""
    autoscaler: Autoscaler
    """Who decides within the limits. Around one to be awaited, this one is to be awaited too."""
    timezone: str = "UTC"
    """Such as ``Europe/Berlin``."""

    name: ClassVar[str] = "scheduled"

    def __post_init__(self) -> None:
        """Refuse a time zone that nobody knows."""
        force_setattr(self, "schedule", tuple(self.schedule))
        zone_named(self.timezone)

    def recommend(self, state: PoolState) -> Answer:
        """Propose what the wrapped autoscaler does within the limits of the present."""
        cooling = limits.cooling(state)
        if cooling is not None:
            return cooling
        entry, why = self._limits_now(state)
        if entry is not None:
            state = replace(state, min_nodes=entry.min_nodes, max_nodes=entry.max_nodes)

        def within(answer: ScaleRecommendation) -> ScaleRecommendation:
            bent = limits.propose(state, answer.target_nodes, f"{why}: {answer.reason}")
            held = answer.held and bent.target_nodes == answer.target_nodes
            return replace(answer, target_nodes=bent.target_nodes, reason=bent.reason, held=held)

        return revised(self.autoscaler.recommend(state), within)

    def _limits_now(self, state: PoolState) -> tuple[ScheduleEntry | None, str]:
        """Find the present window, or None, and say which limits that means."""
        own = f"the pool's own limits {state.min_nodes}-{state.max_nodes}"
        if state.now is None:
            return None, f"no clock to follow the schedule by, so {own}"
        local = state.now.astimezone(zone_named(self.timezone))
        for entry in self.schedule:
            if entry.contains(local):
                bounds = f"{entry.min_nodes}-{entry.max_nodes}"
                return entry, f"schedule {entry} ({self.timezone}) allows {bounds}"
        return None, f"outside of the schedule, so {own}"


def zone_named(name: str) -> tzinfo:
    """Return a time zone. UTC needs no database; `ValueError` for one that is not known."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"timezone {name!r} is not known here: expected a name such as Europe/Berlin"
        ) from error
