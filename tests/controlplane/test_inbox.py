"""What waits: in order, in batches, and never too much."""

from __future__ import annotations

import asyncio

import pytest

from navarch.controlplane.inbox import BATCH_MAX, Inbox
from navarch.core.model.messages import Accepted, Heartbeat, Message, Tick
from navarch.errors import WireError
from pools import run


def beats(*names: str) -> list[Message]:
    """Return one heartbeat of each node."""
    return [Heartbeat(name) for name in names]


def test_what_came_first_is_taken_first() -> None:
    async def story() -> list[Message]:
        inbox = Inbox()
        inbox.ask(beats("a", "b"))
        inbox.post(Tick())
        inbox.ask(beats("c"))
        return [message for envelope in await inbox.take() for message in envelope.messages]

    assert run(story()) == [*beats("a", "b"), Tick(), *beats("c")]


def test_a_batch_is_bounded_and_a_request_is_never_split() -> None:
    async def story() -> list[int]:
        inbox = Inbox()
        for _ in range(3):
            inbox.ask(beats(*(f"n{n}" for n in range(BATCH_MAX // 2 + 1))))
        inbox.ask(beats(*(f"n{n}" for n in range(BATCH_MAX + 5))))
        return [len(await inbox.take()) for _ in range(4)]

    assert run(story()) == [1, 1, 1, 1]


def test_too_many_requests_are_refused_and_outcomes_are_not() -> None:
    async def story() -> tuple[int, int]:
        inbox = Inbox(requests_max=2)
        inbox.ask(beats("a"))
        inbox.ask(beats("b"))
        with pytest.raises(WireError, match="2 requests wait already") as caught:
            inbox.ask(beats("c"))
        assert caught.value.code == "resource_exhausted"
        inbox.post(Tick())
        taken = len(await inbox.take())
        inbox.ask(beats("d"))  # there is room again
        return taken, inbox.refused

    assert run(story()) == (3, 1)


def test_taking_waits_until_something_comes() -> None:
    async def story() -> int:
        inbox = Inbox()
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        assert not taking.done()
        inbox.post(Tick())
        return len(await taking)

    assert run(story()) == 1


def test_a_closed_inbox_is_emptied_and_refuses() -> None:
    async def story() -> list[int]:
        inbox = Inbox()
        inbox.ask(beats("a"))
        inbox.close("the control plane is stopping")
        with pytest.raises(WireError, match="unavailable: the control plane is stopping"):
            inbox.ask(beats("b"))
        return [len(await inbox.take()), len(await inbox.take()), len(inbox)]

    assert run(story()) == [1, 0, 0]


def test_an_answer_reaches_who_asked() -> None:
    async def story() -> object:
        inbox = Inbox()
        reply = inbox.ask(beats("a"))
        [envelope] = await inbox.take()
        assert envelope.reply is reply
        reply.set_result([Accepted()])
        return await reply

    assert run(story()) == [Accepted()]
