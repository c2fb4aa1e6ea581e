"""Journals of release 0.1: their facts fold to sensible nodes, and nobody is repaired for them."""

from __future__ import annotations

import pytest

from factories import BY_XID, SETTINGS, at, check, name
from navarch.core import fold, health
from navarch.core.machine import Machine
from navarch.core.model import events as ev
from navarch.core.model import fleet as fleets
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node, NodeStatus
from navarch.core.model.pool import Disruption
from navarch.core.model.report import Health
from navarch.core.strategies import Strategies

FOUNDED = (
    '{"kind":"fleet_founded","at":"2026-05-01T12:00:00Z","tag":"k3f9"}\n'
    '{"kind":"resumed","at":"2026-05-01T12:00:00Z","version":"0.1.0"}\n'
    '{"kind":"pool_configured","at":"2026-05-01T12:00:00Z","spec":{"name":"training",'
    '"provider":"fake","max_nodes":4,"disruption":{"max_unavailable":1,'
    '"max_unavailable_percent":0.0,"max_replacements_per_hour":6}}}\n'
    '{"kind":"target_changed","at":"2026-05-01T12:00:00Z","pool":"training","target":1,'
    '"because":"so"}\n'
    '{"kind":"launch_requested","at":"2026-05-01T12:00:00Z",'
    '"instance_id":"training-k3f9-0001","pool":"training","provider":"fake","because":"0 '
    'of 1"}\n'
    '{"kind":"instance_launched","at":"2026-05-01T12:00:00Z",'
    '"instance_id":"training-k3f9-0001","ref":"m-1","because":"fake launched it"}\n'
    '{"kind":"node_registered","at":"2026-05-01T12:00:00Z",'
    '"node_id":"training-k3f9-0001","provider":"fake","pool":"training",'
    '"instance_id":"training-k3f9-0001"}\n'
)

REPORTED = (
    '{"kind":"health_reported","at":"2026-05-01T12:01:00Z",'
    '"node_id":"training-k3f9-0001","results":[{"check_name":"nvml","status":"healthy"}],'
    '"events":[{"event_type":"xid","gpu_index":3,"metrics":{"xid_code":"79"},"count":2}]}\n'
)

JUDGED = (
    '{"kind":"health_judged","at":"2026-05-01T12:01:00Z","node_id":"training-k3f9-0001",'
    '"health":"unhealthy","because":"xid 79 on GPU 3 ×2: rule fatal-xid"}\n'
)

CONDEMNED = (
    '{"kind":"node_lost","at":"2026-05-01T12:02:00Z","node_id":"training-k3f9-0001",'
    '"because":"silent for 91 s"}\n'
    '{"kind":"instance_condemned","at":"2026-05-01T12:03:00Z",'
    '"instance_id":"training-k3f9-0001","because":"silent"}\n'
)

RETURNED = (
    '{"kind":"node_returned","at":"2026-05-01T12:04:00Z","node_id":"training-k3f9-0001",'
    '"because":"it speaks again"}\n'
)

BRAKED = (
    '{"kind":"repair_halted","at":"2026-05-01T12:05:00Z","pool":"training","because":"2 '
    'of 2 nodes are silent"}\n'
)


def fleet_of(*lines: str) -> Fleet:
    """Fold a journal."""
    fleet = Fleet()
    for line in "".join((FOUNDED, *lines)).split("\n"):
        if line:
            fold.apply(fleet, ev.decode(line.encode()))
    return fleet


def node_of(*lines: str) -> Node:
    return fleet_of(*lines).nodes[name(1)]


def test_a_pool_of_before_is_repaired_as_carefully_as_a_new_one() -> None:
    spec = fleet_of().pools["training"].spec
    assert (spec.unhealthy_after, spec.replace_in_place, spec.dry_run) == (2, False, False)
    assert spec.disruption == Disruption()


def test_a_report_of_before_waits_for_its_verdict_and_is_counted() -> None:
    node = node_of(REPORTED)
    assert (node.report_judged, node.report and node.report.first_number) == (False, 0)
    assert [tally.count for tally in node.tallies["xid:79"]] == [2]


def test_a_verdict_of_before_stands_without_findings() -> None:
    node = node_of(REPORTED, JUDGED)
    assert (node.health, node.status, node.report_judged) == (
        Health.UNHEALTHY,
        NodeStatus.UNHEALTHY,
        True,
    )
    assert (node.findings, node.bad_reports, node.judged_by, node.clean_reports) == ((), 0, "", 0)
    assert node.unhealthy_at == (at(minutes=1),)


def test_clean_reports_of_before_count_on() -> None:
    clean = REPORTED.partition(',"events"')[0] + "}\n"
    judged = JUDGED.replace("unhealthy", "degraded")
    assert node_of(REPORTED, JUDGED, clean, judged).clean_reports == 1


def test_nobody_is_repaired_for_a_verdict_of_before() -> None:
    machine = Machine(fleet_of(REPORTED, JUDGED), Strategies(policy=BY_XID))
    for minute in range(2, 20):
        facts = machine.step([msg.Heartbeat(name(1)), msg.Tick()], at(minutes=minute)).facts
        assert facts == []


def test_clean_reports_end_a_verdict_of_before() -> None:
    machine = Machine(fleet_of(REPORTED, JUDGED), Strategies(policy=BY_XID))
    seen = []
    for minute in (2, 3, 4):
        machine.step([msg.ReportHealth(name(1), (check(),))], at(minutes=minute))
        seen.append(machine.fleet.nodes[name(1)].health.value)
    assert seen == ["unhealthy", "unhealthy", "healthy"]


def test_a_policy_that_comes_later_does_not_judge_what_it_can_not_see() -> None:
    fleet = fleet_of(REPORTED, JUDGED)
    fold.apply(fleet, ev.PolicyAdopted(at(minutes=2), BY_XID.name, BY_XID.digest, "so"))
    assert list(health.judge(fleet, at(minutes=2), BY_XID, SETTINGS)) == []


@pytest.mark.parametrize("lines", [(CONDEMNED,), (CONDEMNED, RETURNED)])
def test_who_was_condemned_for_silence_is_reprieved_when_it_speaks(lines: tuple[str, ...]) -> None:
    instance = fleet_of(*lines).instances[name(1)]
    assert instance.condemned == (len(lines) == 1)
    assert instance.condemned_for == ""


def test_a_pool_that_was_halted_before_half_opens_and_closes() -> None:
    machine = Machine(fleet_of(BRAKED))
    kinds = []
    for seconds in (310, 399, 400):
        step = machine.step([msg.Heartbeat(name(1)), msg.Tick()], at(seconds=seconds))
        kinds.append([ev.kind(fact) for fact in step.facts])
    assert kinds == [["repair_half_opened"], [], ["repair_continued"]]


REFUSED = (
    '{"kind":"launch_requested","at":"2026-05-01T12:01:00Z","instance_id":"training-k3f9-0002",'
    '"pool":"training","provider":"fake","because":"1 of 2"}\n'
    '{"kind":"launch_failed","at":"2026-05-01T12:01:01Z","instance_id":"training-k3f9-0002",'
    '"failure":"NoCapacity","because":"fake: none left"}\n'
    '{"kind":"launch_requested","at":"2026-05-01T12:02:00Z","instance_id":"training-k3f9-0003",'
    '"pool":"training","provider":"fake","because":"1 of 2"}\n'
)

LAUNCHED = (
    '{"kind":"instance_launched","at":"2026-05-01T12:02:01Z",'
    '"instance_id":"training-k3f9-0003","ref":"m-3","because":"fake launched it"}\n'
)

VANISHED = (
    '{"kind":"instance_vanished","at":"2026-05-01T12:04:00Z",'
    '"instance_id":"training-k3f9-0003","because":"two lists do not show it"}\n'
)


def test_a_launch_of_before_has_forgiven_and_a_machine_that_vanished_is_held_against_nobody() -> (
    None
):
    assert len(fleet_of(REFUSED).refusals) == 1
    assert fleet_of(REFUSED, LAUNCHED).refusals == {}
    fleet = fleet_of(REFUSED, LAUNCHED, VANISHED)
    assert (fleet.refusals, fleet.pools["training"].failures) == ({}, 1)


def test_a_snapshot_of_before_is_read() -> None:
    raw = b'{"tag":"k3f9","nodes":{"lab-1":{"id":"lab-1","registered_at":"2026-05-01T12:00:00Z",'
    raw += b'"heard_at":"2026-05-01T12:00:00Z","health":"unhealthy","clean_reports":2}}}'
    fleet = fleets.decode(raw)
    assert list(fleet.ailing) == ["lab-1"]
    assert (fleet.policy, fleet.event_serial, fleet.lemons) == ("", 0, {})
