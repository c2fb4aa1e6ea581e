"""Links: how the calls of one agent come through to the control plane, and their answers back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from navarch.agent import turns
from navarch.core.model import messages as msg
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.faults import AgentPlan
from navarch.simulator.incidents import Incident
from navarch.simulator.markets import ZERO
from navarch.simulator.networks import CALM, NOWHERE, Network, Place, Way
from navarch.simulator.server import Reply, Server
from navarch.simulator.timeline import Timeline

CALL_TIMEOUT = timedelta(seconds=10)
"""How long an agent waits for an answer."""

LATENCY_MAX = timedelta(milliseconds=80)
"""The longest way of a call to the control plane, when the network is well."""

GAVE_UP = "deadline_exceeded"


class Link:
    """What lies between one agent and the control plane."""

    def __init__(
        self,
        server: Server,
        time: Timeline,
        plan: AgentPlan,
        *,
        dice: Dice,
        rolls: Stream,
        purpose: str,
    ) -> None:
        """Stand nowhere, in a network in which nothing goes wrong but what `plan` says.

        `rolls` are the agent's own dice, and `purpose` names those for delays.
        """
        self.cut_off = False
        self.healed = False
        self.place: Place = NOWHERE
        self.network = Network(CALM, dice)
        self._server = server
        self._time = time
        self._plan = plan
        self._rolls = rolls
        self._delay_rolls = dice.stream("delays", purpose)
        self._happened = dice.happened
        self._sent = self._newest = 0

    def settle(self, place: Place, network: Network) -> None:
        """Stand there."""
        self.place, self.network = place, network

    def heal(self) -> None:
        """Carry everything from now on."""
        self.healed = True
        self.cut_off = False

    def call(
        self,
        request: turns.Request,
        heard: Callable[[msg.Answer | None], None],
        failed: Callable[[str], None],
    ) -> None:
        """Make a call: `heard` takes its answer, or `failed` hears why there is none."""
        if self.cut_off or not self.network.carries(self.place, Way.UP):
            self._time.after(CALL_TIMEOUT, failed, GAVE_UP)
            return
        lost = not self.healed and self._rolls.chance(self._plan.calls_lost)
        lost_on_its_way = lost and self._rolls.chance(0.5)
        way = self._rolls.between(timedelta(), LATENCY_MAX)
        there = back = ZERO
        if self.network.is_slow:
            there, back = (self.network.delay(self._delay_rolls) for _ in range(2))
        too_late = there + back >= CALL_TIMEOUT
        if lost or too_late:
            self._time.after(CALL_TIMEOUT, failed, GAVE_UP)
        if lost_on_its_way:
            self._happened[Incident.REQUEST_LOST] += 1
            return
        self._happened[Incident.ANSWER_LOST] += lost
        reply = _ignore if lost or too_late else partial(self._reply, back, heard, failed)
        self._sent += 1
        self._time.after(way + there, self._arrive, self._sent, request, reply)
        if not self.healed and self._rolls.chance(self._plan.calls_doubled):
            self._happened[Incident.DOUBLED] += 1
            self._time.after(10 * way, self._arrive, self._sent, request, _ignore)

    def _arrive(self, number: int, request: turns.Request, reply: Reply) -> None:
        self._happened[Incident.OVERTAKEN] += number < self._newest
        self._newest = max(self._newest, number)
        self._server.receive(request, reply)

    def _reply(
        self,
        back: timedelta,
        heard: Callable[[msg.Answer | None], None],
        failed: Callable[[str], None],
        answer: msg.Answer | None,
    ) -> None:
        if self.cut_off or not self.network.carries(self.place, Way.DOWN):
            self._time.after(CALL_TIMEOUT, failed, GAVE_UP)
        elif back and answer is not None:
            self._time.after(back, heard, answer)
        else:
            heard(answer)


def _ignore(_answer: msg.Answer | None) -> None:
    """Hear the reply to a call that nobody made."""
