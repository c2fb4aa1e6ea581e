"""Otherwise: what would have to be different for a node to serve."""

from __future__ import annotations

from msgspec.structs import replace

from factories import (
    SETTINGS,
    a_finding,
    a_fleet,
    a_list,
    a_machine,
    a_spec,
    at,
    condemned,
    ending,
    lost,
    name,
    sick,
    sighted,
    thermal,
    xid,
)
from navarch.core import explain_health
from navarch.core.explain_health import Otherwise
from navarch.core.model import events as ev
from navarch.core.model.finding import Remedy
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent
from navarch.core.model.report import Health

NOW = at(minutes=5)
SICK = at(minutes=4)
HEAT = a_finding(event=thermal(), rule="thermal", number=3, lasting=False)


def told(fleet: Fleet) -> list[Otherwise]:
    seen = sighted(fleet, a_list(NOW, a_machine(1)))
    node = fleet.nodes[name(1)]
    return list(explain_health.otherwise(fleet, seen, node, NOW, SETTINGS))


def test_of_a_node_that_serves_nothing_would_have_to_be_different() -> None:
    assert told(a_fleet(1)) == []


def test_without_the_one_event_that_decides_it_would_be_healthy() -> None:
    finding = a_finding(event=xid(79, gpu_index=3), number=7)
    first = told(a_fleet(1, sick(1, SICK, finding)))[0]
    assert first == Otherwise("no event 7 (xid 79 on GPU 3)", "it is healthy", 7)


def test_without_it_what_else_stands_against_it_is_left() -> None:
    lesser = a_finding(status=Health.DEGRADED, event=xid(48), number=8)
    finding = a_finding(number=7)
    assert told(a_fleet(1, sick(1, SICK, lesser, finding)))[0].then == "it is degraded"


def test_where_no_single_event_decides_all_of_them_are_named() -> None:
    second = a_finding(event=xid(95, gpu_index=1), rule="xid-95", number=8)
    found = told(a_fleet(1, sick(1, SICK, a_finding(number=7), second)))
    assert found[0] == Otherwise("none of 2 findings (xid-79, xid-95)", "it is healthy")


def test_a_debt_ends_by_its_remedy_and_a_condition_by_clean_reports() -> None:
    debt = told(a_fleet(1, sick(1, SICK)))
    assert any(each.what.startswith("a replace that succeeds") for each in debt)
    condition = told(a_fleet(1, sick(1, SICK, HEAT)))
    assert Otherwise("3 more clean reports in a row", "it is healthy") in condition


def test_a_silent_node_would_have_to_speak() -> None:
    found = told(a_fleet(1, lost(1, SICK)))
    assert found[0] == Otherwise("a heartbeat of its agent", "it is connected again")


def test_a_cordoned_node_would_have_to_be_uncordoned() -> None:
    cordon = ev.IntentChanged(SICK, name(1), Intent.CORDONED, "noisy fan")
    text = "an operator's uncordon: it is cordoned by intent"
    assert told(a_fleet(1, cordon)) == [Otherwise(text, "it takes work again")]


def test_what_keeps_a_repair_from_beginning_is_named() -> None:
    paused = ev.PoolPaused(SICK, "training", "we look into it")
    fleet = a_fleet(1, sick(1, SICK), paused, spec=a_spec(auto_replace=True))
    hindrance = "not this: pool training is paused: we look into it"
    assert Otherwise(hindrance, "its repair (replace) begins") in told(fleet)
    dry = a_fleet(1, sick(1, SICK), spec=a_spec(auto_replace=True, dry_run=True))
    assert Otherwise("not this: pool training is a dry run", "its repair (replace) begins") in (
        told(dry)
    )


def test_of_a_repair_that_is_under_way_nothing_keeps_it_from_beginning() -> None:
    paused = ev.PoolPaused(SICK, "training", "we look into it")
    taken = condemned(1, SICK, "sickness")
    fleet = a_fleet(1, sick(1, SICK), taken, paused, spec=a_spec(auto_replace=True))
    assert not any(each.what.startswith("not this") for each in told(fleet))


def test_nothing_brings_back_what_has_ended() -> None:
    assert told(a_fleet(1, sick(1, SICK), ending(1, SICK))) == []


def test_a_finding_of_a_check_is_none_of_an_event() -> None:
    check = replace(HEAT, event=None, number=0, rule="check:nvml", remedy=Remedy.REBOOT)
    assert all(not each.number for each in told(a_fleet(1, sick(1, SICK, check))))
