"""The crash sweep: many seeds, and in each the control plane dies at many boundaries.

::

    python -m navarch.simulator.sweep --crash-points 20000 --jobs 2
    python -m navarch.simulator.sweep --seeds 10000 --coverage --jobs 2

The first crashes much in each run: each seed runs once without a crash, which tells its
boundaries, and then again and again with

- one crash, at each of them;
- two: one at a boundary, and the next while it recovers;
- two to six, anywhere.

A run with crashes is one *crash point*. Whatever happens, nothing may be leaked, doubled or lost,
and every healed fleet must become what was asked for. Each failure is printed with all that is
needed to run it again; the last line has the numbers, and the exit code is 1 if one is not 0.

The second, the *soak*, tries much: each seed runs once, with as many crashes as it draws. With
``--coverage`` it says what was seen in all those runs, how often, and what never was
(`navarch.simulator.coverage`).

``--shrink SEED`` looks for the first failure of one seed, and prints the quietest world that is
found to fail in the same way.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from typing import TextIO

from msgspec import Struct, field

from navarch.controlplane.clock import RealClock
from navarch.simulator.coverage import Coverage, cover_seed
from navarch.simulator.dice import Dice
from navarch.simulator.shrinking import worlds
from navarch.simulator.shrinking.reducing import Limits
from navarch.simulator.world import Failed, World

POINTS_MAX = 60
"""Crash points of one seed: many seeds show more than many points of one."""

RECOVERY_BOUNDARIES = 6
"""How far behind a crash the second one may be, to fall into the recovery from the first."""

KINDS = ("leaked", "doubled", "lost", "unconverged", "unsafe", "opaque", "hoarded")
"""The kinds of failure of `navarch.simulator.checks`, in the order of the summary."""

FAILURES_SHOWN = 5

CHUNK = 16
"""Seeds that a process takes at one time in a soak."""

PROGRESS_EVERY = 400
"""Seeds after which a soak says how far it is."""


class Tally(Struct):
    """What a part of a sweep came to."""

    seeds: int = 0
    crash_points: int = 0
    crashes: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(kind, text) of each."""

    def add(self, other: Tally) -> None:
        """Take another part in."""
        self.seeds += other.seeds
        self.crash_points += other.crash_points
        self.crashes += other.crashes
        self.failures += other.failures

    def summary(self) -> str:
        """Say it in one line."""
        return (
            f"{self.crash_points} crash points of {self.seeds} seeds, "
            f"{self.crashes} crashes: {by_kind(self.failures)}"
        )


def by_kind(failures: Sequence[tuple[str, str]]) -> str:
    """Count (kind, text) of failures by their kind, in words."""
    counts = Counter(kind for kind, _ in failures)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)


def crash_plans(seed: int, boundaries: int, limit: int) -> Iterator[tuple[int, ...]]:
    """Yield at most `limit` ways to crash in the runs of a seed, all different."""
    rolls = Dice(seed).stream("crashes")
    singles = [(point,) for point in range(boundaries)]
    doubles = [
        (point, point + 1 + rolls.integer(0, RECOVERY_BOUNDARIES)) for point in range(boundaries)
    ]
    many = [
        tuple(sorted({rolls.integer(0, boundaries - 1) for _ in range(rolls.integer(2, 6))}))
        for _ in range(boundaries // 2)
    ]
    plans = list(dict.fromkeys((*singles, *doubles, *many)))
    for _ in range(min(limit, len(plans))):
        yield plans.pop(rolls.integer(0, len(plans) - 1))


def sweep_seed(seed: int, points: int = POINTS_MAX) -> Tally:
    """Run one seed without a crash, and then with up to `points` ways to crash."""
    tally = Tally(seeds=1)
    try:
        boundaries = len(World(seed).run().boundaries)
    except Failed as failed:
        tally.failures.append((failed.kind, str(failed)))
        return tally
    for crashes in crash_plans(seed, boundaries, points):
        tally.crash_points += 1
        tally.crashes += len(crashes)
        try:
            World(seed, crashes=crashes).run()
        except Failed as failed:
            tally.failures.append((failed.kind, str(failed)))
    return tally


def sweep(first_seed: int, crash_points: int, jobs: int) -> Iterator[Tally]:
    """Yield the whole tally so far after each seed, until there are enough crash points."""
    whole = Tally()
    seed = first_seed
    with ProcessPoolExecutor(jobs) as processes:
        while whole.crash_points < crash_points:
            missing = crash_points - whole.crash_points
            count = max(1, min(8 * jobs, missing // POINTS_MAX))
            for tally in processes.map(sweep_seed, range(seed, seed + count)):
                whole.add(tally)
                yield whole
            seed += count


def soak(first_seed: int, seeds: int, jobs: int) -> Iterator[Coverage]:
    """Yield what all runs so far have seen, after each seed."""
    whole = Coverage()
    with ProcessPoolExecutor(jobs) as processes:
        for each in processes.map(
            cover_seed, range(first_seed, first_seed + seeds), chunksize=CHUNK
        ):
            whole.add(each)
            yield whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep as the command line says; the exit code is 1 if any run failed."""
    asked = _parser().parse_args(arguments)
    if asked.shrink is not None:
        return shrink_seed(asked.shrink, asked.runs)
    return _soak(asked) if asked.seeds else _sweep(asked)


def _soak(asked: argparse.Namespace) -> int:
    clock = RealClock()
    begun_at = clock.now()
    whole, shown = Coverage(), 0
    for whole in soak(asked.seed, asked.seeds, asked.jobs):
        shown = _show(whole.failures, shown)
        if whole.runs % PROGRESS_EVERY == 0:
            seconds = (clock.now() - begun_at).total_seconds()
            sys.stdout.write(
                f"{whole.runs} of {asked.seeds} seeds in {seconds:.0f} s, "
                f"{len(whole.failures)} failures\n"
            )
            sys.stdout.flush()
    if asked.coverage:
        sys.stdout.writelines(f"{line}\n" for line in whole.report())
    seconds = (clock.now() - begun_at).total_seconds()
    sys.stdout.write(f"{whole.runs} seeds: {by_kind(whole.failures)} in {seconds:.0f} s\n")
    return 1 if whole.failures else 0


def _show(failures: Sequence[tuple[str, str]], shown: int) -> int:
    """Print the failures that were not printed yet, but for too many; return how many there are."""
    for _, text in failures[shown:FAILURES_SHOWN]:
        sys.stdout.write(f"\n{text}\n")
    return len(failures)


def _sweep(asked: argparse.Namespace) -> int:
    clock = RealClock()
    begun_at = clock.now()
    whole, shown = Tally(), 0
    for whole in sweep(asked.seed, asked.crash_points, asked.jobs):
        shown = _show(whole.failures, shown)
        if whole.seeds % 16 == 0:
            sys.stdout.write(_progress(whole, asked.crash_points, begun_at, clock.now()))
            sys.stdout.flush()
    seconds = (clock.now() - begun_at).total_seconds()
    sys.stdout.write(f"{whole.summary()} in {seconds:.0f} s\n")
    return 1 if whole.failures else 0


def shrink_seed(seed: int, runs: int) -> int:
    """Shrink the first failure of a seed, and print it; return 1 when there is one."""
    crashes = first_failure(seed)
    if crashes is None:
        sys.stdout.write(f"seed {seed}: no failure without a crash and in {POINTS_MAX} with some\n")
        return 0
    shrunk = worlds.shrink_world(
        seed, None, crashes, limits=Limits(runs), tell=lambda line: _say(sys.stderr, line)
    )
    sys.stdout.write(shrunk.text)
    return 1


def first_failure(seed: int, points: int = POINTS_MAX) -> tuple[int, ...] | None:
    """Find the crashes with which a seed fails first; None where it does not."""
    try:
        boundaries = len(World(seed).run().boundaries)
    except Failed:
        return ()
    for crashes in crash_plans(seed, boundaries, points):
        try:
            World(seed, crashes=crashes).run()
        except Failed:
            return crashes
    return None


def _say(stream: TextIO, line: str) -> None:
    stream.write(f"{line}\n")
    stream.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m navarch.simulator.sweep",
        description="Crash a simulated control plane at many places.",
    )
    parser.add_argument("--crash-points", type=int, default=2000, help="how many, at least")
    parser.add_argument(
        "--seeds", type=int, default=0, help="run so many seeds once each, in place of all that"
    )
    parser.add_argument(
        "--coverage", action="store_true", help="with --seeds: say what those runs have seen"
    )
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="shrink the failure of one seed")
    parser.add_argument(
        "--runs", type=int, default=1000, help="how many runs shrinking may take, at most"
    )
    return parser


def _progress(whole: Tally, wanted: int, begun_at: datetime, now: datetime) -> str:
    seconds = max((now - begun_at).total_seconds(), 0.001)
    rate = whole.crash_points / seconds
    left = max(wanted - whole.crash_points, 0) / max(rate, 0.001)
    return (
        f"{whole.crash_points} of {wanted} crash points, {rate:.0f} a second, "
        f"{left:.0f} s left, {len(whole.failures)} failures\n"
    )


if __name__ == "__main__":
    sys.exit(main())
