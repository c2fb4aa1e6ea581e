"""The thread that renews a lease: it speaks for a process that works, and ends when it is told."""

from __future__ import annotations

import asyncio

from navarch.stores.postgres_renewal import STUCK_AFTER, Pulse, Renewal


def test_a_loop_that_does_not_turn_is_stuck_and_one_that_turns_again_is_not() -> None:
    now = [100.0]

    async def turns(pulse: Pulse) -> None:
        beating = asyncio.create_task(pulse.beat())
        await asyncio.sleep(0)
        beating.cancel()

    pulse = Pulse(lambda: now[0])
    seen = []
    for later in (STUCK_AFTER, 1.0):
        now[0] += later
        seen.append(pulse.stuck)
    asyncio.run(turns(pulse))
    assert [*seen, pulse.stuck] == [False, True, False]


def test_what_ended_the_renewal_is_said_in_the_loop_that_began_it() -> None:
    async def story() -> str:
        said: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def work() -> str:
            return "another leads"

        renewal = Renewal(work, said.set_result)
        reason = await said
        await renewal.stop()
        return reason

    assert asyncio.run(story()) == "another leads"
