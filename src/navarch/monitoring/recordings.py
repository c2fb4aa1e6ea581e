"""The numbers that Prometheus reckons beforehand.

For three reasons only: an alert and a panel shall mean the same number; a share over an hour is
dear to reckon at each look; and a formula with a unit to get wrong stands once.
"""

from __future__ import annotations

from typing import Final

from navarch.monitoring.rules import Group, Recording, grew, led

SHORT: Final = "5m"
LONG: Final = "1h"

MISSING: Final = "job_pool:navarch_pool_missing_nodes:max"
HEALTHY_SHARE: Final = "job_pool:navarch_pool_healthy_nodes:ratio"
GPU_USE: Final = "job_pool_use:navarch_gpu_seconds:rate5m"
GPU_LOST: Final = "job:navarch_gpu_seconds_lost:ratio_rate1h"
GPU_LOST_POOL: Final = "job_pool:navarch_gpu_seconds_lost:ratio_rate1h"
COST: Final = "job_pool:navarch_pool_cost_dollars_per_hour:max"
GOOD_HOUR: Final = "job_pool:navarch_good_gpu_hour_dollars:ratio1h"
COMMIT: Final = "job:navarch_journal_commit_duration_seconds:p99_5m"
REQUEST: Final = "job_method:navarch_request_duration_seconds:p99_5m"
CALL: Final = "job_provider_call:navarch_provider_call_duration_seconds:p90_15m"
CALL_FAILURES: Final = "job_provider:navarch_provider_call_failures:ratio_rate15m"
REFUSED: Final = "job_provider:navarch_provisions_refused:grew30m"
LAUNCHED: Final = "job_provider:navarch_provisions_launched:grew30m"
BOOT: Final = "job_provider:navarch_boot_duration_seconds:p90_1h"
PLUGIN: Final = "job_kind_plugin_name:navarch_plugin_duration_seconds:p99_5m"


def recordings() -> tuple[Group, ...]:
    """All recorded series, in groups by what they are about."""
    return (
        Group("navarch-pools-recorded", _pools()),
        Group("navarch-use-and-cost-recorded", _use_and_cost()),
        Group("navarch-providers-recorded", _providers()),
        Group("navarch-control-plane-recorded", _control_plane()),
    )


def quantile(share: float, series: str, by: str, window: str) -> str:
    """Write a quantile of a histogram, for the labels `by`, over a window."""
    return f"histogram_quantile({share},\n  sum by ({by}, le) (rate({series}_bucket[{window}]))\n)"


def _share(part: str, whole: str) -> str:
    """Write a share of a whole that is not nothing; 0 where there is no such part."""
    return f"(\n  {part}\n  or 0 * {whole}\n)\n/ ({whole} > 0)"


def _pools() -> tuple[Recording, ...]:
    return (
        Recording(
            MISSING,
            "clamp_min(\n"
            "  max by (job, pool) (navarch_pool_target_nodes)\n"
            "  - max by (job, pool) (navarch_pool_healthy_nodes), 0\n"
            ")",
            "Nodes that a pool wants and does not have in good health.",
        ),
        Recording(
            HEALTHY_SHARE,
            "max by (job, pool) (navarch_pool_healthy_nodes)\n"
            "/ (max by (job, pool) (navarch_pool_target_nodes) > 0)",
            "Healthy nodes of a pool for each one that it wants; absent where it wants none.",
        ),
    )


def _use_and_cost() -> tuple[Recording, ...]:
    lost = '(rate(navarch_gpu_seconds_total{use="lost"}[1h]))'
    paid = "(rate(navarch_gpu_seconds_total[1h]))"
    return (
        Recording(
            GPU_USE,
            f"sum by (job, pool, use) (rate(navarch_gpu_seconds_total[{SHORT}]))",
            "GPUs of a pool by what is made of them: good, idle or lost.",
        ),
        Recording(
            GPU_LOST_POOL,
            _share(f"sum by (job, pool) {lost}", f"sum by (job, pool) {paid}"),
            "The share of a pool's paid GPU time that was lost within an hour.",
        ),
        Recording(
            GPU_LOST,
            _share(f"sum by (job) {lost}", f"sum by (job) {paid}"),
            "The share of a fleet's paid GPU time that was lost within an hour.",
        ),
        Recording(
            COST,
            "max by (job, pool) (navarch_pool_cost_dollars_per_hour)",
            "What a pool costs now, in dollars an hour.",
        ),
        Recording(
            GOOD_HOUR,
            f"avg_over_time({COST}[{LONG}])\n"
            "/ (sum by (job, pool) (\n"
            '  rate(navarch_gpu_seconds_total{use="good"}[1h])\n'
            ") > 0)",
            "Dollars for an hour of a GPU that did good work, within an hour.",
        ),
    )


def _providers() -> tuple[Recording, ...]:
    refused = 'navarch_provisions_total{outcome=~"no_capacity|quota_exceeded"}'
    launched = 'navarch_provisions_total{outcome="launched"}'
    calls = "navarch_provider_call_duration_seconds"
    failures = 'navarch_provider_call_failures_total{error!~"no_capacity|quota_exceeded"}'
    return (
        Recording(
            REFUSED,
            f"count by (job, provider) {grew(refused, '30m')}",
            "Present where a provider was out of stock or of quota within half an hour.",
        ),
        Recording(
            LAUNCHED,
            f"count by (job, provider) {grew(launched, '30m')}",
            "Present where a provider has launched a machine within half an hour.",
        ),
        Recording(
            CALL,
            quantile(0.9, calls, "job, provider, call", "15m"),
            "What 90% of the calls of a provider took at most, in seconds.",
        ),
        Recording(
            CALL_FAILURES,
            _share(
                f"sum by (job, provider) (rate({failures}[15m]))",
                f"sum by (job, provider) (rate({calls}_count[15m]))",
            ),
            "The share of calls of a provider that failed for other reasons than lack of stock.",
        ),
        Recording(
            BOOT,
            quantile(0.9, "navarch_boot_duration_seconds", "job, provider", LONG),
            "What 90% of machines took at most from the order to their registration, in seconds.",
        ),
    )


def _control_plane() -> tuple[Recording, ...]:
    commit = led("rate(navarch_journal_commit_duration_seconds_bucket[5m])")
    return (
        Recording(
            COMMIT,
            f"histogram_quantile(0.99,\n  sum by (job, le) {commit}\n)",
            "What 99% of the leader's commits took at most, in seconds.",
        ),
        Recording(
            REQUEST,
            quantile(0.99, "navarch_request_duration_seconds", "job, method", SHORT),
            "What 99% of the calls of a method took at most, in seconds.",
        ),
        Recording(
            PLUGIN,
            quantile(0.99, "navarch_plugin_duration_seconds", "job, kind, plugin_name", SHORT),
            "What 99% of the calls of a plugin took at most, in seconds.",
        ),
    )
