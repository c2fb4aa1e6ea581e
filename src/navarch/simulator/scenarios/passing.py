"""Passing: a run that is lived through in pieces of any size, as somebody wants them.

At the end of its scenario what it demands is judged once, and no more faults come by themselves;
time may go on for as long as one likes. Nothing is healed and no liveness is asked for, so whoever
looks sees the fleet as the scenario left it. A broken invariant ends it: no time passes any more.
"""

from __future__ import annotations

from datetime import timedelta

from navarch.simulator.scenarios.running import STEP, Run
from navarch.simulator.twin.twin import TwinFailed


class Passing:
    """Time passing in one run."""

    def __init__(self, run: Run) -> None:
        """Begin the run; no time has passed."""
        self.run = run
        self.is_judged = False
        """Whether its scenario is over."""
        self.broken = ""
        """Which invariant was broken, with its facts; empty: none."""
        run.begin()

    @property
    def since(self) -> timedelta:
        """How much time has passed."""
        return self.run.twin.since

    def pass_until(self, since: timedelta) -> bool:
        """Let time pass until so long after the beginning; say whether it came so far."""
        if self.broken:
            return False
        run, twin = self.run, self.run.twin
        lasts = run.scenario.lasts
        try:
            twin.run_until(min(since, max(lasts, twin.since)))
            while not self._judged() and twin.since < since:
                twin.run_until(min(twin.since + STEP, since))
            if twin.since < since:
                twin.run_until(since)
        except TwinFailed as failed:
            self.broken = str(failed)
            run.end()
        return not self.broken

    def _judged(self) -> bool:
        """Judge it once it is over."""
        if not self.is_judged and self.run.is_over:
            self.is_judged = True
            self.run.end()
            self.run.judge()
        return self.is_judged
