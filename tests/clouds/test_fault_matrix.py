"""Every cloud, every fault, the real control plane: all ends with the machines that are wanted.

One story for each fault, told at each cloud's double over real sockets. Each ends *converged*: the
double has exactly as many machines as the pool wants, the fleet knows each of them by its own id,
and none was ever made that is not accounted for. The page ``docs/providers/faults.md`` says which
cloud is held to which fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from clouds.faults import LAGGING_LIST_LAG, LIST_LAG, NODES, RESTART_LIST_LAG, Fault, Stand
from clouds.fleet import REFUSED_AS, Life, living, more_lists, until
from clouds.gcp_stand import GcpStand, gcp_stand
from clouds.stands import STANDS, Entry
from navarch.core.model import events as ev
from navarch.providers.base import facts_of
from navarch.stores.memory import MemoryStore
from navarch.stores.sqlite import SqliteStore

SECONDS_UNTIL_HUNG = 30.0
"""A story that waits for more than its looks is ended then."""

Story = Callable[[Life], Awaitable[None]]


async def a_fault_of_launches(life: Life, fault: Fault) -> None:
    life.stand.begin(fault)
    await life.want(NODES)
    await until(life.stand, lambda: life.refusals() & REFUSED_AS[fault])
    life.stand.end()
    await life.converged()


async def slow_boot(life: Life) -> None:
    life.stand.begin(Fault.SLOW_BOOT)
    await life.want(NODES)
    await until(life.stand, lambda: len(life.stand.machines) == NODES)
    await more_lists(life.stand, 4)
    assert len(life.stand.machines) == NODES, "others were bought because these are slow"
    assert life.stand.running == []
    life.stand.end()
    await life.converged()


async def lost_answers(life: Life) -> None:
    life.stand.begin(Fault.LOST_ANSWERS)
    await life.want(NODES)
    await until(life.stand, lambda: len(life.stand.machines) == NODES)
    await life.converged()
    assert life.answered() == [], "an answer got through"
    life.stand.end()


def hide_lost_machines(stand: Stand) -> None:
    """Let no answer, no list and no agent tell of the machines that are made."""
    for fault in (Fault.LOST_ANSWERS, Fault.LAGGING_LIST, Fault.SLOW_BOOT):
        stand.begin(fault)


async def lagging_list(life: Life) -> None:
    hide_lost_machines(life.stand)
    await life.want(NODES)
    await until(life.stand, lambda: life.stand.lists and len(life.stand.machines) == NODES)
    await more_lists(life.stand, 2)
    life.stand.end()
    await life.converged()
    assert life.answered() == [], "an answer got through"


async def by_hand(life: Life) -> None:
    await life.want(NODES)
    await life.converged()
    life.stand.delete_by_hand(life.stand.machines[0])
    await until(
        life.stand, lambda: any(isinstance(each, ev.InstanceVanished) for each in life.heard)
    )
    await life.converged()


async def revoked(life: Life) -> None:
    await life.want(1)
    await life.converged(1)
    life.stand.begin(Fault.REVOKED)
    await life.want(NODES)
    await until(life.stand, lambda: life.refusals() & REFUSED_AS[Fault.REVOKED])
    assert len(life.stand.machines) == 1
    life.stand.end()
    await life.converged()


STORIES: dict[Fault, Story] = {
    Fault.LOST_ANSWERS: lost_answers,
    Fault.SLOW_BOOT: slow_boot,
    Fault.LAGGING_LIST: lagging_list,
    Fault.BY_HAND: by_hand,
    Fault.REVOKED: revoked,
}


async def in_one_life(stand: Stand, fault: Fault) -> None:
    lag = LAGGING_LIST_LAG if fault is Fault.LAGGING_LIST else LIST_LAG
    async with living(stand, MemoryStore(), lag) as life:
        if fault in STORIES:
            await STORIES[fault](life)
        else:
            await a_fault_of_launches(life, fault)


async def in_two_lives(stand: Stand, path: Path) -> None:
    def hide() -> None:
        for fault in (Fault.LAGGING_LIST, Fault.SLOW_BOOT):
            if fault not in stand.not_applicable:
                stand.begin(fault)

    stand.begin(Fault.RESTART)
    hide()
    async with living(stand, SqliteStore(path), RESTART_LIST_LAG) as first:
        await first.want(NODES)
        await until(stand, lambda: stand.machines)
        await first.crash()
        stand.end()
    hide()
    async with living(stand, SqliteStore(path), RESTART_LIST_LAG) as second:
        await more_lists(stand, 2)
        stand.end()
        await second.converged()


async def bounded(story: Awaitable[None]) -> None:
    async with asyncio.timeout(SECONDS_UNTIL_HUNG):
        await story


@pytest.mark.parametrize("fault", [pytest.param(each, id=each.slug) for each in Fault])
@pytest.mark.parametrize("cloud", [pytest.param(each, id=each.slug) for each in STANDS])
def test_a_fault_of_the_cloud_ends_with_the_machines_that_are_wanted(
    cloud: Entry, fault: Fault, tmp_path: Path
) -> None:
    if reason := cloud.stand.not_applicable.get(fault):
        pytest.skip(f"not applicable: {reason}")

    with cloud.running() as stand:
        story = (
            in_two_lives(stand, tmp_path / "journal.db")
            if fault is Fault.RESTART
            else in_one_life(stand, fault)
        )
        asyncio.run(bounded(story))
        replaced = 1 if fault is Fault.BY_HAND else 0
        assert len(stand.machines) == NODES
        assert stand.made == NODES + replaced, "machines were bought that nobody wanted"


@pytest.mark.parametrize(
    "cloud",
    [
        pytest.param(each, id=each.slug)
        for each in STANDS
        if Fault.LAGGING_LIST not in each.stand.not_applicable
    ],
)
def test_lists_that_lag_more_than_is_stated_buy_twice_where_no_token_helps_and_leave_nothing(
    cloud: Entry,
) -> None:
    async def story(stand: Stand) -> bool:
        async with (
            asyncio.timeout(SECONDS_UNTIL_HUNG),
            living(stand, MemoryStore(), LIST_LAG) as life,
        ):
            hide_lost_machines(stand)
            await life.want(NODES)
            await until(stand, lambda: len(stand.machines) >= NODES)
            honours_tokens = facts_of(life.provider).honours_tokens
            if honours_tokens:
                await until(stand, lambda: len(life.answered()) == NODES)
            else:
                await until(stand, lambda: stand.made > NODES)
            stand.end()
            await life.converged()
            return honours_tokens

    with cloud.running() as stand:
        honours_tokens = asyncio.run(story(stand))
        assert len(stand.machines) == NODES
        assert (stand.made == NODES) is honours_tokens


def test_a_refusal_is_heard_although_a_list_has_shown_the_machine_meanwhile() -> None:
    async def story(stand: GcpStand) -> None:
        async with (
            asyncio.timeout(SECONDS_UNTIL_HUNG),
            living(stand, MemoryStore()) as life,
        ):
            stand.double.operation_looks = 12  # it fails after some lists, as a stock-out does
            stand.begin(Fault.STOCK_OUT)
            await life.want(1)
            await until(stand, life.refusals)
            [refused] = [each for each in life.heard if isinstance(each, ev.LaunchFailed)]
            assert refused.failure == "NoCapacity"
            assert "a list has shown it half-made" in refused.because
            [offer] = life.fleet.refusals
            assert offer.startswith("cloud/")
            stand.end()
            await life.converged(1)

    with gcp_stand() as stand:
        stand.follow = timedelta(minutes=3)
        asyncio.run(story(stand))


def test_a_machine_that_was_promised_and_never_came_is_held_against_its_offer() -> None:
    async def story(stand: GcpStand) -> None:
        async with (
            asyncio.timeout(SECONDS_UNTIL_HUNG),
            living(stand, MemoryStore()) as life,
        ):
            stand.double.operation_looks = 12  # longer than the launch looks for it
            stand.begin(Fault.STOCK_OUT)
            await life.want(1)
            await until(stand, lambda: life.fleet.refusals)
            [held] = life.fleet.refusals.values()
            assert (held.failure, held.count) == ("Vanished", 1)
            stand.end()
            await life.converged(1)
            assert life.fleet.refusals == {}, "its agent has spoken"

    with gcp_stand() as stand:
        asyncio.run(story(stand))
