"""The rules that matter most, each broken on purpose: the sweep finds every one of them.

The table keeps what was measured when it was written: the first seed, of those from 0 on, whose
runs show the bug, where the control plane has to crash for that, and the invariant that found it.
The quick test begins there, and looks at the seeds nearby, for runs change as the product does;
the long one searches from seed 0 on, as a sweep does that knows nothing, and has to come upon each
within `SEEDS`. More rules, broken in more ways, are
in `simulation.test_mutants` and `simulation.test_repair_mutants`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import pytest
from msgspec import Struct

from navarch.core import interpret
from navarch.core.interpret import Learned
from navarch.core.machine import Machine
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.repair import budget
from navarch.simulator.sweep import crash_plans
from navarch.simulator.world import Failed, World
from simulation.test_mutants import (
    believe_the_list_alone,
    believe_the_silence_alone,
    count_no_booting_machine,
    end_before_buying,
    match_by_provider_id,
)
from simulation.test_repair_mutants import repair_for_applications

SEEDS = 200
"""Seeds within which each has to be found."""

NEARBY = 20
"""Seeds that the quick test looks at, where a run has changed."""

POINTS = 6
"""Ways to crash for each seed."""

Plant = Callable[[pytest.MonkeyPatch], None]


def forget_the_budget_of_the_hour(patch: pytest.MonkeyPatch) -> None:
    """A pool has so many replacements an hour, and no more."""
    patch.setattr(budget, "this_hour", lambda *_: 99)


def forget_the_budget_at_one_time(patch: pytest.MonkeyPatch) -> None:
    """So many nodes of a pool may be unavailable at one time, and no more."""
    patch.setattr(budget, "at_once", lambda *_: 99)


def trust_the_senders_clock(patch: pytest.MonkeyPatch) -> None:
    """Silence is measured by our own clock; the sender's time is data."""
    original = Machine._observe  # noqa: SLF001 - a bug is planted in the inside of the core

    def observe(machine: Machine, message: msg.Message, learned: Learned, now: datetime) -> None:
        assert not isinstance(learned, msg.Refused)
        original(machine, message, learned, now)
        if isinstance(message, msg.Heartbeat) and message.sent_at is not None:
            machine.sightings.heard[message.node_id] = message.sent_at

    patch.setattr(Machine, "_observe", observe)


def never_say_resumed(patch: pytest.MonkeyPatch) -> None:
    """A control plane that starts says so: its own silence is not that of the nodes."""
    original = interpret._begin  # noqa: SLF001 - as above

    def begin(
        fleet: Fleet,
        message: msg.Found | msg.Resume | msg.ConfigurePools | msg.AdoptPolicy,
        now: datetime,
    ) -> Learned:
        if isinstance(message, msg.Resume) and fleet.resumed_at is not None:
            return []
        return original(fleet, message, now)

    patch.setattr(interpret, "_begin", begin)


class Found(Struct, frozen=True):
    """How a planted bug was found."""

    seed: int
    crashes: tuple[int, ...]
    kind: str
    """The kind of failure, as in `navarch.simulator.checks`."""
    says: str
    """What the invariant says, in part."""


PLANTED: dict[Plant, Found] = {
    match_by_provider_id: Found(0, (6, 9), "leaked", "is nobody's"),
    forget_the_budget_of_the_hour: Found(19, (), "unsafe", "within an hour"),
    forget_the_budget_at_one_time: Found(1, (), "unsafe", "more than 1 at one time"),
    count_no_booting_machine: Found(0, (), "unsafe", "one more bought"),
    end_before_buying: Found(1, (), "unsafe", "ended before its replacement serves"),
    trust_the_senders_clock: Found(1, (), "unsafe", "called silent after"),
    believe_the_list_alone: Found(2, (), "unsafe", "called silent after"),
    believe_the_silence_alone: Found(0, (), "unsafe", "condemned, silent enough since"),
    never_say_resumed: Found(0, (94,), "unsafe", "called silent after"),
    repair_for_applications: Found(9, (), "unsafe", "nothing stands against it"),
}
"""Each to how it was found."""


def failure(seed: int, crashes: tuple[int, ...]) -> Failed | None:
    """Run a seed, and return what it breaks."""
    try:
        World(seed, crashes=crashes).run()
    except Failed as failed:
        return failed
    return None


def search(seeds: Sequence[int]) -> tuple[int, tuple[int, ...], Failed] | None:
    """Run each seed, and then with some ways to crash, until one fails; return that run."""
    for seed in seeds:
        crashes: tuple[int, ...] = ()
        try:
            boundaries = len(World(seed).run().boundaries)
            for crashes in crash_plans(seed, boundaries, POINTS):
                World(seed, crashes=crashes).run()
        except Failed as failed:
            return seed, crashes, failed
    return None


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found_where_it_was_found_before(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = PLANTED[plant]
    World(known.seed, crashes=known.crashes).run()
    plant(monkeypatch)
    failed = failure(known.seed, known.crashes)
    if failed is None:
        assert search(range(known.seed + 1, known.seed + NEARBY)) is not None
    else:
        assert failed.kind == known.kind
        assert known.says in str(failed)


@pytest.mark.soak
@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found_by_who_knows_nothing(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    found = search(range(SEEDS))
    assert found is not None, f"{SEEDS} seeds do not show it"


def test_every_bug_in_the_table_was_found_within_so_many_seeds() -> None:
    assert [plant for plant, known in PLANTED.items() if known.seed >= SEEDS] == []
    assert len(PLANTED) >= 8
