"""Agents: the product's own `Duties` on simulated machines, and what happens to them.

An agent here is what the daemon is in life: it performs what the duties say, keeps a record of the
commands it has begun, and dies with its machine. The network between it and the control plane
loses calls and replies, doubles them, and can be cut.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from navarch.agent import turns
from navarch.agent.duties import Duties
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.node import Metadata
from navarch.core.model.report import CheckResult, Health, HealthEvent
from navarch.core.settings import Settings
from navarch.simulator.dice import Dice
from navarch.simulator.faults import AgentPlan
from navarch.simulator.server import Server
from navarch.simulator.timeline import EPOCH, Timeline

CALL_TIMEOUT = timedelta(seconds=10)
"""How long an agent waits for an answer."""

LATENCY_MAX = timedelta(milliseconds=80)
"""The longest way of a call to the control plane, when the network is well."""

WELL = CheckResult("nvml", Health.HEALTHY)
ILL = CheckResult("nvml", Health.UNHEALTHY, "GPU 3 is lost")

DIAGNOSTIC_TIME = timedelta(seconds=90)

SICKNESS_MAX = timedelta(minutes=4)


class Agent:
    """The agent of one machine."""

    def __init__(
        self,
        node_id: str,
        server: Server,
        time: Timeline,
        *,
        dice: Dice,
        plan: AgentPlan,
        settings: Settings,
        is_alive: Callable[[], bool],
        purpose: str,
    ) -> None:
        """Belong to the machine that is there while `is_alive`; `purpose` names its dice."""
        self.node_id = node_id
        self.cut_off = False
        self.executions: dict[str, int] = {}
        """How often each command was carried out."""
        self.healed = False
        self.machine_is_alive = is_alive
        self._server = server
        self._time = time
        self._rolls = dice.stream("agent", purpose)
        self._plan = plan
        self._settings = settings
        self._duties: Duties | None = None
        self._incarnation = 0
        self._frozen_until = EPOCH
        self._sick_until = EPOCH
        self._news: list[HealthEvent] = []
        self._record: dict[str, msg.AckCommand] = {}
        self._wake_at: datetime | None = None
        self.ended = False
        self.is_empty = False
        """Whether nothing runs there any more, since it was drained."""

    @property
    def running(self) -> bool:
        """Whether its process is there, standing still or not."""
        return self._duties is not None and self.machine_is_alive()

    # --- its life --------------------------------------------------------------------------

    def start(self) -> None:
        """Start its process, which knows only what the one before has written down."""
        if self.ended or not self.machine_is_alive():
            return
        self._incarnation += 1
        self._wake_at = None
        self._duties = Duties(
            msg.RegisterNode(self.node_id, metadata=self._description()),
            start=self._time.now,
            spread=self._rolls.fraction(),
            results=self._record,
        )
        self._feed(turns.Tick())

    def _description(self) -> Metadata:
        """What it says about its host: most restarts come with an upgrade."""
        return Metadata(kernel_version=f"6.{self._incarnation}")

    def kill(self) -> None:
        """End its process as ``kill -9`` does; its machine lives on."""
        self._duties = None
        self._incarnation += 1

    def freeze(self, lasts: timedelta) -> None:
        """Let it stand still for a while."""
        self._frozen_until = self._time.now + lasts

    def sicken(self) -> None:
        """Let a GPU misbehave: an event now, and failed checks for a while."""
        self._news.append(HealthEvent("xid", 3, metrics={"xid_code": "79"}))
        self._sick_until = self._time.now + self._rolls.between(timedelta(), SICKNESS_MAX)

    def heal(self) -> None:
        """From now on nothing happens to it any more. A dead process stays dead."""
        self.healed = True
        self.cut_off = False
        self._sick_until = EPOCH
        self._frozen_until = EPOCH

    def draw_fate(self, within: timedelta) -> None:
        """Roll what will happen to it, and when."""
        plan, rolls = self._plan, self._rolls
        fates: tuple[tuple[float, Callable[[], None]], ...] = (
            (plan.killed, self.kill),
            (plan.restarted, self._restart),
            (plan.frozen, lambda: self.freeze(rolls.between(timedelta(), plan.frozen_max))),
            (plan.sick, self.sicken),
        )
        for share, happen in fates:
            if rolls.chance(share):
                self._time.after(rolls.between(timedelta(), within), self._suffer, happen)

    def _suffer(self, happen: Callable[[], None]) -> None:
        if not self.healed and self.running:
            happen()

    def _restart(self) -> None:
        self.kill()
        self._time.after(timedelta(seconds=2), self.start)

    # --- its turns -------------------------------------------------------------------------

    def _feed(self, given: turns.Input) -> None:
        """Give the duties an input and perform what they say, then sleep until they are due."""
        if self._duties is None:
            return
        inputs = [given]
        while inputs and self._duties is not None:
            for output in self._duties.step(inputs.pop(0), self._time.now):
                match output:
                    case turns.Send():
                        self._send(output)
                    case turns.ReadSensors():
                        inputs.append(self._reading(output.checks))
                    case turns.Execute():
                        self._execute(output.order)
                    case turns.Stop():
                        self.kill()
                        self.ended = True
                    case _:
                        pass
        self._sleep()

    def _sleep(self) -> None:
        if self._duties is None:
            return
        now = self._time.now
        due = max(self._duties.next_due(), now)
        if self._wake_at is None or due < self._wake_at or self._wake_at <= now:
            self._wake_at = due
            self._time.after(due - now, self._wake, self._incarnation, due)

    def _wake(self, incarnation: int, due: datetime) -> None:
        if self._wake_at == due:
            self._later(incarnation, turns.Tick())

    def _later(self, incarnation: int, given: turns.Input) -> None:
        """Feed an input of the outer world: not to the dead, and to the frozen when they thaw."""
        if incarnation != self._incarnation or not self.machine_is_alive():
            return
        if self._time.now < self._frozen_until:
            self._time.after(self._frozen_until - self._time.now, self._later, incarnation, given)
            return
        self._feed(given)

    def _reading(self, checks: bool) -> turns.SensorsRead:  # noqa: FBT001 - as in ReadSensors
        news, self._news = tuple(self._news), []
        result = ILL if self._time.now < self._sick_until else WELL
        return turns.SensorsRead(results=(result,) if checks else (), events=news)

    def _execute(self, order: turns.Order) -> None:
        self.executions[order.id] = self.executions.get(order.id, 0) + 1
        self._record[order.id] = msg.AckCommand(
            self.node_id, order.id, CommandState.FAILED, "the agent was restarted while it ran"
        )
        if order.type == CommandType.UNCORDON:
            self.is_empty = False
        durations: dict[str, timedelta] = {
            CommandType.DRAIN: self._plan.drain_time,
            CommandType.RUN_DIAGNOSTIC: DIAGNOSTIC_TIME,
        }
        lasts = durations.get(order.type, timedelta())
        self._time.after(lasts, self._finish, self._incarnation, order)

    def _finish(self, incarnation: int, order: turns.Order) -> None:
        if incarnation == self._incarnation:
            self.is_empty = self.is_empty or order.type == CommandType.DRAIN
            done = turns.CommandFinished(order.id, CommandState.SUCCEEDED, "done")
            self._record[order.id] = msg.AckCommand(
                self.node_id, order.id, done.state, done.message
            )
            self._later(incarnation, done)

    # --- its calls -------------------------------------------------------------------------

    def _send(self, send: turns.Send) -> None:
        fail = partial(self._fail, self._incarnation, send.call)
        if self.cut_off:
            self._time.after(CALL_TIMEOUT, fail, "deadline_exceeded")
            return
        lost = not self.healed and self._rolls.chance(self._plan.calls_lost)
        lost_on_its_way = lost and self._rolls.chance(0.5)
        way = self._rolls.between(timedelta(), LATENCY_MAX)
        if lost:
            self._time.after(CALL_TIMEOUT, fail, "deadline_exceeded")
        if lost_on_its_way:
            return
        reply = _ignore if lost else partial(self._answered, self._incarnation, send)
        self._time.after(way, self._server.receive, send.request, reply)
        if not self.healed and self._rolls.chance(self._plan.calls_doubled):
            self._time.after(10 * way, self._server.receive, send.request, _ignore)

    def _fail(self, incarnation: int, call: int, code: str) -> None:
        self._later(incarnation, turns.CallFailed(call, code))

    def _answered(self, incarnation: int, send: turns.Send, answer: msg.Answer | None) -> None:
        if self.cut_off:  # the reply does not come through either
            self._time.after(CALL_TIMEOUT, self._fail, incarnation, send.call, "deadline_exceeded")
            return
        self._later(incarnation, self._heard(send.call, send.request, answer))

    def _heard(self, call: int, request: turns.Request, answer: msg.Answer | None) -> turns.Input:
        match answer:
            case None:
                return turns.CallFailed(call, "unavailable")
            case msg.Refused():
                return turns.CallFailed(call, answer.code.value, answer.text)
            case msg.HeartbeatAccepted():
                return turns.HeartbeatAnswered(
                    call, answer.commands_pending, self._settings.heartbeat_interval
                )
            case msg.CommandsHanded():
                orders = tuple(turns.Order(c.id, c.type, c.parameters) for c in answer.commands)
                return turns.CommandsReceived(call, orders)
            case msg.Accepted() | msg.CommandAccepted():
                return self._accepted(call, request)
            case _:
                assert_never(answer)

    def _accepted(self, call: int, request: turns.Request) -> turns.Input:
        match request:
            case msg.RegisterNode():
                return turns.RegisterAnswered(
                    call,
                    self._settings.heartbeat_interval,
                    self._settings.health_check_interval,
                    self._settings.enabled_health_checks,
                )
            case msg.ReportHealth():
                return turns.HealthAnswered(call)
            case _:
                return turns.AckAnswered(call)


def _ignore(_answer: msg.Answer | None) -> None:
    """Hear the reply to a call that nobody made."""
