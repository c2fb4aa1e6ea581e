"""What waits: in order within its class, in batches, by urgency, and never too much."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.controlplane.inbox import BATCH_MAX, SHARES, Bounds, Inbox, Lane
from navarch.core.model.command import CommandState
from navarch.core.model.messages import (
    Accepted,
    AckCommand,
    Answer,
    Heartbeat,
    HeartbeatBatch,
    Message,
    PollCommands,
    RegisterNode,
    ReportHealth,
    ScalePool,
    Tick,
)
from navarch.core.model.report import HealthEvent
from navarch.errors import WireError
from pools import run


def beats(*names: str) -> list[Message]:
    """Return one heartbeat of each node."""
    return [Heartbeat(name) for name in names]


def batch(size: int) -> HeartbeatBatch:
    """Return the heartbeats of so many nodes."""
    return HeartbeatBatch(frozenset(f"b{number}" for number in range(size)), {})


ONE_OF_EACH: list[Message] = [
    ScalePool("pool", 1, "more"),
    AckCommand("n1", "c1", CommandState.SUCCEEDED),
    ReportHealth("n1"),
    RegisterNode("n1"),
    Heartbeat("n1"),
]
"""By urgency."""


def test_what_came_first_is_taken_first() -> None:
    async def story() -> list[Message]:
        inbox = Inbox()
        inbox.ask(beats("a", "b"))
        inbox.ask(beats("c"))
        return [message for envelope in await inbox.take() for message in envelope.messages]

    assert run(story()) == beats("a", "b", "c")


def test_the_most_urgent_class_is_taken_first() -> None:
    async def story() -> list[Message]:
        inbox = Inbox()
        for message in reversed(ONE_OF_EACH):
            inbox.ask([message])
        inbox.post(Tick())
        return [message for envelope in await inbox.take() for message in envelope.messages]

    assert run(story()) == [Tick(), *ONE_OF_EACH]


def test_an_operator_is_not_stuck_behind_ten_thousand_heartbeats() -> None:
    async def story() -> Message:
        inbox = Inbox()
        for number in range(10_000):
            inbox.ask(beats(f"n{number}"))
        inbox.ask([ScalePool("pool", 1, "more")])
        return (await inbox.take())[0].messages[0]

    assert run(story()) == ScalePool("pool", 1, "more")


def test_no_class_starves_another() -> None:
    async def story() -> dict[str, int]:
        inbox = Inbox(Bounds(operators=5_000))
        for message in ONE_OF_EACH:
            for _ in range(2_000):
                inbox.ask([message])
        await inbox.take()
        return {name: 2_000 - left for name, left in inbox.waiting.items() if name != "own"}

    served = run(story())
    shares = {lane.name.lower(): share for lane, share in SHARES.items() if lane is not Lane.OWN}
    assert served == shares | {"operators": shares["operators"] + SHARES[Lane.OWN]}


def test_a_batch_is_bounded_and_a_request_is_never_split() -> None:
    async def story() -> list[int]:
        inbox = Inbox()
        for _ in range(3):
            inbox.ask(beats(*(f"n{n}" for n in range(BATCH_MAX // 2 + 1))))
        inbox.ask(beats(*(f"n{n}" for n in range(BATCH_MAX + 5))))
        return [len(await inbox.take()) for _ in range(4)]

    assert run(story()) == [1, 1, 1, 1]


@pytest.mark.parametrize("message", ONE_OF_EACH[:-1], ids=lambda each: type(each).__name__)
def test_too_many_requests_are_refused_at_the_door_and_those_let_in_stay(message: Message) -> None:
    async def story() -> tuple[list[Message], int, int]:
        inbox = Inbox(Bounds(operators=2, commands=2, reports=2, registrations=2))
        kept = [inbox.ask([message]), inbox.ask([message])]
        with pytest.raises(WireError, match=r"2 \w+ wait already, 2 may: try again") as caught:
            inbox.ask([message])
        assert caught.value.code == "resource_exhausted"
        assert caught.value.retry_after is not None
        inbox.post(Tick())
        taken = [each.messages[0] for each in await inbox.take()]
        assert not any(reply.done() for reply in kept)
        inbox.ask([message])  # there is room again
        return taken, inbox.refused, inbox.shed

    assert run(story()) == ([Tick(), message, message], 1, 0)


def test_the_oldest_heartbeats_make_room_for_newer_ones() -> None:
    async def story() -> tuple[list[Message], int, int]:
        inbox = Inbox(Bounds(heartbeats=3))
        gone: list[Message] = []
        inbox.on_shed = lambda envelope: gone.extend(envelope.messages)
        first, *_ = [inbox.ask(beats(name)) for name in "abc"]
        inbox.ask([batch(2)])
        with pytest.raises(WireError, match="an older heartbeat made room") as caught:
            await first
        assert caught.value.code == "resource_exhausted"
        assert caught.value.retry_after is not None
        assert gone == beats("a", "b")
        taken = [each.messages[0] for each in await inbox.take()]
        return taken, inbox.refused, inbox.shed

    assert run(story()) == ([Heartbeat("c"), batch(2)], 0, 2)


def test_a_batch_larger_than_the_bound_is_let_in_alone() -> None:
    async def story() -> tuple[int, int]:
        inbox = Inbox(Bounds(heartbeats=3))
        inbox.ask(beats("a"))
        inbox.ask([batch(5)])
        return len(await inbox.take()), inbox.shed

    assert run(story()) == (1, 1)


def test_a_report_counts_with_what_is_in_it() -> None:
    async def story() -> int:
        inbox = Inbox(Bounds(reports=100))
        flood = ReportHealth("n1", events=tuple(HealthEvent("xid") for _ in range(60)))
        inbox.ask([flood])
        with pytest.raises(WireError, match="61 reports wait already, 100 may"):
            inbox.ask([flood])
        return len(inbox)

    assert run(story()) == 1


def test_own_messages_are_never_refused() -> None:
    async def story() -> int:
        inbox = Inbox(Bounds(operators=1, heartbeats=1))
        for _ in range(3_000):
            inbox.post(Tick())
        return len(inbox)

    assert run(story()) == 3_000


def test_those_who_are_refused_are_told_to_come_back_one_after_another() -> None:
    async def story() -> list[float]:
        inbox = Inbox(Bounds(registrations=1))
        inbox.ask([RegisterNode("n0")])
        waits = []
        for number in range(5_000):
            with pytest.raises(WireError) as caught:
                inbox.ask([RegisterNode(f"n{number}")])
            assert caught.value.retry_after is not None
            waits.append(caught.value.retry_after.total_seconds())
        return waits

    waits = run(story())
    seconds = [int(wait) for wait in waits]
    assert min(seconds) == 1
    # A lane is believed to serve 1,000 a second; the loop's clock goes on a little meanwhile.
    assert max(seconds.count(second) for second in set(seconds)) <= 1_100


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


@given(
    st.lists(
        st.sampled_from([*ONE_OF_EACH, Tick(), PollCommands("n1"), batch(3), batch(40)])
        | st.integers(1, 3),
        max_size=200,
    )
)
def test_nothing_that_was_let_in_is_lost_but_heartbeats(
    steps: list[Message | int],
) -> None:
    """A number in the list takes so often; each request is answered, shed or refused, once."""

    async def story() -> None:
        bounds = Bounds(operators=5, commands=5, reports=5, registrations=5, heartbeats=50)
        inbox = Inbox(bounds)
        waiting: list[tuple[Message, asyncio.Future[list[Answer]]]] = []
        posted = 0
        refused = 0

        async def take() -> None:
            nonlocal posted
            for envelope in await inbox.take():
                if envelope.reply is None:
                    posted -= 1
                else:
                    envelope.reply.set_result([Accepted() for _ in envelope.messages])

        for step in steps:
            if isinstance(step, int):
                for _ in range(step):
                    if len(inbox):
                        await take()
            elif isinstance(step, Tick):
                posted += 1
                inbox.post(step)
            else:
                try:
                    waiting.append((step, inbox.ask([step])))
                except WireError:
                    refused += 1
            for lane in Lane:
                if lane is not Lane.OWN:
                    assert inbox.waiting[lane.name.lower()] <= bounds.of(lane)
        while len(inbox):
            await take()
        assert posted == 0
        assert inbox.refused == refused
        shed = 0
        for message, reply in waiting:
            assert reply.done(), message
            if reply.exception() is not None:
                assert isinstance(message, Heartbeat | HeartbeatBatch)
                shed += len(message.node_ids) if isinstance(message, HeartbeatBatch) else 1
        assert inbox.shed == shed
        assert set(inbox.waiting.values()) == {0}

    run(story())
