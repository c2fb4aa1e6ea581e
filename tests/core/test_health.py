"""Health: verdicts get worse at once and better slowly, and silence is not health."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from msgspec.structs import replace

from factories import SETTINGS, a_fleet, a_stranger, at, check, fold_all, gpus, name, xid
from navarch.core import health
from navarch.core.judging import Counts, HealthPolicy, Match, Unjudged, Verdict, verdict_of
from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.report import Health, HealthEvent, HealthReport, folded
from navarch.core.settings import Settings


class ByCode:
    """A policy of one line for each of the codes 13, 31, 48 and 79; others it does not know."""

    VERDICTS: ClassVar = {
        "13": Health.HEALTHY,
        "31": Health.UNKNOWN,
        "48": Health.DEGRADED,
        "79": Health.UNHEALTHY,
    }

    name = "by code"
    digest = "c0de"

    def evaluate(self, events: Sequence[HealthEvent], counts: Counts | None = None) -> Verdict:
        """Let the worst code speak."""
        return verdict_of([self._match(event) for event in events])

    def _match(self, event: HealthEvent) -> Match:
        code = str(event.metrics["xid_code"])
        return Match(event, f"xid-{code}", self.VERDICTS[code])


def reported(*results: Health, xids: tuple[int, ...] = ()) -> ev.HealthReported:
    """Return a report with these check results and these XIDs."""
    return ev.HealthReported(
        at(), name(1), tuple(map(check, results)), tuple(xid(code) for code in xids)
    )


def judged(
    fleet: Fleet, report: ev.HealthReported, policy: HealthPolicy | None = None
) -> tuple[Health, str]:
    """Fold a report and its verdict, and return the node's health and the reason."""
    fold_all(report, fleet=fleet)
    verdicts = list(health.judge(fleet, at(), policy or ByCode(), SETTINGS))
    fold_all(verdicts, fleet=fleet)
    assert [verdict.node_id for verdict in verdicts] == [name(1)]
    return fleet.nodes[name(1)].health, verdicts[0].because


def is_now(status: Health) -> ev.HealthJudged:
    return ev.HealthJudged(at(), name(1), status, "so it was")


def test_a_node_without_a_report_is_not_judged() -> None:
    assert list(health.judge(a_fleet(1), at(), ByCode(), SETTINGS)) == []


def test_a_report_is_judged_once() -> None:
    fleet = a_fleet(1)
    judged(fleet, reported(xids=(79,)))
    assert list(health.judge(fleet, at(), ByCode(), SETTINGS)) == []


def test_an_ended_node_is_not_judged() -> None:
    ended = ev.NodeRetired(at(), "lab-1", "has ended")
    report = ev.HealthReported(at(), "lab-1", (check(Health.UNHEALTHY),))
    fleet = a_fleet(0, a_stranger(), report, ended)
    assert list(health.judge(fleet, at(), ByCode(), SETTINGS)) == []


@pytest.mark.parametrize(
    "report,expected,because",
    [
        (reported(Health.HEALTHY), Health.HEALTHY, "its checks found nothing wrong"),
        (reported(Health.DEGRADED), Health.DEGRADED, "check nvml: degraded"),
        (reported(Health.HEALTHY, Health.UNHEALTHY), Health.UNHEALTHY, "check nvml: unhealthy"),
        (reported(xids=(79,)), Health.UNHEALTHY, "xid 79 on GPU 0: rule xid-79"),
        (reported(xids=(48, 79)), Health.UNHEALTHY, "xid 79 on GPU 0: rule xid-79"),
        (reported(xids=(13,)), Health.HEALTHY, "xid 13 on GPU 0: rule xid-13"),
        (reported(Health.DEGRADED, xids=(13,)), Health.DEGRADED, "check nvml: degraded"),
        (reported(), Health.UNKNOWN, "still unknown: nothing conclusive was reported"),
        (reported(xids=(31,)), Health.UNKNOWN, "still unknown: nothing conclusive was reported"),
    ],
)
def test_the_first_verdict(report: ev.HealthReported, expected: Health, because: str) -> None:
    assert judged(a_fleet(1), report) == (expected, because)


def test_a_verdict_gets_worse_at_once() -> None:
    fleet = a_fleet(1)
    seen = [judged(fleet, reported(xids=(code,)))[0] for code in (13, 48, 79)]
    assert seen == [Health.HEALTHY, Health.DEGRADED, Health.UNHEALTHY]


def test_a_lighter_report_does_not_make_a_verdict_better() -> None:
    fleet = a_fleet(1, is_now(Health.UNHEALTHY))
    expected = Health.UNHEALTHY, "still unhealthy: xid 48 on GPU 0: rule xid-48"
    assert judged(fleet, reported(xids=(48,))) == expected


def test_an_event_that_the_policy_calls_healthy_heals_nothing() -> None:
    fleet = a_fleet(1, is_now(Health.DEGRADED))
    assert [judged(fleet, reported(xids=(13,)))[0] for _ in range(5)] == [Health.DEGRADED] * 5


@pytest.mark.parametrize("bad", [Health.DEGRADED, Health.UNHEALTHY])
def test_clean_reports_in_a_row_heal(bad: Health) -> None:
    fleet = a_fleet(1, is_now(bad))
    verdicts = [judged(fleet, reported(Health.HEALTHY)) for _ in range(3)]
    assert verdicts == [
        (bad, "clean report 1 of 3"),
        (bad, "clean report 2 of 3"),
        (Health.HEALTHY, "3 clean reports in a row"),
    ]


def test_a_bad_report_between_clean_ones_starts_the_count_anew() -> None:
    fleet = a_fleet(1, is_now(Health.UNHEALTHY))
    clean, bad = reported(Health.HEALTHY), reported(xids=(48,))
    seen = [judged(fleet, report)[0] for report in (clean, clean, bad, clean, clean, clean)]
    assert seen == [Health.UNHEALTHY] * 5 + [Health.HEALTHY]


def test_an_empty_report_is_not_clean() -> None:
    fleet = a_fleet(1, is_now(Health.UNHEALTHY))
    assert [judged(fleet, reported())[0] for _ in range(5)] == [Health.UNHEALTHY] * 5
    assert not HealthReport(at()).clean


def test_how_many_clean_reports_heal_is_a_setting() -> None:
    settings = replace(Settings(), clean_reports_to_heal=1)
    fleet = a_fleet(1, is_now(Health.UNHEALTHY), reported(Health.HEALTHY))
    verdicts = list(health.judge(fleet, at(), ByCode(), settings))
    assert [verdict.health for verdict in verdicts] == [Health.HEALTHY]


def test_registering_again_does_not_undo_a_verdict() -> None:
    fleet = a_fleet(1, is_now(Health.UNHEALTHY))
    fold_all(ev.NodeRegistered(at(), name(1), instance_id=name(1), gpus=gpus(7)), fleet=fleet)
    assert fleet.nodes[name(1)].health is Health.UNHEALTHY


def test_without_a_policy_events_are_news_and_never_a_death() -> None:
    assert Unjudged().evaluate(()) == Verdict(Health.HEALTHY)
    verdict = Unjudged().evaluate((xid(79), xid(48)))
    assert (verdict.status, verdict.rule, verdict.event) == (Health.DEGRADED, "unjudged", xid(79))
    assert [match.event for match in verdict.matches] == [xid(79), xid(48)]
    assert judged(a_fleet(1), reported(xids=(79,)), Unjudged())[0] is Health.DEGRADED


@pytest.mark.parametrize(
    "event,expected",
    [
        (xid(79, gpu_index=3), "xid 79 on GPU 3: rule unjudged: there is no policy to judge it"),
        (xid(79, gpu_index=-1), "xid 79 on node: rule unjudged: there is no policy to judge it"),
        (xid(79, count=12), "xid 79 on GPU 0 ×12: rule unjudged: there is no policy to judge it"),
        (HealthEvent("thermal"), "thermal on node: rule unjudged: there is no policy to judge it"),
    ],
)
def test_the_reason_names_the_event(event: HealthEvent, expected: str) -> None:
    report = ev.HealthReported(at(), name(1), (), (event,))
    assert judged(a_fleet(1), report, Unjudged()) == (Health.DEGRADED, expected)


# --- folding a flood of events ---------------------------------------------------------------


def test_events_of_one_shape_become_one() -> None:
    flood = tuple(xid(79, timestamp=at(seconds=n), message=f"number {n}") for n in range(100))
    newest = xid(79, timestamp=at(seconds=99), message="number 99", count=100)
    assert folded(flood) == (newest,)


def test_events_of_different_shapes_stay_apart_and_in_order() -> None:
    events = (xid(79), xid(48), xid(79, gpu_index=1), xid(79), HealthEvent("thermal", 0))
    expected = (xid(48), xid(79, gpu_index=1), xid(79, count=2), HealthEvent("thermal", 0))
    assert folded(events) == expected


def test_folding_twice_changes_nothing() -> None:
    once = folded((xid(79, count=3), xid(48), xid(79)))
    assert folded(once) == once


def test_no_events_fold_to_none() -> None:
    assert folded(()) == ()
