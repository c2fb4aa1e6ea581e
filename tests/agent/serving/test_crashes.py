"""An agent that is killed at any moment neither loses a replica nor runs it twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.serving.conftest import Site, kill_leftovers
from navarch.core.model.replica import ReplicaState

MOMENTS_MAX = 60
"""More than there are."""

TOUCHES = frozenset({"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.posix_spawn"})
"""What Python tells of before it does it: where something outside of the process changes."""


def killed_at(moment: int, folder: Path, story: Callable[[Site], Awaitable[None]]) -> bool:
    """Play a story in a process that is killed before it changes something for the nth time.

    Returns whether that moment came.
    """
    child = os.fork()
    if child == 0:
        _play(moment, folder, story)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"it ended with {status}"
    return status != 0


def _play(moment: int, folder: Path, story: Callable[[Site], Awaitable[None]]) -> None:
    """Play it, and never return."""
    count = 0

    def count_down(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in TOUCHES and (event == "os.posix_spawn" or str(folder) in str(arguments[0])):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    async def play() -> None:
        site = Site(folder)
        async with site.running():
            sys.addaudithook(count_down)
            await story(site)
            os._exit(0)

    code = 1
    with contextlib.suppress(BaseException):
        asyncio.run(play())
    os._exit(code)


async def start(site: Site) -> None:
    """What the agent was about when it was killed."""
    await site.start()
    await site.until_state(ReplicaState.READY)


async def stop(site: Site) -> None:
    """The same."""
    await site.until_state(ReplicaState.READY)
    await site.order("stop_replica", replica="r1")


def running(site: Site) -> list[int]:
    """The programs that run."""
    pids = {int(run[0]) for run in site.runs()}
    return sorted(pids & set(site.leftovers()))


def test_a_start_that_was_cut_short_ends_with_one_program(tmp_path: Path) -> None:
    outcomes: set[str] = set()

    def recover(folder: Path) -> str:
        async def story() -> str:
            site = Site(folder)
            async with site.running():
                found = site.seen() is not None
                await site.start()  # the command had no result: it comes again
                await site.until_state(ReplicaState.READY)
                assert len(running(site)) == 1
                await site.order("stop_replica", replica="r1")
                assert site.leftovers() == []
                return f"known {found}, started {len(site.runs())} times"

        return asyncio.run(story())

    for moment in range(1, MOMENTS_MAX):
        folder = tmp_path / str(moment)
        folder.mkdir()
        if not killed_at(moment, folder, start):
            kill_leftovers_of(folder)
            break
        outcomes.add(recover(folder))
    else:
        raise AssertionError("it never went to its end")
    assert moment > 5
    assert outcomes >= {"known False, started 1 times", "known True, started 1 times"}


def test_a_stop_that_was_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    def recover(folder: Path) -> None:
        async def story() -> None:
            site = Site(folder)
            async with site.running():
                await site.order("stop_replica", replica="r1")
                assert (site.seen(), site.leftovers()) == (None, [])
                assert len(site.runs()) == 1

        asyncio.run(story())

    for moment in range(1, MOMENTS_MAX):
        folder = tmp_path / str(moment)
        folder.mkdir()
        assert not killed_at(0, folder, start)
        if not killed_at(moment, folder, stop):
            break
        recover(folder)
    else:
        raise AssertionError("it never went to its end")
    assert moment > 3


def kill_leftovers_of(folder: Path) -> None:
    """Leave nothing behind of a story that went to its end."""

    async def story() -> None:
        kill_leftovers(Site(folder))

    asyncio.run(story())
