"""What every notifier must do, as tests that its author can run.

::

    class TestMyScheduler(NotifierContract):
        @pytest.fixture
        def make_notifier(self) -> Callable[[], Notifier]:
            return lambda: MyScheduler(url="...")

The prose of the contract is in `navarch.notifiers.base`; here is the part of it that can be seen
from outside. The control plane relies on each of these tests: a notifier that fails one of them
leaves nodes cordoned for ever, or ends machines under somebody's work.

Rules that hold: the node that is used is idle and takes work, and does so again after each test;
nothing but the protocol is used, so that a double and a real cluster can both be tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar, TypeAlias

import pytest

from navarch.notifiers.base import DrainStatus, Notifier, NotifierUnknownNode, Workload

MakeNotifier: TypeAlias = Callable[[], Notifier]
"""Makes a new notifier for one and the same workload system, inside the running loop."""

REASON = "XID 79 on GPU 3"
DEADLINE = datetime(2100, 1, 1, tzinfo=UTC)


class Telling:
    """One test's dealings with a workload system; gives back afterwards what it has taken."""

    def __init__(self, contract: NotifierContract, make_notifier: MakeNotifier) -> None:
        """Begin with a notifier made for this test."""
        self.contract = contract
        self.node = contract.node
        self._make = make_notifier
        self._made: list[Notifier] = []
        self.notifier = self.another()

    def another(self) -> Notifier:
        """Make one more notifier for the same system, as a control plane that restarts does."""
        self._made.append(self._make())
        return self._made[-1]

    async def wait_until_drained(self) -> DrainStatus:
        """Ask until the node is empty."""
        async with asyncio.timeout(self.contract.patience.total_seconds()):
            while True:
                status = await self.notifier.drained(self.node)
                if status.done:
                    return status
                await asyncio.sleep(0.02)

    async def expect(self, *, takes_work: bool) -> None:
        """Wait until the system itself says so, where the contract knows how to ask it."""
        async with asyncio.timeout(self.contract.patience.total_seconds()):
            while True:
                if await self.contract.takes_work(self.node) in (takes_work, None):
                    return
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Give the node back, and close everything."""
        await self.another().uncordon(self.node, "the test is over")
        await self.expect(takes_work=True)
        for notifier in self._made:
            await notifier.close()


def _telling(
    test: Callable[[NotifierContract, Telling], Awaitable[None]],
) -> Callable[[NotifierContract, MakeNotifier], None]:
    """Make a plain test of an asynchronous one, that leaves the node as it was."""

    async def scenario(contract: NotifierContract, make_notifier: MakeNotifier) -> None:
        telling = Telling(contract, make_notifier)
        try:
            await test(contract, telling)
        finally:
            await telling.end()

    def run(self: NotifierContract, make_notifier: MakeNotifier) -> None:
        asyncio.run(scenario(self, make_notifier))

    run.__name__ = test.__name__
    run.__qualname__ = test.__qualname__
    run.__doc__ = test.__doc__
    return run


class NotifierContract:
    """The contract suite: subclass it and add the fixture `make_notifier` (`MakeNotifier`)."""

    node: ClassVar[Workload] = Workload(
        node_id="contract-1",
        hostname="contract-1",
        internal_ip="10.0.0.1",
        pool="contract",
        provider="fake",
    )
    """A node that the system knows, without work."""

    unknown: ClassVar[Workload] = Workload(node_id="no-such-node", hostname="no-such-node")
    """A node that it does not know."""

    knows_nodes: ClassVar[bool] = True
    """Whether it can tell one from the other. A system that agrees to everything cannot."""

    patience: ClassVar[timedelta] = timedelta(seconds=10)
    """How long the system may take to do what it has agreed to."""

    async def takes_work(self, node: Workload) -> bool | None:
        """Ask the system, past the notifier, whether it places work there; None if you cannot."""
        return None

    @_telling
    async def test_name_is_a_word(self, telling: Telling) -> None:
        """Reasons and logs name the notifier."""
        assert telling.notifier.name.split() == [telling.notifier.name]
        assert isinstance(telling.notifier, Notifier)

    @_telling
    async def test_a_cordoned_node_takes_no_work_until_it_is_given_back(
        self, telling: Telling
    ) -> None:
        """The two are each other's opposite."""
        await telling.expect(takes_work=True)
        await telling.notifier.cordon(telling.node, REASON)
        await telling.expect(takes_work=False)
        await telling.notifier.uncordon(telling.node, "repaired")
        await telling.expect(takes_work=True)

    @_telling
    async def test_every_call_may_be_repeated(self, telling: Telling) -> None:
        """The control plane repeats what it is not sure of, with the same intent."""
        for intent in (1, 1):
            await telling.notifier.cordon(telling.node, REASON, intent=intent)
        for intent in (2, 2):
            await telling.notifier.drain(telling.node, REASON, DEADLINE, intent=intent)
        await telling.expect(takes_work=False)
        for intent in (3, 3):
            await telling.notifier.uncordon(telling.node, "repaired", intent=intent)
        await telling.expect(takes_work=True)

    @_telling
    async def test_the_same_wish_is_heard_again_after_the_opposite(self, telling: Telling) -> None:
        """A system that remembers deliveries must not take a new wish for an old one."""
        for _ in range(2):
            await telling.notifier.cordon(telling.node, REASON)
            await telling.expect(takes_work=False)
            await telling.notifier.uncordon(telling.node, "repaired")
            await telling.expect(takes_work=True)

    @_telling
    async def test_giving_back_what_was_not_taken_is_quiet(self, telling: Telling) -> None:
        """An intent that is rolled back may never have arrived."""
        await telling.notifier.uncordon(telling.node, "never cordoned")
        await telling.expect(takes_work=True)

    @_telling
    async def test_an_idle_node_is_drained(self, telling: Telling) -> None:
        """What is done is said with words, and nothing remains."""
        await telling.notifier.drain(telling.node, REASON, DEADLINE)
        status = await telling.wait_until_drained()
        assert status.remaining in (0, None)
        assert status.text
        assert (await telling.notifier.drained(telling.node)).done
        await telling.expect(takes_work=False)

    @_telling
    async def test_a_drain_without_a_deadline_is_a_drain(self, telling: Telling) -> None:
        """None means that we wait for ever."""
        await telling.notifier.drain(telling.node, REASON, None)
        assert (await telling.wait_until_drained()).done

    @_telling
    async def test_a_cordoned_node_can_be_drained(self, telling: Telling) -> None:
        """As repair does it: first cordon, then drain; one uncordon ends both."""
        await telling.notifier.cordon(telling.node, REASON)
        await telling.notifier.drain(telling.node, REASON, DEADLINE)
        await telling.wait_until_drained()
        await telling.notifier.uncordon(telling.node, "not needed after all")
        await telling.expect(takes_work=True)

    @_telling
    async def test_what_was_taken_before_a_restart_is_given_back_after_it(
        self, telling: Telling
    ) -> None:
        """What is held is known to the system, not to the notifier."""
        await telling.notifier.drain(telling.node, REASON, DEADLINE)
        after = telling.another()
        await after.drained(telling.node)
        await after.uncordon(telling.node, "repaired")
        await telling.expect(takes_work=True)

    @_telling
    async def test_a_node_that_is_not_known_has_no_work(self, telling: Telling) -> None:
        """The control plane goes on without the system."""
        if self.knows_nodes:
            with pytest.raises(NotifierUnknownNode):
                await telling.notifier.cordon(self.unknown, REASON)
            with pytest.raises(NotifierUnknownNode):
                await telling.notifier.drain(self.unknown, REASON, DEADLINE)
        status = await telling.notifier.drained(self.unknown)
        assert status.done
        assert status.text
        await telling.notifier.uncordon(self.unknown, "rolled back")

    @pytest.mark.parametrize(
        "reason",
        ["", "two\nlines", "\"a' = $(b); `c` | d\\ [e] {f} <g> & *", "Größe 八", "x" * 5_000],
    )
    def test_any_reason_is_taken(self, make_notifier: MakeNotifier, reason: str) -> None:
        """Reasons are written by people."""

        async def test(_contract: NotifierContract, telling: Telling) -> None:
            for _ in range(2):
                await telling.notifier.cordon(telling.node, reason)
                await telling.notifier.drain(telling.node, reason, DEADLINE)
            await telling.expect(takes_work=False)
            await telling.notifier.uncordon(telling.node, reason)
            await telling.expect(takes_work=True)

        _telling(test)(self, make_notifier)

    @_telling
    async def test_a_call_that_is_cancelled_ends_and_can_be_repeated(
        self, telling: Telling
    ) -> None:
        """The control plane stops in the middle of anything."""
        for turns in range(6):
            call = asyncio.ensure_future(telling.notifier.cordon(telling.node, REASON))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            async with asyncio.timeout(self.patience.total_seconds()):
                await asyncio.wait([call])
            assert call.cancelled() or call.exception() is None
        await telling.notifier.cordon(telling.node, REASON)
        await telling.expect(takes_work=False)

    @_telling
    async def test_calls_at_the_same_time_do_not_disturb_each_other(self, telling: Telling) -> None:
        """Many nodes are drained at once, and a wish may overtake its own repetition."""
        calls = [telling.notifier.cordon(telling.node, REASON) for _ in range(4)]
        await asyncio.gather(*calls)
        statuses = await asyncio.gather(
            *[telling.notifier.drained(telling.node) for _ in range(4)],
            telling.notifier.drained(self.unknown),
        )
        assert statuses[-1].done
        await telling.expect(takes_work=False)

    @_telling
    async def test_closing_twice_is_closing_once(self, telling: Telling) -> None:
        """Whoever cleans up need not know what was cleaned up before."""
        other = telling.another()
        await other.cordon(telling.node, REASON)
        await other.close()
        await other.close()
        await telling.expect(takes_work=False)
