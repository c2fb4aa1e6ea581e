"""The profiles and spot markets, in tables and as a document."""

from __future__ import annotations

from navarch.simulator.twin.blueprint import SpotMarket
from navarch.simulator.whatif.profiles import PROFILES, per_1000_node_days
from navarch.simulator.whatif.rates import spot_markets

HEADERS = ("PROFILE", "BROKEN", "HARMLESS", "WHAT")
"""The two numbers are for 1,000 days of a node of 8 GPUs."""

SPOT_HEADERS = ("SPOT", "AVAILABLE", "MEAN LIFE", "CLOSES EVERY", "FOR")


def rows() -> list[list[str]]:
    """Write a row for each profile."""
    return [
        [
            each.name,
            f"{per_1000_node_days(each.hazards(), broken=True):.2f}",
            f"{per_1000_node_days(each.hazards(), broken=False):.0f}",
            each.about,
        ]
        for each in PROFILES.values()
    ]


def spot_rows() -> list[list[str]]:
    """Write a row for each spot market."""
    return [
        [name, f"{100 * one.share_open:.0f}%", *_hours(one)] for name, one in spot_markets().items()
    ]


def _hours(one: SpotMarket) -> list[str]:
    life = mean_life(one)
    if life is None:
        return ["", "", ""]
    if one.share_open >= 1:
        return [f"{life:.1f} h", "", ""]
    return [f"{life:.1f} h", f"{open_hours(one):.1f} h", f"{one.mean_hours_closed:.1f} h"]


def open_hours(one: SpotMarket) -> float:
    """How long a market that closes stays open, on average."""
    return one.mean_hours_closed * one.share_open / (1 - one.share_open)


def mean_life(one: SpotMarket) -> float | None:
    """How long a machine stays, on average, in hours; None: for ever."""
    rate = 0.0
    if one.mean_hours_to_interruption:
        rate += 1 / one.mean_hours_to_interruption
    if one.share_open < 1:
        rate += 1 / open_hours(one)
    return 1 / rate if rate else None


def document() -> dict[str, object]:
    """Write everything for programs, each rate with its source."""
    return {
        "profiles": [
            {
                "name": profile.name,
                "about": profile.about,
                "spot": profile.spot,
                "hazards": [
                    {
                        "fault": hazard.fault.label,
                        "kind": hazard.fault.kind.value,
                        "cure": hazard.fault.cure.value,
                        "per_8gpu_node_day": hazard.per_node_day,
                        "source": hazard.source,
                    }
                    for hazard in profile.hazards()
                ],
            }
            for profile in PROFILES.values()
        ],
        "spot": [
            {"name": name, "share_available": one.share_open, "mean_hours": mean_life(one)}
            for name, one in spot_markets().items()
        ],
    }
