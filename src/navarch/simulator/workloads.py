"""The workload manager: who gives work to nodes, and is told to give none to some.

It is small and honest: what it agreed to it does. But it says no at times, is away, or does what
it was told without anybody hearing of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.model import messages as msg
from navarch.core.model.actions import AskDrained, Tell
from navarch.core.model.ladder import Told
from navarch.simulator.dice import Dice
from navarch.simulator.incidents import Incident
from navarch.simulator.markets import SECOND
from navarch.simulator.sick_faults import Sickness
from navarch.simulator.timeline import Timeline

Answer = Callable[[msg.Message], None]
"""Takes the outcome; whoever asked may be dead when it comes."""

ANSWER_TIME = SECOND

CALL_TIMEOUT = 10 * SECOND
"""How long an answer is waited for."""


class Entry(Struct):
    """What the manager has in mind about one node."""

    told: Told = Told.OPEN
    empty_at: datetime | None = None
    """When the work on it ends, or ended; None while more may begin."""


class Workloads:
    """Gives work to nodes."""

    def __init__(
        self, sickness: Sickness, drain_time: timedelta, time: Timeline, dice: Dice
    ) -> None:
        """Know no node yet: unknown ones are open."""
        self.healed = False
        self.refused: dict[str, int] = {}
        """How often it said no, by node."""
        self._entries: dict[str, Entry] = {}
        self._plan = sickness
        self._drain_time = drain_time
        self._time = time
        self._rolls = dice.stream("workload manager")
        self._happened = dice.happened

    def told(self, node_id: str) -> Told:
        """What it goes by for a node: the truth."""
        return self._entries.get(node_id, Entry()).told

    def is_empty(self, node_id: str) -> bool:
        """Whether nothing of it runs on a node: the truth."""
        entry = self._entries.get(node_id)
        empty_at = None if entry is None else entry.empty_at
        return empty_at is not None and self._time.now >= empty_at

    def heal(self) -> None:
        """From now on it agrees, answers, and all work ends in its time."""
        self.healed = True
        latest = self._time.now + self._drain_time
        for entry in self._entries.values():
            if entry.empty_at is not None:
                entry.empty_at = min(entry.empty_at, latest)

    def tell(self, action: Tell, answer: Answer) -> None:
        """Hear what is to be done with a node."""
        roll = math.inf if self.healed else self._rolls.fraction()
        plan = self._plan
        if roll < plan.manager_refuses:
            self._happened[Incident.WORKLOAD_REFUSED] += 1
            self.refused[action.node_id] = self.refused.get(action.node_id, 0) + 1
            no = msg.WorkloadAnswered(action.node_id, action.told, "it is reserved", refused=True)
            self._time.after(ANSWER_TIME, answer, no)
            return
        roll -= plan.manager_refuses
        nothing = msg.WorkloadAnswered(action.node_id, action.told, "no answer")
        if roll < plan.manager_away:
            self._happened[Incident.WORKLOAD_AWAY] += 1
            self._time.after(CALL_TIMEOUT, answer, nothing)
            return
        self._agree(action)
        if roll - plan.manager_away < plan.manager_mute:
            self._happened[Incident.WORKLOAD_MUTE] += 1
            self._time.after(CALL_TIMEOUT, answer, nothing)
            return
        agreed = msg.WorkloadAnswered(action.node_id, action.told)
        self._time.after(ANSWER_TIME, answer, agreed)

    def _agree(self, action: Tell) -> None:
        entry = self._entries.setdefault(action.node_id, Entry())
        if action.told is Told.OPEN:
            entry.empty_at = None
        elif action.told is Told.DRAINING and entry.empty_at is None:
            stuck = not self.healed and self._rolls.chance(self._plan.stuck_drains)
            self._happened[Incident.DRAIN_STUCK] += stuck
            lasts = timedelta(days=1) if stuck else self._drain_time
            entry.empty_at = self._time.now + lasts
        entry.told = action.told

    def ask(self, action: AskDrained, answer: Answer) -> None:
        """Say whether a node is empty."""
        done = self.is_empty(action.node_id)
        text = "" if done else "2 jobs are left"
        if not self.healed and self._rolls.chance(self._plan.manager_away):
            done, text = False, "it cannot be asked"
        self._time.after(ANSWER_TIME, answer, msg.DrainAnswered(action.node_id, done, text))
