"""Whatever a cloud does to a pool used alone: nothing is doubled, nothing leaks, limits hold."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.controlplane.clock import FakeClock
from navarch.controlplane.pool import Pool, PoolConfig, ProviderConfig
from navarch.errors import (
    NavarchError,
    NoCapacity,
    OutcomeUnknown,
    PartialScaleUp,
    QuotaExceeded,
    Throttled,
    Unauthorized,
    Unavailable,
)
from navarch.providers.fake import FakeCloud, FakeProvider
from pools import MONDAY, TYPE

MAX = 6
ERRORS = (NoCapacity, OutcomeUnknown, QuotaExceeded, Throttled, Unauthorized, Unavailable)

clouds = st.sampled_from(["first", "second"])
calls = st.sampled_from(["launch", "terminate", "list"])
steps = st.one_of(
    st.tuples(st.just("up"), st.integers(0, MAX)),
    st.tuples(st.just("down"), st.integers(0, MAX)),
    st.tuples(st.just("replace"), st.integers(0, MAX)),
    st.tuples(st.just("cordon"), st.integers(0, MAX)),
    st.tuples(st.just("wait"), st.integers(1, 60 * 60)),
    st.tuples(st.just("stock"), clouds, st.integers(0, MAX)),
    st.tuples(st.just("fail"), clouds, calls, st.sampled_from(ERRORS), st.integers(1, 3)),
    st.tuples(st.just("lose_answer"), clouds, calls),
    st.tuples(st.just("lose_request"), clouds, calls),
)


class World:
    """A pool over two clouds, in a time that passes while somebody waits for a cloud."""

    def __init__(self, list_lag: int, end_time: int, *, honours_tokens: bool) -> None:
        self.clock = FakeClock(MONDAY)
        self.clouds = {
            name: FakeCloud(
                name=name,
                list_lag=timedelta(seconds=list_lag),
                end_time=timedelta(seconds=end_time),
                honours_tokens=honours_tokens,
            )
            for name in ("first", "second")
        }
        sellers = [
            FakeProvider(name=name, cloud=cloud, now=self.clock.now, sleep=self._sleep)
            for name, cloud in self.clouds.items()
        ]
        providers = [ProviderConfig(each.name, each) for each in sellers]
        config = PoolConfig("training", TYPE, max_nodes=MAX)
        self.pool = Pool(config, providers, clock=self.clock)

    async def _sleep(self, duration: timedelta) -> None:
        self.clock.advance(duration)

    @property
    def alive(self) -> list[str]:
        """The ids of all machines that exist, whatever anybody believes."""
        return sorted(
            machine.instance.id
            for cloud in self.clouds.values()
            for machine in cloud.alive(self.clock.now())
        )

    async def take(self, step: Sequence[object]) -> None:
        """Take one step; clouds and limits may refuse it."""
        match step:
            case ("up", int(count)):
                await self.pool.scale_up(count)
            case ("down", int(count)):
                await self.pool.scale_down(count)
            case ("replace" | "cordon" as verb, int(index)):
                nodes = self.pool.nodes()
                if index < len(nodes):
                    await self._touch(verb, nodes[index].name)
            case ("wait", int(seconds)):
                self.clock.advance(timedelta(seconds=seconds))
            case ("stock", str(name), int(count)):
                self.clouds[name].stock[TYPE] = count
            case ("fail", str(name), call, kind, int(times)):
                error = kind("scripted")  # type: ignore[operator] # drawn from `ERRORS`
                self.clouds[name].fail_next(error, times=times, call=call)  # type: ignore[arg-type]
            case (verb, str(name), call):
                getattr(self.clouds[name], str(verb))(call=call)
            case _:
                pytest.fail(f"unknown step {step}")

    async def _touch(self, verb: str, name: str) -> None:
        if verb == "replace":
            await self.pool.replace(name)
        else:
            self.pool.cordon(name)


async def story(world: World, script: Sequence[Sequence[object]]) -> None:
    """Take all steps and check after each; then heal the world and demand that all is settled."""
    for step in script:
        with suppress(NavarchError, ValueError):
            await world.take(step)
        assert len(world.alive) <= MAX
        believed = [node.id for node in world.pool.nodes()]
        assert set(believed) <= set(world.alive)
        assert len(set(believed)) == len(believed)
    for cloud in world.clouds.values():
        cloud.heal()
    for _ in range(6):
        world.clock.advance(timedelta(hours=1))
        await _nudge(world.pool)
    world.clock.advance(timedelta(hours=1))  # whatever ends slowly has ended
    assert sorted(node.id for node in world.pool.nodes()) == world.alive


async def _nudge(pool: Pool) -> None:
    """Buy or sell one, so that the pool looks at what is still owed."""
    if len(pool.nodes()) < MAX:
        with suppress(PartialScaleUp):  # what still ends counts against the maximum
            await pool.scale_up(1)
    else:
        await pool.scale_down(1)


@given(
    world=st.builds(
        World,
        list_lag=st.sampled_from([0, 45]),
        end_time=st.sampled_from([0, 90]),
        honours_tokens=st.booleans(),
    ),
    script=st.lists(steps, max_size=25),
)
def test_nothing_is_doubled_and_nothing_leaks(
    world: World, script: list[tuple[object, ...]]
) -> None:
    asyncio.run(story(world, script))
