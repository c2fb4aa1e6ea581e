"""From proposals to a target: bounds, windows, rates and cooldown, which are the host's alone.

The order is that of Kubernetes' own autoscaler: proposals become one number, replicas that are kept
warm are added, the bounds of the pool cut it, the stabilization windows hold it, the rates slow it.
The bounds are a promise and a bill: no window, rate or cooldown keeps a pool below its minimum or
above its maximum.

Differences from Kubernetes, on purpose: leaving zero is not stopped by a percentage of zero; a
missing signal never takes replicas away; and the present number counts as proposed when there is no
past.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from navarch.core.model.resources import AgentClass, AgentPool, AgentPoolSpec, ScalingRules
from navarch.core.serving.scaling import history as past
from navarch.core.serving.scaling.history import ScalingHistory
from navarch.core.serving.scaling.proposal import DIGITS, REPLICAS_MAX, Proposal, ceiling, warmed

WINDOW_MAX: Final = timedelta(hours=1)
"""Longer windows and periods count as this long, as Kubernetes limits them."""

PERIOD: Final = 60.0
"""Seconds of a period that is not above zero."""


class Combined(Struct, frozen=True):
    """What several proposals come to, before the host's limits."""

    wanted: int
    """Those kept warm included."""
    needed: int
    """What the load alone needs."""
    reasons: tuple[str, ...]
    held: bool = False
    """Whether it may not go below the present number, since somebody cannot know enough."""


class Shaped(Struct, frozen=True):
    """A target, and how it came about."""

    target: int
    needed: int
    """What the load alone needs, without those that are kept warm and within the bounds."""
    reasons: tuple[str, ...]
    """In the order in which they took effect."""
    wanted: int = 0
    """What it would be without windows, rates and cooldown."""
    was: int = 0
    """The target before."""
    limited_by: str = ""
    """What kept it from that: ``stabilization``, ``rate`` or ``cooldown``; empty: nothing."""

    @property
    def because(self) -> str:
        """All of it in one line."""
        reasons = "; ".join(self.reasons)
        if self.target == self.was:
            return f"stays at {self.target}: {reasons}"
        return f"to {self.target}: {reasons}; was {self.was}"


def combine(
    proposals: Sequence[Proposal],
    mode: Literal["max", "min", "average"],
    *,
    current: int = 0,
    prewarm_percent: float = 0.0,
) -> Combined:
    """Make one number of several proposals.

    One that holds counts as the present number at least, and as long as one does the result is not
    below that. `low` and `high` of any of them cut the result, `low` last.

    :raises ValueError: there are none
    """
    if not proposals:
        raise ValueError("no proposals to combine")
    numbers = [max(warmed(one, prewarm_percent), current if one.held else 0) for one in proposals]
    if mode == "average":
        wanted = ceiling(math.fsum(numbers) / len(numbers))
        deciding = list(proposals)
    else:
        wanted = max(numbers) if mode == "max" else min(numbers)
        deciding = [proposals[numbers.index(wanted)]]
    reasons = [one.reason for one in deciding]
    if mode == "average" and len(proposals) > 1:
        reasons.append(f"their average is {wanted}")
    held = [one for one in proposals if one.held]
    if held and wanted <= current:
        wanted = current
        deciding = held
        others = [one.reason for one in held if one.reason not in reasons]
        reasons.extend(f"held, for {reason}" for reason in others)
    if any(not one.with_warm for one in deciding) and prewarm_percent > 0 and wanted:
        load = _without_warm(wanted, prewarm_percent)
        reasons.append(f"prewarm {prewarm_percent:g}% of {load} makes {wanted}")
    wanted = _between(proposals, wanted, reasons)
    needed = _without_warm(wanted, prewarm_percent)
    return Combined(wanted, needed, tuple(reasons), bool(held))


def _between(proposals: Sequence[Proposal], wanted: int, reasons: list[str]) -> int:
    """Cut a number to what the proposals surely exclude, and add why."""
    low = max(one.low for one in proposals)
    high = min((one.high for one in proposals if one.high is not None), default=REPLICAS_MAX)
    if wanted > max(high, low):
        who = next((one.by for one in proposals if one.high == high), "")
        reasons.append(f"cut from {wanted} to {max(high, low)} by {who or 'a proposal'}")
        return max(high, low)
    if wanted < low:
        who = next((one.by for one in proposals if one.low == low), "")
        reasons.append(f"raised from {wanted} to {low} by {who or 'a proposal'}")
        return low
    return wanted


def _without_warm(wanted: int, percent: float) -> int:
    """Return what the load alone needs, of a number to which `warmed` has added."""
    if not percent > 0 or wanted <= 0:
        return wanted
    return max(math.floor(round(wanted * 100 / (100 + percent), DIGITS)), 1)


def decide(
    pool: AgentPool,
    agent_class: AgentClass | None,
    current: int,
    proposals: Sequence[Proposal],
    history: ScalingHistory | None,
    now: datetime,
) -> tuple[Shaped, ScalingHistory]:
    """Decide how many replicas a pool of agents wants, and remember it.

    `current` is what it wants by now. `history` is what the last call returned; None: there is
    none, which takes nothing away before the window of scaling down has passed. A pool whose agent
    class is not there stays as it is: its replicas would have neither model nor checks.
    """
    spec = pool.spec
    before = past.begun(current, now) if history is None else past.noted(history, current, now)
    if agent_class is None and spec.agent_class_ref.name:
        text = f"agent class {spec.agent_class_ref.name} is not there"
        target = min(current, _bounds(spec)[1])
        return Shaped(target, target, (text,), target, current), past.changed(before, target, now)
    return shape(spec, current, _combined(spec, current, proposals), before, now)


def _combined(spec: AgentPoolSpec, current: int, proposals: Sequence[Proposal]) -> Combined:
    scaling = spec.autoscaling
    if proposals:
        return combine(
            proposals, scaling.combine, current=current, prewarm_percent=spec.prewarm_percent
        )
    if scaling.metrics or scaling.autoscalers:
        text = "no autoscaler has proposed anything: held"
        return Combined(current, _without_warm(current, spec.prewarm_percent), (text,), held=True)
    low = _bounds(spec)[0]
    return Combined(low, low, (f"nothing scales it: minReplicas {low}",))


def shape(
    spec: AgentPoolSpec,
    current: int,
    asked: Combined,
    history: ScalingHistory,
    now: datetime,
) -> tuple[Shaped, ScalingHistory]:
    """Cut what is asked for to the pool's bounds, windows, rates and cooldown."""
    low, high = _bounds(spec)
    reasons = list(asked.reasons)
    wanted = min(max(asked.wanted, low), high)
    if wanted > asked.wanted:
        reasons.append(f"raised from {asked.wanted} to minReplicas {low}")
    elif wanted < asked.wanted:
        reasons.append(f"cut from {asked.wanted} to maxReplicas {high}")
    start = min(max(current, low), high)
    up, down = _windows(spec)
    history = past.proposed(history, wanted, now, up=up, down=down)
    target, limited_by = wanted, ""
    for name, slow in _STEPS:
        slowed, why = slow(spec, start, target, history, now)
        if slowed != target:
            target, limited_by = slowed, name
            reasons.append(why)
    history = past.trimmed(history, now, max(map(_period, _rules(spec))))
    needed = min(max(asked.needed, 0), high)
    shaped = Shaped(target, needed, tuple(reasons), wanted, current, limited_by)
    return shaped, past.changed(history, target, now)


def _stabilized(
    spec: AgentPoolSpec, start: int, target: int, history: ScalingHistory, now: datetime
) -> tuple[int, str]:
    """Keep to what was proposed all through a window. `target` is the newest proposal."""
    up, down = _windows(spec)
    lowest, highest = history.lows[0], history.highs[0]
    kept = min(max(start, lowest.replicas), highest.replicas)
    if kept < target:
        left = (lowest.at + up - now).total_seconds()
        return (
            kept,
            f"kept at {kept} by the scaleUp window of {up.total_seconds():g} s, {left:g} s left",
        )
    if kept > target:
        left = (highest.at + down - now).total_seconds()
        text = f"kept at {kept} by the scaleDown window of {down.total_seconds():g} s"
        return kept, f"{text}, {left:g} s left"
    return target, ""


def _paced(
    spec: AgentPoolSpec, start: int, target: int, history: ScalingHistory, now: datetime
) -> tuple[int, str]:
    """Change no faster than the rules allow; of two limits the one that allows more counts."""
    if target == start:
        return target, ""
    rises = target > start
    rules = _rules(spec)[0 if rises else 1]
    period = _period(rules)
    added, taken = past.since(history, now, period)
    base = max(start - added + taken, 0)
    limits = dict(_limits(rules, base, rises=rises))
    if not limits:
        return target, ""
    limit = max(*limits, start) if rises else max(min(*limits, start), 0)
    if (target <= limit) if rises else (target >= limit):
        return target, ""
    allowed = limits[max(limits) if rises else min(limits)]
    word = "scaleUp" if rises else "scaleDown"
    return limit, f"capped at {limit} by {word} {allowed} in {period.total_seconds():g} s"


def _limits(rules: ScalingRules, base: int, *, rises: bool) -> Iterator[tuple[int, str]]:
    """List how far each limit lets a pool go that had `base` replicas, and the limit in words.

    A percentage of zero replicas is no limit: it would keep a pool at zero for ever.
    """
    sign = 1 if rises else -1
    if rules.max_change_absolute > 0:
        yield base + sign * rules.max_change_absolute, f"{rules.max_change_absolute}"
    percent = rules.max_change_percent
    if percent > 0 and math.isfinite(percent) and not (rises and base == 0):
        there = round(base * (100 + sign * percent) / 100, DIGITS)
        number = ceiling(there) if rises else math.floor(there)
        yield number, f"{percent:g}% of {base}"


def _cooled(
    spec: AgentPoolSpec, start: int, target: int, history: ScalingHistory, now: datetime
) -> tuple[int, str]:
    """Take nothing away for a while after a change."""
    cooldown = spec.autoscaling.cooldown_period
    if target >= start or history.changed_at is None:
        return target, ""
    left = cooldown - max(now - history.changed_at, timedelta())
    if left <= timedelta():
        return target, ""
    return start, f"kept at {start} by the cooldown, {left.total_seconds():g} s left"


_STEPS: Final = (("stabilization", _stabilized), ("rate", _paced), ("cooldown", _cooled))


def _bounds(spec: AgentPoolSpec) -> tuple[int, int]:
    """Return the fewest and the most replicas; a maximum below the minimum counts as that."""
    low = min(max(spec.min_replicas, 0), REPLICAS_MAX)
    return low, min(max(spec.max_replicas, low), REPLICAS_MAX)


def _rules(spec: AgentPoolSpec) -> tuple[ScalingRules, ScalingRules]:
    return spec.autoscaling.behavior.scale_up, spec.autoscaling.behavior.scale_down


def _windows(spec: AgentPoolSpec) -> tuple[timedelta, timedelta]:
    up, down = (min(max(one.stabilization_window, timedelta()), WINDOW_MAX) for one in _rules(spec))
    return up, down


def _period(rules: ScalingRules) -> timedelta:
    seconds = rules.period_seconds if rules.period_seconds > 0 else PERIOD
    return timedelta(seconds=min(seconds, WINDOW_MAX.total_seconds()))
