"""A node of a twin: the product's agent on hardware with faults, at rest most of the time.

A node is *at rest* while its agent owes nothing but signs of life, its hardware has nothing to say,
its network is well and the control plane waits for nothing from it. Nothing that such a node says
teaches anything, so it sleeps until something happens, and the herd speaks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from navarch.agent import turns
from navarch.core.model import messages as msg
from navarch.core.model.gpu import GPU
from navarch.core.model.node import Metadata
from navarch.core.model.report import HealthEvent
from navarch.simulator.agents import Agent
from navarch.simulator.dice import Dice, Stream
from navarch.simulator.faults import Plan
from navarch.simulator.links import CALL_TIMEOUT
from navarch.simulator.server import Server
from navarch.simulator.timeline import Timeline
from navarch.simulator.twin.blueprint import Owned
from navarch.simulator.twin.faults import SENSED, Fault, FaultKind
from navarch.simulator.twin.hardware import Body
from navarch.simulator.twin.network import PLAIN, Quality, Wires, way

NOTICED_AFTER = timedelta(seconds=1)
"""How soon the sensors notice what happens: a sensor of the kernel's log reads it at once."""


FOR_EVER = timedelta(days=3650)
"""Longer than any run."""

FLAP_MIN = timedelta(seconds=2)
"""No host goes down and comes up again faster."""


class Resting(Protocol):
    """Who looks after nodes at rest."""

    def take(self, node: Node) -> bool:
        """Take a node in, if the control plane waits for nothing from it; say whether it did."""
        ...

    def leave(self, node: Node) -> None:
        """Let a node speak for itself again."""
        ...


class Surroundings(Struct, frozen=True):
    """What a node lives in."""

    server: Server
    time: Timeline
    dice: Dice
    plan: Plan
    herd: Resting
    wires: Wires
    stopped: Callable[[str, str], None]
    """Hears of a node whose work was ended, and by what."""


class Node(Agent):
    """One node, its agent and its hardware."""

    body: Body

    def __init__(
        self,
        described: Owned,
        around: Surroundings,
        *,
        is_alive: Callable[[], bool],
        ref: str,
        pool: str = "",
    ) -> None:
        """Belong to the machine that is there while `is_alive`; `ref` is the cloud's id of it."""
        gpus = tuple(
            GPU(index, f"GPU-{ref}-{index}", described.gpu_type) for index in range(described.gpus)
        )
        self._has_left = False
        self._around = around
        self._drift = timedelta()
        self._flaps = 0
        """Which time it flaps, so that being put right ends it."""
        self._flaps_until: datetime | None = None
        self._network_rolls: Stream | None = None
        self.body = Body(gpus, around.dice.stream("hardware", ref))
        super().__init__(
            described.id,
            around.server,
            around.time,
            dice=around.dice,
            plan=around.plan,
            hardware=self.body,
            is_alive=lambda: not self._has_left and is_alive(),
            purpose=ref,
        )
        self.described = described
        self.ref = ref
        self.pool = pool
        """Empty for a node that nobody bought."""
        self.resting = False
        self._herd = around.herd
        self._is_bought = bool(pool)

    @property
    def has_started(self) -> bool:
        """Whether its agent has ever run."""
        return self._incarnation > 0

    @property
    def is_frozen(self) -> bool:
        """Whether its agent stands still."""
        return self._time.now < self._frozen_until

    @property
    def flaps(self) -> bool:
        """Whether its host goes down and up again."""
        return self._flaps_until is not None and self._time.now < self._flaps_until

    # --- what happens to it --------------------------------------------------------------------

    def afflict(self, fault: Fault) -> None:
        """Let something go wrong with it now; what has ended suffers nothing."""
        if not self.machine_is_alive():
            return
        if fault.kind is FaultKind.NETWORK:
            self.part(fault.lasts)
        elif fault.kind is FaultKind.CRASH:
            self.crash(fault.lasts)
        elif fault.kind is FaultKind.FREEZE:
            self.stand_still(fault.lasts)
        elif fault.kind is FaultKind.FLAP:
            self.flap(fault.every, fault.lasts)
        elif fault.kind is FaultKind.DRIFT:
            self.drift(fault.drift, fault.lasts)
        elif fault.kind is FaultKind.REREGISTER:
            self._restart()
        elif fault.kind in SENSED:
            self.body.afflict(fault, self._time.now)
            self._time.after(NOTICED_AFTER, self._notice, self._incarnation)
            if fault.lasts is not None:
                self._time.after(fault.lasts + NOTICED_AFTER, self.rouse)

    def part(self, lasts: timedelta | None) -> None:
        """Cut its network; None: until it is mended."""
        self.rouse()
        self.cut_off = True
        if lasts is not None:
            self._time.after(lasts, self.reconnect)

    def reconnect(self) -> None:
        """Mend its network."""
        self.cut_off = False

    def crash(self, lasts: timedelta | None) -> None:
        """Take the host down; None: for good."""
        self.kill()
        if lasts is not None:
            self._time.after(lasts, self.start)

    def stand_still(self, lasts: timedelta | None) -> None:
        """Let its agent stand still; None: for good."""
        self.freeze(FOR_EVER if lasts is None else lasts)
        self.rouse()

    def _thaw(self) -> None:
        if self._time.now < self._frozen_until:
            self._frozen_until = self._time.now
            self._later(self._incarnation, turns.Tick())

    def drift(self, ahead: timedelta, lasts: timedelta | None) -> None:
        """Let its clock be wrong from now on; None: until it is put right."""
        self._drift = ahead
        self.rouse()
        if lasts is not None:
            self._time.after(lasts, self._set_clock)

    def _set_clock(self) -> None:
        self._drift = timedelta()

    def flap(self, every: timedelta, lasts: timedelta | None) -> None:
        """Take the host down and up again until a time is over; None: until it is put right."""
        self._flaps += 1
        until = self._time.now + (FOR_EVER if lasts is None else lasts)
        self._flaps_until = until
        self._flap_down(max(every, FLAP_MIN) / 2, until, self._flaps)

    def _flap_down(self, half: timedelta, until: datetime, flaps: int) -> None:
        if flaps != self._flaps or self._time.now >= until or not self.machine_is_alive():
            return
        self.kill()
        self._around.stopped(self.node_id, FaultKind.FLAP.value)
        self._time.after(half, self._flap_up, half, until, flaps)

    def _flap_up(self, half: timedelta, until: datetime, flaps: int) -> None:
        if flaps != self._flaps:
            return
        if not self.running:
            self.start()
        self._time.after(half, self._flap_down, half, until, flaps)

    def leave(self) -> None:
        """Be gone for good, though no cloud has ended its machine."""
        self.kill()
        self._has_left = True

    def recover(self) -> None:
        """Put right everything that is wrong with it; what is booting goes on booting."""
        self.body.heal()
        self.cut_off = False
        self._flaps += 1
        self._flaps_until = None
        self._drift = timedelta()
        self._thaw()
        if self._incarnation and not self.running and not self.ended:
            self.start()
        self.rouse()

    def _notice(self, incarnation: int) -> None:
        """Let the sensors speak between two readings, as they do of what comes suddenly."""
        self.rouse()
        events = self._misdated(self.body.events(self._time.now))
        if events:
            self._later(incarnation, turns.EventsSensed(events))

    # --- rest ----------------------------------------------------------------------------------

    def kill(self) -> None:
        """End its process as ``kill -9`` does; its machine lives on."""
        self._stand_up()
        super().kill()

    def rouse(self) -> None:
        """Speak for itself from now on."""
        if self._stand_up():
            self._later(self._incarnation, turns.Tick())

    def _stand_up(self) -> bool:
        if not self.resting:
            return False
        self.resting = False
        self._wake_at = None
        self._herd.leave(self)
        return True

    def _sleep(self) -> None:
        if self.resting:
            return
        if self._may_rest() and self._herd.take(self):
            self.resting = True
            return
        super()._sleep()

    def _may_rest(self) -> bool:
        duties = self._duties
        return (
            duties is not None
            and duties.idle
            and self.body.is_well
            and not self.cut_off
            and not self._drift
            and not self.is_frozen
            and self._around.wires.is_well(self.described)
        )

    def _wake(self, incarnation: int, due: object) -> None:
        if not self.resting:
            super()._wake(incarnation, due)  # type: ignore[arg-type]

    # --- repairs -------------------------------------------------------------------------------

    def _reset(self, incarnation: int, order: turns.Order) -> None:
        super()._reset(incarnation, order)
        if incarnation == self._incarnation:
            self._around.stopped(self.node_id, "gpu reset")

    def _reboot(self, incarnation: int, order: turns.Order) -> None:
        is_up = incarnation == self._incarnation
        super()._reboot(incarnation, order)
        if is_up and incarnation != self._incarnation:
            self._around.stopped(self.node_id, "reboot")

    # --- its calls -----------------------------------------------------------------------------

    def _reading(self, checks: bool) -> turns.SensorsRead:  # noqa: FBT001 - as in ReadSensors
        read = super()._reading(checks)
        if not self._drift:
            return read
        return replace(
            read,
            results=tuple(replace(each, at=self._dated(each.at)) for each in read.results),
            events=self._misdated(read.events),
        )

    def _misdated(self, events: tuple[HealthEvent, ...]) -> tuple[HealthEvent, ...]:
        if not self._drift:
            return events
        return tuple(replace(each, timestamp=self._dated(each.timestamp)) for each in events)

    def _dated(self, moment: datetime | None) -> datetime | None:
        return None if moment is None else moment + self._drift

    def _send(self, send: turns.Send) -> None:
        quality = self._around.wires.quality(self.described)
        if self.cut_off or quality is PLAIN:
            super()._send(send)
        else:
            self._send_over(quality, send)

    def _send_over(self, quality: Quality | None, send: turns.Send) -> None:
        """Send a call over a bad network; None: nothing passes."""
        rolls = self._network_rolls
        if rolls is None:
            rolls = self._network_rolls = self._around.dice.stream("network", self.ref)
        there = None if quality is None else way(quality, rolls)
        back = None if quality is None else way(quality, rolls)
        reply: Callable[[msg.Answer | None], None] = _ignore
        if there is not None and back is not None and there + back < CALL_TIMEOUT:
            reply = partial(self._come_back, self._incarnation, send, back)
        else:
            fail = partial(self._fail, self._incarnation, send.call)
            self._time.after(CALL_TIMEOUT, fail, "deadline_exceeded")
        if quality is None or there is None:
            return
        self._time.after(there, self._around.server.receive, send.request, reply)
        if rolls.chance(quality.doubled):
            again = way(quality, rolls) or timedelta()
            self._time.after(there + again, self._around.server.receive, send.request, _ignore)

    def _come_back(
        self, incarnation: int, send: turns.Send, takes: timedelta, answer: msg.Answer | None
    ) -> None:
        self._time.after(takes, self._answered, incarnation, send, answer)

    def _answered(self, incarnation: int, send: turns.Send, answer: msg.Answer | None) -> None:
        if self._around.wires.is_cut(self.described):
            self._time.after(CALL_TIMEOUT, self._fail, incarnation, send.call, "deadline_exceeded")
            return
        super()._answered(incarnation, send, answer)

    def _registration(self) -> msg.RegisterNode:
        """What it says about its machine: of a bought one the control plane knows the rest."""
        plain = msg.RegisterNode(
            self.node_id, gpus=self.hardware.gpus, metadata=self._description()
        )
        if self._is_bought:
            return plain
        owned = self.described
        return replace(
            plain,
            provider=owned.provider,
            region=owned.region,
            zone=owned.zone,
            instance_type=owned.instance_type,
        )

    def _description(self) -> Metadata:
        said = super()._description()
        return replace(said, hostname=self.node_id, labels=dict(self.described.labels))


def _ignore(_answer: msg.Answer | None) -> None:
    """Hear the answer to a call that nobody waits for."""
