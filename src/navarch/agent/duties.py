"""What an agent owes its control plane, and when: register, speak, report, obey, answer.

It is pure. Time arrives with each input and chance once, so that the daemon drives it in real
time and the simulator in virtual time. Like the core it is level-triggered: an input teaches
something, and then the whole state says what is owed.

Rules that hold:

1. One call at a time. Of the calls that are owed the most urgent goes first: registration, then
   heartbeat, results of commands, poll, health report.
2. Whoever answers ``not_found`` has forgotten the node: it registers again, at once.
3. A control plane that is away is tried again for ever, never less often than it wanted
   heartbeats, and never by all agents at the same moment. One that is too busy says when to ask
   again, and is asked no sooner.
4. A health report is sent until it is taken. A result is sent until it is taken, and again
   whenever the command comes again.
5. A command is executed once, by its id, and one at a time but for those that take minutes and
   may be repeated (`navarch.agent.assignments`). What does not fit the queue is left for the next
   poll. One that takes long is said to be running, once.
6. A node whose boot check has not passed does not register.
7. What was sensed is written down until it is taken: events are given once.
8. What becomes of a replica is said at once, by a heartbeat of its own.
9. Everything is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, get_args

from msgspec import structs

from navarch.agent.assignments import Assignments
from navarch.agent.backoff import ANY_TIME, Backoff
from navarch.agent.codes import AWAY, BUSY, PATIENT, USELESS_REPORT, USELESS_RESULT
from navarch.agent.outbox import Outbox
from navarch.agent.turns import (
    AckAnswered,
    Answer,
    BootChecked,
    CallFailed,
    CheckBoot,
    CommandFinished,
    CommandsReceived,
    EventsSensed,
    Execute,
    HealthAnswered,
    HeartbeatAnswered,
    Input,
    KeepReports,
    Order,
    Output,
    ReadSensors,
    RegisterAnswered,
    Remark,
    Request,
    Send,
    SensorsRead,
    ServingSeen,
    Stop,
    Tick,
)
from navarch.core.model.gpu import NodeSample
from navarch.core.model.messages import (
    AckCommand,
    Heartbeat,
    PollCommands,
    RegisterNode,
    ReportHealth,
)
from navarch.core.model.replica import NodeServing
from navarch.core.model.report import CheckResult, HealthEvent

INTERVAL_MIN: Final = timedelta(seconds=1)
"""No control plane may ask for more than this: the wire counts in whole seconds."""

INTERVAL_MAX: Final = timedelta(hours=1)
"""No control plane may ask for less: a mistyped number must not silence a node."""

HEARTBEAT_INTERVAL: Final = timedelta(seconds=10)
"""How often to speak before the control plane has said it: bounds the wait for the first answer."""

HEALTH_CHECK_INTERVAL: Final = timedelta(seconds=60)
"""How often to run the checks before the control plane has said it: the documents' default."""

RETRY_FIRST: Final = timedelta(seconds=0.5)
"""The longest first wait: a control plane that restarts is back within a second."""

RETRY_MAX: Final = timedelta(seconds=30)
"""The longest wait for a control plane that is away, if heartbeats are not wanted more often."""

REFUSED_FIRST: Final = timedelta(seconds=30)
"""The first wait after a refused registration: somebody has to change something."""

REFUSED_MAX: Final = timedelta(minutes=5)
"""The longest wait after refused registrations: whoever repairs the cause is still watching."""

BOOT_RETRY_FIRST: Final = timedelta(minutes=2)
"""The longest first wait after a boot check that did not pass, and twice the shortest."""

BOOT_RETRY_MAX: Final = timedelta(minutes=5)
"""The longest wait between boot checks: whoever repairs the machine is still watching."""

READING_PATIENCE: Final = timedelta(seconds=1)
"""How long a heartbeat waits for the sensors, if a quarter of the interval is not less."""

POLL_EVERY: Final = 5
"""Heartbeats after which to poll though nothing was announced: an announcement may be lost."""

EARLY_GAP: Final = timedelta(seconds=0.2)
"""The least time between two heartbeats, however much happens to replicas."""

PROGRESS_GAP: Final = timedelta(seconds=1)
"""The same where only a number of bytes has grown."""

OPTIONAL: Final = frozenset({"boot", "nvml", "xid"})
"""The checks that a control plane may leave out by not naming them; it does not know of others."""


class Duties:
    """The duties of one agent. Not thread-safe: one caller steps it."""

    def __init__(
        self,
        registration: RegisterNode,
        *,
        start: datetime,
        spread: float,
        results: Mapping[str, AckCommand] | None = None,
        running: Order | None = None,
        reports: Sequence[ReportHealth] = (),
        boot_check: bool = False,
    ) -> None:
        """Begin unregistered, with everything due at `start`.

        `spread` is this agent's chance, from 0 up to and without 1. Of an earlier run: `results`
        are those of commands, by id, oldest first, which are not executed again, and told when
        asked; `running` is under way, and its end will be given; `reports` were not taken yet.
        With `boot_check` the node registers only when that has passed.
        """
        self._registration = registration
        self._node_id = registration.node_id
        self._heartbeat_interval = HEARTBEAT_INTERVAL
        self._health_check_interval = HEALTH_CHECK_INTERVAL
        self._enabled_checks: tuple[str, ...] = ()
        self._registered = False
        self._stopped = False

        self._calls = 0
        self._in_flight: Request | None = None
        self._boot_owed = boot_check
        self._boot_underway = False
        self._boot_unknown = boot_check
        self._boot = Backoff(spread, until=start)
        self._may_register = not boot_check
        self._link = Backoff(spread)
        self._lanes = {kind: Backoff(spread) for kind in get_args(Request)}

        self._heartbeat_due = start
        self._reading_due = start
        self._reading_since: datetime | None = None
        self._checks_due = start
        self._sample: NodeSample | None = None
        self._silent_until = ANY_TIME

        self._poll_due = True
        self._heartbeats_since_poll = 0
        self._outbox = Outbox(self._node_id, reports)
        self._kept = self._outbox.version

        self._assignments = Assignments(self._node_id, results or {}, running)

        self._serving: NodeServing | None = None
        self._heartbeat_sent = ANY_TIME
        self._early_due: datetime | None = None

    @property
    def registered(self) -> bool:
        """Whether the control plane knows the node, as far as the agent knows."""
        return self._registered

    @property
    def idle(self) -> bool:
        """Whether nothing is owed but the next heartbeat and what the sensors will read by then."""
        return (
            self._registered
            and not self._boot_owed
            and self._in_flight is None
            and self._assignments.idle
            and self._early_due is None
            and not self._poll_due
            and not len(self._outbox)
        )

    @property
    def reports_waiting(self) -> int:
        """How many health reports the control plane has not taken yet."""
        return len(self._outbox)

    @property
    def events_dropped(self) -> int:
        """How many health events there was no room for."""
        return self._outbox.events_dropped

    def step(self, given: Input, now: datetime) -> list[Output]:
        """Learn from one input, and say what is to be done, in that order.

        `now` never goes backwards. After `Stop` there is nothing to be done any more.
        """
        if self._stopped:
            return []
        outputs = self._learn(given, now)
        if not self._stopped:
            outputs.extend(self._owed(now))
        return outputs

    def next_due(self) -> datetime:
        """Tell when a `Tick` will bring something, if no other input comes first.

        It may be in the past. While a call or a reading is under way its answer comes first.
        """
        moments = [] if self._reading_since else [self._reading_due]
        if self._boot_owed and not self._boot_underway:
            moments.append(self._boot.until)
        if self._in_flight is None:
            moments.extend(due for due, _ in self._wanted())
        return min(moments, default=self._reading_due + self._heartbeat_interval)

    # --- learning ----------------------------------------------------------------------------

    def _learn(self, given: Input, now: datetime) -> list[Output]:
        match given:
            case Tick():
                return []
            case SensorsRead():
                return self._sensors_read(given)
            case EventsSensed():
                return self._reported((), given.events)
            case BootChecked():
                return self._boot_checked(given, now)
            case ServingSeen():
                return self._serving_seen(given, now)
            case CommandFinished():
                self._assignments.finished(given)
                return []
            case _:
                return self._answered(given, now)

    def _answered(self, given: Answer, now: datetime) -> list[Output]:
        if given.call != self._calls or self._in_flight is None:
            return []  # it comes after its call was given up
        request, self._in_flight = self._in_flight, None
        if isinstance(given, CallFailed):
            return self._call_failed(request, given, now)
        self._link.worked()
        self._lanes[type(request)].worked()
        match given:
            case RegisterAnswered():
                return self._register_answered(given, now, told=request)
            case HeartbeatAnswered():
                return self._heartbeat_answered(given, now)
            case HealthAnswered():
                self._outbox.take_first()
                return []
            case CommandsReceived():
                return self._commands_received(given.orders)
            case AckAnswered():
                return self._told(request)

    def _register_answered(
        self, answer: RegisterAnswered, now: datetime, *, told: Request
    ) -> list[Output]:
        self._registered = told == self._registration  # else it has changed meanwhile
        self._poll_due = True
        self._heartbeat_due = now
        self._enabled_checks = answer.enabled_checks
        if answer.health_check_interval is not None:
            self._health_check_interval = _within_limits(answer.health_check_interval)
            self._checks_due = min(self._checks_due, now + self._health_check_interval)
        self._set_heartbeat_interval(answer.heartbeat_interval, now)
        interval = f"{self._heartbeat_interval.total_seconds():g}s"
        return [Remark("registered", {"heartbeat_interval": interval})]

    def _heartbeat_answered(self, answer: HeartbeatAnswered, now: datetime) -> list[Output]:
        self._heartbeats_since_poll += 1
        if answer.commands_pending or self._heartbeats_since_poll >= POLL_EVERY:
            self._poll_due = True
        self._set_heartbeat_interval(answer.heartbeat_interval, now)
        return []

    def _set_heartbeat_interval(self, interval: timedelta | None, now: datetime) -> None:
        if interval is not None:
            self._heartbeat_interval = _within_limits(interval)
            soonest = now + self._heartbeat_interval
            self._heartbeat_due = min(self._heartbeat_due, soonest)
            self._reading_due = min(self._reading_due, soonest)

    def _sensors_read(self, reading: SensorsRead) -> list[Output]:
        self._reading_since = None
        self._sample = reading.sample
        self._silent_until = reading.silent_until or ANY_TIME
        enabled = self._enabled_checks
        results = tuple(
            result
            for result in reading.results
            if not enabled or result.check_name in enabled or result.check_name not in OPTIONAL
        )
        return self._reported(results, reading.events)

    def _reported(
        self, results: tuple[CheckResult, ...], events: tuple[HealthEvent, ...]
    ) -> list[Output]:
        dropped = self._outbox.events_dropped
        self._outbox.add(results, events)
        dropped = self._outbox.events_dropped - dropped
        return [Remark("events_dropped", {"count": str(dropped)}, grave=True)] if dropped else []

    def _serving_seen(self, given: ServingSeen, now: datetime) -> list[Output]:
        self._serving = given.serving
        gap = EARLY_GAP if given.urgent else PROGRESS_GAP
        due = max(now, self._heartbeat_sent + gap)
        self._early_due = due if self._early_due is None else min(due, self._early_due)
        return []

    def _boot_checked(self, given: BootChecked, now: datetime) -> list[Output]:
        self._boot_underway = False
        self._may_register = given.passed or given.may_register
        if given.gpus != self._registration.gpus:
            self._registration = structs.replace(self._registration, gpus=given.gpus)
            self._registered = False
        if self._boot_unknown:  # the checks have waited for this one
            self._boot_unknown = False
            self._reading_due = now
        if given.passed:
            self._boot_owed = False
            return [Remark("boot_check_passed", {"because": given.because})]
        self._boot.failed(now, first=BOOT_RETRY_FIRST, longest=BOOT_RETRY_MAX)
        wait = f"{(self._boot.until - now).total_seconds():.0f}s"
        facts = {"because": given.because, "again_in": wait}
        return [Remark("boot_check_failed", facts, grave=True)]

    # --- commands ----------------------------------------------------------------------------

    def _commands_received(self, orders: tuple[Order, ...]) -> list[Output]:
        self._poll_due = False
        self._heartbeats_since_poll = 0
        for order in orders:
            self._assignments.receive(order)
        return []

    def _told(self, request: Request) -> list[Output]:
        """Take note that the control plane has a result, or does not want it."""
        assert isinstance(request, AckCommand)
        if not self._assignments.told(request):
            return []
        self._stopped = True
        return [Stop(f"command {request.command_id} told the node to end")]

    # --- failures ----------------------------------------------------------------------------

    def _call_failed(self, request: Request, failure: CallFailed, now: datetime) -> list[Output]:
        facts = {"call": type(request).__name__, "code": failure.code, "text": failure.text}
        if isinstance(request, Heartbeat):
            self._heartbeat_due = now
        longest = min(RETRY_MAX, self._heartbeat_interval)
        advice = failure.retry_after
        if failure.code in AWAY:
            self._link.failed(now, first=RETRY_FIRST, longest=longest, advice=advice)
            first = self._link.failures == 1
            return [Remark("server_away", facts, grave=True)] if first else []
        self._link.worked()
        lane = self._lanes[type(request)]
        if failure.code == BUSY and advice is not None:  # there is nothing wrong with the request
            lane.failed(now, first=RETRY_FIRST, longest=longest, advice=advice)
            return [Remark("server_busy", facts)] if lane.failures == 1 else []
        match request:
            case RegisterNode():
                lane.failed(now, first=REFUSED_FIRST, longest=REFUSED_MAX)
                return [Remark("registration_refused", facts, grave=True)]
            case AckCommand(command_id=command_id) if failure.code in USELESS_RESULT:
                remark = Remark("result_refused", {"command": command_id, **facts}, grave=True)
                return [remark, *self._told(request)]
            case ReportHealth() if self._is_useless(failure, now):
                lost = self._outbox.take_first()
                facts["events"] = str(sum(event.count for event in lost.events))
                return [Remark("report_refused", facts, grave=True)]
            case _:
                pass
        lane.failed(now, first=RETRY_FIRST, longest=longest)
        if failure.code == "not_found":
            self._registered = False
            return [Remark("forgotten_by_server", facts)]
        return [Remark("call_refused", facts, grave=True)] if lane.failures == 1 else []

    def _is_useless(self, failure: CallFailed, now: datetime) -> bool:
        """Tell whether the first report will never be taken, by what it was refused with."""
        if failure.code in USELESS_REPORT:
            return True
        return failure.code not in PATIENT and self._outbox.refused(now)

    # --- what is owed ------------------------------------------------------------------------

    def _owed(self, now: datetime) -> Iterator[Output]:
        if self._kept != self._outbox.version:  # first, so that a crash finds them
            self._kept = self._outbox.version
            yield KeepReports(self._outbox.lasting)
        if self._boot_owed and not self._boot_underway and now >= self._boot.until:
            self._boot_underway = True
            yield CheckBoot()
        if self._reading_since is None and now >= self._reading_due:
            yield self._read_sensors(now)
        yield from map(Execute, self._assignments.begin(now))
        if self._in_flight is None:
            request = next((wanted for due, wanted in self._wanted() if due <= now), None)
            if request is not None:
                yield self._send(request, now)

    def _read_sensors(self, now: datetime) -> ReadSensors:
        checks = now >= self._checks_due and not self._boot_unknown
        if checks:
            self._checks_due = now + self._health_check_interval
        self._reading_since = now
        self._reading_due = now + self._heartbeat_interval
        self._sample = None
        return ReadSensors(checks)

    def _wanted(self) -> Iterator[tuple[datetime, Request]]:
        """Yield each call that is owed, most urgent first, and from when on it may be made."""
        for due, request in self._wanted_ignoring_failures():
            lane = self._lanes[type(request)]
            yield max(due, lane.until, self._link.until, self._silent_until), request

    def _wanted_ignoring_failures(self) -> Iterator[tuple[datetime, Request]]:
        if not self._may_register:
            return
        if not self._registered:
            yield ANY_TIME, self._registration
            return
        due = self._heartbeat_due_with_sample()
        due = due if self._early_due is None else min(due, self._early_due)
        yield due, Heartbeat(self._node_id, self._sample)
        yield from self._assignments.to_tell()
        if self._poll_due:
            yield ANY_TIME, PollCommands(self._node_id)
        if self._outbox.first is not None:
            yield ANY_TIME, self._outbox.first

    def _heartbeat_due_with_sample(self) -> datetime:
        """Wait a little for a reading that is under way: absent is worse than a moment late."""
        if self._reading_since is None:
            return self._heartbeat_due
        patience = min(READING_PATIENCE, self._heartbeat_interval / 4)
        return max(self._heartbeat_due, self._reading_since + patience)

    def _send(self, request: Request, now: datetime) -> Send:
        if isinstance(request, Heartbeat):
            request = Heartbeat(request.node_id, request.sample, now, self._serving)
            if now >= self._heartbeat_due_with_sample():  # an early one leaves the others as due
                self._heartbeat_due = now + self._heartbeat_interval
                self._reading_due = self._heartbeat_due
            self._early_due, self._heartbeat_sent = None, now
        self._calls += 1
        self._in_flight = request
        return Send(self._calls, request)


def _within_limits(interval: timedelta) -> timedelta:
    return min(max(interval, INTERVAL_MIN), INTERVAL_MAX)
