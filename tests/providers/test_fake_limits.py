"""What keeps the fake cloud from selling, what it costs, and the machines it takes away."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from navarch.errors import (
    ConfigError,
    NoCapacity,
    NotFound,
    QuotaExceeded,
    Throttled,
    Unavailable,
)
from navarch.providers.base import (
    Instance,
    Instances,
    InstanceType,
    ProviderFacts,
    ProvisionRequest,
    facts_of,
)
from navarch.providers.fake import (
    EPOCH,
    SPOT_NOTICE,
    Answer,
    FakeCloud,
    FakeProvider,
    Notice,
    Quota,
    Rate,
    Shortage,
)

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


# Boot times, shelves, quotas, prices, pace.


def test_each_machine_boots_as_long_as_it_is_told() -> None:
    dice = iter([MINUTE, 3 * MINUTE])
    cloud = FakeCloud(boot_time=lambda _request: next(dice))
    for name in ("n-1", "n-2"):
        cloud.launch(asking(name), START)

    assert seen(cloud, MINUTE) == [("n-1", "running"), ("n-2", "provisioning")]
    assert seen(cloud, 3 * MINUTE) == [("n-1", "running"), ("n-2", "running")]


def test_a_repeated_launch_rolls_no_dice() -> None:
    rolled: list[str] = []

    def boot(request: ProvisionRequest) -> timedelta:
        rolled.append(request.name)
        return MINUTE

    cloud = FakeCloud(boot_time=boot)
    for _ in range(2):
        cloud.launch(asking(), START)

    assert rolled == ["n-1"]


def test_a_boot_time_below_zero_is_a_mistake_and_nothing_is_made() -> None:
    cloud = FakeCloud(boot_time=lambda _request: -SECOND)

    with pytest.raises(ConfigError, match="expected 0 or more"):
        cloud.launch(asking(), START)

    assert cloud.machines == {}


def test_a_name_says_how_many_gpus_there_are() -> None:
    cloud = FakeCloud(gpu_count=4)

    gpus = [got(cloud.launch(asking(kind, kind), START)).gpu_count for kind in ("fake-8gpu", "t")]

    assert gpus == [8, 4]


def placed(zone: str = "", region: str = "r", kind: str = "h100", *, spot: bool = False) -> object:
    """Ask a cloud that is short of h100 in zone r-a, from the second minute until the fourth."""
    shortage = Shortage(
        instance_type="h100",
        region="r",
        zone="r-a",
        is_spot=False,
        begins=START + MINUTE,
        ends=START + 3 * MINUTE,
    )
    request = ProvisionRequest(name="n", instance_type=kind, region=region, zone=zone, spot=spot)
    cloud = FakeCloud(shortages=(shortage,))
    return [
        type(cloud.launch(request, START + n * MINUTE).result).__name__ == "NoCapacity"
        for n in range(4)
    ]


def test_a_shortage_has_a_type_a_place_and_a_time() -> None:
    never = [False] * 4

    assert placed("r-a") == [False, True, True, False]
    assert placed("r-b") == never
    assert placed("") == never
    assert placed("r-a", "other") == never
    assert placed("r-a", kind="a100") == never
    assert placed("r-a", spot=True) == never


def test_a_shortage_of_everything_everywhere_is_for_ever() -> None:
    cloud = FakeCloud(shortages=(Shortage(),))

    answer = cloud.launch(asking(), START + 10_000 * MINUTE)

    assert isinstance(answer.result, NoCapacity)
    assert "fake-8gpu is sold out in any place" in str(answer.result)


def test_a_price_list_shows_what_is_sold_out_everywhere() -> None:
    kinds = tuple(
        InstanceType(name=name, gpu_count=8, gpu_type="H100", regions=("east", "west"))
        for name in ("gone", "half", "there")
    )
    cloud = FakeCloud(
        instance_types=kinds,
        shortages=(
            Shortage(instance_type="gone"),
            Shortage(instance_type="half", region="east"),
            Shortage(instance_type="there", zone="east-1"),
        ),
    )

    assert [each.available for each in cloud.price_list(START)] == [False, True, True]


def test_a_quota_of_gpus_counts_gpus_of_its_region_and_kind() -> None:
    cloud = FakeCloud(
        quotas=(
            Quota(limit=16, counts="gpus", region="east", is_spot=False),
            Quota(limit=1, instance_type="fake-1gpu"),
        )
    )

    def asked(name: str, kind: str, region: str, *, spot: bool = False) -> str:
        request = ProvisionRequest(name=name, instance_type=kind, region=region, spot=spot)
        return type(cloud.launch(request, START).result).__name__

    assert asked("n-1", "fake-8gpu", "east") == "Instance"
    assert asked("n-2", "fake-4gpu", "east") == "Instance"
    assert asked("n-3", "fake-8gpu", "east") == "QuotaExceeded"
    assert asked("n-4", "fake-8gpu", "west") == "Instance"
    assert asked("n-5", "fake-8gpu", "east", spot=True) == "Instance"
    assert asked("n-6", "fake-4gpu", "east") == "Instance"
    assert asked("n-7", "fake-1gpu", "west") == "Instance"
    assert asked("n-8", "fake-1gpu", "west") == "QuotaExceeded"


def test_machines_cost_their_price_of_the_day_they_were_bought() -> None:
    kind = InstanceType(
        name="h100", gpu_count=8, gpu_type="H100", price_per_hour=20.0, spot_price_per_hour=6.0
    )
    cloud = FakeCloud(instance_types=(kind,))
    first = got(cloud.launch(asking("n-1", "h100"), START))
    spot = ProvisionRequest(name="n-2", instance_type="h100", spot=True)
    cloud.launch(spot, START)
    cloud.instance_types = ()
    cloud.terminate(first.id, START + 30 * MINUTE)

    assert cloud.cost(START - MINUTE) == 0
    assert cloud.cost(START + 15 * MINUTE) == pytest.approx(5 + 1.5)
    assert cloud.cost(START + 60 * MINUTE) == pytest.approx(10 + 6)


def test_calls_above_the_rate_are_throttled_and_not_counted() -> None:
    cloud = FakeCloud(rate=Rate(calls=2, per=MINUTE))
    cloud.fail_next(Unavailable("scripted"), call="list")
    moments = [0, 10, 20, 30, 60, 61, 70]

    answers = [cloud.launch(asking(f"n-{n}"), START + n * SECOND).result for n in moments]

    names = [type(each).__name__ for each in answers]
    throttles = [names[n] == "Throttled" for n in range(len(moments))]
    assert throttles == [False, False, True, True, False, True, False]
    assert str(answers[3]) == "fake: more than 2 calls in 0:01:00; again in 30 s"
    assert isinstance(cloud.list(START + 71 * SECOND).result, Throttled)
    assert isinstance(cloud.list(START + 121 * SECOND).result, Unavailable)


def test_a_provider_says_how_many_calls_its_cloud_bears() -> None:
    paced = FakeProvider(cloud=FakeCloud(rate=Rate(calls=3, per=2 * SECOND)))

    assert facts_of(paced).calls_per_second == 1.5
    assert facts_of(FakeProvider()).calls_per_second == ProviderFacts().calls_per_second


@pytest.mark.parametrize("calls, per", [(0, SECOND), (1, 0 * SECOND)])
def test_a_rate_lets_somebody_through(calls: int, per: timedelta) -> None:
    with pytest.raises(ConfigError, match="expected 1 or more"):
        Rate(calls=calls, per=per)


# Machines that are taken away, and machines of others.


def test_a_spot_machine_is_taken_away_after_its_notice() -> None:
    heard: list[Notice] = []
    cloud = FakeCloud(remembers_ended=MINUTE, on_notice=heard.append)
    spot = got(cloud.launch(ProvisionRequest(name="n-1", instance_type="t", spot=True), START))

    cloud.interrupt(spot.id, START + MINUTE)
    cloud.interrupt(spot.id, START + 2 * MINUTE)

    (notice,) = heard
    assert notice.instance.id == spot.id
    assert notice.gone_at - notice.noticed_at == SPOT_NOTICE
    assert seen(cloud, 3 * MINUTE - SECOND) == [("n-1", "running")]
    assert seen(cloud, 3 * MINUTE) == [("n-1", "terminated")]
    assert seen(cloud, 4 * MINUTE) == []
    assert isinstance(cloud.terminate(spot.id, START + 3 * MINUTE).result, NotFound)


@pytest.mark.parametrize("end_time, gone_after", [(MINUTE, 2), (9 * MINUTE, 3)])
def test_an_end_and_a_notice_whichever_comes_first(end_time: timedelta, gone_after: int) -> None:
    cloud = FakeCloud(end_time=end_time)
    spot = got(cloud.launch(ProvisionRequest(name="n-1", instance_type="t", spot=True), START))

    cloud.interrupt(spot.id, START + MINUTE)
    cloud.terminate(spot.id, START + MINUTE)

    assert seen(cloud, gone_after * MINUTE - SECOND) == [("n-1", "terminating")]
    assert seen(cloud, gone_after * MINUTE) == []


def test_a_machine_that_is_ending_goes_on_ending_when_it_is_taken_away() -> None:
    cloud = FakeCloud(end_time=MINUTE)
    spot = got(cloud.launch(ProvisionRequest(name="n-1", instance_type="t", spot=True), START))

    cloud.terminate(spot.id, START)
    cloud.interrupt(spot.id, START, notice=5 * MINUTE)

    assert seen(cloud, MINUTE) == []


def test_only_spot_machines_are_taken_away() -> None:
    cloud = FakeCloud()
    ordinary = got(cloud.launch(asking(), START))

    with pytest.raises(ValueError, match="only spot machines"):
        cloud.interrupt(ordinary.id, START)
    with pytest.raises(KeyError):
        cloud.interrupt("never-was", START)
    assert seen(cloud, MINUTE) == [("n-1", "running")]


def test_a_stranger_takes_room_and_is_not_listed_and_costs_us_nothing() -> None:
    kind = InstanceType(name="h100", gpu_count=8, gpu_type="H100", price_per_hour=20.0)
    cloud = FakeCloud(instance_types=(kind,), quota=1)
    stranger = cloud.add_stranger(START, instance_type="h100")

    assert isinstance(cloud.launch(asking(kind="h100"), START).result, QuotaExceeded)
    assert seen(cloud, MINUTE) == []
    assert cloud.cost(START + 60 * MINUTE) == 0
    assert cloud.machines[stranger].is_alive(START)


def test_healing_ends_every_limit() -> None:
    cloud = FakeCloud(
        shortages=(Shortage(),), quotas=(Quota(limit=0),), rate=Rate(calls=1, per=MINUTE)
    )
    cloud.list(START)

    cloud.heal()

    assert got(cloud.launch(asking(), START)).name == "n-1"


def test_closing_is_noted_as_often_as_it_happens() -> None:
    provider = FakeProvider()
    before = provider.is_closed

    for _ in range(2):
        asyncio.run(provider.close())

    assert (before, provider.is_closed) == (False, True)
