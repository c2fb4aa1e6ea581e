"""Outages of the control plane itself: it dies, stands still, or cannot write its journal.

It dies at a *boundary*, where dying makes a difference, and is started again by whoever looks after
its process. When its disk is full it cannot journal, so nothing that it decides may leave it: the
process ends, and each next one does too, until there is room again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from navarch.simulator.crashes import Boundary, Crash, Crashes
from navarch.simulator.dice import Dice
from navarch.simulator.server import Server
from navarch.simulator.timeline import EPOCH, Timeline
from navarch.simulator.twin.blueprint import Blueprint
from navarch.simulator.twin.clouds import waiting_time

ZERO = timedelta()
DAY = timedelta(days=1)

BOUNDARIES_MAX = 6
"""A crash comes at one of so many next boundaries, so that every kind of them is hit."""


class ArmedCrashes(Crashes):
    """Counts boundaries, and ends the control plane at chosen ones, or soon after it is armed."""

    def __init__(self, at: Collection[int] = ()) -> None:
        """Choose boundaries by their number."""
        super().__init__(at)
        self._left: int | None = None

    def arm(self, skip: int) -> None:
        """Let the control plane die at the next boundary but `skip`."""
        self._left = skip

    def disarm(self) -> None:
        """Let it live."""
        self._left = None

    def reach(self, boundary: Boundary) -> None:
        """Pass a boundary, or raise `Crash`."""
        super().reach(boundary)
        if self._left is None:
            return
        if self._left == 0:
            self._left = None
            raise Crash(boundary.value)
        self._left -= 1


class Outages:
    """Lets the control plane of one run fail."""

    def __init__(
        self, blueprint: Blueprint, time: Timeline, dice: Dice, crashes: ArmedCrashes
    ) -> None:
        """Know what fails how often."""
        self._full = 0
        """How many times the disk was filled and not yet emptied."""
        self._blueprint = blueprint
        self._time = time
        self._crashes = crashes
        self._crash_rolls = dice.stream("outages", "crashes")
        self._stall_rolls = dice.stream("outages", "stalls")
        self._server: Server | None = None
        self._healed = False

    def begin(self, server: Server) -> None:
        """Let this control plane fail from now on."""
        self._server = server
        plan, since = self._blueprint, self._time.now - EPOCH
        for full in plan.disk_full:
            self._time.after(max(full.begins - since, ZERO), self.fill_disk, full.lasts)
        if plan.crashes_per_day > 0:
            self._time.after(self._until_crash(), self._crash_and_wait)
        if plan.stalls_per_day > 0:
            self._time.after(self._until_stall(), self._stall_and_wait)

    def crash(self) -> None:
        """Let the control plane die at one of its next boundaries."""
        self._crashes.arm(self._crash_rolls.integer(0, BOUNDARIES_MAX - 1))

    def heal(self) -> None:
        """Let nothing of this kind happen any more, and have room on the disk."""
        self._healed = True
        self._crashes.disarm()
        self._full = 0
        self._look_at_disk()

    def fill_disk(self, lasts: timedelta) -> None:
        """Let its disk be full from now on, for so long."""
        if not self._healed:
            self._full += 1
            self._look_at_disk()
            self._time.after(lasts, self._free_disk)

    def _free_disk(self) -> None:
        if not self._healed:
            self._full -= 1
            self._look_at_disk()

    def _look_at_disk(self) -> None:
        assert self._server is not None
        self._server.store.is_full = self._full > 0

    def _until_crash(self) -> timedelta:
        return waiting_time(self._crash_rolls, DAY / self._blueprint.crashes_per_day)

    def _until_stall(self) -> timedelta:
        return waiting_time(self._stall_rolls, DAY / self._blueprint.stalls_per_day)

    def _crash_and_wait(self) -> None:
        if self._healed:
            return
        self.crash()
        self._time.after(self._until_crash(), self._crash_and_wait)

    def _stall_and_wait(self) -> None:
        assert self._server is not None
        if self._healed:
            return
        self._server.stall(self._stall_rolls.between(ZERO, self._blueprint.stall_max))
        self._time.after(self._until_stall(), self._stall_and_wait)
