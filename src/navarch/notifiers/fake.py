"""A workload system in memory that does what a script tells it, and the notifier that tells it.

`FakeWorkloads` is the system: which nodes it has, what runs there, who holds them. `FakeNotifier`
speaks to one; several may speak to the same, as after a restart. Whatever a real system does can be
scripted: refusals, slow answers, answers that are lost after the deed.

Rules that hold:

- Scripted entries are used in the order they were given, one for each call of that kind.
- `FakeWorkloads.calls` is what was heard, the calls that failed included.
- No chance and no clock: time passes only in the `sleep` that is given.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from navarch.errors import ConfigError
from navarch.notifiers import base
from navarch.notifiers.base import (
    DrainStatus,
    NotifierError,
    NotifierUnavailable,
    NotifierUnknownNode,
    Workload,
)

Action: TypeAlias = Literal["cordon", "uncordon", "drain", "drained"]

CALLS_MAX: Final = 100_000
"""How many calls are remembered; the oldest are forgotten first."""


class Call(Struct, frozen=True):
    """One call that was heard."""

    action: Action
    node_id: str
    reason: str = ""
    deadline: datetime | None = None
    intent: int | None = None


class Quirk(Struct, frozen=True, kw_only=True):
    """How one call differs from an ordinary one."""

    error: NotifierError | None = None
    """What comes back instead of agreement."""
    acts: bool = False
    """Whether it is done all the same: an answer that is lost."""
    after: timedelta = timedelta()
    """How long the answer takes."""


class FakeNode(Struct):
    """A node as the workload system sees it."""

    work: int = 0
    """Jobs that run there."""
    held_by: str = ""
    """Who has cordoned it: ``navarch``, anybody else, or nobody when empty."""
    is_draining: bool = False

    @property
    def takes_work(self) -> bool:
        """Whether new jobs are placed on it."""
        return not self.held_by


class FakeWorkloads:
    """A workload system: the truth, for tests to look at and to change."""

    def __init__(
        self, nodes: Iterable[str] | None = None, *, work: int = 0, ends_per_look: int = 1
    ) -> None:
        """Have these nodes, by our ids, each with `work` jobs; None for every node there may be.

        Each time somebody asks about a draining node, `ends_per_look` of its jobs have ended.

        :raises ConfigError: a number is negative
        """
        if work < 0 or ends_per_look < 0:
            raise ConfigError("fake: work and ends_per_look must be 0 or more")
        self.nodes: dict[str, FakeNode] = {}
        self.calls: deque[Call] = deque(maxlen=CALLS_MAX)
        self.quirks: dict[Action, deque[Quirk]] = {}
        self._work = work
        self._ends_per_look = ends_per_look
        self._has_all = nodes is None
        for node_id in nodes or ():
            self.nodes[node_id] = FakeNode(work)

    def script(self, action: Action, *quirks: Quirk) -> None:
        """Have the next calls of this kind differ, one each; the ones after are ordinary."""
        self.quirks.setdefault(action, deque()).extend(quirks)

    def node(self, node_id: str) -> FakeNode:
        """Return a node.

        :raises NotifierUnknownNode: there is none
        """
        if self._has_all and node_id not in self.nodes:
            self.nodes[node_id] = FakeNode(self._work)
        if node_id not in self.nodes:
            raise NotifierUnknownNode(f"fake: there is no node {node_id}")
        return self.nodes[node_id]

    def hear(self, call: Call, name: str) -> None:
        """Do what a call asks for."""
        if call.action == "uncordon":
            if not self._has_all and call.node_id not in self.nodes:
                return
            node = self.node(call.node_id)
            node.is_draining = False
            if node.held_by == name:
                node.held_by = ""
        elif call.action in ("cordon", "drain"):
            node = self.node(call.node_id)
            node.held_by = node.held_by or name
            node.is_draining = node.is_draining or call.action == "drain"

    def look(self, node_id: str) -> DrainStatus:
        """Tell how far a node is emptied, and let its work go on ending."""
        try:
            node = self.node(node_id)
        except NotifierUnknownNode as unknown:
            return DrainStatus(done=True, remaining=0, text=str(unknown))
        left = node.work
        if node.is_draining:
            node.work = max(node.work - self._ends_per_look, 0)
        text = f"{node_id} has {left} jobs and {'takes more' if node.takes_work else 'is held'}"
        return DrainStatus(done=not left and not node.takes_work, remaining=left, text=text)


class FakeNotifier:
    """Tells a `FakeWorkloads`."""

    HOLDER: Final = "navarch"
    """Whose holds ours are, whatever this notifier is called."""

    def __init__(
        self,
        workloads: FakeWorkloads | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout: timedelta = base.TIMEOUT,
        name: str = "fake",
    ) -> None:
        """Speak to `workloads`; by default to one of its own that has every node, without work.

        :raises ConfigError: `timeout` is not above zero
        """
        base.demand_positive(timeout)
        self.name = name
        self.workloads = workloads or FakeWorkloads()
        self.is_closed = False
        self._sleep = sleep
        self._timeout = timeout

    async def cordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Hold the node, unless somebody does."""
        await self._call(Call("cordon", node.node_id, reason, None, intent))

    async def uncordon(self, node: Workload, reason: str, *, intent: int | None = None) -> None:
        """Give back our hold."""
        await self._call(Call("uncordon", node.node_id, reason, None, intent))

    async def drain(
        self,
        node: Workload,
        reason: str,
        deadline: datetime | None,
        *,
        intent: int | None = None,
    ) -> None:
        """Hold the node, and have its work end."""
        await self._call(Call("drain", node.node_id, reason, deadline, intent))

    async def drained(self, node: Workload) -> DrainStatus:
        """Count what is left."""
        await self._call(Call("drained", node.node_id))
        return self.workloads.look(node.node_id)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    async def _call(self, call: Call) -> None:
        self.workloads.calls.append(call)
        waiting = self.workloads.quirks.get(call.action)
        quirk = waiting.popleft() if waiting else Quirk(acts=True)
        if quirk.error is None or quirk.acts:
            self.workloads.hear(call, self.HOLDER)
        if quirk.after:
            within = min(quirk.after, self._timeout)
            await self._sleep(within.total_seconds())
            if quirk.after > self._timeout:
                seconds = f"{self._timeout.total_seconds():g} s"
                raise NotifierUnavailable(f"{self.name}: no answer within {seconds}")
        if quirk.error is not None:
            raise quirk.error
