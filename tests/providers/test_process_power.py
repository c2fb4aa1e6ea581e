"""A power cycle of this machine's processes: the instances stay, the processes do not."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from machines import (
    PARENT,
    STUBBORN,
    Bench,
    asking,
    end_all,
    processes_of,
    zombies,
)
from navarch.errors import (
    Unavailable,
)
from navarch.providers.base import InstanceStatus
from navarch.providers.local_process import AgentCommand


def test_a_power_cycle_keeps_the_ids_and_renews_the_processes(bench: Bench) -> None:
    before = bench.provider(PARENT)
    after = bench.provider()

    async def scenario() -> None:
        for name in ("n-1", "n-2"):
            await before.provision(asking(name))
            await bench.sleepers(name, 2)
        pids = {bench.pid("n-1"), bench.pid("n-2")}

        assert await before.power_off() == 2
        assert await before.power_off() == 2
        await bench.sleepers("", 0)
        assert zombies() == []
        assert {each.status for each in await after.list()} == {InstanceStatus.PROVISIONING}

        assert await after.power_on() == 2
        assert await after.power_on() == 0
        listed = await after.list()
        assert [(each.id, each.status) for each in listed] == [
            ("n-1", InstanceStatus.RUNNING),
            ("n-2", InstanceStatus.RUNNING),
        ]
        assert dict(listed[0].labels) == {"a": "b"}
        assert pids.isdisjoint(await bench.sleepers("", 2))
        await end_all(after)

    asyncio.run(scenario())


def test_power_off_kills_what_does_not_stop_and_ends_what_was_ending(bench: Bench) -> None:
    provider = bench.provider(STUBBORN)

    async def scenario() -> None:
        for name in ("n-1", "n-2"):
            await provider.provision(asking(name))
            await bench.ready(name)
        await provider.terminate("n-2")

        assert await provider.power_off(deadline=timedelta(milliseconds=50)) == 1

        assert processes_of(bench.root) == []
        assert [each.id for each in await provider.list()] == ["n-1"]
        await provider.terminate("n-1")
        assert await provider.list() == []

    asyncio.run(scenario())


def test_a_power_off_cut_short_is_finished_by_power_on(bench: Bench) -> None:
    provider = bench.provider()

    async def scenario() -> None:
        await provider.provision(asking())
        survivor = bench.pid()
        (bench.root / "n-1" / "powered-off").touch()

        assert await provider.power_on() == 1

        assert await bench.sleepers("", 1) == [bench.pid()]
        assert bench.pid() != survivor
        await end_all(provider)

    asyncio.run(scenario())


def test_a_power_on_that_fails_may_be_repeated(bench: Bench) -> None:
    provider = bench.provider()
    broken = bench.provider(lambda _request, _folder: AgentCommand(argv=("/no/such",), env={}))

    async def scenario() -> None:
        await provider.provision(asking())
        await provider.power_off()

        with pytest.raises(Unavailable, match="/no/such"):
            await broken.power_on()

        assert await provider.power_on() == 1
        await end_all(provider)

    asyncio.run(scenario())
