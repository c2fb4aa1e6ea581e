"""The director: lets the events of a scenario happen, one after the other, in virtual time.

An event waits for the one before it: after a `wait` or a `wait_for_status` everything goes on at
once whose time has come meanwhile. Whatever fails is written down, and the run goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from navarch.core.machine import Machine, Step
from navarch.core.model import messages as msg
from navarch.core.model.command import CommandType
from navarch.simulator.scenarios import ailments, startup, targets
from navarch.simulator.scenarios.building import Built
from navarch.simulator.scenarios.events_schema import Event
from navarch.simulator.scenarios.judging import Finding, Judge, is_ill
from navarch.simulator.scenarios.schema import Scenario
from navarch.simulator.twin.blueprint import Owned
from navarch.simulator.twin.node import Node
from navarch.simulator.twin.twin import Twin
from navarch.simulator.twin.watchers import Watcher

LOOK_EVERY = timedelta(seconds=1)
"""How often a wait looks whether it is over."""

REPAIRED = "what was wrong was put right"


class Happened(Struct, frozen=True):
    """Something that an event did, or could not do."""

    at: timedelta
    line: int
    what: str
    failure: str = ""
    """What was expected and seen instead; empty where all went well."""
    about: tuple[str, ...] = ()


class Director(Watcher):
    """Directs one run."""

    def __init__(self, scenario: Scenario, built: Built, twin: Twin) -> None:
        """Have done nothing yet."""
        self.aliases: dict[str, tuple[str, ...]] = {}
        self.judge = Judge(twin, self.aliases, built.training)
        self.happened: list[Happened] = []
        self.on_failure: Callable[[Happened], None] = lambda _happened: None
        """Hears of each failure as it happens."""
        self._twin = twin
        self._built = built
        self._rolls = twin.dice.stream("scenario", "events")
        numbered = enumerate(scenario.written.events)
        self._left = deque(sorted(numbered, key=lambda each: each[1].at))
        self._lines = scenario.event_lines
        self._line = 0
        self._asked = 0
        self._changed = True
        self._started: dict[str, Node] = {}
        self._scenario = scenario

    @property
    def is_done(self) -> bool:
        """Whether everything has happened, and everybody was answered."""
        return not self._left and not self._asked

    def begin(self) -> None:
        """Let the first event come when its time does."""
        events = self._scenario.written.events
        stress = self._scenario.stress
        made_up = stress.fleet_gen if stress is not None else None
        if made_up is not None and not any(each.action == "start_fleet" for each in events):
            wish = made_up.startup
            self._start(
                self._built.fleet, wish.pattern, wish.duration, wish.jitter_percent, wish.waves
            )
        self._twin.time.after(timedelta(), self._advance)

    def stepped(
        self, machine: Machine, messages: Sequence[msg.Message], step: Step, now: datetime
    ) -> None:
        """Take note that something has changed."""
        self._changed = self._changed or bool(step.facts)

    def perform(self, event: Event) -> tuple[Happened, ...]:
        """Let an event happen now, beside the scenario's own; say what it did, or could not do.

        What it asks of the control plane is answered later; a wait is no such event.
        """
        before, line = len(self.happened), self._line
        self._line = 0
        self._perform(event)
        self._line = line
        return tuple(self.happened[before:])

    # --- one after the other -------------------------------------------------------------------

    def _advance(self) -> None:
        while self._left:
            number, event = self._left[0]
            if event.at > self._twin.since:
                self._twin.time.after(event.at - self._twin.since, self._advance)
                return
            self._line = self._lines[number] if number < len(self._lines) else 0
            if self._waits(event):
                return
            self._perform(event)
            self._left.popleft()

    def _waits(self, event: Event) -> bool:
        """Begin to wait, if that is what the event is."""
        if event.action == "wait":
            assert event.params.duration is not None
            self._twin.time.after(event.params.duration, self._go_on)
            return True
        if event.action == "wait_for_status":
            self._changed = True
            self._look(event, self._line, self._twin.since + event.params.timeout)
            return True
        return False

    def _go_on(self) -> None:
        self._left.popleft()
        self._advance()

    def _look(self, event: Event, line: int, until: timedelta) -> None:
        is_late = self._twin.since >= until
        if self._changed or is_late:
            self._changed = False
            found = self._found(event)
            if found.holds or is_late:
                waited = f"wait for {found.expected}"
                failure = ""
                if not found.holds:
                    timeout = event.params.timeout
                    failure = f"expected {found.expected} within {timeout}, seen {found.seen}"
                self._note(waited, failure, found.about, line)
                self._go_on()
                return
        self._twin.time.after(LOOK_EVERY, self._look, event, line, until)

    def _found(self, event: Event) -> Finding:
        params = event.params
        return self.judge.condition(
            event.target,
            status=params.expected_status,
            health=params.expected_health,
            match=params.match,
        )

    def _note(
        self, what: str, failure: str = "", about: Sequence[str] = (), line: int | None = None
    ) -> None:
        place = self._line if line is None else line
        happened = Happened(self._twin.since, place, what, failure, tuple(about))
        self.happened.append(happened)
        if failure:
            self.on_failure(happened)

    # --- what is done --------------------------------------------------------------------------

    def _perform(self, event: Event) -> None:
        params = event.params
        match event.action:
            case "start_fleet":
                chosen = self._fleet(event)
                lasts = params.duration or timedelta()
                self._start(chosen, params.pattern, lasts, params.jitter_percent)
                self._note(f"start {len(chosen)} nodes")
            case "stop_fleet":
                self._each(event, self._stop, "stop")
            case "inject_failure":
                self._inject(event)
            case "recover_failure":
                self._each(event, self._recover, "recover")
            case "issue_command":
                self._each(event, lambda id_: self._command(event, id_), "command")
            case "log":
                self._note(params.log_message)
            case "assert":
                found = self._found(event)
                failure = "" if found.holds else f"expected {found.expected}, seen {found.seen}"
                self._note(f"assert {found.expected}", failure, found.about)
            case "scale_pool" | "pause_pool" | "resume_pool":
                self._ask(event, self._about_pool(event), event.action)
            case "set_load":
                assert params.jobs is not None
                self._built.dials[event.target.removeprefix("pool:")].set(params.jobs)
                self._note(f"set the load of {event.target} to {params.jobs:g} jobs")
            case "wait" | "wait_for_status":
                raise AssertionError(event.action)

    def _start(
        self,
        fleet: Sequence[Owned],
        pattern: str,
        lasts: timedelta,
        jitter_percent: float,
        waves: int = 5,
    ) -> None:
        rolls = self._twin.dice.stream("scenario", "startup", str(self._twin.since))
        after = startup.delays(
            len(fleet), pattern, lasts, rolls, jitter_percent=jitter_percent, waves=waves
        )
        for owned, delay in zip(fleet, after, strict=True):
            known = self._started.get(owned.id)
            if known is None:
                self._started[owned.id] = self._twin.welcome(owned, delay)
            elif not known.running:
                self._twin.time.after(delay, known.start)

    def _fleet(self, event: Event) -> list[Owned]:
        """Find the nodes to start, which nobody knows yet."""
        target = targets.parse(event.target)
        return [
            each for each in self._built.fleet if targets.fits_owned(target, each, self.aliases)
        ]

    def _each(self, event: Event, act: Callable[[str], None], verb: str) -> list[str]:
        """Do something to everybody it is about; that there is nobody is a failure."""
        target = targets.parse(event.target or "fleet")
        ids = targets.members(target, self._twin.nodes, self.aliases)
        params = event.params
        count = (
            1 if target.one and params.count is None and params.percent is None else params.count
        )
        chosen = targets.some_of(ids, self._rolls, count=count, percent=params.percent)
        if params.alias is not None:
            self.aliases[params.alias] = tuple(chosen)
        what = f"{verb} {event.target or 'fleet'}"
        if len(chosen) == 1 and chosen[0] != event.target:
            what += f" ({chosen[0]})"
        if not chosen:
            self._note(what, f"expected nodes to {verb}, seen no node {event.target}")
        for id_ in chosen:
            act(id_)
        if chosen:
            self._note(what, about=chosen[:5])
        return chosen

    def _stop(self, node_id: str) -> None:
        self._twin.nodes[node_id].crash(None)

    def _inject(self, event: Event) -> None:
        params = event.params
        assert params.failure_type is not None
        fault = ailments.fault_of(
            params.failure_type,
            xid=params.xid_code,
            gpu=params.gpu_index,
            message=params.message,
            temperature=params.temperature,
            lasts=params.lasts,
            every=params.every,
            drift=params.drift,
        )

        def afflict(node_id: str) -> None:
            if not self._twin.afflict(node_id, fault):
                failure = f"expected {node_id} to be there, seen no such machine"
                self._note(f"inject {fault.label}", failure, (node_id,))

        self._each(event, afflict, f"inject {fault.label} into")

    def _recover(self, node_id: str) -> None:
        if not self._twin.recover(node_id):
            failure = f"expected {node_id} to be there, seen no such machine"
            self._note("recover", failure, (node_id,))
        self.set_aside(node_id)

    def set_aside(self, node_id: str) -> None:
        """Have an operator set aside what stands against a node that was put right."""
        fleet = self._twin.fleet
        if fleet is not None and is_ill(fleet, node_id):
            self._twin.ask(msg.ClearHealth(node_id, REPAIRED), _unheard)

    def _command(self, event: Event, node_id: str) -> None:
        params = event.params
        assert params.command_type is not None
        type_ = CommandType(params.command_type)
        message = msg.IssueCommand(
            node_id, type_, dict(params.command_args), params.reason or self._scenario.name
        )
        self._ask(event, message, f"{params.command_type} {node_id}", (node_id,))

    def _about_pool(self, event: Event) -> msg.Message:
        name, params = event.target.removeprefix("pool:"), event.params
        reason = params.reason or self._scenario.name
        if event.action == "scale_pool":
            assert params.nodes is not None
            return msg.ScalePool(name, params.nodes, reason)
        return msg.PausePool(name, event.action == "pause_pool", reason)

    def _ask(
        self, event: Event, message: msg.Message, what: str, about: Sequence[str] = ()
    ) -> None:
        self._asked += 1
        line, expects = self._line, event.params.expect

        def answered(answer: msg.Answer | None) -> None:
            self._asked -= 1
            refused = isinstance(answer, msg.Refused)
            seen = f"refused: {answer.text}" if isinstance(answer, msg.Refused) else "accepted"
            failure = ""
            if answer is None:
                failure = f"expected {expects}, seen no control plane"
            elif refused != (expects == "refused"):
                failure = f"expected {expects}, seen {seen}"
            self._note(what, failure, about, line)

        self._twin.ask(message, answered)


def _unheard(_answer: msg.Answer | None) -> None:
    """Hear the answer to a request that may be late: the node may have ended meanwhile."""
