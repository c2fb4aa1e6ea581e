"""The herd: nodes at rest, whose signs of life go in batches.

Once in a heartbeat interval it speaks for all of them, by the message that a relay's batches are
taken in with. Whoever the control plane has something for, or does not know, is woken and speaks
for itself. With `batched` off it says the same one node at a time, and each node's clean report of
its checks too: the journal must come out byte for byte the same, which a test sees.
"""

from __future__ import annotations

from collections.abc import Callable

from navarch.core import health
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Contact, Intent
from navarch.core.model.report import Health
from navarch.core.settings import Settings
from navarch.simulator.server import Server
from navarch.simulator.timeline import Timeline
from navarch.simulator.twin.node import Node


class Herd:
    """Speaks for nodes at rest."""

    def __init__(
        self, server: Server, time: Timeline, settings: Settings, *, batched: bool
    ) -> None:
        """Have nobody at rest."""
        self.members: dict[str, Node] = {}
        """By node, in the order in which they came to rest."""
        self._server = server
        self._time = time
        self._settings = settings
        self._batched = batched
        self._ids: frozenset[str] | None = None

    def begin(self) -> None:
        """Speak from now on."""
        self._time.after(self._settings.heartbeat_interval, self._beat)

    def take(self, node: Node) -> bool:
        """Take a node in, if the control plane waits for nothing from it; say whether it did."""
        machine = self._server.machine
        if machine is None or not self.is_settled(machine.fleet, node.node_id):
            return False
        self.members[node.node_id] = node
        self._ids = None
        return True

    def leave(self, node: Node) -> None:
        """Let a node speak for itself again."""
        self.members.pop(node.node_id, None)
        self._ids = None

    def is_settled(self, fleet: Fleet, node_id: str) -> bool:
        """Whether nothing that a healthy node says can teach anything about this one."""
        node = fleet.nodes.get(node_id)
        return (
            node is not None
            and node.contact is Contact.CONNECTED
            and node.intent is Intent.IN_SERVICE
            and node.health is Health.HEALTHY
            and node_id not in fleet.pending
            and node_id not in fleet.unjudged
            and node_id not in fleet.repairing
            and not health.awaits_report(fleet, node, self._settings, bad=False)
        )

    def rouse_all(self, choose: Callable[[Node], bool] = lambda _node: True) -> None:
        """Wake everybody who is chosen."""
        for node in [node for node in self.members.values() if choose(node)]:
            node.rouse()

    def _beat(self) -> None:
        self._time.after(self._settings.heartbeat_interval, self._beat)
        if not self.members:
            return
        if self._batched:
            if self._ids is None:
                self._ids = frozenset(self.members)
            self._server.receive(msg.HeartbeatBatch(self._ids), self._answered)
            return
        for node_id in sorted(self.members):
            self._speak_for(self.members[node_id])

    def _answered(self, answer: msg.Answer | None) -> None:
        if isinstance(answer, msg.HeartbeatBatchAccepted):
            for node_id in sorted({*answer.commands_pending, *answer.unknown}):
                self._rouse(node_id)

    def _speak_for(self, node: Node) -> None:
        def answered(answer: msg.Answer | None) -> None:
            waits = isinstance(answer, msg.HeartbeatAccepted) and answer.commands_pending
            if waits or isinstance(answer, msg.Refused):
                self._rouse(node.node_id)

        self._server.receive(msg.Heartbeat(node.node_id), answered)
        checks = node.body.checks(self._time.now)
        self._server.receive(msg.ReportHealth(node.node_id, checks), _ignore)

    def _rouse(self, node_id: str) -> None:
        node = self.members.get(node_id)
        if node is not None:
            node.rouse()


def _ignore(_answer: msg.Answer | None) -> None:
    """Hear the reply to a report that says nothing new."""
