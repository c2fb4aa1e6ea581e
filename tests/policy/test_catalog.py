"""The catalogue of error codes, and what the default policy makes of every one of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping
from importlib import resources

import pytest

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import HealthEvent, HealthPolicy, catalog
from navarch.policy.catalog import CodeClass
from policy.judged import an_xid, match

DEFAULT = HealthPolicy.default()


def rows(name: str) -> list[dict[str, str]]:
    """A table as it is written."""
    file = resources.files("navarch.policy").joinpath("data", name)
    return list(csv.DictReader(file.read_text().splitlines()))


CLASSES: Mapping[str, tuple[str, ...]] = {
    "application": ("restart_app",),
    "observe": ("ignore", "ignore_or_driver_reload", "investigate_app"),
    "reset": (
        *("reset_gpu", "reset_gpu(drain first if 63/64 also seen)", "follow_48"),
        *("reset_gpu_if_uvm_else_ignore", "decode_registers->reset_gpu"),
    ),
    "reboot": ("reboot_node", "restart_vm"),
    "contact": (
        *("contact_support", "check_mechanical", "plan_replacement", "update_software"),
        "enable_ecc_or_reboot",
    ),
    "unknown": ("none (unused on Ampere+)",),
    "decode": ("decode_subcode(see xid_nvlink5_rules.csv)",),
    "verdict": ("follow_action_in_message",),
    "information": ("ignore", "ignore_unless_alone(restart_fabric_manager)"),
}
"""What a class may advise."""

JUDGED: Mapping[str, tuple[Health, Remedy]] = {
    "application": (Health.HEALTHY, Remedy.RESTART_APP),
    "observe": (Health.DEGRADED, Remedy.OBSERVE),
    "reset": (Health.UNHEALTHY, Remedy.RESET_GPU),
    "reboot": (Health.UNHEALTHY, Remedy.REBOOT),
    "contact": (Health.DEGRADED, Remedy.INSPECT),
    "unknown": (Health.DEGRADED, Remedy.OBSERVE),
    "decode": (Health.DEGRADED, Remedy.OBSERVE),
    "verdict": (Health.DEGRADED, Remedy.INSPECT),
    "information": (Health.HEALTHY, Remedy.NONE),
}
"""What becomes of a code of each class, alone, without a message, on a node without a past."""

EXCEPTIONS: Mapping[int, tuple[Health, Remedy]] = {
    63: (Health.DEGRADED, Remedy.RESET_GPU),  # a reset at the next window activates the remap
    142: (Health.UNHEALTHY, Remedy.REPLACE),  # NVIDIA: contact support
    164: (Health.DEGRADED, Remedy.REPLACE),  # plan a replacement
    165: (Health.DEGRADED, Remedy.REPLACE),  # as 164
}


def test_every_xid_has_a_class_that_fits_its_advice_and_a_verdict_that_fits_its_class() -> None:
    print()  # noqa: T201  # the table is for people: pytest -s
    for code, row in catalog.xids().items():
        found = match(DEFAULT, an_xid(code))
        line = f"{code:>3} {row.code_class:<12}{found.status:<10}{found.remedy:<12}{found.rule}"
        print(line)  # noqa: T201  # as above
        assert row.advice in CLASSES[row.code_class], code
        expected = EXCEPTIONS.get(code, JUDGED[row.code_class])
        assert (found.status, found.remedy) == expected, code
        assert found.failed == (), code


def test_the_catalogue_is_whole() -> None:
    assert sorted(catalog.xids()) == list(range(1, 174))
    assert len(catalog.sxids()) == 93
    assert len(catalog.link_rules()) == 95
    assert Counter(str(row.code_class) for row in catalog.xids().values()) == {
        "unknown": 62,
        "application": 48,
        "reset": 21,
        "observe": 18,
        "decode": 7,
        "information": 6,
        "contact": 6,
        "reboot": 4,
        "verdict": 1,
    }


def test_the_tables_have_unique_keys_and_closed_vocabularies() -> None:
    xids = rows("xid_catalog.csv")
    assert len({row["code"] for row in xids}) == len(xids)
    assert {row["k8s_device_plugin_fatal"] for row in xids} == {"yes", "no", ""}
    assert {row["gcm_critical"] for row in xids} == {"yes", "no", ""}
    assert {row["azure_nhc_fails"] for row in xids} == {"yes", "no"}
    assert {row["xid154_linked"] for row in xids} == {"yes", "no"}
    sxids = rows("sxid_catalog.csv")
    assert len({row["sxid"] for row in sxids}) == len(sxids)
    assert {row["gpud_event"] for row in sxids} == {"Fatal", "Warning"}
    immediate = Counter(row["immediate"] for row in rows("xid_nvlink5_rules.csv"))
    assert immediate == {"IGNORE": 45, "RESET_GPU": 42, "XID_154_EVAL": 8}


def test_what_vendors_say_is_read() -> None:
    xids = catalog.xids()
    ignored = {code for code, row in xids.items() if row.plugin_fatal is False}
    assert ignored == {13, 31, 43, 45, 68, 109}
    uncritical = {code for code, row in xids.items() if row.gcm_critical is False}
    assert uncritical == {13, 31, 43, 45, 63, 68, 92, 109}
    azure = {code for code, row in xids.items() if row.azure_fails}
    assert azure == {48, 56, 57, 58, 62, 63, 64, 65, 68, 69, 73, 74, 79, 80, 81, 92, 119, 120}
    assert len([row for row in xids.values() if row.linked]) == 26


def test_application_faults_never_make_a_node_sick() -> None:
    faults = [c for c, row in catalog.xids().items() if row.code_class is CodeClass.APPLICATION]
    assert {8, 11, 13, 25, 31, 32, 68, 69, 94} <= set(faults)
    for code in [*faults, 43, 45]:
        event = an_xid(code, count=1_000_000)
        found = match(DEFAULT, event)
        assert found.status is Health.HEALTHY, code
        assert found.remedy in (Remedy.NONE, Remedy.RESTART_APP), code
        assert not found.lasting, code


@pytest.mark.parametrize("code", [122, 174, 999, 0, -5, "x", "", "NaN", 79.5, 2**70, None])
def test_codes_that_nobody_explains_are_never_healthy(code: object) -> None:
    found = match(DEFAULT, an_xid(code))
    assert (found.status, found.rule) == (Health.DEGRADED, "xid-unknown")
    assert found.lasting
    assert found.failed == ()


def test_an_xid_without_a_code_is_never_healthy() -> None:
    found = match(DEFAULT, HealthEvent("xid", 1))
    assert (found.status, found.rule) == (Health.DEGRADED, "xid-unknown")
    assert found.because.startswith("an error without a code: ")


@pytest.mark.parametrize("code", [79, "79", "079", "+79", 79.0, "79.0"])
def test_a_code_is_known_however_it_is_written(code: object) -> None:
    assert match(DEFAULT, an_xid(code)).rule == "xid-reboot"


def test_every_sxid_is_judged_by_what_it_takes_with_it() -> None:
    for code, row in catalog.sxids().items():
        found = match(DEFAULT, HealthEvent("sxid", metrics={"sxid_code": code}))
        if row.fatal_to_fabric:
            expected = (Health.UNHEALTHY, Remedy.REBOOT, "sxid-fabric")
        elif row.gpud_event == "Fatal":
            expected = (Health.UNHEALTHY, Remedy.RESET_GPU, "sxid-fatal")
        else:
            expected = (Health.DEGRADED, Remedy.OBSERVE, "sxid-other")
        assert (found.status, found.remedy, found.rule) == expected, code
    assert sum(row.fatal_to_fabric for row in catalog.sxids().values()) == 21


def test_the_line_says_whether_an_sxid_was_fatal() -> None:
    line = "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, {}, Link 30 LTSSM Fault Up"
    for word, rule in (("Fatal", "sxid-fatal"), ("Non-fatal", "sxid-other")):
        told = HealthEvent("sxid", metrics={"sxid_code": 20034}, message=line.format(word))
        assert match(DEFAULT, told).rule == rule
        read = HealthEvent("sxid", metrics={"sxid_code": 20034, "severity": word.lower()})
        assert match(DEFAULT, read).rule == rule
    harmless = HealthEvent("sxid", metrics={"sxid_code": 20001, "severity": "fatal"})
    assert match(DEFAULT, harmless).rule == "sxid-fatal"


def test_an_unknown_sxid_is_never_healthy() -> None:
    for code in (1, "x", 99_999):
        found = match(DEFAULT, HealthEvent("sxid", metrics={"sxid_code": code}))
        assert (found.status, found.rule) == (Health.DEGRADED, "sxid-unknown")
    fatal = HealthEvent("sxid", metrics={"sxid_code": 1, "severity": "fatal"})
    assert match(DEFAULT, fatal).status is Health.UNHEALTHY


def test_the_digest_of_the_catalogue_is_stable() -> None:
    assert catalog.digest() == catalog.digest()
    assert len(catalog.digest()) == 12
