"""Measures: what a run came to, as numbers that can be compared.

They are taken from the run's report, where each is defined: `navarch.simulator.report.model`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from navarch.simulator.report import Report


class Measures(Struct, frozen=True):
    """What one run came to."""

    availability: float
    """The share of samples in which every pool had all it wanted or had work for, from 0 to 1."""
    capacity_delivered: float
    """Good nodes over wanted nodes (of a pool with a load: needed ones), each pool at most all of
    them, over time; from 0 to 1."""
    gpu_hours_good: float
    """GPU-hours of nodes that served, were well, and were needed."""
    gpu_hours_idle: float
    """The same of those that no load needed; 0 where no load is known."""
    gpu_hours_lost: float
    """GPU-hours of machines that were there and gave nothing: booting, sick, silent, draining."""
    cost_usd_by_provider: Mapping[str, float]
    replacements_right: int
    """Nodes that something was wrong with when it was decided to replace them."""
    replacements_wrong: int
    """Nodes that were well when it was decided."""
    replacements_late: int
    """Those of the right ones that were decided more than 15 minutes after the node broke."""
    repairs_in_place: int
    """Resets and reboots that repair began."""
    broken: int
    """How often a node broke, went down or silent, or was gone."""
    repair_seconds_p50: float | None
    """From the moment a node broke until another served in its place, or it was well and open
    again; None: nothing broke that was put right."""
    repair_seconds_p95: float | None
    repair_seconds_p99: float | None
    unrepaired: int
    """Nodes that were still broken at the end."""
    budget_hits: int
    """How often a repair was due and had to wait for its pool's budget."""
    budget_wait_hours: float
    """How long nodes waited for it, summed."""
    spot_interruptions: int

    @property
    def cost_usd(self) -> float:
        """What all machines cost, in US dollars."""
        return sum(self.cost_usd_by_provider.values())


def measures_of(report: Report, providers: Collection[str]) -> Measures:
    """Take the measures of a report; `providers` are those that sold nothing, too."""
    fleet, troubles, repairs = report.fleet, report.troubles, report.repairs
    costs = dict.fromkeys(sorted(providers), 0.0)
    for each in report.costs:
        costs[each.provider] = costs.get(each.provider, 0.0) + each.usd
    times = troubles.seconds_to_repair
    return Measures(
        availability=fleet.availability,
        capacity_delivered=_share(fleet.node_hours_delivered, fleet.node_hours_wanted),
        gpu_hours_good=fleet.gpu_hours.good,
        gpu_hours_idle=fleet.gpu_hours.idle,
        gpu_hours_lost=fleet.gpu_hours.lost,
        cost_usd_by_provider={name: round(usd, 2) for name, usd in sorted(costs.items())},
        replacements_right=repairs.replacements_right,
        replacements_wrong=repairs.replacements_wrong,
        replacements_late=repairs.replacements_late,
        repairs_in_place=repairs.in_place_right + repairs.in_place_wrong,
        broken=troubles.count,
        repair_seconds_p50=times.p50 if times.count else None,
        repair_seconds_p95=times.p95 if times.count else None,
        repair_seconds_p99=times.p99 if times.count else None,
        unrepaired=troubles.open,
        budget_hits=repairs.budget_hits,
        budget_wait_hours=repairs.budget_hours_waited,
        spot_interruptions=sum(each.interrupted for each in report.costs),
    )


def _share(delivered: float, wanted: float) -> float:
    return delivered / wanted if wanted else 1.0
