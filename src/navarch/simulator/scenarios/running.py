"""Running: one scenario lived through once, and what came of it.

A run has two parts. First the scenario, faults and all, with every invariant watched. Then, where
there are pools, everything is healed and *liveness* is demanded: within `liveness` every pool has
what it wants, and nothing is left over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from navarch.core.model import events as ev
from navarch.core.model.fleet import Fleet
from navarch.core.model.pool import Pool
from navarch.simulator.broken import Broken
from navarch.simulator.report import Recorder, Report, model
from navarch.simulator.scenarios import ailments
from navarch.simulator.scenarios.building import build, open_markets
from navarch.simulator.scenarios.chaos import Had, Monkey
from navarch.simulator.scenarios.director import Director, Happened
from navarch.simulator.scenarios.schema import Scenario
from navarch.simulator.timeline import EPOCH
from navarch.simulator.twin.invariants import Invariants
from navarch.simulator.twin.twin import TAIL, Twin, TwinFailed
from navarch.simulator.twin.watchers import Watcher

SLICE = timedelta(seconds=10)
"""How much time passes between two words to whoever watches the progress."""
STEP = timedelta(seconds=1)
SETTLE_STEP = timedelta(seconds=30)
TAILS_MAX = 10
"""Failures that show facts: reading the journal back takes time."""
OVERTIME_MAX = timedelta(days=366)
"""How long waits may go on after the end."""

Progress = Callable[[timedelta, timedelta], None]
"""Hears how much of how much time has passed."""


class Check(Struct, frozen=True):
    """Something that was demanded."""

    what: str
    at: timedelta
    line: int = 0
    """Where it is written; 0: nowhere, it holds for every run."""
    message: str = ""
    """What went wrong, with everything that is needed to see it again; empty: nothing."""

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return not self.message


class Outcome(Struct, frozen=True):
    """What came of a run."""

    name: str
    seed: int
    lasted: timedelta
    """Virtual time of the scenario itself, without what was waited for afterwards."""
    checks: tuple[Check, ...]
    log: tuple[Happened, ...]
    nodes: int
    """Known to the control plane, and not ended."""
    facts: int
    cost: float
    """US dollars, up to the end of the scenario."""
    faults: int
    """By chaos, cascades included."""
    digest: str
    """Of the journal: equal runs have equal ones."""

    @property
    def passed(self) -> bool:
        """Whether everything holds that was demanded."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """What does not hold."""
        return tuple(check for check in self.checks if not check.passed)


class Run:
    """One run of a scenario."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int | None = None,
        watchers: Sequence[Watcher] = (),
        *,
        recorded: bool = False,
    ) -> None:
        """Lay everything out; without a seed, by the scenario's own.

        A run that is `recorded` has a report in the end. Raises `ConfigError` for what the scenario
        names and cannot be had.
        """
        self.scenario = scenario
        seed = scenario.seed if seed is None else seed
        built = build(scenario, seed)
        self.twin = Twin(built.blueprint, seed)
        open_markets(scenario, self.twin)
        self.training = built.training
        if self.training is not None:
            self.training.join(self.twin)
        self.director = Director(scenario, built, self.twin)
        self.director.on_failure = self._failed
        self.invariants = Invariants(
            self.twin,
            is_application=ailments.is_application,
            allowed=scenario.written.allow,
        )
        self.twin.watchers.all += [self.invariants, self.director, *watchers]
        self.report: Report | None = None
        """Of the scenario itself, without what was waited for afterwards; None: not recorded."""
        self._is_recorded = recorded
        asks = any(each.type == "availability_above" for each in scenario.written.assertions)
        if recorded or asks:
            self.director.judge.recorder = Recorder(self.twin, training=self.training)
        stress = scenario.stress
        self.monkey: Monkey | None = None
        if stress is not None and stress.chaos is not None:
            places = len(built.fleet) + sum(2 * pool.max_nodes for pool in built.blueprint.pools)
            self.monkey = Monkey(stress.chaos, self.twin, places, cured=self.director.set_aside)
        self._checks: list[Check] = []
        self._tails = 0

    def live(self, progress: Progress | None = None, every: timedelta = SLICE) -> Outcome:
        """Live through it; `progress` hears of it once in `every` virtual time."""
        lasted = timedelta()
        cost = 0.0
        try:
            self._play(progress, every)
            lasted, cost = self.twin.since, self.twin.cost()
            self.judge()
            self._record()
            self._settle(progress)
            self.invariants.finished()
        except TwinFailed as failed:
            self._break(str(failed))
        except Broken as broken:
            self._break(str(TwinFailed(self.twin, broken)))
        else:
            self._hold("invariants hold", self.twin.since)
        self._record()
        if self.report is not None:
            self.report = replace(self.report, checks=tuple(map(_reported, self._checks)))
        return self._outcome(lasted or self.twin.since, cost or self.twin.cost())

    def _record(self) -> None:
        recorder = self.director.judge.recorder
        if self._is_recorded and self.report is None and recorder is not None:
            self.report = recorder.report()

    # --- its parts -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Let the control plane start, and everything come when its time does."""
        self.twin.begin()
        self.director.begin()
        if self.monkey is not None:
            self.monkey.begin()

    @property
    def is_over(self) -> bool:
        """Whether its time has passed, and its events have happened."""
        twin, lasts = self.twin, self.scenario.lasts
        is_done = self.director.is_done or twin.since >= lasts + OVERTIME_MAX
        return twin.since >= lasts and is_done

    def end(self) -> None:
        """Let no more faults come by themselves."""
        if self.monkey is not None:
            self.monkey.stop()

    def so_far(self) -> Outcome:
        """What has come of it until now, its report included where it is recorded."""
        recorder = self.director.judge.recorder
        if self._is_recorded and recorder is not None:
            checks = tuple(map(_reported, self._checks))
            self.report = replace(recorder.report(), checks=checks)
        return self._outcome(self.twin.since, self.twin.cost())

    def _play(self, progress: Progress | None, every: timedelta) -> None:
        twin, lasts = self.twin, self.scenario.lasts
        self.begin()
        while twin.since < lasts:
            twin.run_until(min(twin.since + every, lasts) if progress is not None else lasts)
            if progress is not None:
                progress(twin.since, lasts)
        twin.run_until(lasts)
        while not self.is_over:
            twin.run_until(twin.since + STEP)
            if progress is not None:
                progress(twin.since, twin.since)
        self.end()

    def judge(self) -> None:
        """Hold the fleet as it is now against what the scenario demands of its end."""
        written, lines = self.scenario.written, self.scenario.assertion_lines
        for happened in self.director.happened:
            if not happened.failure and happened.what.startswith(("assert ", "wait for ")):
                self._hold(happened.what, happened.at, happened.line)
        for assertion, line in zip(written.assertions, lines, strict=True):
            found = self.director.judge.judge(assertion)
            what = f"{assertion.type}: {found.expected}"
            if found.holds:
                self._hold(what, self.twin.since, line)
            else:
                failure = f"expected {found.expected}, seen {found.seen}"
                self._failed(Happened(self.twin.since, line, what, failure, found.about))

    def _settle(self, progress: Progress | None) -> None:
        within, twin = self.scenario.written.liveness, self.twin
        if not self.scenario.written.pools or not within:
            return
        self._heal()
        until = twin.since + within
        while (unrest := self._unrest()) and twin.since < until:
            twin.run_until(min(twin.since + SETTLE_STEP, until))
            if progress is not None:
                progress(twin.since, twin.since)
        what = "liveness: every pool gets what it wants"
        if unrest:
            failure = f"expected every pool to have what it wants within {within}, seen {unrest}"
            self._failed(Happened(twin.since, 0, what, failure))
        else:
            self._hold(what, twin.since)

    def _heal(self) -> None:
        """Put everything right; where a full pool cannot replace a node, a person says so."""
        fleet = self.twin.fleet or Fleet()
        full = {
            pool.name
            for pool in fleet.pools.values()
            if pool.target >= pool.spec.max_nodes and not pool.spec.replace_in_place
        }
        for cloud in self.twin.clouds.values():
            cloud.heal()
        self.twin.wires.heal()
        self.twin.outages.heal()
        for node in list(self.twin.nodes.values()):
            if node.machine_is_alive():
                self.twin.recover(node.node_id)
                if node.pool in full:
                    self.director.set_aside(node.node_id)

    def _unrest(self) -> str:
        """Say what keeps the healed fleet from being what was asked for; empty when nothing."""
        fleet = self.twin.fleet
        if fleet is None:
            return "no control plane"
        for pool in fleet.pools.values():
            if not _rests(pool):
                there = list(fleet.instances_of(pool.name))
                serving = sum(_serves(fleet, each.id) for each in there)
                if serving < pool.target or len(there) != pool.target:
                    text = f"{serving} serving nodes of {len(there)} machines"
                    return f"{text}, {pool.target} wanted, in {pool.name}"
        if fleet.orphans:
            return f"orphans: {', '.join(sorted(fleet.orphans)[:5])}"
        return ""

    def _hold(self, what: str, at: timedelta, line: int = 0) -> None:
        self._checks.append(Check(what, at, line))

    # --- what goes wrong -----------------------------------------------------------------------

    def _failed(self, happened: Happened) -> None:
        place = f"{self.scenario.file.name}:{happened.line}: " if happened.line else ""
        lines = [
            f"{place}{happened.failure}",
            f"  {self.scenario.name}, seed {self.twin.dice.seed}, at +{happened.at}",
        ]
        if self._tails < TAILS_MAX:
            self._tails += 1
            lines += [f"  {line}" for line in self._tail(happened.about)]
        message = "\n".join(lines)
        self._checks.append(Check(happened.what, happened.at, happened.line, message))

    def _tail(self, about: Sequence[str]) -> list[str]:
        facts = self.twin.facts()
        if about:
            facts = [fact for fact in facts if set(ev.subjects(fact)) & set(about)]
        return [f"+{fact.at - EPOCH} {ev.encode(fact).decode()}" for fact in facts[-TAIL:]]

    def _break(self, text: str) -> None:
        self._checks.append(Check("invariants hold", self.twin.since, 0, text))

    def _outcome(self, lasted: timedelta, cost: float) -> Outcome:
        fleet = self.twin.fleet or Fleet()
        had = Had() if self.monkey is None else self.monkey.had
        return Outcome(
            name=self.scenario.name,
            seed=self.twin.dice.seed,
            lasted=lasted,
            checks=tuple(self._checks),
            log=tuple(self.director.happened),
            nodes=sum(not node.over for node in fleet.nodes.values()),
            facts=self.twin.server.store.last_seq_now,
            cost=cost,
            faults=had.faults + had.cascaded,
            digest=hashlib.sha256(self.twin.journal).hexdigest(),
        )


def run_scenario(
    scenario: Scenario, seed: int | None = None, watchers: Sequence[Watcher] = ()
) -> Outcome:
    """Live through a scenario once; without a seed, by its own.

    `watchers` see everything that the control plane does. Raises `ConfigError` for what the
    scenario names and cannot be had; whatever goes wrong in the run itself is in the outcome.
    """
    return Run(scenario, seed, watchers).live()


def _reported(check: Check) -> model.Check:
    return model.Check(
        what=check.what,
        passed=check.passed,
        at=check.at.total_seconds(),
        line=check.line or None,
        message=check.message,
    )


def _rests(pool: Pool) -> bool:
    """Whether somebody has to act before anything is bought or repaired for it."""
    return pool.asleep or bool(pool.brake_because) or pool.spec.dry_run


def _serves(fleet: Fleet, instance_id: str) -> bool:
    node = fleet.nodes.get(instance_id)
    return node is not None and node.serving
