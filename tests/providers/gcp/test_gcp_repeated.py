"""A launch in several zones, repeated, with answers that got lost, and names that are taken."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from doubles.compute_engine_faults import Fail, Fault, HangUp, Refuse, Silence
from doubles.gcp_bench import REGION, STOCK_OUT, ZONE, Bench, asking
from navarch.errors import (
    InvalidRequest,
    NoCapacity,
    OutcomeUnknown,
    QuotaExceeded,
    Unavailable,
)
from navarch.providers.base import Instance, ProvisionRequest

# --- zones -----------------------------------------------------------------------------------


def test_zones_are_tried_in_the_order_of_the_settings(bench: Bench) -> None:
    bench.double.script("insert", Fail(STOCK_OUT), None)

    zones = ("us-central1-b", "europe-west4-b", "us-central1-a")
    instance = bench.launch(REGION, zones=zones)

    assert bench.zones_asked() == ["us-central1-b", "us-central1-a"]
    assert instance.zone == "us-central1-a"


def test_without_zones_those_that_sell_the_type_are_tried(bench: Bench) -> None:
    bench.double.script("insert", Fail(STOCK_OUT), Fail(STOCK_OUT))

    with pytest.raises(NoCapacity, match=r"us-central1-a.*us-central1-b"):
        bench.launch(asking(zone=""), region="us-central1")

    assert bench.zones_asked() == ["us-central1-a", "us-central1-b"]


def test_a_quota_is_not_tried_in_the_next_zone(bench: Bench) -> None:
    bench.double.script("insert", Fail("QUOTA_EXCEEDED", 403))

    with pytest.raises(QuotaExceeded):
        bench.launch(REGION)

    assert len(bench.double.inserts()) == 1


def test_no_zone_is_asked_when_it_has_become_late(bench: Bench) -> None:
    bench.double.operation_looks = 20
    bench.double.script("insert", Fail(STOCK_OUT))

    with pytest.raises(NoCapacity, match="not asked: us-central1-b"):
        bench.launch(REGION, follow=timedelta(minutes=3))

    assert bench.zones_asked() == ["us-central1-a"]


def test_a_machine_in_a_later_zone_is_found_before_an_earlier_one_is_asked(bench: Bench) -> None:
    bench.double.script("insert", Fail(STOCK_OUT), None)
    first = bench.launch(REGION)
    bench.double.forget_requests()

    second = bench.launch(REGION)

    assert second == first
    assert len(bench.double.instances) == 1
    assert len(bench.double.inserts()) == 2


# --- answers that get lost -------------------------------------------------------------------


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("request_", [asking(), REGION])
def test_a_lost_answer_is_asked_for_again_and_buys_one_machine(
    bench: Bench, *, is_done: bool, request_: ProvisionRequest
) -> None:
    bench.double.script("insert", HangUp(is_done=is_done))

    instance = bench.launch(request_)

    assert [key[1] for key in bench.double.instances] == [instance.name]
    assert len(bench.double.inserts()) == 2


@pytest.mark.parametrize("second", [HangUp(is_done=True), Refuse(500, ""), Refuse(403, "quota")])
@pytest.mark.parametrize("is_done", [True, False])
def test_two_lost_answers_are_unknown_and_the_list_tells(
    bench: Bench, second: Fault, *, is_done: bool
) -> None:
    bench.double.script("insert", HangUp(is_done=is_done), second)

    with pytest.raises(OutcomeUnknown, match="asked again"):
        bench.launch()

    listed = bench.run(lambda provider: provider.list())
    assert [each.name for each in listed] == (["n-1"] if bench.double.instances else [])
    assert len(bench.double.inserts()) == 2


def test_without_a_token_nothing_is_asked_twice(bench: Bench) -> None:
    bench.double.script("insert", HangUp(is_done=True))

    with pytest.raises(OutcomeUnknown):
        bench.launch(asking(token=""))

    assert len(bench.double.inserts()) == 1


def test_no_answer_at_all_is_unknown_after_the_deadline(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navarch.providers.gcp.api.REQUEST_TIME_MAX", timedelta(seconds=0.2))
    bench.double.script("insert", Silence(), Silence())

    with pytest.raises(OutcomeUnknown, match=r"no answer within 0.2 s"):
        bench.launch()


def test_nobody_there_means_that_nothing_was_done(bench: Bench) -> None:
    with pytest.raises(Unavailable, match="refused"):
        bench.launch(url="http://127.0.0.1:1")


def test_a_cancelled_launch_is_found_by_its_name(bench: Bench) -> None:
    bench.double.operation_looks = -1

    async def story() -> Instance:
        provider = bench.provider()
        async with asyncio.timeout(10):
            task = asyncio.create_task(provider.provision(asking()))
            while not bench.double.instances:  # noqa: ASYNC110 - the double is in a thread
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            (listed,) = await provider.list()
        await provider.close()
        assert len(asyncio.all_tasks()) == 1
        return listed

    assert asyncio.run(story()).name == "n-1"


# --- names and tokens ------------------------------------------------------------------------


def test_a_name_that_somebody_else_has_is_refused(bench: Bench) -> None:
    bench.double.put_by_hand(ZONE, "n-1")

    with pytest.raises(InvalidRequest, match="name of another machine"):
        bench.launch()
    with pytest.raises(InvalidRequest, match="name of another machine"):
        bench.launch(REGION)


def test_the_machine_of_another_fleet_is_not_ours(bench: Bench) -> None:
    bench.launch()
    bench.double.forget_requests()
    other = asking(labels={**asking().labels, "navarch.dev/fleet": "zzzz"})

    with pytest.raises(InvalidRequest, match="name of another machine"):
        bench.launch(other)


def test_a_forgotten_request_finds_the_machine_by_its_name(bench: Bench) -> None:
    first = bench.launch()
    bench.double.forget_requests()

    assert bench.launch() == first


@pytest.mark.parametrize("status", ["STOPPING", "TERMINATED", "SUSPENDED"])
def test_a_machine_that_has_ended_is_not_sold_again(bench: Bench, status: str) -> None:
    bench.launch()
    bench.double.set_status("n-1", status)
    for forgets in (False, True):
        if forgets:
            bench.double.forget_requests()
        with pytest.raises(InvalidRequest, match="has ended"):
            bench.launch()


def test_a_taken_name_that_cannot_be_looked_at_is_unknown(bench: Bench) -> None:
    bench.double.script("insert", Refuse(409, "alreadyExists"))
    bench.double.script("get", Refuse(503, "backendError"))

    with pytest.raises(OutcomeUnknown, match="looked for it"):
        bench.launch()


def test_an_operation_that_found_the_name_taken_is_looked_into(bench: Bench) -> None:
    bench.double.script("insert", Fail("RESOURCE_ALREADY_EXISTS", 409, leaves=True))

    assert bench.launch().name == "n-1"


def test_a_secret_of_the_script_is_in_no_error(bench: Bench) -> None:
    request = asking(user_data="#!/bin/sh\nexport TOKEN=s3cr3t-of-the-node refuse-me\n")

    with pytest.raises(InvalidRequest, match=r"resource\.metadata") as refused:
        bench.launch(request)

    assert "s3cr3t" not in str(refused.value)
    assert "s3cr3t" not in repr(refused.value.__cause__)
