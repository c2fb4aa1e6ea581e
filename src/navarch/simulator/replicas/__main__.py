"""Run worlds of the serving plane from a terminal."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from navarch.simulator.replicas.world import Failure, World

SHOWN = 40
"""Facts of a failed run that are printed, the last ones."""


def main() -> int:
    """Run one seed and tell its story, or many and count."""
    parser = argparse.ArgumentParser(prog="python -m navarch.simulator.replicas")
    parser.add_argument("--seed", type=int, help="run this one, and print every fact")
    parser.add_argument("--seeds", type=int, default=100, help="run so many, from --first on")
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    if given.seed is not None:
        return _tell(given.seed)
    return _sweep(given.first, given.seeds)


def _tell(seed: int) -> int:
    world = World(seed)
    failure = ""
    try:
        world.run()
    except Failure as error:
        failure = str(error)
    out = sys.stdout.write
    for line in world.story():
        out(f"{line}\n")
    out(f"seed {seed}: {failure or 'all is given back'}; at most {world.peak} replicas served\n")
    return 1 if failure else 0


def _sweep(first: int, count: int) -> int:
    seen: Counter[str] = Counter()
    failed = 0
    for seed in range(first, first + count):
        world = World(seed)
        try:
            world.run()
        except Failure as error:
            failed += 1
            sys.stdout.write(f"seed {seed}: {error}\n")
            for line in world.story()[-SHOWN:] if failed == 1 else ():
                sys.stdout.write(f"    {line}\n")
        seen.update(world.seen)
    for word, number in sorted(seen.items()):
        sys.stdout.write(f"{number:>9}  {word}\n")
    sys.stdout.write(f"{count} seeds, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
