"""The policy that comes with Navarch, but for error codes (test_catalog.py)."""

from __future__ import annotations

import pytest

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import HealthEvent, HealthPolicy
from policy.judged import Past, an_xid, match

DEFAULT = HealthPolicy.default()


def judged(event_type: str, past: Past | None = None, **metrics: str | float) -> tuple[str, str]:
    """Status and rule for an event of GPU 3; no rule may fail."""
    found = match(DEFAULT, HealthEvent(event_type, 3, metrics=dict(metrics)), past)
    assert found.failed == ()
    return str(found.status), found.rule


def test_it_is_read_without_warnings_and_ends_with_a_rule_for_everything() -> None:
    assert DEFAULT.warnings == ()
    last = DEFAULT.rules[-1]
    assert (last.condition, last.result) == ("true", Health.DEGRADED)
    assert all(rule.description for rule in DEFAULT.rules)


def test_two_are_alike_but_remember_apart() -> None:
    other = HealthPolicy.default()
    assert other.digest == DEFAULT.digest
    broken = HealthEvent("thermal", metrics={"temperature": "NaN"})
    other.evaluate([broken])
    assert sum(other.failures.values()) == 3
    assert HealthPolicy.default().failures == {}


@pytest.mark.parametrize(
    "celsius, expected",
    [
        (96, ("unhealthy", "thermal-critical")),
        ("96", ("unhealthy", "thermal-critical")),
        (95, ("unhealthy", "thermal-critical")),
        (94.9, ("degraded", "thermal-high")),
        (85, ("degraded", "thermal-high")),
        (84, ("healthy", "thermal-fine")),
        (0, ("healthy", "thermal-fine")),
        (-1, ("degraded", "thermal-impossible")),
    ],
)
def test_heat(celsius: str | float, expected: tuple[str, str]) -> None:
    assert judged("thermal", temperature=celsius) == expected


def test_a_slowdown_for_heat_is_not_fine_whatever_the_temperature() -> None:
    fine = judged("thermal", reason="hw_thermal_slowdown", temperature=80)
    assert fine == ("degraded", "thermal-slowdown")
    assert judged("thermal", reason="hw_thermal_slowdown") == ("degraded", "thermal-slowdown")
    assert judged("thermal") == ("degraded", "thermal-other")


@pytest.mark.parametrize("reading", ["NaN", "nan", "", "hot", "96 C", "-inf", float("nan")])
def test_a_temperature_that_is_no_number_is_never_healthy(reading: str | float) -> None:
    event = HealthEvent("thermal", 3, metrics={"temperature": reading})
    found = match(DEFAULT, event)
    assert (found.status, found.rule) == (Health.DEGRADED, "unjudged")
    assert len(found.failed) == 3


def test_memory() -> None:
    assert judged("memory", row_remap_failed=1) == ("unhealthy", "memory-remap-failed")
    assert judged("memory", row_remap_pending=1) == ("degraded", "memory-remap-pending")
    assert judged("memory", retired_pages_pending=1) == ("degraded", "memory-pages-pending")
    assert judged("memory", row_remap_failed=0) == ("degraded", "memory-other")
    assert judged("memory") == ("degraded", "memory-other")
    assert judged("ecc_dbe", ecc_dbe_count=1) == ("unhealthy", "ecc-dbe")


def test_corrected_errors_are_a_storm_when_they_come_three_times_in_an_hour() -> None:
    few, many = Past({("ecc_sbe", 3): 2}), Past({("ecc_sbe", 3): 3})
    assert judged("ecc_sbe", few, ecc_sbe_count=9) == ("healthy", "ecc-sbe")
    assert judged("ecc_sbe", many, ecc_sbe_count=9) == ("degraded", "ecc-sbe-storm")
    elsewhere = Past({("ecc_sbe", 4): 30, ("ecc_sbe", None): 30})
    assert judged("ecc_sbe", elsewhere, ecc_sbe_count=9) == ("healthy", "ecc-sbe")


def test_codes_that_repeat() -> None:
    for code, count, rule in (
        (74, 2, "xid-reset"),
        (74, 3, "xid-74-again"),
        (92, 2, "xid-observe"),
        (92, 3, "xid-92-sustained"),
    ):
        found = match(DEFAULT, an_xid(code), Past({(f"xid:{code}", 3): count}))
        assert found.rule == rule
    again = match(DEFAULT, an_xid(74), Past({("xid:74", 3): 3}))
    assert (again.status, again.remedy) == (Health.UNHEALTHY, Remedy.REPLACE)


def test_links_buses_drivers_and_machines() -> None:
    assert judged("nvlink", link_id=3) == ("degraded", "nvlink")
    assert judged("nvlink", Past({("nvlink", 3): 3}), link_id=3) == ("degraded", "nvlink-again")
    assert judged("pcie", severity="corrected") == ("degraded", "pcie")
    assert judged("pcie", severity="fatal") == ("unhealthy", "pcie-fatal")
    assert judged("pcie") == ("degraded", "pcie")
    assert judged("driver_error") == ("unhealthy", "driver-error")
    assert judged("power", reason="hw_power_brake") == ("degraded", "power")
    assert judged("system", reason="oom_kill") == ("healthy", "system-out-of-memory")
    assert judged("system", reason="read_only") == ("unhealthy", "system-broken")
    for reason in ("machine_check", "memory_error"):
        assert judged("system", reason=reason, severity="corrected") == ("degraded", "system")
        assert judged("system", reason=reason, severity="fatal") == ("unhealthy", "system-broken")
        assert judged("system", reason=reason) == ("degraded", "system")
    assert judged("system", reason="events_dropped") == ("degraded", "system")
    assert judged("system") == ("degraded", "system")
    assert judged("something_new") == ("degraded", "unknown")


def test_what_the_driver_says_in_xid_154_settles_and_nothing_else_does() -> None:
    settling = {rule.name for rule in DEFAULT.rules if rule.settles}
    assert settling == {
        *("xid-154-none", "xid-154-reset", "xid-154-reboot"),
        *("xid-154-drain-p2p", "xid-154-imex"),
    }
