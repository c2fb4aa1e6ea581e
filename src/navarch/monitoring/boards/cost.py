"""What the fleet costs, and what that buys."""

from __future__ import annotations

from typing import Final

from navarch.monitoring import recordings
from navarch.monitoring.boards.expressions import JOB, OUTCOMES, POOL, of_pools
from navarch.monitoring.grafana import ORANGE, RED, YELLOW, Board, Panel, Query, Row
from navarch.monitoring.grafana import POOL as POOLS

HOURS_A_MONTH: Final = 730
"""8,760 hours of a year by twelve."""

_NOW: Final = (
    Panel(
        title="Dollars an hour",
        about="Machines whose price is known, booting and ending ones included.",
        queries=(Query(f"sum({recordings.COST}{{{POOL}}})"),),
        kind="stat",
        unit="currencyUSD",
        width=4,
        height=4,
        alerts=("NavarchCostAboveBudget",),
    ),
    Panel(
        title="A month at this rate",
        about=f"The dollars an hour of now, times {HOURS_A_MONTH}.",
        queries=(Query(f"sum({recordings.COST}{{{POOL}}}) * {HOURS_A_MONTH}"),),
        kind="stat",
        unit="currencyUSD",
        width=4,
        height=4,
    ),
    Panel(
        title="Dollars for a good GPU hour",
        about="What an hour of a GPU that did good work has cost within the last hour.",
        queries=(
            Query(
                f"sum(avg_over_time({recordings.COST}{{{POOL}}}[1h]))"
                f' / sum(rate(navarch_gpu_seconds_total{{{POOL}, use="good"}}[1h]))'
            ),
        ),
        kind="stat",
        unit="currencyUSD",
        width=4,
        height=4,
    ),
    Panel(
        title="Lost dollars an hour",
        about="The cost of each pool times its share of lost GPU time.",
        queries=(
            Query(f"sum({recordings.COST}{{{POOL}}} * {recordings.GPU_LOST_POOL}{{{POOL}}})"),
        ),
        kind="stat",
        unit="currencyUSD",
        width=4,
        height=4,
        alerts=("NavarchGpuTimeLost",),
    ),
    Panel(
        title="GPU time lost",
        about="The share of the paid GPU time that was booting, sick or silent within an hour.",
        queries=(Query(f"{recordings.GPU_LOST}{{{JOB}}}"),),
        kind="stat",
        unit="percentunit",
        width=4,
        height=4,
        steps=((0.05, YELLOW), (0.2, RED)),
        alerts=("NavarchGpuTimeLost",),
    ),
    Panel(
        title="Machines without a price",
        about="They are missing in all that is said here.",
        queries=(Query(f"sum(max by (pool) (navarch_pool_unpriced_nodes{{{POOL}}}))"),),
        kind="stat",
        width=4,
        height=4,
        steps=((1, ORANGE),),
    ),
)

_PLACES: Final = (
    Panel(
        title="Dollars an hour by pool",
        about="Machines whose price is known.",
        queries=(Query(f"{recordings.COST}{{{POOL}}}", "{{pool}}"),),
        unit="currencyUSD",
        stacked=True,
        width=12,
        alerts=("NavarchCostAboveBudget",),
    ),
    Panel(
        title="Spent in an hour by provider",
        about="Dollars within the last hour.",
        queries=(
            Query(
                f"sum by (provider) (increase(navarch_cost_dollars_total{{{POOL}}}[1h]))",
                "{{provider}}",
            ),
        ),
        unit="currencyUSD",
        stacked=True,
        width=12,
    ),
)

_WORTH: Final = (
    Panel(
        title="GPUs by what is made of them",
        about="Good: busy on a healthy node. Idle: ready and not busy. Lost: paid for, and booting,"
        " sick or silent.",
        queries=(Query(f"sum by (use) ({recordings.GPU_USE}{{{POOL}}})", "{{use}}"),),
        stacked=True,
        colours=OUTCOMES,
        alerts=("NavarchGpuTimeLost",),
    ),
    Panel(
        title="Dollars for a good GPU hour by pool",
        about="By pool, within an hour. No line where nothing good was done.",
        queries=(Query(f"{recordings.GOOD_HOUR}{{{POOL}}}", "{{pool}}"),),
        unit="currencyUSD",
    ),
    Panel(
        title="Machines without a price by pool",
        about="They are missing in what is said in dollars of their pool.",
        queries=(of_pools("navarch_pool_unpriced_nodes"),),
    ),
    Panel(
        title="Spent in the last day",
        about="Dollars by pool and provider within 24 hours.",
        queries=(
            Query(
                f"sum by (pool, provider) (increase(navarch_cost_dollars_total{{{POOL}}}[24h]))",
                "{{pool}} at {{provider}}",
            ),
        ),
        kind="bargauge",
        unit="currencyUSD",
        width=24,
    ),
)

BOARD: Final = Board(
    uid="navarch-cost",
    title="Navarch: Cost",
    about="What the fleet costs, by pool and provider, and what is made of it.",
    variables=(POOLS,),
    rows=(Row("Now", _NOW), Row("Where it goes", _PLACES), Row("What it buys", _WORTH)),
)
