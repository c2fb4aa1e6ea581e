"""The scripts of the fake cloud, and how its provider shows them to a client."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from navarch.errors import (
    ConfigError,
    InvalidRequest,
    NoCapacity,
    NotFound,
    OutcomeUnknown,
    ProviderError,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.base import (
    Instance,
    Instances,
    InstanceStatus,
    InstanceType,
    ProvisionRequest,
)
from navarch.providers.fake import EPOCH, Answer, FakeCloud, FakeProvider, Lost, ManualTime

START = EPOCH
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def asking(name: str = "n-1", kind: str = "fake-8gpu") -> ProvisionRequest:
    return ProvisionRequest(name=name, instance_type=kind, token=name)


def got(answer: Answer[Instance]) -> Instance:
    assert isinstance(answer.result, Instance)
    return answer.result


def seen(cloud: FakeCloud, at: timedelta) -> list[tuple[str, str]]:
    """List names and statuses at so long after the start."""
    answer: Answer[Instances] = cloud.list(START + at)
    assert isinstance(answer.result, list)
    return [(each.name, str(each.status)) for each in answer.result]


def test_a_machine_runs_at_once_by_default() -> None:
    provider = FakeProvider(gpu_count=8)

    instance = asyncio.run(
        provider.provision(ProvisionRequest(name="test-node", instance_type="fake-8gpu"))
    )

    assert instance.status == "running"
    assert instance.gpu_count == 8
    assert instance.provider == "fake"
    assert instance.ip_address == "10.0.0.1"


def test_a_machine_boots_and_ends_in_the_time_it_takes() -> None:
    cloud = FakeCloud(boot_time=2 * MINUTE, end_time=MINUTE, remembers_ended=MINUTE)
    instance = got(cloud.launch(asking(), START))
    cloud.terminate(instance.id, START + 5 * MINUTE)

    assert instance.status is InstanceStatus.PROVISIONING
    assert seen(cloud, 2 * MINUTE - SECOND) == [("n-1", "provisioning")]
    assert seen(cloud, 2 * MINUTE) == [("n-1", "running")]
    assert seen(cloud, 5 * MINUTE) == [("n-1", "terminating")]
    assert seen(cloud, 6 * MINUTE) == [("n-1", "terminated")]
    assert seen(cloud, 7 * MINUTE) == []


def test_terminating_twice_does_not_begin_again() -> None:
    cloud = FakeCloud(end_time=MINUTE)
    instance = got(cloud.launch(asking(), START))

    cloud.terminate(instance.id, START)
    again = cloud.terminate(instance.id, START + 59 * SECOND)
    too_late = cloud.terminate(instance.id, START + MINUTE)

    assert again.result is None
    assert isinstance(too_late.result, NotFound)


@pytest.mark.parametrize(
    "error", [NoCapacity, QuotaExceeded, Throttled, Unauthorized, InvalidRequest, Unavailable]
)
def test_a_scripted_error_is_raised_so_many_times_and_nothing_is_made(
    error: type[ProviderError],
) -> None:
    cloud = FakeCloud()
    provider = FakeProvider(cloud=cloud)
    cloud.fail_next(error("so it is written"), times=2)

    async def scenario() -> None:
        for _ in range(2):
            with pytest.raises(error, match="so it is written"):
                await provider.provision(asking())
        assert cloud.machines == {}
        await provider.provision(asking())

    asyncio.run(scenario())
    assert len(cloud.machines) == 1


def test_scripted_entries_are_used_in_order_one_a_call() -> None:
    cloud = FakeCloud()
    cloud.fail_next(Throttled("first"))
    cloud.answer_after(3 * SECOND)
    cloud.fail_next(Unavailable("third"), after=2 * SECOND)

    answers = [cloud.launch(asking(f"n-{n}"), START) for n in range(4)]

    assert [type(each.result) for each in answers] == [Throttled, Instance, Unavailable, Instance]
    assert [each.after for each in answers] == [0 * SECOND, 3 * SECOND, 2 * SECOND, 0 * SECOND]


def test_a_script_disturbs_only_the_call_it_names() -> None:
    cloud = FakeCloud()
    cloud.fail_next(Unavailable("no list"), call="list")
    cloud.fail_next(Throttled("no end"), call="terminate")

    instance = got(cloud.launch(asking(), START))

    assert isinstance(cloud.terminate(instance.id, START).result, Throttled)
    assert isinstance(cloud.list(START).result, Unavailable)
    assert seen(cloud, 0 * SECOND) == [("n-1", "running")]


def test_an_outage_lasts_until_it_ends() -> None:
    cloud = FakeCloud()
    cloud.fail_until(Unavailable("maintenance"), START + MINUTE)

    during = cloud.launch(asking(), START + 59 * SECOND)
    after = cloud.launch(asking(), START + MINUTE)

    assert isinstance(during.result, Unavailable)
    assert got(after).name == "n-1"


def test_a_type_is_sold_out_at_its_stock_and_sold_again_when_one_ends() -> None:
    cloud = FakeCloud(stock={"h100": 1})
    first = got(cloud.launch(asking("n-1", "h100"), START))

    sold_out = cloud.launch(asking("n-2", "h100"), START)
    other_type = cloud.launch(asking("n-3", "a100"), START)
    cloud.terminate(first.id, START)
    again = cloud.launch(asking("n-4", "h100"), START)

    assert isinstance(sold_out.result, NoCapacity)
    assert got(other_type).name == "n-3"
    assert got(again).name == "n-4"


def test_a_quota_counts_machines_that_are_still_ending() -> None:
    cloud = FakeCloud(quota=1, end_time=MINUTE)
    first = got(cloud.launch(asking("n-1"), START))
    cloud.terminate(first.id, START)

    too_soon = cloud.launch(asking("n-2"), START + 59 * SECOND)
    in_time = cloud.launch(asking("n-3"), START + MINUTE)

    assert isinstance(too_soon.result, QuotaExceeded)
    assert got(in_time).name == "n-3"


def test_a_known_token_is_answered_although_the_quota_is_used_up() -> None:
    cloud = FakeCloud(quota=1)
    first = got(cloud.launch(asking(), START))

    assert got(cloud.launch(asking(), START)).id == first.id


def test_a_cloud_that_ignores_tokens_sells_twice() -> None:
    cloud = FakeCloud(honours_tokens=False)

    first, second = (got(cloud.launch(asking(), START)) for _ in range(2))

    assert (first.id, second.id) == ("fake-000001", "fake-000002")
    assert seen(cloud, 0 * SECOND) == [("n-1", "running"), ("n-1", "running")]


def test_an_empty_token_is_no_token() -> None:
    cloud = FakeCloud()
    request = ProvisionRequest(name="n-1", instance_type="t")

    first, second = (got(cloud.launch(request, START)) for _ in range(2))

    assert first.id != second.id


def test_a_lagging_list_shows_the_past_both_ways() -> None:
    cloud = FakeCloud(list_lag=30 * SECOND)
    instance = got(cloud.launch(asking(), START))
    cloud.terminate(instance.id, START + MINUTE)

    assert seen(cloud, 29 * SECOND) == []
    assert seen(cloud, 30 * SECOND) == [("n-1", "running")]
    assert seen(cloud, MINUTE + 29 * SECOND) == [("n-1", "running")]
    assert seen(cloud, MINUTE + 30 * SECOND) == []
    assert list(cloud.alive(START + MINUTE)) == []


def test_a_vanished_machine_is_gone_without_a_trace() -> None:
    cloud = FakeCloud(remembers_ended=MINUTE)
    instance = got(cloud.launch(asking(), START))

    cloud.vanish(instance.id, START + SECOND)

    assert seen(cloud, SECOND) == []
    assert isinstance(cloud.terminate(instance.id, START + SECOND).result, NotFound)
    assert cloud.machines[instance.id].vanished
    with pytest.raises(KeyError):
        cloud.vanish("never-was", START)


def test_a_late_answer_is_waited_for_within_the_timeout() -> None:
    time = ManualTime()
    provider = FakeProvider(now=time.now, sleep=time.sleep, timeout=MINUTE)
    provider.cloud.answer_after(40 * SECOND)

    instance = asyncio.run(provider.provision(asking()))

    assert instance.name == "n-1"
    assert time.now() == START + 40 * SECOND


def test_an_answer_after_the_timeout_leaves_a_machine_and_no_answer() -> None:
    provider = FakeProvider(timeout=MINUTE)
    provider.cloud.answer_after(2 * MINUTE)

    async def scenario() -> list[Instance]:
        with pytest.raises(OutcomeUnknown, match="no answer about n-1"):
            await provider.provision(asking())
        return await provider.list()

    assert [each.name for each in asyncio.run(scenario())] == ["n-1"]


def test_a_lost_answer_and_a_lost_request_look_alike_but_for_the_machine() -> None:
    cloud = FakeCloud()
    cloud.lose_answer()
    cloud.lose_request()

    answers = [cloud.launch(asking(name), START) for name in ("made", "never-made")]

    assert [each.result for each in answers] == [Lost(), Lost()]
    assert seen(cloud, 0 * SECOND) == [("made", "running")]


def test_a_lost_answer_to_terminate_ends_the_machine() -> None:
    provider = FakeProvider()
    provider.cloud.lose_answer(call="terminate")

    async def scenario() -> list[Instance]:
        instance = await provider.provision(asking())
        with pytest.raises(OutcomeUnknown):
            await provider.terminate(instance.id)
        return await provider.list()

    assert asyncio.run(scenario()) == []


def test_healing_ends_every_trouble_and_keeps_the_machines() -> None:
    cloud = FakeCloud(quota=1, stock={"fake-8gpu": 1})
    cloud.launch(asking("n-1"), START)
    cloud.fail_next(Throttled("x"), times=9)
    cloud.fail_until(Unavailable("x"), START + MINUTE)

    cloud.heal()

    assert got(cloud.launch(asking("n-2"), START)).name == "n-2"
    assert seen(cloud, 0 * SECOND) == [("n-1", "running"), ("n-2", "running")]


def test_a_price_list_is_kept_to() -> None:
    kind = InstanceType(name="h100-8x", gpu_count=4, gpu_type="H100", price_per_hour=20.0)
    provider = FakeProvider(cloud=FakeCloud(instance_types=(kind,), stock={"h100-8x": 0}))

    async def scenario() -> None:
        (sold,) = await provider.list_instance_types()
        assert not sold.available
        assert sold.price_per_hour == 20.0
        with pytest.raises(InvalidRequest, match="no type b200; sold: h100-8x"):
            await provider.provision(asking(kind="b200"))
        provider.cloud.heal()
        instance = await provider.provision(asking(kind="h100-8x"))
        assert (instance.gpu_count, instance.gpu_type) == (4, "H100")

    asyncio.run(scenario())


def test_the_same_calls_give_the_same_answers() -> None:
    def story() -> list[object]:
        cloud = FakeCloud(boot_time=MINUTE)
        cloud.lose_answer()
        asked = [cloud.launch(asking(f"n-{n}"), START + n * SECOND) for n in range(3)]
        return [*asked, cloud.list(START + MINUTE)]

    assert story() == story()


def test_a_provider_has_all_of_a_time_or_none_of_it() -> None:
    with pytest.raises(ConfigError, match="both now and sleep"):
        FakeProvider(now=ManualTime().now)


def test_the_own_time_of_a_provider_moves_only_by_hand() -> None:
    provider = FakeProvider(cloud=FakeCloud(boot_time=2 * MINUTE))

    async def statuses() -> list[InstanceStatus]:
        return [each.status for each in await provider.list()]

    booting = asyncio.run(provider.provision(asking()))
    before = asyncio.run(statuses())
    provider.advance(2 * MINUTE)
    after = asyncio.run(statuses())

    assert [booting.status, *before, *after] == ["provisioning", "provisioning", "running"]
    with pytest.raises(ValueError, match="backwards"):
        provider.advance(-SECOND)


def test_waits_at_once_do_not_add_up() -> None:
    time = ManualTime()

    async def scenario() -> None:
        await asyncio.gather(*(time.sleep(n * SECOND) for n in (3, 5, 4)))

    asyncio.run(scenario())

    assert time.now() == START + 5 * SECOND
