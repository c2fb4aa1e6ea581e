"""Requests: an operator's wish is a fact at once, or is refused with its reason."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from factories import (
    POOL,
    SETTINGS,
    a_fleet,
    a_spec,
    a_stranger,
    at,
    ending,
    fold_all,
    issued,
    lost,
    name,
    sick,
)
from navarch.core import requests
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent
from navarch.core.model.report import Health
from navarch.core.settings import Settings

LIMITED = replace(Settings(), commands_pending_max=2)


def asked(
    fleet: Fleet, request: requests.Request, settings: Settings = SETTINGS
) -> Sequence[ev.Fact]:
    """Return the facts of a request that is accepted."""
    learned = requests.interpret(fleet, request, at(minutes=1), settings)
    assert not isinstance(learned, msg.Refused), learned
    return learned


def refused(
    fleet: Fleet, request: requests.Request, settings: Settings = SETTINGS
) -> tuple[str, str]:
    """Return code and text of a refusal."""
    learned = requests.interpret(fleet, request, at(minutes=1), settings)
    assert isinstance(learned, msg.Refused), learned
    return learned.code.value, learned.text


def order(type_: CommandType, node_id: str = "", reason: str = "") -> msg.IssueCommand:
    return msg.IssueCommand(node_id or name(1), type_, reason=reason)


# --- commands --------------------------------------------------------------------------------


def test_a_command_is_issued_with_the_next_number_and_a_deadline() -> None:
    fleet = a_fleet(1, issued(1, CommandType.REBOOT))
    request = msg.IssueCommand(name(1), CommandType.RUN_DIAGNOSTIC, {"level": "3"}, "it is slow")
    assert asked(fleet, request) == [
        ev.CommandIssued(
            at(minutes=1),
            "cmd-k3f9-000002",
            name(1),
            CommandType.RUN_DIAGNOSTIC,
            expires_at=at(minutes=31),
            parameters={"level": "3"},
            reason="it is slow",
        )
    ]


@pytest.mark.parametrize(
    "type_,intent",
    [
        (CommandType.CORDON, Intent.CORDONED),
        (CommandType.DRAIN, Intent.DRAINING),
    ],
)
def test_a_wish_about_a_node_holds_at_once(type_: CommandType, intent: Intent) -> None:
    wish = asked(a_fleet(1), order(type_, reason="update"))[1]
    because = f"{type_.value} by an operator: update"
    assert wish == ev.IntentChanged(at(minutes=1), name(1), intent, because)


def test_uncordoning_brings_a_node_back_into_service_and_does_not_heal_it() -> None:
    sick = ev.HealthJudged(at(), name(1), Health.UNHEALTHY, "XID 79")
    cordoned = ev.IntentChanged(at(), name(1), Intent.CORDONED, "for a look")
    fleet = a_fleet(1, sick, cordoned)
    fold_all(asked(fleet, order(CommandType.UNCORDON)), fleet=fleet)
    node = fleet.nodes[name(1)]
    assert (node.intent, node.health) == (Intent.IN_SERVICE, Health.UNHEALTHY)


def test_a_wish_that_holds_already_is_a_command_only() -> None:
    cordoned = ev.IntentChanged(at(), name(1), Intent.CORDONED, "for a look")
    facts = asked(a_fleet(1, cordoned), order(CommandType.CORDON))
    assert [ev.kind(fact) for fact in facts] == ["command_issued"]


@pytest.mark.parametrize(
    "type_", [CommandType.REBOOT, CommandType.GPU_RESET, CommandType.LOAD_MODEL]
)
def test_other_commands_are_no_wish_about_the_node(type_: CommandType) -> None:
    assert [ev.kind(fact) for fact in asked(a_fleet(1), order(type_))] == ["command_issued"]


def test_terminating_a_machine_of_ours_requests_its_end() -> None:
    facts = asked(a_fleet(1), order(CommandType.TERMINATE))
    because = "terminate by an operator"
    assert facts[1] == ev.TerminationRequested(at(minutes=1), name(1), because)


def test_terminating_a_stranger_dismisses_it() -> None:
    facts = asked(a_fleet(0, a_stranger()), order(CommandType.TERMINATE, "lab-1", "not needed"))
    because = "terminate by an operator: not needed"
    assert facts[1] == ev.NodeDismissed(at(minutes=1), "lab-1", because)


def test_a_lost_node_may_be_told_something() -> None:
    assert len(asked(a_fleet(1, lost(1, at())), order(CommandType.CORDON))) == 2


def test_an_unknown_node_is_refused() -> None:
    expected = "not_found", "node lab-9 is not registered"
    assert refused(a_fleet(1), order(CommandType.CORDON, "lab-9")) == expected


def test_an_ending_node_is_refused() -> None:
    expected = "failed_precondition", f"node {name(1)} is terminating: too many"
    assert refused(a_fleet(1, ending(1, at())), order(CommandType.CORDON)) == expected


def test_a_node_takes_only_so_many_commands() -> None:
    fleet = a_fleet(1, issued(1, CommandType.REBOOT), issued(2, CommandType.REBOOT))
    code, text = refused(fleet, order(CommandType.CORDON), LIMITED)
    assert (code, "2 unfinished commands" in text) == ("resource_exhausted", True)
    done = ev.CommandFinished(at(), "cmd-k3f9-000001", name(1), CommandState.SUCCEEDED)
    assert len(asked(fold_all(done, fleet=fleet), order(CommandType.CORDON), LIMITED)) == 2


# --- pools -----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [1, 3, 4])
def test_a_pool_is_scaled_inside_its_limits(target: int) -> None:
    fleet = a_fleet(0, spec=a_spec(min_nodes=1, max_nodes=4))
    assert asked(fleet, msg.ScalePool(POOL, target, "a big run")) == [
        ev.TargetChanged(
            at(minutes=1), POOL, target, f"scaled to {target} by an operator: a big run"
        )
    ]


@pytest.mark.parametrize(
    "target,expected",
    [
        (0, "pool training: target 0 is below min_nodes 1"),
        (-1, "pool training: target -1 is below min_nodes 1"),
        (5, "pool training: target 5 is above max_nodes 4"),
    ],
)
def test_a_target_outside_the_limits_is_refused(target: int, expected: str) -> None:
    fleet = a_fleet(0, spec=a_spec(min_nodes=1, max_nodes=4))
    assert refused(fleet, msg.ScalePool(POOL, target)) == ("invalid_argument", expected)


def test_pausing_twice_is_pausing_once() -> None:
    fleet = a_fleet(0)
    pause = msg.PausePool(POOL, paused=True, reason="maintenance")
    facts = asked(fleet, pause)
    because = "paused by an operator: maintenance"
    assert facts == [ev.PoolPaused(at(minutes=1), POOL, because)]
    assert asked(fold_all(facts, fleet=fleet), pause) == ()


def test_resuming_a_pool_that_is_not_paused_is_nothing() -> None:
    fleet = a_fleet(0)
    resume = msg.PausePool(POOL, paused=False)
    assert asked(fleet, resume) == ()
    fold_all(ev.PoolPaused(at(), POOL, "maintenance"), fleet=fleet)
    assert asked(fleet, resume) == [ev.PoolUnpaused(at(minutes=1), POOL, "resumed by an operator")]


@pytest.mark.parametrize(
    "request_", [msg.ScalePool("b", 1), msg.PausePool("b", paused=True)], ids=["scale", "pause"]
)
def test_a_pool_that_is_not_there_is_refused_and_the_others_are_named(
    request_: msg.ScalePool | msg.PausePool,
) -> None:
    expected = "pool b is not configured; there are: training"
    assert refused(a_fleet(0), request_) == ("not_found", expected)
    assert refused(Fleet(), request_)[1] == "pool b is not configured; there are: none"


@pytest.mark.parametrize(
    "request_", [msg.ScalePool(POOL, 1), msg.PausePool(POOL, paused=True)], ids=["scale", "pause"]
)
def test_a_retired_pool_takes_no_wishes(request_: msg.ScalePool | msg.PausePool) -> None:
    fleet = a_fleet(0, ev.PoolRetired(at(), POOL, "not in the file"))
    expected = "failed_precondition", "pool training is no longer in the configuration"
    assert refused(fleet, request_) == expected


# --- health ----------------------------------------------------------------------------------


def test_clearing_a_node_sets_everything_aside() -> None:
    fleet = a_fleet(1, sick(1, at()), ev.NodeHandedOver(at(), name(1), "nothing is left"))
    facts = asked(fleet, msg.ClearHealth(name(1), "a loose cable"))
    because = "its findings were set aside by an operator: a loose cable"
    assert facts == [ev.HealthCleared(at(minutes=1), name(1), because)]
    node = fold_all(facts, fleet=fleet).nodes[name(1)]
    assert (node.health, node.findings, node.bad_reports) == (Health.UNKNOWN, (), 0)
    assert (node.handed_over, node.attempts, node.because) == ("", (), because)


def test_a_node_that_is_well_or_a_strangers_may_be_cleared_too() -> None:
    because = "its findings were set aside by an operator"
    assert asked(a_fleet(1), msg.ClearHealth(name(1))) == [
        ev.HealthCleared(at(minutes=1), name(1), because)
    ]
    assert len(asked(a_fleet(0, a_stranger()), msg.ClearHealth("lab-1"))) == 1


def test_nobody_and_ending_nodes_are_not_cleared() -> None:
    assert refused(a_fleet(1), msg.ClearHealth("lab-9")) == (
        "not_found",
        "node lab-9 is not registered",
    )
    assert refused(a_fleet(1, ending(1, at())), msg.ClearHealth(name(1))) == (
        "failed_precondition",
        f"node {name(1)} is terminating: too many",
    )


# --- who asks --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        msg.IssueCommand(name(1), CommandType.CORDON, reason="odd", by="olaf"),
        msg.IssueCommand(name(1), CommandType.TERMINATE, reason="odd", by="olaf"),
        msg.ScalePool(POOL, 2, reason="odd", by="olaf"),
        msg.PausePool(POOL, paused=True, reason="odd", by="olaf"),
        msg.ClearHealth(name(1), reason="odd", by="olaf"),
    ],
)
def test_a_wish_is_recorded_with_the_name_of_who_has_it(request_: requests.Request) -> None:
    learned = asked(a_fleet(2), request_)
    told = [fact for fact in learned if not isinstance(fact, ev.CommandIssued)]
    assert [getattr(fact, "because", "").endswith(" by olaf: odd") for fact in told] == [True]
