"""An agent's duties, turn by turn: what is given, and what follows from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from navarch.agent.assignments import COMMANDS_MAX
from navarch.agent.duties import (
    POLL_EVERY,
    RETRY_MAX,
    Duties,
)
from navarch.agent.turns import (
    AckAnswered,
    CallFailed,
    CommandFinished,
    CommandsReceived,
    Execute,
    HealthAnswered,
    HeartbeatAnswered,
    Input,
    Order,
    Output,
    ReadSensors,
    RegisterAnswered,
    Remark,
    Request,
    Send,
    SensorsRead,
    Stop,
    Tick,
)
from navarch.core.model.command import CommandState
from navarch.core.model.gpu import GPU, GPUSample, NodeSample
from navarch.core.model.messages import (
    AckCommand,
    Heartbeat,
    PollCommands,
    RegisterNode,
    ReportHealth,
)
from navarch.core.model.report import CheckResult, Health, HealthEvent

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
TWO_SECONDS = timedelta(seconds=2)
REGISTRATION = RegisterNode("n1", provider="fake", gpus=(GPU(0, "GPU-1"),))
SAMPLE = NodeSample(10.0, 20.0, (GPUSample(0, 40, 300, 50.0, 1024),))
HEALTHY = CheckResult("nvml", Health.HEALTHY)
XID = HealthEvent("xid", 3, metrics={"xid_code": "79"}, timestamp=START)
DIAGNOSTIC = Order("c1", "run_diagnostic")
DONE = AckCommand("n1", "c1", CommandState.SUCCEEDED, "done", "out")


class Agent:
    """Duties, the moment they live in, and what they last wanted."""

    def __init__(
        self, *, spread: float = 0.5, results: dict[str, AckCommand] | None = None
    ) -> None:
        self.now = START
        self.call = 0
        self.running: Order | None = None
        self.duties = Duties(REGISTRATION, start=START, spread=spread, results=results)

    def give(self, given: Input | None = None, *, after: float = 0.0) -> list[Output]:
        """Let seconds pass, then take a turn."""
        self.now += timedelta(seconds=after)
        outputs = self.duties.step(given or Tick(), self.now)
        for output in outputs:
            if isinstance(output, Send):
                self.call = output.call
            if isinstance(output, Execute):
                self.running = output.order
        return outputs

    def sent(self, given: Input | None = None, *, after: float = 0.0) -> list[Request]:
        """Take a turn, and tell only what it sends."""
        return requests(self.give(given, after=after))

    def wait(self) -> list[Output]:
        """Let time pass until there is something to do, and take that turn."""
        self.now = max(self.now, self.duties.next_due())
        return self.give()

    def wait_until_it_sends(self, reading: SensorsRead | None = None) -> list[Request]:
        """Let time pass until a call is made; every reading brings the same."""
        for _ in range(10_000):
            outputs = self.wait()
            if any(isinstance(output, ReadSensors) for output in outputs):
                outputs += self.give(reading or SensorsRead(SAMPLE))
            if sent := requests(outputs):
                return sent
        pytest.fail(f"nothing was sent until {self.now}")

    def fail(self, code: str) -> timedelta:
        """Let the call under way fail, and tell how long it is until the next one."""
        before = self.now
        self.give(CallFailed(self.call, code))
        self.wait_until_it_sends()
        return self.now - before


def requests(outputs: list[Output]) -> list[Request]:
    """Keep only what is sent."""
    return [output.request for output in outputs if isinstance(output, Send)]


def a_registered_agent(
    *, spread: float = 0.5, results: dict[str, AckCommand] | None = None
) -> Agent:
    """Return an agent that has registered, told a sample and polled, and owes nothing."""
    agent = Agent(spread=spread, results=results)
    agent.give()
    agent.give(SensorsRead(SAMPLE))
    agent.give(RegisterAnswered(1, TWO_SECONDS, timedelta(seconds=60)))
    agent.give(HeartbeatAnswered(2))
    assert agent.give(CommandsReceived(3)) == []
    return agent


# --- registration and heartbeats ---------------------------------------------------------------


def test_the_first_turn_reads_the_sensors_and_registers() -> None:
    assert Agent().give() == [ReadSensors(checks=True), Send(1, REGISTRATION)]


def test_registered_it_speaks_at_once_then_polls() -> None:
    agent = Agent()
    agent.give()
    agent.give(SensorsRead(SAMPLE))
    assert agent.give(RegisterAnswered(1, TWO_SECONDS)) == [
        Remark("registered", {"heartbeat_interval": "2s"}),
        Send(2, Heartbeat("n1", SAMPLE, sent_at=START)),
    ]
    assert agent.give(HeartbeatAnswered(2)) == [Send(3, PollCommands("n1"))]
    assert agent.duties.registered


def test_heartbeats_keep_the_interval_that_the_server_told() -> None:
    agent = a_registered_agent()
    assert agent.duties.next_due() == START + TWO_SECONDS
    assert agent.give(after=1.999) == []
    assert agent.give(after=0.001) == [ReadSensors(checks=False)]
    assert agent.sent(SensorsRead(SAMPLE)) == [Heartbeat("n1", SAMPLE, sent_at=START + TWO_SECONDS)]
    agent.give(HeartbeatAnswered(4))
    assert agent.duties.next_due() == START + 2 * TWO_SECONDS


def test_an_answer_to_a_heartbeat_can_change_the_interval() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE))
    agent.give(HeartbeatAnswered(4, heartbeat_interval=timedelta(seconds=1)))
    assert agent.duties.next_due() == agent.now + timedelta(seconds=1)


@pytest.mark.parametrize(
    "told, kept",
    [(timedelta(0), timedelta(seconds=1)), (timedelta(days=9), timedelta(hours=1))],
)
def test_an_interval_beyond_reason_is_moved_to_the_limit(told: timedelta, kept: timedelta) -> None:
    agent = Agent()
    agent.give()
    agent.give(SensorsRead(SAMPLE))
    registered = agent.give(RegisterAnswered(1, told))[0]
    assert registered == Remark("registered", {"heartbeat_interval": f"{kept.seconds}s"})


def test_a_heartbeat_waits_only_a_little_for_the_sensors() -> None:
    agent = a_registered_agent()
    assert agent.give(after=2) == [ReadSensors(checks=False)]
    assert agent.duties.next_due() == agent.now + TWO_SECONDS / 4
    assert agent.sent(after=0.5) == [Heartbeat("n1", None, sent_at=agent.now)]


def test_a_reading_that_hangs_is_not_asked_for_twice() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    outputs = [*agent.give(after=0.5), *agent.give(HeartbeatAnswered(4)), *agent.give(after=2)]
    assert [output for output in outputs if isinstance(output, ReadSensors)] == []
    assert len([output for output in outputs if isinstance(output, Send)]) == 2


def test_only_one_call_is_under_way_at_a_time() -> None:
    agent = Agent()
    agent.give()
    assert agent.sent(SensorsRead(SAMPLE, (HEALTHY,), (XID,))) == []
    assert agent.sent(after=3600) == []


def test_an_answer_to_another_call_is_ignored() -> None:
    agent = Agent()
    agent.give()
    assert agent.give(RegisterAnswered(7)) == []
    assert not agent.duties.registered


# --- a control plane that is away, forgets or refuses ------------------------------------------


def test_a_server_that_forgot_the_node_gets_a_registration_at_once() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE))
    assert agent.sent(CallFailed(4, "not_found", "node n1 is not known")) == [REGISTRATION]


def test_a_server_that_always_forgets_is_not_asked_in_a_tight_loop() -> None:
    agent = a_registered_agent()
    agent.wait_until_it_sends()
    asked = 0
    while agent.now < START + timedelta(seconds=60):
        assert agent.sent(CallFailed(agent.call, "not_found")) == [REGISTRATION]
        outputs = agent.give(RegisterAnswered(agent.call))
        if not requests(outputs):
            agent.wait_until_it_sends()
        asked += 1
    assert 30 <= asked <= 120


def test_retries_of_an_absent_server_stay_within_one_heartbeat_interval() -> None:
    agent = a_registered_agent()
    agent.wait_until_it_sends()
    waits = [agent.fail("unavailable") for _ in range(50)]
    assert max(waits) <= TWO_SECONDS
    assert min(waits) >= timedelta(seconds=0.25)


def test_an_absent_server_is_said_once() -> None:
    agent = Agent()
    agent.give()
    outputs = agent.give(CallFailed(1, "unavailable", "connection refused"))
    facts = {"call": "RegisterNode", "code": "unavailable", "text": "connection refused"}
    assert outputs == [Remark("server_away", facts, grave=True)]
    agent.give(SensorsRead(SAMPLE))
    agent.wait()
    assert agent.give(CallFailed(2, "unavailable")) == []


def test_agents_do_not_retry_all_at_the_same_moment() -> None:
    moments = set()
    for number in range(100):
        agent = Agent(spread=number / 100)
        agent.give()
        agent.give(SensorsRead(SAMPLE))
        agent.give(RegisterAnswered(1, RETRY_MAX))
        for _ in range(10):
            agent.fail("unavailable")
        moments.add(agent.now)
    assert len(moments) == 100
    assert max(moments) - min(moments) >= RETRY_MAX / 2


def test_a_refused_registration_is_repeated_after_a_long_wait() -> None:
    agent = Agent()
    agent.give()
    waits = [agent.fail("failed_precondition") for _ in range(8)]
    assert min(waits) >= timedelta(seconds=15)
    assert timedelta(minutes=2) <= max(waits) <= timedelta(minutes=5)


def test_after_an_outage_it_speaks_as_soon_as_the_server_is_back() -> None:
    agent = a_registered_agent()
    agent.wait_until_it_sends()
    agent.give(CallFailed(agent.call, "deadline_exceeded"))
    sent = agent.wait_until_it_sends()
    assert sent == [Heartbeat("n1", SAMPLE, sent_at=agent.now)]
    assert agent.now - START < timedelta(seconds=3)


# --- silence -----------------------------------------------------------------------------------


def test_a_silenced_agent_says_nothing_until_the_silence_ends() -> None:
    agent = a_registered_agent()
    until = START + timedelta(seconds=20)
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE, (), (XID,), silent_until=until))
    agent.wait_until_it_sends(SensorsRead(SAMPLE, silent_until=until))
    assert agent.now == until


def test_a_cleared_silence_ends_at_the_next_reading() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE, silent_until=START + timedelta(hours=9)))
    assert agent.give(after=2) == [ReadSensors(checks=False)]
    assert len(agent.sent(SensorsRead(SAMPLE))) == 1


# --- health reports ----------------------------------------------------------------------------


def test_events_are_reported_when_they_are_sensed() -> None:
    agent = a_registered_agent()
    report = ReportHealth("n1", (), (XID,))
    assert agent.sent(SensorsRead(SAMPLE, (), (XID,)), after=1) == [report]


def test_a_report_is_repeated_unchanged_until_it_is_taken() -> None:
    agent = a_registered_agent()
    first = agent.sent(SensorsRead(SAMPLE, (HEALTHY,), (XID,)), after=0.1)
    agent.give(SensorsRead(SAMPLE, (), (XID,)))
    assert agent.sent(CallFailed(4, "internal", "broken")) == []
    again = agent.wait_until_it_sends()
    assert again == first
    assert agent.sent(HealthAnswered(5)) == [ReportHealth("n1", (), (XID,))]
    agent.give(HealthAnswered(6))
    assert agent.duties.reports_waiting == 0


def test_a_reading_without_news_is_no_report() -> None:
    agent = a_registered_agent()
    assert agent.give(SensorsRead(SAMPLE), after=0.1) == []


def test_a_report_that_can_never_be_taken_is_given_up_aloud() -> None:
    agent = a_registered_agent()
    agent.give(SensorsRead(SAMPLE, (), (XID,)), after=0.1)
    outputs = agent.give(CallFailed(4, "invalid_argument", "events[0]: too long"))
    assert [output.what for output in outputs if isinstance(output, Remark)] == ["report_refused"]
    assert agent.duties.reports_waiting == 0


def test_checks_run_at_the_interval_that_the_server_told() -> None:
    agent = a_registered_agent()
    checked = []
    while agent.now < START + timedelta(seconds=125):
        if ReadSensors(checks=True) in agent.wait():
            checked.append(agent.now)
        agent.give(SensorsRead(SAMPLE))
        agent.give(HeartbeatAnswered(agent.call))
        agent.give(CommandsReceived(agent.call))
    assert checked == [START + timedelta(seconds=60), START + timedelta(seconds=120)]


def test_only_enabled_checks_are_reported() -> None:
    agent = Agent()
    agent.give()
    agent.give(RegisterAnswered(1, TWO_SECONDS, enabled_checks=("nvml",)))
    agent.give(SensorsRead(SAMPLE, (HEALTHY, CheckResult("xid", Health.HEALTHY))))
    agent.give(HeartbeatAnswered(2))
    assert agent.sent(CommandsReceived(3)) == [ReportHealth("n1", (HEALTHY,))]


def test_an_outage_with_too_many_different_events_counts_what_it_drops() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE))
    agent.give(CallFailed(4, "unavailable"))
    outputs: list[Output] = []
    for batch in range(33):
        events = tuple(
            HealthEvent("xid", metrics={"xid_code": str(batch * 500 + number)})
            for number in range(500)
        )
        outputs = agent.give(SensorsRead(SAMPLE, (), events))
    remarks = [output for output in outputs if isinstance(output, Remark)]
    assert remarks == [Remark("events_dropped", {"count": "500"}, grave=True)]
    assert agent.duties.events_dropped == 500
    assert agent.duties.reports_waiting == 32


# --- commands ----------------------------------------------------------------------------------


def with_command(agent: Agent, *orders: Order) -> list[Output]:
    """Let the agent be told of commands, as an answer to its next heartbeat and poll."""
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE))
    agent.give(HeartbeatAnswered(agent.call, commands_pending=True))
    return agent.give(CommandsReceived(agent.call, orders))


def test_a_command_is_executed_and_its_result_told() -> None:
    agent = a_registered_agent()
    assert with_command(agent, DIAGNOSTIC) == [Execute(DIAGNOSTIC)]
    finished = CommandFinished("c1", CommandState.SUCCEEDED, "done", "out")
    assert agent.give(finished) == [Send(6, DONE)]
    assert agent.give(AckAnswered(6)) == []


def test_a_command_that_comes_again_is_not_executed_again_but_told_again() -> None:
    agent = a_registered_agent()
    with_command(agent, DIAGNOSTIC)
    assert with_command(agent, DIAGNOSTIC) == []
    agent.give(CommandFinished("c1", CommandState.SUCCEEDED, "done", "out"))
    agent.give(AckAnswered(agent.call))
    outputs = with_command(agent, DIAGNOSTIC)
    assert [output.request for output in outputs if isinstance(output, Send)] == [DONE]


def test_commands_are_executed_one_after_the_other_oldest_first() -> None:
    agent = a_registered_agent()
    second = Order("c2", "cordon")
    assert with_command(agent, DIAGNOSTIC, second) == [Execute(DIAGNOSTIC)]
    outputs = agent.give(CommandFinished("c1", CommandState.FAILED))
    assert [output for output in outputs if isinstance(output, Execute)] == [Execute(second)]


def test_a_result_of_an_earlier_run_is_told_and_not_executed() -> None:
    agent = a_registered_agent(results={"c1": DONE})
    outputs = with_command(agent, DIAGNOSTIC)
    assert [type(output) for output in outputs] == [Send]
    assert isinstance(outputs[0], Send)
    assert outputs[0].request == DONE


def test_a_result_is_repeated_until_it_is_taken() -> None:
    agent = a_registered_agent()
    with_command(agent, DIAGNOSTIC)
    agent.give(CommandFinished("c1", CommandState.SUCCEEDED, "done", "out"))
    for _ in range(5):
        assert agent.sent(CallFailed(agent.call, "internal")) == []
        sent = agent.wait_until_it_sends()
        while sent != [DONE]:
            assert isinstance(sent[0], Heartbeat)
            sent = agent.sent(HeartbeatAnswered(agent.call)) or agent.wait_until_it_sends()
    assert agent.sent(AckAnswered(agent.call)) == []
    assert agent.now - START < timedelta(seconds=20)


@pytest.mark.parametrize("code", ["not_found", "permission_denied"])
def test_a_result_that_nobody_wants_is_dropped_aloud(code: str) -> None:
    agent = a_registered_agent()
    with_command(agent, DIAGNOSTIC)
    agent.give(CommandFinished("c1", CommandState.SUCCEEDED))
    outputs = agent.give(CallFailed(6, code, "no such command"))
    assert [output.what for output in outputs if isinstance(output, Remark)] == ["result_refused"]
    assert agent.give(after=0.5) == []


def test_it_polls_now_and_then_even_if_nothing_was_announced() -> None:
    agent = a_registered_agent()
    sent: list[Request] = []
    for _ in range(POLL_EVERY):
        agent.give(after=2)
        sent.extend(agent.sent(SensorsRead(SAMPLE)))
        sent.extend(agent.sent(HeartbeatAnswered(agent.call)))
    assert sent[-1] == PollCommands("n1")
    assert [type(request) for request in sent].count(PollCommands) == 1


def test_terminate_ends_the_agent_only_when_its_result_was_taken() -> None:
    agent = a_registered_agent()
    order = Order("c1", "terminate")
    assert with_command(agent, order) == [Execute(order)]
    agent.give(CommandFinished("c1", CommandState.SUCCEEDED))
    agent.give(CallFailed(6, "unavailable"))
    agent.wait_until_it_sends()
    assert agent.give(AckAnswered(7)) == [Stop("command c1 told the node to end")]
    assert agent.give(after=60) == []


def test_commands_beyond_the_bound_are_left_for_a_later_poll() -> None:
    agent = a_registered_agent()
    orders = tuple(Order(f"c{number}", "cordon") for number in range(COMMANDS_MAX + 10))
    with_command(agent, *orders)
    executed = set()
    for _ in range(3 * len(orders)):
        assert agent.running is not None
        executed.add(agent.running.id)
        agent.give(CommandFinished(agent.running.id, CommandState.SUCCEEDED))
        agent.give(AckAnswered(agent.call))
    assert len(executed) == COMMANDS_MAX
    assert with_command(agent, *orders[-10:]) != []


def test_a_result_that_was_not_asked_for_is_ignored() -> None:
    agent = a_registered_agent()
    assert agent.give(CommandFinished("c9", CommandState.SUCCEEDED), after=0.1) == []
