"""Duties that begin and end with a life: the boot check, what outlives a crash, what takes long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from navarch.agent.assignments import RUNNING_AFTER
from navarch.agent.duties import BOOT_RETRY_MAX, Duties
from navarch.agent.outbox import KEPT_EVENTS_MAX, REFUSALS_MAX, REFUSED_FOR, REPORTS_MAX
from navarch.agent.turns import (
    AckAnswered,
    Answer,
    BootChecked,
    CallFailed,
    CheckBoot,
    CommandFinished,
    CommandsReceived,
    EventsSensed,
    Execute,
    HealthAnswered,
    HeartbeatAnswered,
    Input,
    KeepReports,
    Order,
    Output,
    ReadSensors,
    RegisterAnswered,
    Remark,
    Request,
    Send,
    SensorsRead,
    Tick,
)
from navarch.core.model.command import CommandState
from navarch.core.model.gpu import GPU
from navarch.core.model.messages import AckCommand, Heartbeat, RegisterNode, ReportHealth
from navarch.core.model.report import CheckResult, Health, HealthEvent

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
XID = HealthEvent("xid", 3, metrics={"xid_code": "79"}, timestamp=START)
REBOOT = Order("c1", "reboot")
GPUS = (GPU(0, "GPU-0"),)


class Life:
    """Duties, and the moment they live in."""

    def __init__(
        self,
        *,
        boot_check: bool = False,
        reports: tuple[ReportHealth, ...] = (),
        running: Order | None = None,
    ) -> None:
        self.now = START
        self.call = 0
        self.request: Request | None = None
        """What is under way."""
        self.duties = Duties(
            RegisterNode("n1"),
            start=START,
            spread=0.5,
            boot_check=boot_check,
            reports=reports,
            running=running,
        )

    def give(self, given: Input | None = None, *, after: float = 0) -> list[Output]:
        """Let seconds pass, then take a turn."""
        self.now += timedelta(seconds=after)
        if isinstance(given, get_args(Answer)):
            self.request = None
        outputs = self.duties.step(given or Tick(), self.now)
        for output in outputs:
            if isinstance(output, Send):
                self.call, self.request = output.call, output.request
        return outputs

    def sent(self, given: Input | None = None, *, after: float = 0) -> list[Request]:
        """Take a turn, and tell only what it sends."""
        return [each.request for each in self.give(given, after=after) if isinstance(each, Send)]

    def register(self) -> None:
        """Register, speak and poll, so that nothing is owed but what was there before."""
        self.give()
        self.give(SensorsRead())
        self.give(RegisterAnswered(self.call, timedelta(seconds=10)))
        self.give(HeartbeatAnswered(self.call))


# --- the boot check ----------------------------------------------------------------------------


def test_a_node_registers_only_when_its_boot_check_has_passed() -> None:
    life = Life(boot_check=True)
    assert life.give() == [CheckBoot(), ReadSensors(checks=False)]
    assert life.sent(SensorsRead()) == []
    outputs = life.give(BootChecked(passed=True, because="1 GPU", gpus=GPUS))
    assert outputs == [
        Remark("boot_check_passed", {"because": "1 GPU"}),
        ReadSensors(checks=True),
        Send(1, RegisterNode("n1", gpus=GPUS)),
    ]
    assert CheckBoot() not in life.give(after=9999)


def test_a_boot_check_that_does_not_pass_is_repeated_and_the_node_stays_out() -> None:
    life = Life(boot_check=True)
    life.give()
    life.give(SensorsRead())
    waits = []
    for _ in range(8):
        outputs = life.give(BootChecked(passed=False, because="no GPU is seen, expected 8"))
        (remark,) = [each for each in outputs if isinstance(each, Remark)]
        assert (remark.what, remark.grave) == ("boot_check_failed", True)
        assert remark.facts["because"] == "no GPU is seen, expected 8"
        failed_at = life.now
        for _ in range(100):
            life.now = max(life.now, life.duties.next_due())
            outputs = life.give()
            if ReadSensors(checks=False) in outputs or ReadSensors(checks=True) in outputs:
                assert life.sent(SensorsRead()) == []
            if CheckBoot() in outputs:
                break
        waits.append(life.now - failed_at)
    assert min(waits) >= timedelta(seconds=60)
    assert timedelta(minutes=2) <= max(waits) <= BOOT_RETRY_MAX


def test_a_boot_check_under_way_is_not_begun_again() -> None:
    life = Life(boot_check=True)
    life.give()
    assert CheckBoot() not in life.give(after=3600)


def test_one_that_may_register_anyway_does_and_is_told_again_when_its_gpus_come() -> None:
    life = Life(boot_check=True)
    life.give()
    life.give(SensorsRead())
    failed = BootChecked(passed=False, because="no GPU", may_register=True)
    assert life.sent(failed) == [RegisterNode("n1")]
    life.give(RegisterAnswered(1))
    while CheckBoot() not in life.give(after=10):
        assert life.now < START + timedelta(minutes=10)
    life.give(HeartbeatAnswered(life.call))
    life.give(CommandsReceived(life.call))
    passed = BootChecked(passed=True, because="1 GPU", gpus=GPUS)
    assert RegisterNode("n1", gpus=GPUS) in life.sent(passed)


def test_an_answer_to_a_registration_without_the_gpus_does_not_hide_them() -> None:
    life = Life(boot_check=True)
    life.give()
    life.give(BootChecked(passed=False, because="no GPU", may_register=True))
    life.give(BootChecked(passed=True, because="1 GPU", gpus=GPUS))
    assert life.sent(RegisterAnswered(1)) == [RegisterNode("n1", gpus=GPUS)]


# --- events outlive a crash --------------------------------------------------------------------


def test_reports_with_events_are_written_down_before_they_are_sent_and_until_taken() -> None:
    life = Life()
    life.register()
    life.give(CommandsReceived(life.call))
    report = ReportHealth("n1", (), (XID,))
    assert life.give(EventsSensed((XID,))) == [KeepReports((report,)), Send(life.call, report)]
    assert life.give(HealthAnswered(life.call)) == [KeepReports(())]


def test_checks_alone_are_not_written_down() -> None:
    life = Life()
    life.register()
    outputs = life.give(SensorsRead(results=(CheckResult("nvml", Health.HEALTHY),)))
    outputs += life.give(CommandsReceived(life.call))
    outputs += life.give(HealthAnswered(life.call))
    assert [each for each in outputs if isinstance(each, KeepReports)] == []


def test_the_reports_of_an_earlier_life_are_sent_as_they_were_and_first() -> None:
    reports = tuple(
        ReportHealth("n1", (), (HealthEvent("xid", metrics={"xid_code": str(code)}),))
        for code in (48, 79)
    )
    life = Life(reports=reports)
    life.register()
    life.give(EventsSensed((XID,)))
    assert life.sent(CommandsReceived(life.call)) == [reports[0]]
    assert life.sent(HealthAnswered(life.call)) == [reports[1]]
    assert life.sent(HealthAnswered(life.call)) == [ReportHealth("n1", (), (XID,))]


def test_what_is_written_down_is_bounded() -> None:
    life = Life()
    kept: tuple[ReportHealth, ...] = ()
    for batch in range(REPORTS_MAX + 10):
        events = tuple(
            HealthEvent("xid", metrics={"xid_code": str(batch * 400 + number)})
            for number in range(400)
        )
        for output in life.give(EventsSensed(events)):
            kept = output.reports if isinstance(output, KeepReports) else kept
    assert sum(len(report.events) for report in kept) <= KEPT_EVENTS_MAX
    assert kept[0].events[0].metrics == {"xid_code": "0"}


# --- a report that nobody will ever take -------------------------------------------------------


def refused(life: Life, code: str, *, times: int) -> list[Remark]:
    """Have reports refused so many times at most, and everything else taken."""
    remarks: list[Remark] = []
    count = 0
    for _ in range(100_000):
        if count == times or not life.duties.reports_waiting:
            return remarks
        match life.request:
            case None:
                life.now = max(life.now, life.duties.next_due())
                outputs = life.give()
            case ReportHealth():
                count += 1
                outputs = life.give(CallFailed(life.call, code, "odd"))
            case RegisterNode():
                outputs = life.give(RegisterAnswered(life.call, timedelta(seconds=60)))
            case Heartbeat():
                outputs = life.give(HeartbeatAnswered(life.call))
            case _:
                outputs = life.give(CommandsReceived(life.call))
        if any(isinstance(each, ReadSensors) for each in outputs):
            outputs += life.give(SensorsRead())
        remarks += [each for each in outputs if isinstance(each, Remark)]
    pytest.fail(f"reports were refused {count} times only")


@pytest.mark.parametrize("code", ["internal", "permission_denied", "data_loss", "weird"])
def test_a_report_refused_for_ever_is_given_up_aloud(code: str) -> None:
    life = Life()
    life.give(EventsSensed((XID,)))
    remarks = refused(life, code, times=1000)
    facts = {"call": "ReportHealth", "code": code, "text": "odd", "events": "1"}
    assert Remark("report_refused", facts, grave=True) in remarks
    assert life.duties.reports_waiting == 0


def test_a_report_is_not_given_up_before_its_time() -> None:
    life = Life()
    life.give(EventsSensed((XID,)))
    began = life.now
    remarks = refused(life, "internal", times=REFUSALS_MAX - 1)
    assert "report_refused" not in [each.what for each in remarks]
    assert life.duties.reports_waiting == 1
    while life.duties.reports_waiting:
        refused(life, "internal", times=1)
    assert life.now - began >= REFUSED_FOR


@pytest.mark.parametrize("code", ["not_found", "unauthenticated", "resource_exhausted"])
def test_a_report_waits_for_what_has_to_be_put_right_first(code: str) -> None:
    life = Life()
    life.give(EventsSensed((XID,)))
    refused(life, code, times=3 * REFUSALS_MAX)
    assert life.duties.reports_waiting == 1


# --- commands that take long -------------------------------------------------------------------


def running(life: Life, order: Order) -> None:
    """Let the agent begin a command."""
    life.register()
    assert Execute(order) in life.give(CommandsReceived(life.call, (order,)))


def test_a_command_that_takes_long_is_said_to_be_running_once() -> None:
    life = Life()
    order = Order("c1", "run_diagnostic")
    running(life, order)
    assert life.sent(after=4.9) == []
    assert life.duties.next_due() == START + RUNNING_AFTER
    assert life.sent(after=0.1) == [AckCommand("n1", "c1", CommandState.RUNNING)]
    assert life.sent(AckAnswered(life.call)) == []
    done = life.sent(CommandFinished("c1", CommandState.SUCCEEDED), after=1)
    assert done == [AckCommand("n1", "c1", CommandState.SUCCEEDED)]


def test_a_control_plane_that_wants_no_running_gets_the_result_all_the_same() -> None:
    life = Life()
    running(life, Order("c1", "run_diagnostic"))
    life.give(after=5)
    life.give(CallFailed(life.call, "invalid_argument", "running?"))
    done = life.sent(CommandFinished("c1", CommandState.FAILED))
    assert done == [AckCommand("n1", "c1", CommandState.FAILED)]


def test_a_reboot_of_an_earlier_life_is_not_begun_again_and_its_end_is_told() -> None:
    life = Life(running=REBOOT)
    life.register()
    assert life.give(CommandsReceived(life.call, (REBOOT,))) == []
    told = life.sent(CommandFinished("c1", CommandState.FAILED, "did not reboot"))
    assert told == [AckCommand("n1", "c1", CommandState.FAILED, "did not reboot")]
