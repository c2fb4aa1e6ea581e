"""Agents: the product's own `Duties` on simulated machines, and what happens to them.

An agent here is what the daemon is in life: it performs what the duties say, keeps a record of the
commands it has begun and of the reports that were not taken, and dies with its machine. What lies
between it and the control plane is its `Link`.
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
from navarch.core.model.gpu import GPU
from navarch.core.model.node import Metadata
from navarch.simulator.conduct import Behaviour
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.faults import Plan
from navarch.simulator.hardware import Hardware, Kind
from navarch.simulator.incidents import Incident, ailment
from navarch.simulator.links import Link
from navarch.simulator.markets import MINUTE, SECOND, ZERO
from navarch.simulator.policies import ACTIONS
from navarch.simulator.server import Server
from navarch.simulator.timeline import EPOCH, Timeline

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
        self.executions: dict[str, int] = {}
        """How often each command was carried out."""
        self.healed = False
        self.hardware = hardware
        self.machine_is_alive = is_alive
        self.behaviour = Behaviour(hardware, dice, purpose)
        self._happened = dice.happened
        self._conduct = plan.conduct
        self._kept: tuple[msg.ReportHealth, ...] = ()
        self._ahead = ZERO
        self._time = time
        self._rolls = dice.stream("agent", purpose)
        self.link = Link(server, time, plan.agents, dice=dice, rolls=self._rolls, purpose=purpose)
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
    def cut_off(self) -> bool:
        """Whether nothing comes through between it and the control plane."""
        return self.link.cut_off

    @cut_off.setter
    def cut_off(self, value: bool) -> None:
        self.link.cut_off = value

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
        self._ahead = self.behaviour.wall(self._time.now) - self._time.now
        if self._kept:
            self._happened[Incident.REPORTED_AGAIN] += 1
        self._duties = Duties(
            self._registration(),
            start=self._time.now + self._ahead,
            spread=self._rolls.fraction(),
            results=self._record,
            reports=self._kept,
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
            self._happened[ailment(kind)] += 1
            self.hardware.fall_ill(kind, self._time.now, lasts, verdict=verdict, gpu=gpu)

    def notice(self, deadline: datetime) -> None:
        """Let its seller say when the machine will be gone."""
        event = self.hardware.notice(deadline, self._time.now)
        self._later(self._incarnation, turns.EventsSensed((event,)))

    def heal(self) -> None:
        """From now on nothing happens to it any more. A dead process stays dead."""
        self.healed = True
        self.link.heal()
        self.hardware.heal()
        self.behaviour.heal()
        self._frozen_until = EPOCH
        if self._stuck is not None:
            incarnation, order = self._stuck
            self._time.after(self._plan.drain_time, self._give_up, incarnation, order)

    def draw_fate(self, within: timedelta) -> None:
        """Roll what will happen to it, and when."""
        plan, rolls = self._plan, self._rolls
        fates: tuple[tuple[float, Callable[[], None], Incident | None], ...] = (
            (plan.killed, self.kill, Incident.KILLED),
            (plan.restarted, self._restart, Incident.RESTARTED),
            (
                plan.frozen,
                lambda: self.freeze(rolls.between(timedelta(), plan.frozen_max)),
                Incident.FROZEN,
            ),
            (plan.sick, self.sicken, None),
        )
        for share, happen, what in fates:
            if rolls.chance(share):
                self._time.after(rolls.between(timedelta(), within), self._suffer, happen, what)

    def draw_conduct(self, rolls: Stream, within: timedelta) -> None:
        """Roll how it will misbehave, and when."""
        plan, behaviour = self._conduct, self.behaviour
        if rolls.chance(plan.clock_off):
            behaviour.set_clock(Incident.CLOCK_OFF, rolls)

        def flap() -> None:
            down = rolls.between(2 * SECOND, 2.5 * MINUTE)
            self._go_down(rolls.integer(2, plan.flaps_max), down, rolls.between(down / 4, MINUTE))

        fates: tuple[tuple[float, Callable[[], None], Incident | None], ...] = (
            (plan.flapping, flap, Incident.FLAPPING),
            (
                plan.lying,
                lambda: behaviour.lie(self._time.now + rolls.between(MINUTE, plan.lies_max)),
                None,
            ),
            (
                plan.clock_jumps,
                lambda: behaviour.set_clock(Incident.CLOCK_JUMPS, rolls),
                None,
            ),
            (plan.clock_drifts, lambda: behaviour.let_drift(self._time.now, rolls), None),
            (plan.redescribed, self._change, Incident.REDESCRIBED),
            (
                plan.disk_full,
                lambda: self._fill_disk(rolls.between(SECOND, plan.disk_full_max)),
                Incident.ITS_DISK_FULL,
            ),
        )
        for share, happen, what in fates:
            if rolls.chance(share):
                self._time.after(rolls.between(timedelta(), within), self._suffer, happen, what)

    def draw_ailments(self, rolls: Stream, within: timedelta) -> None:
        """Roll what will ail its machine, and when."""
        plan = self._sickness
        for kind, likely in plan.ailments:
            if rolls.chance(likely):
                begins = rolls.between(timedelta(), within)
                lasts = rolls.between(timedelta(minutes=1), plan.lasts_max)
                verdict = rolls.pick(VERDICTS) if rolls.chance(plan.verdict_share) else ""
                self._time.after(begins, partial(self.suffer, kind, lasts, verdict=verdict))

    def _suffer(self, happen: Callable[[], None], what: Incident | None) -> None:
        if not self.healed and self.running:
            happen()
            if what is not None:
                self._happened[what] += 1

    def _restart(self) -> None:
        self.kill()
        self._time.after(timedelta(seconds=2), self.start)

    def _go_down(self, times: int, down: timedelta, up: timedelta) -> None:
        """Let its process go, and come again, so many times."""
        if times and not self.healed and self.running:
            self.kill()
            self._time.after(down, self._go_up, times - 1, down, up)

    def _go_up(self, times: int, down: timedelta, up: timedelta) -> None:
        if not self.running:
            self.start()
        self._time.after(up, self._go_down, times, down, up)

    def _change(self) -> None:
        """Let it find another GPU in its machine, and say so; without any, a newer kernel."""
        if not self.hardware.gpus:
            self._restart()
            return
        first, *others = self.hardware.gpus
        changed = GPU(first.index, f"{first.uuid}+")
        self.hardware.gpus = (changed, *others)
        found = turns.BootChecked(
            passed=True, because="a GPU was exchanged", gpus=self.hardware.gpus
        )
        self._later(self._incarnation, found)

    def _fill_disk(self, lasts: timedelta) -> None:
        self.behaviour.disk_is_full = True
        self._time.after(lasts, self._free_disk)

    def _free_disk(self) -> None:
        self.behaviour.disk_is_full = False

    # --- its turns -------------------------------------------------------------------------

    def _feed(self, given: turns.Input) -> None:
        """Give the duties an input and perform what they say, then sleep until they are due."""
        if self._duties is None:
            return
        inputs = [given]
        while inputs and self._duties is not None:
            for output in self._duties.step(inputs.pop(0), self._time.now + self._ahead):
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
                    case turns.KeepReports() if not self.behaviour.disk_is_full:
                        self._kept = output.reports
                    case _:
                        pass
        self._sleep()

    def _sleep(self) -> None:
        if self._duties is None:
            return
        now = self._time.now
        due = max(self._duties.next_due() - self._ahead, now)
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
        results = self.hardware.checks(now) if checks else ()
        return self.behaviour.told(turns.SensorsRead(results=results, events=events), now)

    def _write_down(self, result: msg.AckCommand) -> bool:
        """Keep what came of a command for the next run; whether there was room for it."""
        if not self.behaviour.disk_is_full:
            self._record[result.command_id] = result
        return not self.behaviour.disk_is_full

    def _execute(self, order: turns.Order) -> None:
        begun = msg.AckCommand(
            self.node_id, order.id, CommandState.FAILED, "the agent was restarted while it ran"
        )
        if not self._write_down(begun):
            text = "not begun, for that could not be recorded"
            done = turns.CommandFinished(order.id, CommandState.FAILED, text)
            self._time.after(ZERO, self._later, self._incarnation, done)
            return
        self.executions[order.id] = self.executions.get(order.id, 0) + 1
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
        is_stuck = not self.healed and self._obedience.chance(self._sickness.stuck_drains)
        self._happened[Incident.DRAIN_STUCK] += is_stuck
        return is_stuck

    # --- repairs ---------------------------------------------------------------------------

    def _treat(self, order: turns.Order) -> None:
        """Reset or reboot, or refuse to, or fail to, or never be heard of again."""
        plan = self._sickness
        roll = math.inf if self.healed else self._obedience.fraction()
        if roll < plan.refuses:
            self._happened[Incident.REPAIR_REFUSED] += 1
            self._settle(order, CommandState.REFUSED, "it is not allowed here")
        elif (roll := roll - plan.refuses) < plan.fails:
            self._happened[Incident.REPAIR_FAILED] += 1
            self._settle(order, CommandState.FAILED, "a process holds the GPU")
        elif roll - plan.fails < plan.hangs:
            self._happened[Incident.REPAIR_HANGS] += 1
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
        self._write_down(msg.AckCommand(self.node_id, order.id, state, text))
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
        if self.behaviour.disk_is_full:
            self._settle(order, CommandState.FAILED, "not begun, for that could not be recorded")
            return
        self.kill()
        if not self.healed and self._obedience.chance(self._sickness.lost_in_reboot):
            self._happened[Incident.LOST_IN_REBOOT] += 1
            return
        lasts = self._obedience.between(REBOOT_MIN, max(self._sickness.reboot_max, REBOOT_MIN))
        self._time.after(lasts, self._come_up, self._incarnation, order)

    def _come_up(self, incarnation: int, order: turns.Order) -> None:
        if incarnation != self._incarnation:
            return  # somebody has started it before
        self.hardware.treat(Remedy.REBOOT)
        state, text = CommandState.SUCCEEDED, "rebooted: another boot id"
        if self._write_down(msg.AckCommand(self.node_id, order.id, state, text)):
            self.start()
        else:  # an agent that cannot settle what it has begun does not start
            self._time.after(10 * SECOND, self._come_up, incarnation, order)

    def _finish(self, incarnation: int, order: turns.Order) -> None:
        if incarnation == self._incarnation:
            self.is_empty = self.is_empty or order.type == CommandType.DRAIN
            done = turns.CommandFinished(order.id, CommandState.SUCCEEDED, "done")
            self._write_down(msg.AckCommand(self.node_id, order.id, done.state, done.message))
            self._later(incarnation, done)

    # --- its calls -------------------------------------------------------------------------

    def _send(self, send: turns.Send) -> None:
        heard = partial(self._answered, self._incarnation, send)
        self.link.call(send.request, heard, partial(self._fail, self._incarnation, send.call))

    def _fail(self, incarnation: int, call: int, code: str) -> None:
        self._later(incarnation, turns.CallFailed(call, code))

    def _answered(self, incarnation: int, send: turns.Send, answer: msg.Answer | None) -> None:
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
            case (
                msg.Accepted()
                | msg.CommandAccepted()
                | msg.HeartbeatBatchAccepted()
                | msg.ResourcesApplied()
            ):
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
