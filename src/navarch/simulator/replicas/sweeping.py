"""Running worlds of the serving plane: one with its story, or many with their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from navarch.simulator.replicas.world import Failure, World

SHOWN: Final = 40
"""Facts of the first failed run that are printed, the last ones."""

Say = Callable[[str], None]
"""Takes a line."""


def tell(seed: int, say: Say) -> bool:
    """Run one seed and tell its story; return whether all went well."""
    world = World(seed)
    failure = ""
    try:
        world.run()
    except Failure as error:
        failure = str(error)
    for line in world.story():
        say(line)
    say(f"seed {seed}: {failure or 'all is given back'}; at most {world.peak} replicas served")
    return not failure


def sweep(first: int, count: int, say: Say) -> int:
    """Run so many seeds, say what failed and what was seen; return how many failed."""
    seen: Counter[str] = Counter()
    failed = 0
    for seed in range(first, first + count):
        world = World(seed)
        try:
            world.run()
        except Failure as error:
            failed += 1
            say(f"seed {seed}: {error}")
            for line in world.story()[-SHOWN:] if failed == 1 else ():
                say(f"    {line}")
        seen.update(world.seen)
    for word, number in sorted(seen.items()):
        say(f"{number:>9}  {word}")
    say(f"{count} seeds, {failed} failed")
    return failed
