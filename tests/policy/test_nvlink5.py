"""Errors of NVLink 5: from the kernel's line, or from metrics, to what they ask for."""

from __future__ import annotations

import pytest

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import HealthPolicy, catalog
from navarch.policy.nvlink5 import decode
from policy.judged import an_xid, match

DEFAULT = HealthPolicy.default()
LINE = "NVRM: Xid (PCI:0009:01:00): {}, {} XC0 i0 Link 01 ({})"


def line(code: int, unit: str, *words: int) -> str:
    """A kernel line."""
    return LINE.format(code, unit, " ".join(f"0x{word:08x}" for word in words))


@pytest.mark.parametrize("branch", ["mask_before_575", "mask_from_575"])
def test_every_rule_of_the_catalogue_is_found_by_what_it_describes(branch: str) -> None:
    version = {"driver_version": "570.86.15" if branch == "mask_before_575" else "575.57.08"}
    for rule in catalog.link_rules():
        _, bits = getattr(rule, branch)
        for unit in rule.units:
            for status in rule.statuses or {0xABCD}:
                told = line(rule.xid, f"{unit}  Fatal  ", bits, status)
                found = decode(rule.xid, told, version)
                assert found.immediate != "undecoded", (rule, told)
                immediate = {"ignore": "IGNORE", "reset": "RESET_GPU", "wait": "XID_154_EVAL"}
                assert immediate[found.immediate] == rule.immediate, (rule, told)
                metrics = {"unit": unit, "intrinfo": bits, "error_status": status, **version}
                assert decode(rule.xid, "", metrics) == found


def test_no_two_rules_fit_one_error_with_different_advice() -> None:
    rules = catalog.link_rules()
    for branch in ("mask_before_575", "mask_from_575"):
        for number, one in enumerate(rules):
            for other in rules[number + 1 :]:
                if one.xid != other.xid or not one.units & other.units:
                    continue
                if one.statuses and other.statuses and not one.statuses & other.statuses:
                    continue
                (mask, bits), (mask2, bits2) = getattr(one, branch), getattr(other, branch)
                both = mask & mask2
                assert bits & both != bits2 & both or one.immediate == other.immediate


def test_a_line_of_a_real_machine() -> None:
    """From gpud's tests: a link went down because of the device at its other end."""
    told = line(149, "NETIR_LINK_EVT  Fatal  ", 0x021425C6, 0)
    found = match(DEFAULT, an_xid(149, message=told))
    assert (found.status, found.remedy, found.rule) == (
        Health.UNHEALTHY,
        Remedy.RESET_GPU,
        "nvlink5-reset",
    )
    assert "INVESTIGATE_PEER_DEVICE" in found.because


@pytest.mark.parametrize(
    "code, unit, intrinfo, status, rule",
    [
        (144, "SAW_MVB", 0x21, 0x1, "nvlink5-ignore"),
        (144, "SAW_MVB", 0x21, 0x2, "nvlink5-reset"),
        (145, "RLW_REMAP", 0x82, 0x4, "nvlink5-wait"),
        (150, "MSE_WATCHDOG", 0x0, 0x0, "nvlink5-reset"),
        (150, "MSE Degraded", 0x0, 0xFFFFFFFF, "nvlink5-reset"),
        (144, "SAW_MVB", 0x21, 0x4000, "nvlink5-undecoded"),
        (144, "NO_SUCH_UNIT", 0x21, 0x1, "nvlink5-undecoded"),
        (145, "SAW_MVB", 0x21, 0x1, "nvlink5-undecoded"),
    ],
)
def test_what_a_sub_code_asks_for(
    code: int, unit: str, intrinfo: int, status: int, rule: str
) -> None:
    told = line(code, f"{unit} Non-fatal", intrinfo, status)
    assert match(DEFAULT, an_xid(code, message=told)).rule == rule
    metrics = {"unit": unit, "intrinfo": f"0x{intrinfo:08x}", "error_status": f"0x{status:08x}"}
    assert match(DEFAULT, an_xid(code, metrics=metrics)).rule == rule


def test_the_driver_branch_chooses_the_mask() -> None:
    """0x02 ends the older mask of RLW_CTRL, 0x03 the newer."""
    old, new = 0x62, 0x03
    for intrinfo, version, immediate in (
        (old, "570.86.15", "ignore"),
        (old, "575.57.08", "undecoded"),
        (new, "580.1", "ignore"),
        (new, "570.86.15", "undecoded"),
        (old, None, "ignore"),
        (new, None, "ignore"),
        (old, "unreadable", "ignore"),
        (old, 570.86, "ignore"),
    ):
        metrics = {} if version is None else {"driver_version": version}
        told = line(145, "RLW_CTRL Fatal", intrinfo, 0x80000000)
        assert decode(145, told, metrics).immediate == immediate, (intrinfo, version)


def test_the_older_form_of_the_line_is_read() -> None:
    told = "NVRM: Xid (PCI:0000:00:1e): 149, NETIR_LINK_EVT Fatal XC 1 i 2 Link 01 [0x000001c6]"
    assert decode(149, told, {}).immediate == "reset"


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"unit": "SAW_MVB"},
        {"intrinfo": 0x21, "error_status": 1},
        {"unit": 5, "intrinfo": 0x21, "error_status": 1},
        {"unit": "SAW_MVB", "intrinfo": "many", "error_status": 1},
        {"unit": "SAW_MVB", "intrinfo": -1, "error_status": 1},
        {"unit": "SAW_MVB", "intrinfo": 1 << 40, "error_status": 1},
        {"unit": "SAW_MVB", "intrinfo": True, "error_status": 1},
        {"unit": "SAW_MVB", "intrinfo": 0x21, "error_status": None},
    ],
)
def test_what_cannot_be_decoded_is_degraded_and_says_so(metrics: dict[str, object]) -> None:
    found = match(DEFAULT, an_xid(144, metrics=metrics, message="something (0x21 0x1)"))
    assert (found.status, found.rule) == (Health.DEGRADED, "nvlink5-undecoded")


def test_a_line_of_another_code_says_nothing() -> None:
    told = line(149, "NETIR_LINK_EVT  Fatal  ", 0x021425C6, 0)
    assert decode(145, told, {}).immediate == "undecoded"
