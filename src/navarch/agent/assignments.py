"""The commands of one node: which wait, which are under way, and what came of the others.

It is a part of `navarch.agent.duties`, and as pure. Commands that take work down or look at the
machine are carried out one at a time, in their order. Those of `BESIDE` are not: weights take
minutes to come, and nothing else may wait for them. They are carried out beside all others, and
whoever carries them out keeps those of one replica or model in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from navarch.agent.backoff import ANY_TIME
from navarch.agent.turns import CommandFinished, Order
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.messages import AckCommand

RUNNING_AFTER: Final = timedelta(seconds=5)
"""After this time a command is said to be running: most are done before that."""

COMMANDS_MAX: Final = 256
"""Commands known at one time, finished or not: above what a control plane keeps pending."""

BESIDE_MAX: Final = 64
"""Commands under way beside the one that has its turn."""

BESIDE: Final = frozenset(
    {
        CommandType.LOAD_MODEL,
        CommandType.UNLOAD_MODEL,
        CommandType.START_REPLICA,
        CommandType.STOP_REPLICA,
    }
)
"""What does not wait for its turn. Each may be carried out again, and changes nothing then."""


class Assignments:
    """What a node was told, from the poll that brings it to the control plane that has its end."""

    def __init__(
        self, node_id: str, results: Mapping[str, AckCommand], running: Order | None
    ) -> None:
        """Begin with what an earlier run left: results by id, and what is under way."""
        self._node_id = node_id
        self._waiting: dict[str, Order] = {}
        self._underway: dict[str, Order] = {}
        self._running_due: dict[str, datetime] = {}
        self._results: dict[str, AckCommand] = dict(results)
        self._untold: dict[str, None] = {}
        self._last_command = ""
        if running is not None:
            self._underway[running.id] = running

    @property
    def idle(self) -> bool:
        """Whether nothing waits, nothing is under way, and every result was told."""
        return not self._waiting and not self._underway and not self._untold

    def receive(self, order: Order) -> None:
        """Take what a poll has brought; what does not fit is left for the next poll."""
        if order.type == CommandType.TERMINATE:
            self._last_command = order.id
        if order.id in self._results:
            self._untold[order.id] = None
        elif order.id not in self._waiting and order.id not in self._underway and self._has_room():
            self._waiting[order.id] = order

    def begin(self, now: datetime) -> Iterator[Order]:
        """Yield what is to be carried out from now on, the oldest first."""
        beside = sum(order.type in BESIDE for order in self._underway.values())
        in_turn = len(self._underway) - beside
        for order in tuple(self._waiting.values()):
            if order.type in BESIDE:
                if beside >= BESIDE_MAX:
                    continue
                beside += 1
            elif in_turn:
                continue
            else:
                in_turn += 1
            self._underway[order.id] = self._waiting.pop(order.id)
            self._running_due[order.id] = now + RUNNING_AFTER
            yield order

    def finished(self, result: CommandFinished) -> None:
        """Learn what came of a command; told twice it teaches nothing."""
        if self._underway.pop(result.id, None) is None:
            return
        self._running_due.pop(result.id, None)
        self._results[result.id] = AckCommand(
            self._node_id, result.id, result.state, result.message, result.output
        )
        self._untold[result.id] = None

    def to_tell(self) -> Iterator[tuple[datetime, AckCommand]]:
        """Yield the acknowledgements that are owed, and from when on, the most urgent first."""
        if self._untold:
            yield ANY_TIME, self._results[next(iter(self._untold))]
        if self._running_due:
            first = next(iter(self._running_due))  # they came in this order
            yield (
                self._running_due[first],
                AckCommand(self._node_id, first, CommandState.RUNNING),
            )

    def told(self, request: AckCommand) -> bool:
        """Learn that the control plane has a result, or does not want it.

        Returns whether that was the command to end, carried out: then nothing is left to do.
        """
        if request.state is CommandState.RUNNING:
            self._running_due.pop(request.command_id, None)
            return False
        self._untold.pop(request.command_id, None)
        is_end = request.command_id == self._last_command
        return is_end and request.state is CommandState.SUCCEEDED

    def _has_room(self) -> bool:
        """Make room for one more command by forgetting a result that was told; False if none."""
        known = len(self._results) + len(self._waiting) + len(self._underway)
        if known < COMMANDS_MAX:
            return True
        told = next((known for known in self._results if known not in self._untold), None)
        if told is None:
            return False
        del self._results[told]
        return True
