"""Lambda Cloud's limits are kept, whoever calls, and "later" is believed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from doubles.http_cloud import Limit, Said
from doubles.lambda_bench import LAUNCH, LIST, Bench, request_of
from doubles.lambda_cloud import CLOUDFLARE_PAGE
from navarch.errors import Throttled
from navarch.providers.fake import ManualTime
from navarch.providers.lambda_labs import LambdaProvider, LambdaSettings

REAL = LambdaSettings()


def test_the_documented_limits_are_kept_to_the_second(bench: Bench) -> None:
    time = ManualTime()
    cloud = bench.cloud
    cloud.now, bench.now, bench.sleep = time.now, time.now, time.sleep
    cloud.account.limits = [Limit(timedelta(seconds=1))]
    cloud.account.launch_limits = [Limit(timedelta(seconds=12))]
    bench.changes = {
        "request_interval": REAL.request_interval,
        "launch_interval": REAL.launch_interval,
    }

    async def story(provider: LambdaProvider) -> None:
        for number in range(3):
            bought = await provider.provision(request_of(f"training-{number}"))
            await provider.list()
            await provider.list_instance_types()
            await provider.terminate(bought.id)

    bench.run(story)
    assert cloud.refused_for_pace == 0
    waits = [(later - at).total_seconds() for at, later in pairwise(cloud.times(""))]
    assert [wait for wait in waits if wait < 1] == []
    launches = [(later - at).total_seconds() for at, later in pairwise(cloud.times(LAUNCH))]
    assert launches == [13, 13]  # twelve, and the look-up before it


def test_many_callers_of_one_provider_together_keep_the_limits(bench: Bench) -> None:
    cloud = bench.cloud
    cloud.account.limits = [Limit(timedelta(milliseconds=8))]
    cloud.account.launch_limits = [Limit(timedelta(milliseconds=50))]
    bench.changes = {
        "request_interval": timedelta(milliseconds=20),
        "launch_interval": timedelta(milliseconds=50),
    }

    async def story(provider: LambdaProvider) -> None:
        launches = [provider.provision(request_of(f"training-{number}")) for number in range(5)]
        await asyncio.gather(*launches, *(provider.list() for _ in range(10)))

    bench.run(story)
    assert (len(cloud.servers), cloud.refused_for_pace) == (5, 0)


def test_who_waits_behind_too_many_launches_is_told_so(bench: Bench) -> None:
    bench.cloud.fault(LAUNCH, silence="hang")
    bench.changes = {"launch_timeout": timedelta(milliseconds=200)}

    async def story(provider: LambdaProvider) -> None:
        waiting = [
            asyncio.create_task(provider.provision(request_of(f"training-{number}")))
            for number in range(5)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Throttled, match="5 launches wait"):
            await provider.provision(request_of("one-too-many"))
        await asyncio.gather(*waiting, return_exceptions=True)
        assert (await provider.provision(request_of("later"))).name == "later"

    bench.run(story)


@pytest.mark.parametrize(
    "said,pause",
    [
        (CLOUDFLARE_PAGE, 12),
        (Said(429, b"{}", {"Retry-After": "40"}), 40),
        (Said(403, b"error code: 1015", {"Retry-After": "17"}), 17),
    ],
)
def test_too_many_requests_hold_back_every_call_for_as_long_as_was_said(
    bench: Bench, said: Said, pause: int
) -> None:
    time = ManualTime()
    bench.now = time.now
    bench.sleep = time.sleep
    bench.cloud.fault(LIST, said)

    async def story(provider: LambdaProvider) -> None:
        with pytest.raises(Throttled, match=f"again in {pause} s") as failure:
            await provider.list()
        assert failure.value.retry_after == timedelta(seconds=pause)
        asked = len(bench.cloud.asked)
        if pause > 20:
            with pytest.raises(Throttled, match=f"again in {pause} s"):
                await provider.list_instance_types()
            assert len(bench.cloud.asked) == asked
            time.advance(timedelta(seconds=pause))
        begun = time.now()
        await provider.list_instance_types()
        assert time.now() - begun == timedelta(seconds=pause if pause <= 20 else 0)

    bench.run(story)
