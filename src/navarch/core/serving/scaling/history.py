"""What shaping remembers of a pool: what was proposed, and what was changed.

It is a value, kept beside the fleet and not in the journal. Without one (a start, another leader)
everything goes on as if the present number had just been proposed and made: nothing is taken away
before the whole window of scaling down has passed again.

Read for this: "Horizontal Pod Autoscaling" of the Kubernetes documentation, and horizontal.go of
kube-controller-manager 1.31, November 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

MARKS_MAX: Final = 1024
"""How many extremes a window keeps. There are more only where a thousand different numbers were
proposed in falling (or rising) order; then the oldest two become one, and hold a little longer."""

CHANGES_MAX: Final = 512
"""How many changes are kept; above it the oldest two become one."""


class Mark(Struct, frozen=True):
    """A number of replicas that was proposed."""

    at: datetime
    """Until when."""
    replicas: int


class Change(Struct, frozen=True):
    """The target was changed by so many replicas."""

    at: datetime
    by: int
    """Below zero: so many fewer."""


class ScalingHistory(Struct, frozen=True):
    """The past of one pool, as far back as its windows reach."""

    target: int
    """What was decided last."""
    highs: tuple[Mark, ...]
    """The highest proposals of the window of scaling down: falling, oldest first."""
    lows: tuple[Mark, ...]
    """The lowest proposals of the window of scaling up: rising, oldest first."""
    changes: tuple[Change, ...] = ()
    """Oldest first."""
    changed_at: datetime | None = None
    """When the target last changed; None: not known to have changed."""


def begun(current: int, now: datetime, changed_at: datetime | None = None) -> ScalingHistory:
    """Begin without a past. `changed_at` is when the target changed last, where that is known."""
    mark = Mark(now, current)
    return ScalingHistory(current, (mark,), (mark,), changed_at=changed_at or now)


def noted(history: ScalingHistory, current: int, now: datetime) -> ScalingHistory:
    """Take note of a target that somebody else changed meanwhile."""
    if current == history.target:
        return history
    return changed(history, current, now)


def changed(history: ScalingHistory, target: int, now: datetime) -> ScalingHistory:
    """Add a change of the target; none is added where it is as before."""
    if target == history.target:
        return history
    changes = (*history.changes, Change(now, target - history.target))
    if len(changes) > CHANGES_MAX:
        first, second, *others = changes
        changes = (Change(second.at, first.by + second.by), *others)
    return replace(history, target=target, changes=changes, changed_at=now)


def proposed(
    history: ScalingHistory, replicas: int, now: datetime, *, up: timedelta, down: timedelta
) -> ScalingHistory:
    """Add a proposal, and forget what is older than the windows `up` and `down`.

    The proposal before this one was in force until now, however long nobody looked: a pause is not
    a time in which less was proposed.
    """
    highs = [one for one in _lasting(history.highs, now, down) if one.replicas > replicas]
    lows = [one for one in _lasting(history.lows, now, up) if one.replicas < replicas]
    mark = Mark(now, replicas)
    return replace(history, highs=_bounded([*highs, mark]), lows=_bounded([*lows, mark]))


def since(history: ScalingHistory, now: datetime, period: timedelta) -> tuple[int, int]:
    """Return how many replicas were added, and how many taken away, within a period."""
    recent = [one.by for one in history.changes if one.at > now - period]
    return sum(by for by in recent if by > 0), -sum(by for by in recent if by < 0)


def trimmed(history: ScalingHistory, now: datetime, period: timedelta) -> ScalingHistory:
    """Forget changes that are older than the longest period."""
    kept = tuple(one for one in history.changes if one.at > now - period)
    return history if len(kept) == len(history.changes) else replace(history, changes=kept)


def _lasting(marks: Sequence[Mark], now: datetime, window: timedelta) -> list[Mark]:
    """Return the marks within a window; the newest lasted until now."""
    lasting = [*marks[:-1], *(Mark(now, one.replicas) for one in marks[-1:])]
    return [one for one in lasting if one.at > now - window]


def _bounded(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    if len(marks) <= MARKS_MAX:
        return tuple(marks)
    first, second, *others = marks
    return (Mark(second.at, first.replicas), *others)
