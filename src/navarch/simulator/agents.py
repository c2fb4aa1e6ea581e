"""Agents: the product's own `Duties` on simulated machines, and what happens to them.

An agent here is what the daemon is in life: it performs what the duties say, keeps a record of the
commands it has begun, and dies with its machine. The network between it and the control plane
loses calls and replies, doubles them, and can be cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import assert_never

from navarch.agent import turns
from navarch.agent.duties import Duties
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandState, CommandType
from navarch.core.model.finding import Remedy
from navarch.core.model.node import Metadata
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.faults import Plan
from navarch.simulator.hardware import Hardware, Kind
from navarch.simulator.policies import ACTIONS
from navarch.simulator.server import Server
from navarch.simulator.timeline import EPOCH, Timeline

CALL_TIMEOUT = timedelta(seconds=10)
"""How long an agent waits for an answer."""

LATENCY_MAX = timedelta(milliseconds=80)
"""The longest way of a call to the control plane, when the network is well."""

DIAGNOSTIC_TIME = timedelta(seconds=90)

RESET_TIME = timedelta(seconds=10)

GOING_DOWN = timedelta(seconds=3)
"""How long an agent lives on after it was told to reboot its machine."""

REBOOT_MIN = timedelta(seconds=20)

SICKNESS_MAX = timedelta(minutes=4)

VERDICTS = ("None", "None", *ACTIONS)
"""What drivers say of an error; most of all that it has settled."""

TREATMENTS = {CommandType.GPU_RESET: Remedy.RESET_GPU, CommandType.REBOOT: Remedy.REBOOT}


class Agent:
    """The agent of one machine."""

    def __init__(
        self,
        node_id: str,
        server: Server,
        time: Timeline,
        *,
        dice: Dice,
        plan: Plan,
        hardware: Hardware,
        is_alive: Callable[[], bool],
        purpose: str,
    ) -> None:
        """Belong to the machine that is there while `is_alive`; `purpose` names its dice."""
        self.node_id = node_id
        self.cut_off = False
        self.executions: dict[str, int] = {}
        """How often each command was carried out."""
        self.healed = False
        self.hardware = hardware
        self.machine_is_alive = is_alive
        self._server = server
        self._time = time
        self._rolls = dice.stream("agent", purpose)
        self._obedience = dice.stream("obedience", purpose)
        self._plan = plan.agents
        self._sickness = plan.sickness
        self._settings = plan.settings
        self._duties: Duties | None = None
        self._incarnation = 0
        self._frozen_until = EPOCH
        self._record: dict[str, msg.AckCommand] = {}
        self._wake_at: datetime | None = None
        self._stuck: tuple[int, turns.Order] | None = None
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
            self._registration(),
            start=self._time.now,
            spread=self._rolls.fraction(),
            results=self._record,
        )
        self._feed(turns.Tick())

    def _registration(self) -> msg.RegisterNode:
        """What it says about its machine: the control plane knows the rest, for it bought it."""
        return msg.RegisterNode(self.node_id, gpus=self.hardware.gpus, metadata=self._description())

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
        lasts = self._rolls.between(timedelta(), SICKNESS_MAX)
        self.hardware.fall_ill(Kind.STRANGE, self._time.now, timedelta(seconds=31), gpu=0)
        self.hardware.fall_ill(Kind.MISSING, self._time.now, lasts, gpu=0)

    def suffer(self, kind: Kind, lasts: timedelta, *, verdict: str = "", gpu: int = -1) -> None:
        """Let something ail its machine, unless that is over."""
        if not self.healed and self.machine_is_alive():
            self.hardware.fall_ill(kind, self._time.now, lasts, verdict=verdict, gpu=gpu)

    def notice(self, deadline: datetime) -> None:
        """Let its seller say when the machine will be gone."""
        event = self.hardware.notice(deadline, self._time.now)
        self._later(self._incarnation, turns.EventsSensed((event,)))

    def heal(self) -> None:
        """From now on nothing happens to it any more. A dead process stays dead."""
        self.healed = True
        self.cut_off = False
        self.hardware.heal()
        self._frozen_until = EPOCH
        if self._stuck is not None:
            incarnation, order = self._stuck
            self._time.after(self._plan.drain_time, self._give_up, incarnation, order)

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

    def draw_ailments(self, rolls: Stream, within: timedelta) -> None:
        """Roll what will ail its machine, and when."""
        plan = self._sickness
        for kind, likely in plan.ailments:
            if rolls.chance(likely):
                begins = rolls.between(timedelta(), within)
                lasts = rolls.between(timedelta(minutes=1), plan.lasts_max)
                verdict = rolls.pick(VERDICTS) if rolls.chance(plan.verdict_share) else ""
                self._time.after(begins, partial(self.suffer, kind, lasts, verdict=verdict))

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
        now = self._time.now
        events = self.hardware.events(now)
        return turns.SensorsRead(results=self.hardware.checks(now) if checks else (), events=events)

    def _execute(self, order: turns.Order) -> None:
        self.executions[order.id] = self.executions.get(order.id, 0) + 1
        self._record[order.id] = msg.AckCommand(
            self.node_id, order.id, CommandState.FAILED, "the agent was restarted while it ran"
        )
        if order.type == CommandType.UNCORDON:
            self.is_empty = False
        if order.type in TREATMENTS:
            self._treat(order)
            return
        if order.type == CommandType.DRAIN and self._work_is_stuck():
            self._stuck = (self._incarnation, order)
            return
        durations: dict[str, timedelta] = {
            CommandType.DRAIN: self._plan.drain_time,
            CommandType.RUN_DIAGNOSTIC: DIAGNOSTIC_TIME,
        }
        lasts = durations.get(order.type, timedelta())
        self._time.after(lasts, self._finish, self._incarnation, order)

    def _work_is_stuck(self) -> bool:
        """Roll whether a drain does not end; nothing else is carried out while it goes on."""
        return not self.healed and self._obedience.chance(self._sickness.stuck_drains)

    # --- repairs ---------------------------------------------------------------------------

    def _treat(self, order: turns.Order) -> None:
        """Reset or reboot, or refuse to, or fail to, or never be heard of again."""
        plan = self._sickness
        roll = math.inf if self.healed else self._obedience.fraction()
        if roll < plan.refuses:
            self._settle(order, CommandState.REFUSED, "it is not allowed here")
        elif (roll := roll - plan.refuses) < plan.fails:
            self._settle(order, CommandState.FAILED, "a process holds the GPU")
        elif roll - plan.fails < plan.hangs:
            self._stuck = (self._incarnation, order)
        elif order.type == CommandType.REBOOT:
            self._time.after(GOING_DOWN, self._reboot, self._incarnation, order)
        else:
            self._time.after(RESET_TIME, self._reset, self._incarnation, order)

    def _give_up(self, incarnation: int, order: turns.Order) -> None:
        """End at last what hung while faults happened."""
        if order.type == CommandType.DRAIN:
            self._finish(incarnation, order)
        elif incarnation == self._incarnation:
            self._settle(order, CommandState.FAILED, "given up")

    def _settle(self, order: turns.Order, state: CommandState, text: str) -> None:
        self._record[order.id] = msg.AckCommand(self.node_id, order.id, state, text)
        done = turns.CommandFinished(order.id, state, text)
        self._time.after(timedelta(seconds=1), self._later, self._incarnation, done)

    def _reset(self, incarnation: int, order: turns.Order) -> None:
        if incarnation == self._incarnation and self.machine_is_alive():
            gpu = order.parameters.get("gpu", "all")
            self.hardware.treat(Remedy.RESET_GPU, None if gpu == "all" else int(gpu))
            self._settle(order, CommandState.SUCCEEDED, f"GPU {gpu} was reset")

    def _reboot(self, incarnation: int, order: turns.Order) -> None:
        """Go down, and come up again later, if at all: the record tells that it happened."""
        if incarnation != self._incarnation or not self.machine_is_alive():
            return
        self.kill()
        if not self.healed and self._obedience.chance(self._sickness.lost_in_reboot):
            return
        lasts = self._obedience.between(REBOOT_MIN, max(self._sickness.reboot_max, REBOOT_MIN))
        self._time.after(lasts, self._come_up, self._incarnation, order)

    def _come_up(self, incarnation: int, order: turns.Order) -> None:
        if incarnation != self._incarnation:
            return  # somebody has started it before
        self.hardware.treat(Remedy.REBOOT)
        state, text = CommandState.SUCCEEDED, "rebooted: another boot id"
        self._record[order.id] = msg.AckCommand(self.node_id, order.id, state, text)
        self.start()

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
            case msg.Accepted() | msg.CommandAccepted() | msg.HeartbeatBatchAccepted():
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
