"""The parts that expressions of dashboards are made of."""

from __future__ import annotations

from typing import Final

from navarch.monitoring.grafana import Query

JOB: Final = 'job="$job"'
POOL: Final = 'job="$job", pool=~"$pool"'
PROVIDER: Final = 'job="$job", provider=~"$provider"'

OUTCOMES: Final = {
    "good": "green",
    "idle": "yellow",
    "lost": "red",
    "unknown": "text",
}
"""The colours of what is made of GPU time."""


def of_pools(series: str, legend: str = "{{pool}}") -> Query:
    """A number of each chosen pool."""
    return Query(f"max by (pool) ({series}{{{POOL}}})", legend)


def total(series: str, legend: str = "") -> Query:
    """A number of all pools together."""
    return Query(f"sum(max by (pool) ({series}{{{JOB}}}))", legend)


def rates(series: str, by: str, which: str = JOB, legend: str = "") -> Query:
    """How often something happens in a second, by labels."""
    told = legend or " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return Query(f"sum by ({by}) (rate({series}{{{which}}}[$__rate_interval]))", told)


def happened(series: str, by: str, which: str = JOB, legend: str = "") -> Query:
    """How often something happened within the last hour, by labels."""
    told = legend or " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return Query(f"sum by ({by}) (increase({series}{{{which}}}[1h]))", told)


def quantiles(series: str, by: str, which: str = JOB) -> tuple[Query, Query]:
    """Give the median and what 99% take at most, of a histogram by labels."""
    told = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",")) if by else ""
    edges = f"{by}, le" if by else "le"
    middle, most = (
        f"histogram_quantile({share}, sum by ({edges})"
        f" (rate({series}_bucket{{{which}}}[$__rate_interval])))"
        for share in (0.5, 0.99)
    )
    return Query(middle, f"{told} median".strip()), Query(most, f"{told} 99%".strip())
