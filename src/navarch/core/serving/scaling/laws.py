"""From one signal's value to a number of replicas: one rule for each shape of a signal.

More demand never gives fewer replicas, and replicas that still boot are not counted as if they
served: a pool that waits for its replicas must not grow with every look at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from navarch.core.model.resources import MetricTarget
from navarch.core.scaling.base import Quality
from navarch.core.serving.scaling import signals
from navarch.core.serving.scaling.proposal import Demand, Proposal, ceiling, flaw, hold, warmed
from navarch.core.serving.scaling.signals import Shape, Signal

GAIN: Final = 0.5
"""Which part of a delay's excess is answered with replicas at once. A delay follows the number of
replicas late and not in proportion, so that all of it at once overshoots."""

EXCESS_MAX: Final = 3.0
"""A delay further above its target counts as so many times the target."""

COMFORT: Final = 0.7
"""Below this part of its target a delay is so good that fewer replicas may do. Between that and the
target nothing is changed: near saturation a delay multiplies when one replica goes."""


def by_target(demand: Demand, metric: MetricTarget, *, by: str) -> Proposal:
    """Propose what one configured metric needs."""
    signal = signals.signal_of(metric.type)
    if not (math.isfinite(metric.target) and metric.target > 0):
        text = f"{signal.name} has target {metric.target:g}, expected a number above 0"
        return hold(demand, text, by=by, signal=signal.name)
    reading = demand.reading(signal.name, metric.averaging_window)
    if reading.quality is not Quality.OK:
        if signal.shape is Shape.DELAY and demand.idle():
            return nobody(by, signal.name)
        text = f"{signal.name} is {flaw(reading)}"
        return hold(demand, text, by=by, signal=signal.name)
    if signal.shape is Shape.TOTAL:
        return total(signal, reading.value, metric.target, by=by)
    if demand.ready <= 0:
        text = f"{signal.name} {reading.value:g} with no replica that serves says nothing"
        return hold(demand, text, by=by, signal=signal.name)
    if signal.shape is Shape.LEVEL:
        return level(demand, signal, reading.value, metric.target, by=by)
    return delay(demand, signal, reading.value, metric.target, by=by)


def total(signal: Signal, value: float, target: float, *, by: str) -> Proposal:
    """Divide the whole pool's value by what one replica should have of it."""
    replicas = ceiling(value / target)
    text = f"{signal.name} {value:g} at {target:g} a replica needs {replicas}"
    return Proposal(replicas, text, by, signal.name, low=1 if value > 0 else 0)


def level(demand: Demand, signal: Signal, value: float, target: float, *, by: str) -> Proposal:
    """Spread what the serving replicas have over as many as bring each to its target.

    A level of zero keeps one replica unless it is known that nobody is to be served: it does not
    say so itself.
    """
    least = 0 if demand.idle() else 1
    replicas = max(ceiling(demand.ready * value / target), least)
    text = f"{signal.name} {value:g} of {demand.ready} serving at {target:g} needs {replicas}"
    return Proposal(replicas, text, by, signal.name)


def delay(
    demand: Demand, signal: Signal, value: float, target: float, *, by: str, gain: float = GAIN
) -> Proposal:
    """Add replicas in part of the excess, take them away only where it is comfortable."""
    ratio = strain(signal, value, target)
    serving = min(demand.ready, demand.current)
    unit = "s" if signal.unit == "seconds" else signal.unit
    what = f"{signal.name} {value:.4g} {unit}, target {target:.4g}"
    if ratio > 1:
        grown = ceiling(serving * (1 + gain * (min(ratio, EXCESS_MAX) - 1)))
        replicas = max(grown, serving + 1, demand.current)
        booting = demand.current - serving
        also = f" ({booting} of them on the way)" if booting > 0 else ""
        text = f"{what}: {ratio:.2f} times, {serving} serving, so {replicas}{also}"
        return Proposal(replicas, text, by, signal.name, low=1, with_warm=True)
    if ratio >= COMFORT:
        text = f"{what}: kept by {demand.current}"
        return Proposal(demand.current, text, by, signal.name, with_warm=True)
    shrunk = ceiling(serving * (1 - gain * (1 - ratio / COMFORT)))
    replicas = min(max(shrunk, 1), demand.current)
    text = f"{what}: {ratio:.2f} of it, so {replicas} may do"
    return Proposal(replicas, text, by, signal.name, with_warm=True)


def strain(signal: Signal, value: float, target: float) -> float:
    """How many times a value is as bad as its target; 0 is the best there is."""
    if signal.higher_is_worse:
        return value / target
    return target / value if value > 0 else math.inf


def nobody(by: str, signal: str) -> Proposal:
    """Propose none, since nobody is there to be served and so there is nothing to measure."""
    return Proposal(0, f"{signal} is not there, and nobody is to be served: 0", by, signal)


def strictest(demand: Demand, proposals: Sequence[Proposal], by: str) -> Proposal:
    """Return the one that wants most; one that holds keeps the others from taking away.

    :raises ValueError: there are none
    """
    percent = demand.pool.spec.prewarm_percent
    most = max(proposals, key=lambda one: (warmed(one, percent), not one.held))
    low = max(one.low for one in proposals)
    held = [one for one in proposals if one.held and one is not most]
    if not held:
        return replace(most, by=by, low=low)
    reasons = "; ".join((most.reason, *(f"held by {one.reason}" for one in held)))
    return replace(most, by=by, low=low, held=True, reason=reasons)
