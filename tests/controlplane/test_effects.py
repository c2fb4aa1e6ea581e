"""Effects: every one ends in exactly one message, and no provider is asked more than it bears."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec.structs import replace

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.effects import Effects, ListPrice, Pace, machine_of
from navarch.core.model import messages as msg
from navarch.core.model.actions import Launch, ListTypes, Purchase, TakeInventory, Terminate
from navarch.errors import (
    ConfigError,
    NoCapacity,
    OutcomeUnknown,
    PluginError,
    ProviderError,
    QuotaExceeded,
    QuotaScope,
    Throttled,
)
from navarch.providers.base import Instance, Instances, InstanceType, Provider, ProvisionRequest
from navarch.providers.fake import FakeProvider
from pools import MONDAY, TellingProvider, pass_time, run, until

SECOND = timedelta(seconds=1)


class Bench:
    """Effects over one provider, and the messages they ended in."""

    def __init__(self, provider: Provider) -> None:
        self.clock = FakeClock(MONDAY)
        self.outcomes: list[msg.Message] = []
        self.effects = Effects({"fake": provider}, self.outcomes.append, self.clock)

    def perform(self, *actions: Purchase) -> Sequence[msg.Message]:
        """Perform, wait until all have come to something, and return all outcomes."""

        async def story() -> None:
            due = len(self.outcomes) + len(actions)
            self.effects.perform("k3f9", actions)
            await until(lambda: len(self.outcomes) == due)

        run(story())
        self.effects.heard(self.outcomes)
        assert len(self.effects) == 0
        return self.outcomes


def launch(n: int = 1, provider: str = "fake") -> Launch:
    """Return the wish for machine n."""
    return Launch(provider, f"training-k3f9-{n:04d}", "training", "h100-8x")


Types = list[InstanceType]


class Scripted:
    """A provider whose calls do what they are told, and none by itself."""

    name = "scripted"

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def provision(self, request: ProvisionRequest) -> Instance:
        raise self._error

    async def terminate(self, instance_id: str) -> None:
        raise self._error

    async def list_instance_types(self) -> Types:
        raise self._error

    async def list(self) -> Instances:
        raise self._error


def test_a_launch_carries_our_id_as_name_label_and_token() -> None:
    provider = FakeProvider()
    [outcome] = Bench(provider).perform(launch())
    [made] = (each.instance for each in provider.cloud.machines.values())
    assert outcome == msg.Launched(made.name, machine_of(made))
    assert made.name == "training-k3f9-0001"
    assert outcome.machine.fleet == "k3f9"
    assert outcome.machine.instance_id == made.name
    assert made.labels["navarch.dev/pool"] == "training"


@pytest.mark.parametrize(
    "error,outcome",
    [
        (NoCapacity("none"), msg.LaunchRefused(launch().instance_id, "NoCapacity", "none")),
        (Throttled("wait"), msg.LaunchRefused(launch().instance_id, "Throttled", "wait")),
        (OutcomeUnknown("no answer"), msg.LaunchLost(launch().instance_id, "no answer")),
        (KeyError("x"), msg.LaunchLost(launch().instance_id, "KeyError: 'x'")),
    ],
)
def test_a_launch_that_fails_is_refused_for_sure_or_lost(
    error: Exception, outcome: msg.Message
) -> None:
    assert Bench(Scripted(error)).perform(launch()) == [outcome]


def test_a_termination_that_finds_nothing_is_done() -> None:
    [outcome] = Bench(FakeProvider()).perform(Terminate("fake", "m-1", "training-k3f9-0001"))
    assert outcome == msg.TerminateAnswered("fake", "m-1", "training-k3f9-0001")


@pytest.mark.parametrize(
    "error,text",
    [(Throttled("wait"), "Throttled: wait"), (ZeroDivisionError("x"), "ZeroDivisionError: x")],
)
def test_a_termination_that_fails_stays_owed(error: Exception, text: str) -> None:
    [outcome] = Bench(Scripted(error)).perform(Terminate("fake", "m-1"))
    assert outcome == msg.TerminateAnswered("fake", "m-1", error=text)


def test_an_inventory_says_when_it_was_begun_and_how_late_it_may_be() -> None:
    provider = FakeProvider()
    provider.cloud.list_lag = timedelta(seconds=45)
    bench = Bench(provider)
    bench.perform(launch())
    provider.advance(timedelta(minutes=1))
    [_, taken] = bench.perform(TakeInventory("fake"))
    assert isinstance(taken, msg.InventoryTaken)
    assert (taken.begun_at, taken.list_lag) == (MONDAY, timedelta(seconds=45))
    assert [machine.instance_id for machine in taken.machines] == ["training-k3f9-0001"]


@pytest.mark.parametrize("error", [Throttled("wait"), ValueError("x")])
def test_a_list_that_cannot_be_read_is_no_empty_list(error: Exception) -> None:
    [outcome] = Bench(Scripted(error)).perform(TakeInventory("fake"))
    assert outcome == msg.InventoryFailed("fake", f"{type(error).__name__}: {error}")


@pytest.mark.parametrize("error", [Throttled("wait"), ValueError("x")])
def test_a_price_list_that_cannot_be_read_is_none(error: Exception) -> None:
    assert Bench(Scripted(error)).perform(ListTypes("fake")) == [msg.TypesListed("fake", None)]


def test_a_price_list_says_what_is_sold() -> None:
    provider = FakeProvider()
    provider.cloud.instance_types = (
        InstanceType(name="h100-8x", gpu_count=8, gpu_type="H100", price_per_hour=20.0),
    )
    [outcome] = Bench(provider).perform(ListTypes("fake"))
    assert outcome == msg.TypesListed("fake", (msg.Sold("h100-8x", 20.0),))


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_not_known_and_never_the_cheapest(price: float) -> None:
    provider = FakeProvider()
    kind = InstanceType(name="h100-8x", gpu_count=8, gpu_type="H100", price_per_hour=price)
    provider.cloud.instance_types = (replace(kind, spot_price_per_hour=price),)
    [outcome] = Bench(provider).perform(ListTypes("fake"))
    assert outcome == msg.TypesListed("fake", (msg.Sold("h100-8x", None, None),))


def test_a_list_price_stands_in_where_the_provider_names_none_and_says_so() -> None:
    provider = FakeProvider()
    named = InstanceType(name="l4-1x", gpu_count=1, gpu_type="L4", price_per_hour=2.0)
    silent = InstanceType(name="h100-8x", gpu_count=8, gpu_type="H100", spot_price_per_hour=9.0)
    provider.cloud.instance_types = (named, silent, replace(silent, name="x900"))
    prices = {"l4-1x": ListPrice(1.0, "r1, today"), "h100-8x": ListPrice(55.0, "r1, today")}
    bench = Bench(provider)
    bench.effects.add("fake", provider, list_prices=prices.get)
    [outcome] = bench.perform(ListTypes("fake"))
    assert outcome == msg.TypesListed(
        "fake",
        (
            msg.Sold("l4-1x", 2.0),
            msg.Sold("h100-8x", 55.0, 9.0, listed="r1, today"),
            msg.Sold("x900", None, 9.0),
        ),
    )


def test_a_refusal_for_a_quota_says_what_the_quota_counts() -> None:
    scope = QuotaScope("r1", ("p*",), spot=False)
    [outcome] = Bench(Scripted(QuotaExceeded("no more", scope=scope))).perform(launch())
    expected = msg.LaunchRefused(launch().instance_id, "QuotaExceeded", "no more", scope=scope)
    assert outcome == expected


@pytest.mark.parametrize(
    "action",
    [
        launch(provider="gone"),
        Terminate("gone", "m-1"),
        TakeInventory("gone"),
        ListTypes("gone"),
    ],
)
def test_a_provider_that_is_not_configured_is_an_answer(action: Purchase) -> None:
    [outcome] = Bench(FakeProvider()).perform(action)
    assert isinstance(
        outcome, msg.LaunchRefused | msg.TerminateAnswered | msg.InventoryFailed | msg.TypesListed
    )


def test_what_is_done_before_an_end_comes_first_and_cannot_prevent_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    provider = FakeProvider()
    bench = Bench(provider)
    bench.perform(launch())
    (machine,) = provider.cloud.machines.values()
    seen: list[bool] = []

    async def break_down(action: Terminate) -> None:
        seen.append(any(provider.cloud.alive(MONDAY)))
        raise RuntimeError("a mistake of ours")

    bench.effects.before_end = break_down
    end = Terminate("fake", machine.instance.id, machine.instance.name)
    assert bench.perform(end)[-1] == msg.TerminateAnswered(
        "fake", machine.instance.id, machine.instance.name, ""
    )
    assert seen == [True]
    assert "a mistake of ours" in caplog.text


class Gate(FakeProvider):
    """Lets nobody through before it is opened."""

    launches_at_once = 3  # type: ignore[misc] # fewer than any fake needs

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def provision(self, request: ProvisionRequest) -> Instance:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        return await super().provision(request)


def test_the_same_action_is_under_way_once_and_others_as_often_as_there_is_room() -> None:
    async def story() -> tuple[int, int, int]:
        gate = Gate()
        outcomes: list[msg.Message] = []
        effects = Effects({"fake": gate}, outcomes.append, FakeClock(MONDAY))
        wanted = [launch(n) for n in range(1, 6)]
        effects.perform("k3f9", wanted)
        effects.perform("k3f9", wanted)
        await until(lambda: gate.inside == 3)
        under_way = len(effects)
        gate.open.set()
        await until(lambda: len(outcomes) == 3)
        return under_way, gate.most, len(outcomes)

    assert run(story()) == (3, 3, 3)


def test_an_effect_is_under_way_until_its_outcome_has_been_heard() -> None:
    async def story() -> list[int]:
        provider = FakeProvider()
        outcomes: list[msg.Message] = []
        effects = Effects({"fake": provider}, outcomes.append, FakeClock(MONDAY))
        effects.perform("k3f9", [launch()])
        await until(lambda: len(outcomes) == 1)
        effects.perform("k3f9", [launch()])  # the fleet does not know yet that it is done
        unheard = len(effects)
        effects.heard([*outcomes, msg.Tick()])
        return [unheard, len(effects), len(provider.cloud.machines)]

    assert run(story()) == [1, 0, 1]


def test_what_is_stopped_has_no_outcome() -> None:
    async def story() -> list[msg.Message]:
        gate = Gate()
        outcomes: list[msg.Message] = []
        effects = Effects({"fake": gate}, outcomes.append, FakeClock(MONDAY))
        effects.perform("k3f9", [launch()])
        await until(lambda: gate.inside == 1)
        await effects.stop()
        assert len(effects) == 0
        return outcomes

    assert run(story()) == []


def test_calls_follow_one_another_no_faster_than_a_provider_bears() -> None:
    clock = FakeClock(MONDAY)
    pace = Pace(2.0, clock)
    went: list[float] = []

    async def call() -> None:
        await pace.turn()
        went.append((clock.now() - MONDAY).total_seconds())

    async def story() -> None:
        calls = [asyncio.create_task(call()) for _ in range(8)]
        await pass_time(clock, 3 * SECOND, SECOND / 2)
        await asyncio.gather(*calls)

    run(story())
    assert went == [0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.5, 2.0]


def test_a_provider_that_misstates_its_facts_is_refused() -> None:
    provider = FakeProvider()
    provider.launches_at_once = "many"  # type: ignore[misc,assignment] # the planted fault
    with pytest.raises(PluginError, match="launches_at_once must be an int"):
        Effects({"fake": provider}, lambda _: None, FakeClock(MONDAY))


def test_every_kind_of_refusal_is_named_by_its_class() -> None:
    for kind in ProviderError.__subclasses__():
        if kind is not OutcomeUnknown:
            [outcome] = Bench(Scripted(kind("no"))).perform(launch())
            assert outcome == msg.LaunchRefused(launch().instance_id, kind.__name__, "no")


def test_what_a_machine_runs_first_is_written_when_it_is_asked_for() -> None:
    provider = TellingProvider("fake", FakeClock(MONDAY))
    bench = Bench(provider)
    bench.effects.add("fake", provider, lambda action: f"#!/bin/sh\nid={action.instance_id}")
    bench.perform(launch())
    [request] = provider.requests
    assert request.user_data == "#!/bin/sh\nid=training-k3f9-0001"


def test_a_boot_script_that_cannot_be_written_buys_nothing() -> None:
    def fail(_action: Launch) -> str:
        raise ConfigError("no address for agents is configured", key="server.bootstrap")

    provider = FakeProvider()
    bench = Bench(provider)
    bench.effects.add("fake", provider, fail)
    [outcome] = bench.perform(launch())
    text = "server.bootstrap: no address for agents is configured"
    assert outcome == msg.LaunchRefused("training-k3f9-0001", "InvalidRequest", text)
    assert not provider.cloud.machines
