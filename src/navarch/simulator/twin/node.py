"""A node of a twin: the product's agent on hardware with faults, at rest most of the time.

A node is *at rest* while its agent owes nothing but signs of life, its hardware has nothing to say,
its network is well and the control plane waits for nothing from it. Nothing that such a node says
teaches anything, so it sleeps until something happens, and the herd speaks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from navarch.agent import turns
from navarch.core.model import messages as msg
from navarch.core.model.gpu import GPU
from navarch.core.model.node import Metadata
from navarch.simulator.agents import Agent
from navarch.simulator.dice import Dice
from navarch.simulator.faults import Plan
from navarch.simulator.server import Server
from navarch.simulator.timeline import Timeline
from navarch.simulator.twin.blueprint import Owned
from navarch.simulator.twin.faults import SENSED, Fault, FaultKind
from navarch.simulator.twin.hardware import Body

NOTICED_AFTER = timedelta(seconds=1)
"""How soon the sensors notice what happens: a sensor of the kernel's log reads it at once."""


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

    # --- what happens to it --------------------------------------------------------------------

    def afflict(self, fault: Fault) -> None:
        """Let something go wrong with it now; what has ended suffers nothing."""
        if not self.machine_is_alive():
            return
        if fault.kind is FaultKind.NETWORK:
            self.part(fault.lasts)
        elif fault.kind is FaultKind.CRASH:
            self.crash(fault.lasts)
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

    def leave(self) -> None:
        """Be gone for good, though no cloud has ended its machine."""
        self.kill()
        self._has_left = True

    def recover(self) -> None:
        """Put right everything that is wrong with it."""
        self.body.heal()
        self.cut_off = False
        if not self.running and not self.ended:
            self.start()
        self.rouse()

    def _notice(self, incarnation: int) -> None:
        """Let the sensors speak between two readings, as they do of what comes suddenly."""
        self.rouse()
        events = self.body.events(self._time.now)
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
            and self._time.now >= self._frozen_until
        )

    def _wake(self, incarnation: int, due: object) -> None:
        if not self.resting:
            super()._wake(incarnation, due)  # type: ignore[arg-type]

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
