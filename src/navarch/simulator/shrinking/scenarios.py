"""A scenario and a seed that fail become a smaller scenario that fails in the same way.

In this order, over and over until nothing gets smaller: what is made up is written out, time is
cut, events are left out, nodes, numbers are halved, and then every key that need not be there.

A demand of the scenario is easily missed for another reason than before: where nothing is started,
no node serves. So where a scenario keeps its demand without its faults, each smaller one has to,
too; where it does not, the faults of whom the demand is about stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from navarch.config.values import parse_duration
from navarch.errors import NavarchError
from navarch.simulator.scenarios import trees
from navarch.simulator.scenarios.reading import examine_text
from navarch.simulator.scenarios.running import Run
from navarch.simulator.scenarios.schema import Scenario
from navarch.simulator.scenarios.trees import Tree
from navarch.simulator.server import TAG
from navarch.simulator.shrinking import unrolling
from navarch.simulator.shrinking.failures import Failure, Seen, error, failures_of
from navarch.simulator.shrinking.reducing import Attempts, Limits, ddmin, least

DISTURBING: Final = ("inject_failure", "stop_fleet", "recover_failure", "issue_command")
"""Events that a quiet run is without."""
NUMBERS: Final = ("min_nodes", "max_nodes", "total_nodes", "count", "nodes", "nodes_per_rack")
"""Counts that are made smaller."""
FIXED: Final = frozenset({"name", "seed", "duration", "liveness"})
"""Keys at the top that are not left out."""
ROUNDS_MAX: Final = 4
SECOND: Final = timedelta(seconds=1)


PLAIN: Final = Limits()


_PLACE = re.compile(r"^\S+:\d+: ")
"""Where a demand stood in the file that it was read from."""


class NothingFails(NavarchError):
    """There is nothing to shrink: the run fails in no way, or not in the way that was asked for."""


class Shrunk(Struct, frozen=True):
    """What a scenario was shrunk to."""

    tree: Tree
    seed: int
    seen: Seen
    """How the smallest one fails."""
    runs: int
    is_whole: bool
    """Whether nothing more could be tried, within any limits."""

    @property
    def text(self) -> str:
        """The scenario as YAML, saying with which seed and how it fails."""
        at = timedelta(seconds=self.seen.seconds)
        comment = f"Fails with seed {self.seed} at +{at}:\n{_PLACE.sub('', self.seen.first_line)}"
        return trees.text_of(self.tree, comment=comment)


def shrink(
    text: str,
    *,
    path: Path,
    seed: int | None = None,
    limits: Limits = PLAIN,
    tell: Callable[[str], None] = lambda _line: None,
) -> Shrunk:
    """Shrink the scenario in `text`, which is or would be at `path`.

    Raises `ConfigError` where it has mistakes, and `NothingFails` where its run fails in no way.
    """
    tree = trees.tree_of(text, path=path)
    return _Shrinker(tree, path, seed, limits, tell).shrunk()


class _Shrinker:
    def __init__(
        self,
        tree: Tree,
        path: Path,
        seed: int | None,
        limits: Limits,
        tell: Callable[[str], None],
    ) -> None:
        self._path = path
        scenario = self._read(tree)
        assert scenario is not None, "the tree was read before"
        self._seed = scenario.seed if seed is None else seed
        tree = {**tree, "seed": self._seed}
        seen = self._run(tree)
        if not seen:
            raise NothingFails(f"{path}: nothing fails with seed {self._seed}: nothing to shrink")
        first = next((each for each in seen if not each.failure.is_demand), seen[0])
        self.target: Failure = first.failure
        self.seen = first
        self.best = tree
        self._attempts = Attempts(self._fails, repr, limits, tell)
        self._attempts.tell(f"it fails: {first.first_line}")
        self._has_control = self.target.is_demand and not self._is_there(self._run(_quiet(tree)))
        self._pinned = self._whom(scenario)

    def shrunk(self) -> Shrunk:
        """Do all of it."""
        self._drop_other_demands()
        self._unroll()
        for _ in range(ROUNDS_MAX):
            before = self.best
            self._cut_time()
            self._drop_idle_nodes()
            self._reduce_list("events")
            self._drop_idle_nodes()
            self._reduce_list("fleet")
            self._loosen_targets()
            self._lower_numbers()
            self._plain_nodes()
            self._prune(())
            if self.best == before or self._attempts.spent:
                break
        return Shrunk(
            self.best, self._seed, self.seen, self._attempts.runs, not self._attempts.spent
        )

    # --- trying ------------------------------------------------------------------------------

    def _read(self, tree: Tree) -> Scenario | None:
        return examine_text(trees.text_of(tree), path=self._path).scenario

    def _run(self, tree: Tree) -> list[Seen] | None:
        """Run a scenario, and name its failures; None where it is none."""
        scenario = self._read(tree)
        if scenario is None:
            return None
        try:
            return failures_of(Run(scenario, self._seed).live(), scenario)
        except Exception as raised:  # noqa: BLE001 - how a run ends is what is looked at here
            return [error(raised)]

    def _is_there(self, seen: list[Seen] | None) -> bool:
        return any(each.failure == self.target for each in seen or ())

    def _fails(self, tree: Tree) -> bool | None:
        seen = self._run(tree)
        if seen is None:
            return None
        if not self._is_there(seen):
            return False
        if self._has_control and self._is_there(self._run(_quiet(tree))):
            return False
        self._latest = next(each for each in seen if each.failure == self.target)
        return True

    def _take(self, tree: Tree, what: str) -> bool:
        """Go on with a smaller tree, if it fails in the same way."""
        if self._attempts.spent or tree == self.best or not self._attempts.fails(tree):
            return False
        self.best, self.seen = tree, self._latest
        self._attempts.tell(what)
        return True

    # --- the passes --------------------------------------------------------------------------

    def _drop_other_demands(self) -> None:
        """Ask for nothing but what is not got."""
        tree = deepcopy(self.best)
        asserted = tree.pop("assertions", [])
        if self.target.sort == "assertion":
            tree["assertions"] = [asserted[self.seen.place]]
        if self.target.sort != "liveness":
            tree["liveness"] = "0s"
        self._take(tree, "other demands are dropped")

    def _unroll(self) -> None:
        scenario = self._scenario
        self._take(
            unrolling.with_fleet(self.best, scenario, self._seed), "the fleet is written out"
        )
        scenario = self._scenario
        if scenario.stress is None or scenario.stress.chaos is None:
            return
        run = Run(scenario, self._seed)
        recorder = unrolling.Recorder(run)
        try:
            run.live()
        except Exception as raised:  # noqa: BLE001 - as above; what it brought until then counts
            self._attempts.tell(f"it ends with {type(raised).__name__}")
        lasts = scenario.lasts
        tree = unrolling.with_events(self.best, recorder.struck, lasts)
        if "stress" in tree and not tree["stress"].get("fleet_gen"):
            tree["duration"] = trees.written(lasts)
            del tree["stress"]
        self._take(tree, f"chaos is written out as {len(recorder.struck)} faults")

    def _cut_time(self) -> None:
        """End as soon as it has failed; where the end itself is judged, as early as it fails."""
        whole = -(-self._scenario.lasts // SECOND)
        if self.target.sort in ("invariant", "event", "error") and self.seen.seconds:
            self._take(self._ending(min(int(self.seen.seconds) + 1, whole)), "time is cut")
            return

        def fails(seconds: int) -> bool:
            return self._take(self._ending(seconds), f"it lasts {seconds} s")

        least(1, whole, fails)

    def _ending(self, seconds: int) -> Tree:
        """The best so far, with nothing after so many seconds."""
        tree = deepcopy(self.best)
        end = timedelta(seconds=seconds)
        if "events" in tree:
            tree["events"] = [each for each in tree["events"] if _at(each) <= end]
        if "stress" in tree:
            tree["stress"].pop("duration", None)
        tree["duration"] = trees.written(end)
        return tree

    def _drop_idle_nodes(self) -> None:
        """Leave out all nodes at once that no event is about."""
        named = {event.get("target") for event in self.best.get("events", [])}
        named |= {each.get("target") for each in self.best.get("assertions", [])}
        fleet = self.best.get("fleet", [])
        kept = [node for node in fleet if node["id"] in named]
        if 0 < len(kept) < len(fleet):
            self._take({**self.best, "fleet": kept}, f"{len(kept)} of {len(fleet)} nodes are left")
        elif not kept and len(fleet) > 1:
            self._take({**self.best, "fleet": fleet[:1]}, "one node is left")

    def _reduce_list(self, key: str) -> None:
        whole: list[Tree] = self.best.get(key, [])
        pinned = [self._stays(key, each) for each in whole]
        free = [number for number, stays in enumerate(pinned) if not stays]

        def fails(numbers: list[int]) -> bool:
            left = set(numbers)
            kept = [each for number, each in enumerate(whole) if pinned[number] or number in left]
            tree = {**self.best, key: kept}
            if not kept:
                del tree[key]
            return self._take(tree, f"{len(kept)} of {len(whole)} {key} are left")

        ddmin(free, fails)

    def _stays(self, key: str, entry: Tree) -> bool:
        if key != "events":
            return False
        return entry["action"] in DISTURBING and entry.get("target") in self._pinned

    def _whom(self, scenario: Scenario) -> frozenset[str]:
        """Name whose faults stay: without them the demand would be missed for another reason."""
        if not self.target.is_demand or self._has_control:
            return frozenset()
        written = scenario.written
        about = written.events if self.target.sort == "event" else written.assertions
        return frozenset({about[self.seen.place].target})

    def _loosen_targets(self) -> None:
        """Mean one node of a pool by chance: the number of an instance depends on all others."""
        for number, event in enumerate(self.best.get("events", [])):
            name = str(event.get("target", ""))
            pool = name.partition(f"-{TAG}-")[0]
            if pool == name or pool not in self.best.get("pools", {}):
                continue
            tree = deepcopy(self.best)
            alias = f"one-{number}"
            for later in tree["events"]:
                if later.get("target") == name:
                    later["target"] = f"alias:{alias}"
            first = tree["events"][number]
            first["target"] = f"pool:{pool}"
            first["params"] = {**first.get("params", {}), "count": 1, "alias": alias}
            self._take(tree, f"{name} is any of {pool}")

    def _lower_numbers(self) -> None:
        for path in list(_paths(self.best)):
            value = _get(self.best, path)
            if path[-1] not in NUMBERS or not isinstance(value, int) or value < 1:
                continue

            def fails(number: int, path: tuple[Any, ...] = path) -> bool:
                return self._take(_with(self.best, path, number), f"{path[-1]} is {number}")

            least(0, value, fails)

    def _plain_nodes(self) -> None:
        """Leave out what is said of nodes, of all of them at once."""
        fleet = self.best.get("fleet", [])
        for key in dict.fromkeys(key for node in fleet for key in node if key != "id"):
            plain = [{k: value for k, value in node.items() if k != key} for node in fleet]
            if self._take({**self.best, "fleet": plain}, f"no node says its {key}"):
                fleet = plain

    def _prune(self, path: tuple[Any, ...]) -> None:
        """Leave out every key and every entry that need not be there, the largest first."""
        within = _get(self.best, path)
        if isinstance(within, dict):
            keys: list[Any] = [key for key in within if path or key not in FIXED]
        elif isinstance(within, list):
            keys = list(range(len(within) - 1, -1, -1))
        else:
            return
        for key in keys:
            here = (*path, key)
            entry = _get(self.best, here)
            is_pinned = path == ("events",) and self._stays("events", entry)
            if is_pinned or not self._take(_without(self.best, here), f"without {_shown(here)}"):
                self._prune(here)

    @property
    def _scenario(self) -> Scenario:
        scenario = self._read(self.best)
        assert scenario is not None, "only what can be read is taken"
        return scenario


def _quiet(tree: Tree) -> Tree:
    """The same without anything that disturbs the fleet."""
    quiet = deepcopy(tree)
    events = quiet.get("events", [])
    quiet["events"] = [each for each in events if each["action"] not in DISTURBING]
    if "chaos" in quiet.get("stress", {}):
        del quiet["stress"]["chaos"]
    return quiet


def _at(event: Tree) -> timedelta:
    return parse_duration(str(event["at"]))


def _paths(tree: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _paths(value, (*path, key))
    elif isinstance(tree, list):
        for number, value in enumerate(tree):
            yield from _paths(value, (*path, number))


def _get(tree: Any, path: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a tree holds anything
    for key in path:
        tree = tree[key]
    return tree


def _with(tree: Tree, path: tuple[Any, ...], value: object) -> Tree:
    changed = deepcopy(tree)
    _get(changed, path[:-1])[path[-1]] = value
    return changed


def _without(tree: Tree, path: tuple[Any, ...]) -> Tree:
    changed = deepcopy(tree)
    del _get(changed, path[:-1])[path[-1]]
    return changed


def _shown(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))
