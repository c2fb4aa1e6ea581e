"""XID 154: the driver's own verdict."""

from __future__ import annotations

import pytest

from navarch.core.model.finding import Remedy
from navarch.core.model.report import Health
from navarch.policy import HealthPolicy
from navarch.policy.recovery import Recovery, parse_recovery
from policy.judged import an_xid, match

DEFAULT = HealthPolicy.default()
LINE = "NVRM: Xid (PCI:0008:01:00): 154, GPU recovery action changed from {} to {}"


@pytest.mark.parametrize(
    "after, recovery, status, remedy",
    [
        ("0x0 (None)", "none", Health.HEALTHY, Remedy.NONE),
        ("0x1 (GPU Reset Required)", "gpu_reset", Health.UNHEALTHY, Remedy.RESET_GPU),
        ("0x1 (PF FLR)", "gpu_reset", Health.UNHEALTHY, Remedy.RESET_GPU),
        ("0x2 (Node Reboot Required)", "node_reboot", Health.UNHEALTHY, Remedy.REBOOT),
        ("0x2 (OS Reboot)", "node_reboot", Health.UNHEALTHY, Remedy.REBOOT),
        ("0x3 (Drain P2P)", "drain_p2p", Health.DEGRADED, Remedy.RESTART_APP),
        ("0x4 (Drain and Reset)", "drain_and_reset", Health.UNHEALTHY, Remedy.RESET_GPU),
        ("0x5 (Recover IMEX)", "recover_imex", Health.UNHEALTHY, Remedy.INSPECT),
        ("0x6 (Bus Reset)", "bus_reset", Health.UNHEALTHY, Remedy.REBOOT),
        ("0x7 (System Reboot)", "system_reboot", Health.UNHEALTHY, Remedy.REBOOT),
        ("0x8 (Something New)", "unreadable", Health.DEGRADED, Remedy.INSPECT),
        ("(GPU Reset Required)", "gpu_reset", Health.UNHEALTHY, Remedy.RESET_GPU),
        ("(Something New)", "unreadable", Health.DEGRADED, Remedy.INSPECT),
    ],
)
def test_what_the_driver_wants(after: str, recovery: str, status: Health, remedy: Remedy) -> None:
    message = LINE.format("0x0 (None)", after)
    assert str(parse_recovery(message)) == recovery
    found = match(DEFAULT, an_xid(154, message=message))
    assert (found.status, found.remedy) == (status, remedy)
    assert found.settles is (recovery != "unreadable")
    assert found.lasting is (status is not Health.HEALTHY)


def test_the_action_after_the_change_counts_and_not_the_one_before() -> None:
    message = LINE.format("0x1 (GPU Reset Required)", "0x0 (None)")
    assert parse_recovery(message) is Recovery.NONE


def test_the_last_change_in_a_message_counts() -> None:
    one = LINE.format("0x0 (None)", "0x1 (GPU Reset Required)")
    two = LINE.format("0x1 (GPU Reset Required)", "0x2 (OS Reboot)")
    assert parse_recovery(f"{one}\n{two}") is Recovery.NODE_REBOOT


def test_what_the_agent_has_read_out_of_the_line_wins() -> None:
    metrics = {"recovery_action_code": 2, "recovery_action": "OS Reboot"}
    found = match(DEFAULT, an_xid(154, metrics=metrics, message=LINE.format("0x0 (N)", "0x1 (R)")))
    assert found.rule == "xid-154-reboot"
    text = match(DEFAULT, an_xid(154, metrics={"recovery_action_code": "1"}))
    assert text.rule == "xid-154-reset"
    words = match(DEFAULT, an_xid(154, metrics={"recovery_action": "GPU Reset Required"}))
    assert words.rule == "xid-154-reset"


@pytest.mark.parametrize("number", [-1, 8, "x", "NaN", 1.5, True, None, [], 2**70])
def test_a_number_that_is_none_is_unreadable(number: object) -> None:
    found = match(DEFAULT, an_xid(154, metrics={"recovery_action_code": number}))
    assert (found.status, found.rule) == (Health.DEGRADED, "xid-154-unreadable")


def test_one_message_with_another_number_is_another_verdict() -> None:
    message = LINE.format("0x0 (None)", "0x1 (GPU Reset Required)")
    for number, rule in ((1, "reset"), (2, "reboot"), (0, "none"), (1, "reset")):
        event = an_xid(154, metrics={"recovery_action_code": number}, message=message)
        assert match(DEFAULT, event).rule == f"xid-154-{rule}"
    for words, rule in (("GPU Reset Required", "reset"), ("OS Reboot", "reboot")):
        event = an_xid(154, metrics={"recovery_action": words}, message="")
        assert match(DEFAULT, event).rule == f"xid-154-{rule}"


def test_it_wins_over_the_class_of_its_code() -> None:
    assert match(DEFAULT, an_xid(154)).rule == "xid-154-unreadable"
    assert match(DEFAULT, an_xid("154", message="hello")).rule == "xid-154-unreadable"
