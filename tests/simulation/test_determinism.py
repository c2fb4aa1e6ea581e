"""One seed is one run, to the byte, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from navarch.simulator.dice import Dice
from navarch.simulator.world import World

PROGRAM = """
from hashlib import sha256
from navarch.simulator.world import World
for seed, crashes in {runs!r}:
    print(sha256(World(seed, crashes=crashes).run().journal).hexdigest())
"""

RUNS: tuple[tuple[int, tuple[int, ...]], ...] = ((1, ()), (5, (17,)), (7, (20, 22, 60)))


@pytest.mark.parametrize("seed, crashes", RUNS)
def test_the_same_seed_gives_the_same_bytes(seed: int, crashes: tuple[int, ...]) -> None:
    first, second = (World(seed, crashes=crashes).run() for _ in range(2))
    assert first.journal == second.journal
    assert len(first.journal) > 1000


def test_the_order_of_hashes_does_not_matter() -> None:
    def digests(hash_seed: str) -> str:
        program = PROGRAM.format(runs=RUNS)
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        return subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    here = [
        sha256(World(seed, crashes=crashes).run().journal).hexdigest() for seed, crashes in RUNS
    ]
    assert digests("1").split() == here
    assert digests("4000000000").split() == here


def test_other_seeds_give_other_runs() -> None:
    assert World(1).run().journal != World(2).run().journal


def test_a_roll_in_one_stream_shifts_no_other() -> None:
    alone = [Dice(4).stream("b").fraction() for _ in range(1)]
    dice = Dice(4)
    other, beside = dice.stream("a"), dice.stream("b")
    other.fraction()
    assert [beside.fraction()] == alone
    assert Dice(4).stream("a").fraction() != Dice(4).stream("b").fraction()
    assert Dice(4).stream("a").fraction() != Dice(5).stream("a").fraction()
