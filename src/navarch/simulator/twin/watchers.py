"""Watchers: who looks at a run of a twin without taking part in it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from navarch.core.machine import Machine, Step
from navarch.core.model import messages as msg
from navarch.core.model.actions import Terminate
from navarch.core.model.fleet import Fleet
from navarch.simulator.clouds import Cloud
from navarch.simulator.twin.faults import Fault
from navarch.stores.memory import MemoryStore


class Watcher:
    """Sees nothing; whoever wants to see something says what."""

    def recovered(self, fleet: Fleet, store: MemoryStore) -> None:
        """The journal has been read, nothing was said yet."""

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """The facts of a step are safe; nobody was answered yet."""

    def terminating(self, action: Terminate, now: datetime) -> None:
        """A machine is about to be ended."""

    def afflicted(self, node_id: str, fault: Fault, now: datetime) -> None:
        """Something has gone wrong with a node, in truth."""

    def stopped(self, node_id: str, because: str, now: datetime) -> None:
        """What ran on a node was ended by a reboot or a reset, or as its host went down again."""

    def buried(self, node_id: str, because: str, now: datetime) -> None:
        """A node's machine ends now."""

    def made(self, cloud: Cloud, ref: str) -> None:
        """A cloud has made a machine, which it calls `ref`."""

    def sampled(self, now: datetime) -> None:
        """It is time to count the fleet."""


class Watchers(Watcher):
    """All of them, in their order."""

    def __init__(self) -> None:
        """Have nobody watch yet."""
        self.all: list[Watcher] = []

    def recovered(self, fleet: Fleet, store: MemoryStore) -> None:
        """Pass it on."""
        for each in self.all:
            each.recovered(fleet, store)

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Pass it on."""
        for each in self.all:
            each.stepped(machine, messages, step, now)

    def terminating(self, action: Terminate, now: datetime) -> None:
        """Pass it on."""
        for each in self.all:
            each.terminating(action, now)

    def afflicted(self, node_id: str, fault: Fault, now: datetime) -> None:
        """Pass it on."""
        for each in self.all:
            each.afflicted(node_id, fault, now)

    def stopped(self, node_id: str, because: str, now: datetime) -> None:
        """Pass it on."""
        for each in self.all:
            each.stopped(node_id, because, now)

    def buried(self, node_id: str, because: str, now: datetime) -> None:
        """Pass it on."""
        for each in self.all:
            each.buried(node_id, because, now)

    def made(self, cloud: Cloud, ref: str) -> None:
        """Pass it on."""
        for each in self.all:
            each.made(cloud, ref)

    def sampled(self, now: datetime) -> None:
        """Pass it on."""
        for each in self.all:
            each.sampled(now)
