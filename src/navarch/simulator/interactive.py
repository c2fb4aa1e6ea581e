"""Interactive: a run that is led by commands, one a line."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, get_args

from msgspec import Struct

from navarch import documents
from navarch.config.reading import nearest
from navarch.config.values import parse_duration
from navarch.core.machine import Machine, Step
from navarch.core.model import events as ev
from navarch.core.model import messages as msg
from navarch.core.model.fleet import Fleet
from navarch.core.model.node import Node
from navarch.errors import ConfigError, NavarchError
from navarch.simulator import telling
from navarch.simulator.scenarios import trees
from navarch.simulator.scenarios.events_schema import EVENTS_MAX, Event, FailureType
from navarch.simulator.scenarios.passing import Passing
from navarch.simulator.scenarios.reading import FILE_MAX, examine_text
from navarch.simulator.scenarios.running import Run
from navarch.simulator.scenarios.schema import DURATION_MAX, Scenario
from navarch.simulator.twin.watchers import Watcher

PIECE: Final = timedelta(seconds=1)
"""How finely `step` and `until` look."""
PATIENCE: Final = timedelta(days=1)
"""How long `step` and `until` wait for something to happen."""
ANSWER_WITHIN: Final = timedelta(minutes=1)
"""How long the control plane is given to answer what is asked of it."""
EVENTS_SHOWN: Final = 20
SHOWN_MAX: Final = 1_000
"""Lines of one answer."""

FACTS: Final = tuple(sorted(each.__struct_config__.tag for each in get_args(ev.Fact)))


FAILURES: Final = get_args(FailureType)


class Seen(Watcher):
    """Which kinds of facts a run has brought lately."""

    def __init__(self) -> None:
        """Have seen nothing."""
        self.kinds: dict[str, None] = {}

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Note them."""
        self.kinds.update(dict.fromkeys(map(ev.kind, step.facts)))


class Command(Struct, frozen=True):
    """One command."""

    usage: str
    about: str
    least: int
    most: int | None
    """How many words it takes; None: any number."""
    run: Callable[[list[str]], Iterator[str]]


class Prompt:
    """Obeys commands about one run."""

    def __init__(self, scenario: Scenario, seed: int | None = None) -> None:
        """Begin the run; no time has passed.

        Raises `ConfigError` for what the scenario names and cannot be had.
        """
        self._scenario = scenario
        self._seen = Seen()
        self._run = Run(scenario, seed, [self._seen])
        self.seed = self._run.twin.dice.seed
        self.is_over = False
        """Whether nobody wants to go on."""
        self._passing = Passing(self._run)
        self._was_judged = False
        self._done: list[trees.Tree] = []
        self._tree: trees.Tree | None = None
        self._commands = self._table()

    def obey(self, line: str) -> Iterator[str]:
        """Obey one command, and yield what it has to say; an empty line and a remark say nothing.

        Raises `NavarchError` when it cannot be obeyed; the run goes on with the next.
        """
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise NavarchError(f"not understood: {str(error).lower()}") from error
        if not words:
            return
        name, arguments = words[0], words[1:]
        command = self._commands.get(name)
        if command is None:
            near = nearest(name, tuple(self._commands))
            raise NavarchError(f"no command {name}{near}; `help` names all")
        most = len(arguments) if command.most is None else command.most
        if not command.least <= len(arguments) <= most:
            raise NavarchError(f"expected: {command.usage}")
        yield from command.run(arguments)

    def _table(self) -> Mapping[str, Command]:
        event = "of the scenario's events"
        commands = (
            Command("run DURATION", "let time pass", 1, 1, self._pass),
            Command("step", "let time pass until something is decided", 0, 0, self._step),
            Command("until FACT", "let time pass until there is such a fact", 1, 1, self._until),
            Command("status", "say how the fleet and the run are", 0, 0, self._status),
            Command("nodes [POOL]", "list the nodes that have not ended", 0, 1, self._nodes),
            Command("pools", "list the pools", 0, 0, self._pools),
            Command(
                "inject NODE FAILURE [xid=79] [gpu=0] [lasts=5m] [temperature=95] [message=TEXT]",
                "let something go wrong with a node, or with any target " + event,
                2,
                7,
                self._inject,
            ),
            Command("recover NODE", "put right what is wrong with it", 1, 1, self._recover),
            Command(
                "command NODE COMMAND [reason=TEXT]",
                "ask something of a node: cordon, uncordon, drain, terminate, reboot, ...",
                2,
                3,
                self._command,
            ),
            Command("scale POOL NODES", "say how many nodes a pool shall have", 2, 2, self._scale),
            Command("pause POOL", "stop a pool", 1, 1, self._pause),
            Command("resume POOL", "let it go on", 1, 1, self._resume),
            Command("explain node|pool|instance ID", "say why it is so", 2, 2, self._explain),
            Command("events [COUNT]", "show the newest facts", 0, 1, self._events),
            Command(
                "save FILE", "write what was done so far as a scenario of its own", 1, 1, self._save
            ),
            Command("help", "name the commands", 0, 0, self._help),
            Command("quit", "end", 0, 0, self._quit),
        )
        return {command.usage.split()[0]: command for command in commands}

    def _help(self, _words: list[str]) -> Iterator[str]:
        for command in self._commands.values():
            yield f"{command.usage}: {command.about}"
        yield f"failures: {', '.join(FAILURES)}"

    def _quit(self, _words: list[str]) -> Iterator[str]:
        self.is_over = True
        yield from ()

    # --- time --------------------------------------------------------------------------------

    def _pass(self, words: list[str]) -> Iterator[str]:
        try:
            lasts = parse_duration(words[0])
        except ValueError as error:
            message = f"{words[0]!r} is no duration such as 30s, 5m or 2h: {error}"
            raise NavarchError(message) from error
        self._go(self._passing.since + lasts)
        yield from self._news()

    def _step(self, _words: list[str]) -> Iterator[str]:
        before = self._last_seq
        self._go_until(lambda: self._last_seq > before, "any fact")
        yield from self._facts(min(self._last_seq - before, EVENTS_SHOWN))
        yield from self._news()

    def _until(self, words: list[str]) -> Iterator[str]:
        kind = words[0]
        if kind not in FACTS:
            near = nearest(kind, FACTS)
            raise NavarchError(f"no kind of fact {kind}{near}; docs/events.md names all")
        self._seen.kinds = {}
        self._go_until(lambda: kind in self._seen.kinds, kind)
        newest = self._run.twin.server.store.read_now(limit=EVENTS_SHOWN, newest_first=True)
        kept = [each for each in newest if ev.kind(each.event) == kind][:1]
        yield from telling.told((each.seq, each.event) for each in kept)
        yield from self._news()

    def _go_until(self, is_there: Callable[[], bool], what: str) -> None:
        limit = self._passing.since + PATIENCE
        while not is_there():
            if self._passing.since >= limit:
                raise NavarchError(f"{what} has not come within {PATIENCE}")
            self._go(self._passing.since + PIECE)

    def _go(self, since: timedelta) -> None:
        if since > DURATION_MAX:
            raise NavarchError(f"a run lasts {DURATION_MAX.days} days at most")
        if not self._passing.pass_until(since):
            at = self._passing.since
            raise NavarchError(f"time stands still at +{at}: {self._passing.broken}")

    def _news(self) -> Iterator[str]:
        """Say where we are, and what came of the scenario if that is over now."""
        if self._passing.is_judged and not self._was_judged:
            self._was_judged = True
            for check in self._run.so_far().checks:
                outcome = "holds" if check.passed else f"FAILED: {_first(check.message)}"
                yield f"{check.what}: {outcome}"
            yield "the scenario is over; time may go on"
        yield f"+{self._passing.since}, {self._last_seq:,} facts"

    @property
    def _last_seq(self) -> int:
        return self._run.twin.server.store.last_seq_now

    # --- looking -----------------------------------------------------------------------------

    @property
    def _machine(self) -> Machine:
        machine = self._run.twin.server.machine
        if machine is None:
            raise NavarchError("the control plane is down; let time pass")
        return machine

    @property
    def _fleet(self) -> Fleet:
        return self._machine.fleet

    def _status(self, _words: list[str]) -> Iterator[str]:
        outcome = self._run.so_far()
        counts = telling.counts(self._fleet)
        yield f"time: +{self._passing.since} of {self._scenario.lasts}"
        yield f"nodes: {telling.counted(counts['nodes'])}"
        yield f"instances: {telling.counted(counts['instances'])}"
        yield f"facts: {outcome.facts:,}"
        yield f"faults by chaos: {outcome.faults:,}"
        yield f"cost: {outcome.cost:,.2f} US dollars"
        for check in outcome.failures:
            yield f"FAILED {check.what}: {_first(check.message)}"

    def _nodes(self, words: list[str]) -> Iterator[str]:
        pool = words[0] if words else None
        if pool is not None and pool not in self._fleet.pools:
            raise NavarchError(f"no pool {pool}{nearest(pool, tuple(self._fleet.pools))}")
        nodes = [
            node
            for node in self._fleet.nodes.values()
            if not node.over and (pool is None or node.pool == pool)
        ]
        for node in nodes[:SHOWN_MAX]:
            yield _described(node)
        if len(nodes) > SHOWN_MAX:
            yield f"... and {len(nodes) - SHOWN_MAX:,} more"
        if not nodes:
            yield "no nodes"

    def _pools(self, _words: list[str]) -> Iterator[str]:
        fleet = self._fleet
        for pool in fleet.pools.values():
            nodes = [fleet.node_of(each) for each in fleet.instances_of(pool.name)]
            serving = sum(node is not None and node.serving for node in nodes)
            yield (
                f"{pool.name}: {serving} serving of {len(nodes)} machines, {pool.target} wanted"
                f" ({pool.target_because})"
            )
        if not fleet.pools:
            yield "no pools"

    def _explain(self, words: list[str]) -> Iterator[str]:
        kind, id_ = words
        machine = self._machine
        settings, now = machine.strategies.settings, self._run.twin.time.now
        yield from telling.explained(machine.fleet, machine.sightings, settings, now, kind, id_)
        newest = self._run.twin.server.store.read_now(
            subject=id_, limit=EVENTS_SHOWN, newest_first=True
        )
        yield from telling.told((each.seq, each.event) for each in reversed(newest))

    def _events(self, words: list[str]) -> Iterator[str]:
        count = words[0] if words else str(EVENTS_SHOWN)
        if not count.isascii() or not count.isdigit() or not 0 < int(count[:9]) <= SHOWN_MAX:
            raise NavarchError(f"{count} is no count from 1 to {SHOWN_MAX:,}")
        yield from self._facts(int(count))

    def _facts(self, count: int) -> Iterator[str]:
        if count:
            newest = self._run.twin.server.store.read_now(limit=count, newest_first=True)
            yield from telling.told((each.seq, each.event) for each in reversed(newest))

    # --- doing -------------------------------------------------------------------------------

    def _inject(self, words: list[str]) -> Iterator[str]:
        names = {"xid": "xid_code", "gpu": "gpu_index"}
        taken = ("xid", "gpu", "lasts", "temperature", "message")
        params = {names.get(name, name): value for name, value in _pairs(words[2:], taken)}
        yield from self._do("inject_failure", words[0], {"failure_type": words[1], **params})

    def _recover(self, words: list[str]) -> Iterator[str]:
        yield from self._do("recover_failure", words[0])

    def _command(self, words: list[str]) -> Iterator[str]:
        params = dict(_pairs(words[2:], ("reason",)))
        yield from self._do("issue_command", words[0], {"command_type": words[1], **params})

    def _scale(self, words: list[str]) -> Iterator[str]:
        nodes = int(words[1]) if words[1].isascii() and words[1].isdigit() else words[1]
        yield from self._do("scale_pool", _pool(words[0]), {"nodes": nodes})

    def _pause(self, words: list[str]) -> Iterator[str]:
        yield from self._do("pause_pool", _pool(words[0]))

    def _resume(self, words: list[str]) -> Iterator[str]:
        yield from self._do("resume_pool", _pool(words[0]))

    def _do(
        self, action: str, target: str, params: Mapping[str, Any] | None = None
    ) -> Iterator[str]:
        """Let an event happen now, and wait until the control plane has answered."""
        if len(self._done) >= EVENTS_MAX:
            raise NavarchError(f"a scenario has {EVENTS_MAX:,} events at most")
        tree: trees.Tree = {"at": trees.written(self._passing.since)}
        tree |= {"action": action, "target": target}
        if params:
            tree["params"] = dict(params)
        event = self._read(tree)
        director = self._run.director
        before = len(director.happened)
        director.perform(event)
        self._done.append(tree)
        limit = self._passing.since + ANSWER_WITHIN
        while len(director.happened) == before and self._passing.since < limit:
            self._go(self._passing.since + PIECE / 10)
        failures = []
        for happened in director.happened[before:]:
            if happened.failure:
                failures.append(f"{happened.what}: {happened.failure}")
            else:
                yield happened.what
        if failures:
            self._done.pop()
            raise NavarchError("; ".join(failures))

    def _read(self, event: trees.Tree) -> Event:
        """Read an event as those of a file are read, with their mistakes."""
        tree: trees.Tree = {"name": "prompt", "stress": {"fleet_gen": {"total_nodes": 1}}}
        for key in ("providers", "defaults", "pools", "load"):
            if key in self._source:
                tree[key] = self._source[key]
        tree["events"] = [event]
        examined = examine_text(trees.text_of(tree), path=Path("command"))
        if examined.scenario is None:
            faults = (_bare(fault) for fault in examined.faults)
            raise NavarchError("; ".join(faults))
        return examined.scenario.written.events[0]

    @property
    def _source(self) -> trees.Tree:
        """The scenario as it was written."""
        if self._tree is None:
            path = self._scenario.file
            try:
                text = documents.read_text(path, most=FILE_MAX, expected="a scenario")
            except documents.Unreadable as error:
                raise ConfigError(error.message, file=str(path), line=error.line) from error
            self._tree = trees.tree_of(text, path=path)
        return self._tree

    def _save(self, words: list[str]) -> Iterator[str]:
        since = self._passing.since
        tree = deepcopy(self._source)
        tree["seed"] = self.seed
        written = zip(tree.get("events", []), self._scenario.written.events, strict=True)
        past = [each for each, event in written if event.at <= since]
        tree["events"] = past + deepcopy(self._done)
        tree.pop("assertions", None)
        if "duration" in tree.get("stress", {}):
            del tree["stress"]["duration"]
        tree["duration"] = trees.written(max(since, timedelta(seconds=1)))
        text = trees.text_of(tree, comment=f"What was done to {self._scenario.name}.")
        file = Path(words[0])
        examined = examine_text(text, path=file)
        if examined.scenario is None:
            raise examined.faults[0]
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise NavarchError(f"{file}: cannot be written: {error.strerror or error}") from error
        yield f"{file}: {len(tree['events'])} events, {since}"


def _pairs(words: Sequence[str], known: Sequence[str]) -> Iterator[tuple[str, object]]:
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known:
            raise NavarchError(f"{word} is not understood, expected {'=, '.join(known)}=")
        is_number = name in ("xid", "gpu", "temperature") and value.isascii() and value.isdigit()
        yield name, int(value) if is_number else value


def _pool(name: str) -> str:
    return name if name.startswith("pool:") else f"pool:{name}"


def _bare(fault: ConfigError) -> str:
    """Say a mistake without the place in a file that nobody has written."""
    return f"{(fault.key or '').removeprefix('events[0].')}: {fault.message}".removeprefix(": ")


def _described(node: Node) -> str:
    axes = f"{node.status.value}, health {node.health.value}, {node.contact.value}"
    pool = f" of {node.pool}" if node.pool else ""
    return f"{node.id}{pool}: {axes}; {node.because}"


def _first(text: str) -> str:
    return text.split("\n", 1)[0]
