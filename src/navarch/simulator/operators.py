"""Operators: people who ask for things, and ask again until they are answered.

They remember what they were promised. Of a request that got no reply they know nothing, so until
it is answered both the state before it and the wish itself are right; afterwards only the wish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from msgspec import Struct

from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Intent, Phase
from navarch.simulator.dice import Dice
from navarch.simulator.server import Server
from navarch.simulator.timeline import Timeline

RETRY_AFTER = timedelta(seconds=7)
"""How soon somebody who got no answer asks again."""

WISH = "a wish"
"""The reason that they give for everything."""

WISHES: dict[CommandType, frozenset[Intent]] = {
    CommandType.CORDON: frozenset({Intent.CORDONED}),
    CommandType.UNCORDON: frozenset({Intent.IN_SERVICE}),
    CommandType.DRAIN: frozenset({Intent.DRAINING, Intent.DRAINED}),
}

COMMANDS = (
    CommandType.CORDON,
    CommandType.CORDON,
    CommandType.UNCORDON,
    CommandType.DRAIN,
    CommandType.TERMINATE,
    CommandType.RUN_DIAGNOSTIC,
)


class Promise(Struct):
    """What operators were promised about one subject."""

    allowed: frozenset[object]
    """What it may be now; more than one value while a request is unanswered."""
    asking: object = None
    """The request that is unanswered; None when there is none."""


class Operators:
    """Everybody who may ask, one request about one subject at a time."""

    def __init__(self, server: Server, time: Timeline, dice: Dice) -> None:
        """Have nothing promised yet."""
        self.intents: dict[str, Promise] = {}
        """By node."""
        self.targets: dict[str, Promise] = {}
        """By pool."""
        self.pauses: dict[str, Promise] = {}
        """By pool."""
        self.commands: dict[str, str] = {}
        """Accepted commands to their nodes."""
        self.clearings: dict[str, Promise] = {}
        """By node; what is asked here promises nothing."""
        self.condemned: dict[str, None] = {}
        """Nodes that somebody asked to be terminated, answered or not."""
        self.targets_hold = True
        """Whether a target stays as promised: until another configuration may have moved it."""
        self.content = False
        """Whether they have stopped wishing."""
        self._server = server
        self._time = time
        self._rolls = dice.stream("operators")

    # --- wishing ---------------------------------------------------------------------------

    def wish(self) -> None:
        """Ask for something, of whatever there is to ask of."""
        machine = self._server.machine
        if self.content:
            return
        if machine is None or not machine.fleet.pools:
            self._time.after(RETRY_AFTER, self.wish)
            return
        kind = self._rolls.fraction()
        if kind < 0.3:
            self._scale(machine.fleet)
        elif kind < 0.4:
            self._pause(machine.fleet)
        elif kind < 0.46:
            self._clear_one(machine.fleet)
        else:
            self._command(machine.fleet)

    def stop_wishing(self, pools: tuple[str, ...]) -> None:
        """Wish for nothing any more, but that every pool which was paused goes on."""
        self.content = True
        going = frozenset({False})
        self._unpause(
            tuple(
                pool
                for pool in pools
                if (promise := self.pauses.get(pool)) is not None
                and (promise.asking is not None or promise.allowed != going)
            )
        )

    def _unpause(self, pools: tuple[str, ...]) -> None:
        """Let pools go on; where somebody is still asking about one, afterwards."""
        for pool in pools:
            promise = self.pauses.setdefault(pool, Promise(frozenset({False})))
            if promise.asking is not None:
                self._time.after(RETRY_AFTER, self._unpause, (pool,))
            else:
                self._ask(msg.PausePool(pool, paused=False), promise, frozenset({False}))

    def let_repair_try(self, fleet: Fleet) -> None:
        """Look at the pools in which repair is halted, and find that it may try one node."""
        for pool in fleet.pools.values():
            halted = pool.brake_because and not pool.brake_acknowledged
            if halted and pool.brake_half_open_at is None:
                self._unpause((pool.name,))

    def set_aside(self, node_ids: Iterable[str]) -> None:
        """Look at nodes that repair may not help, and find that they are well."""
        for node_id in node_ids:
            self._clear(node_id)

    def refused(self, node_id: str, intent: Intent) -> None:
        """Hear that a wish about a node was taken back, for it does not hold."""
        promise = self.intents.setdefault(node_id, Promise(frozenset({intent})))
        promise.allowed |= {intent} if intent is not Intent.DRAINING else WISHES[CommandType.DRAIN]

    def _clear_one(self, fleet: Fleet) -> None:
        """Set aside what stands against one node, whether that is wise or not."""
        if fleet.ailing:
            self._clear(self._rolls.pick(list(fleet.ailing)))

    def _clear(self, node_id: str) -> None:
        promise = self.clearings.setdefault(node_id, Promise(frozenset()))
        if promise.asking is None:
            self._ask(msg.ClearHealth(node_id, WISH), promise, frozenset())

    def _scale(self, fleet: Fleet) -> None:
        pool = self._rolls.pick(list(fleet.pools.values()))
        target = self._rolls.integer(pool.spec.min_nodes, pool.spec.max_nodes)
        promise = self.targets.setdefault(pool.name, Promise(frozenset({pool.target})))
        if promise.asking is None:
            request = msg.ScalePool(pool.name, target, WISH)
            self._ask(request, promise, frozenset({target}))

    def _pause(self, fleet: Fleet) -> None:
        pool = self._rolls.pick(list(fleet.pools.values()))
        promise = self.pauses.setdefault(pool.name, Promise(frozenset({pool.paused})))
        if promise.asking is None:
            paused = not pool.paused and not pool.brake_because
            request = msg.PausePool(pool.name, paused=paused, reason=WISH)
            self._ask(request, promise, frozenset({paused}))

    def _command(self, fleet: Fleet) -> None:
        nodes = [node for node in fleet.nodes.values() if node.phase is Phase.ACTIVE]
        if not nodes:
            return
        node = self._rolls.pick(nodes)
        kind = self._rolls.pick(COMMANDS)
        promise = self.intents.setdefault(node.id, Promise(frozenset({node.intent})))
        if promise.asking is not None:
            return
        if kind is CommandType.TERMINATE:
            self.condemned[node.id] = None
        request = msg.IssueCommand(node.id, kind, reason=WISH)
        self._ask(request, promise, WISHES.get(kind, promise.allowed))

    def forget(self, node_id: str) -> None:
        """Expect nothing more of a node whose record was kept long enough."""
        promise = self.intents.get(node_id)
        if promise is not None:
            promise.allowed = frozenset(Intent)

    # --- asking ----------------------------------------------------------------------------

    def _ask(self, request: msg.Message, promise: Promise, wished: frozenset[object]) -> None:
        before = promise.allowed
        promise.asking = request
        promise.allowed = before | wished
        self._try(request, partial(self._answered, request, promise, before, wished))

    def _try(self, request: msg.Message, answered: Callable[[msg.Answer], None]) -> None:
        def reply(answer: msg.Answer | None) -> None:
            if answer is None:
                self._time.after(RETRY_AFTER, self._try, request, answered)
            else:
                answered(answer)

        self._server.receive(request, reply)

    def _answered(
        self,
        request: msg.Message,
        promise: Promise,
        before: frozenset[object],
        wished: frozenset[object],
        answer: msg.Answer,
    ) -> None:
        promise.asking = None
        if isinstance(answer, msg.Refused):
            # An earlier try, of which nobody heard, may still have come through.
            promise.allowed = before | wished
            return
        promise.allowed = wished
        if isinstance(request, msg.IssueCommand) and isinstance(answer, msg.CommandAccepted):
            self.commands[answer.command_id] = request.node_id
