"""Which fact has caused what is owed, and how effects say so."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from navarch.controlplane import causes as module
from navarch.controlplane.causes import Cause, Causes
from navarch.controlplane.clock import FakeClock
from navarch.controlplane.control_plane import ControlPlane
from navarch.controlplane.server_config import ServerConfig
from navarch.core.model import events as ev
from navarch.core.model.actions import AskDrained, Launch, ListTypes, TakeInventory, Tell, Terminate
from navarch.core.model.ladder import Told
from navarch.core.model.messages import ScalePool
from navarch.errors import NoCapacity
from navarch.providers.base import Instance, ProvisionRequest
from navarch.stores.memory import MemoryStore
from navarch.telemetry.log import Event
from pools import MONDAY, TellingProvider, a_spec, pass_time, run, until

AT = MONDAY
LAUNCH = Launch("fake", "i-1", "training")
END = Terminate("fake", "m-1", "i-1")


def learned(*facts: ev.Fact, last_seq: int | None = None) -> Causes:
    causes = Causes()
    causes.learn(facts, last_seq=last_seq or len(facts))
    return causes


def test_each_action_has_the_fact_by_which_it_is_owed() -> None:
    causes = learned(
        ev.LaunchRequested(AT, "i-1", "training", "fake", "too few"),
        ev.LaunchRequested(AT, "i-2", "training", "fake", "too few"),
        ev.TerminationRequested(AT, "i-3", "too many"),
        ev.OrphanCondemned(AT, "fake", "m-9", "nobody's"),
        ev.WorkloadTelling(AT, "n-1", Told.DRAINING, "sick"),
        last_seq=15,
    )
    assert [
        causes.of(each).seq
        for each in (
            LAUNCH,
            Launch("fake", "i-2", "training"),
            Terminate("fake", "m-3", "i-3"),
            Terminate("fake", "m-9"),
            Tell("n-1", Told.DRAINING, "sick"),
            TakeInventory("fake"),
            ListTypes("fake"),
        )
    ] == [11, 12, 13, 14, 15, 15, 15]
    causes.learn((ev.WorkloadTold(AT, "n-1", Told.DRAINING, "agreed"),), last_seq=16)
    assert causes.of(AskDrained("n-1")) == Cause(16)


def test_a_launch_that_was_cleared_is_owed_because_of_that() -> None:
    causes = learned(
        ev.LaunchRequested(AT, "i-1", "training", "fake", "too few"),
        ev.LaunchUncertain(AT, "i-1", "no answer"),
    )
    assert not causes.is_known(LAUNCH)
    causes.learn((ev.LaunchCleared(AT, "i-1", "not listed"),), last_seq=3)
    assert causes.of(LAUNCH) == Cause(3)


def test_what_is_over_is_forgotten() -> None:
    causes = learned(
        ev.LaunchRequested(AT, "i-1", "training", "fake", "too few"),
        ev.InstanceLaunched(AT, "i-1", "m-1", "made"),
        ev.TerminationRequested(AT, "i-1", "too many"),
    )
    assert causes.of(END) == Cause(3)
    causes.learn((ev.InstanceTerminated(AT, "i-1", "gone"),), last_seq=4)
    assert len(causes) == 0
    assert causes.of(END) == Cause(4)


def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 3)
    causes = learned(
        *(ev.LaunchRequested(AT, f"i-{n}", "training", "fake", "x") for n in range(10))
    )
    assert len(causes) == 3
    assert causes.of(Launch("fake", "i-9", "training")) == Cause(10)


class Moody(TellingProvider):
    """A provider that may have nothing to sell."""

    sold_out = False

    async def provision(self, request: ProvisionRequest) -> Instance:
        if self.sold_out:
            raise NoCapacity("nothing left: token=hunter2hunter2")
        return await super().provision(request)


def events(caplog: pytest.LogCaptureFixture, word: str) -> list[dict[str, object]]:
    found = [each.msg for each in caplog.records if isinstance(each.msg, Event)]
    return [dict(each.fields) for each in found if each.word == word]


def test_effects_are_logged_with_the_fact_that_caused_them_also_after_a_restart(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, store = FakeClock(MONDAY), MemoryStore()
    provider = Moody("fake", clock)

    async def begun(plane: ControlPlane) -> None:
        provider.sold_out = True
        await plane.configure_pools([a_spec(min_nodes=1, max_nodes=3)])
        await until(lambda: bool(events(caplog, "effect_failed")))

    async def story() -> None:
        for go_on in (begun, resumed):
            plane = ControlPlane(ServerConfig(clock=clock), store)
            plane.register_provider(provider, "fake")
            async with plane:
                await go_on(plane)

    async def resumed(plane: ControlPlane) -> None:
        provider.sold_out = False
        await plane.runtime.ask(ScalePool("training", 2, "a test"))
        for _ in range(50):
            await pass_time(clock, timedelta(seconds=30), timedelta(seconds=10))
            if events(caplog, "effect_performed"):
                return

    with caplog.at_level(logging.INFO):
        run(story())
    wanted = {
        each["instance"]: each["seq"]
        for each in events(caplog, "fact_recorded")
        if each["kind"] == "launch_requested"
    }
    failed, performed = events(caplog, "effect_failed"), events(caplog, "effect_performed")
    assert failed
    assert performed
    assert {each["call"] for each in (*failed, *performed)} == {"provision"}
    for each in (*failed, *performed):
        assert each["seq"] == wanted[each["instance"]], each
    assert {each["outcome"] for each in failed} == {"refused"}
    assert {each["outcome"] for each in performed} == {"launched"}
    assert "NoCapacity" in str(failed[0]["error"])
    assert "hunter2" not in caplog.text
