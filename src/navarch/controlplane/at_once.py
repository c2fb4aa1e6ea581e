"""Signs of life, taken without the inbox: what the quick way of the wire asks of a control plane.

`navarch.wire.hot` reads a request and words its answer; `navarch.core.signs` says whether it can be
answered between two steps. Here the two meet the clock and the journal: while facts about a node
are on their way to the journal, that node waits like everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from navarch.controlplane.runtime import Runtime
from navarch.core.model import messages as msg
from navarch.core.model.samples import Columns, Readings
from navarch.core.settings import Settings


class AtOnce:
    """Takes signs of life for a control plane that works."""

    def __init__(self, runtime: Runtime, works: Callable[[], bool]) -> None:
        """Mark them in the machine of `runtime`, for as long as it `works`.

        `works` is asked for every sign of life: it must be quick. False as soon as the control
        plane stops, has failed or does not lead any more: then nothing is taken here.
        """
        self._runtime = runtime
        self._works = works

    @property
    def settings(self) -> Settings:
        """What answers are made of."""
        return self._runtime.machine.strategies.settings

    def heartbeat(self, node_id: str, sample: Columns | None) -> bool | None:
        """Take one; say whether commands wait. None: it has to go through a step."""
        if not self._works():
            return None
        runtime = self._runtime
        return runtime.machine.hear(node_id, sample, runtime.clock.now(), runtime.unsettled)

    def serving(self, heartbeat: msg.Heartbeat) -> bool | None:
        """Take one that says what runs on its node. None: it has to go through a step."""
        if not self._works():
            return None
        runtime = self._runtime
        return runtime.machine.hear_serving(heartbeat, runtime.clock.now(), runtime.unsettled)

    def heartbeats(
        self, node_ids: frozenset[str], readings: tuple[Sequence[str], Readings]
    ) -> list[str] | None:
        """Take many; list those for whom commands wait. None: they have to go through a step."""
        if not self._works():
            return None
        runtime = self._runtime
        return runtime.machine.hear_many(node_ids, readings, runtime.clock.now(), runtime.unsettled)

    def poll(self, node_id: str) -> bool:
        """Take a poll for which nothing waits. False: it has to go through a step."""
        if not self._works():
            return False
        runtime = self._runtime
        return runtime.machine.hear_poll(node_id, runtime.clock.now(), runtime.unsettled)
