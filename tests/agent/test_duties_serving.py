"""What an agent owes its control plane about replicas: news at once, and nobody kept waiting."""

from __future__ import annotations

import pytest

from agent.test_duties import SAMPLE, a_registered_agent, requests
from navarch.agent.assignments import BESIDE_MAX
from navarch.agent.duties import EARLY_GAP, PROGRESS_GAP
from navarch.agent.turns import (
    AckAnswered,
    CommandFinished,
    CommandsReceived,
    Execute,
    HeartbeatAnswered,
    Order,
    Request,
    SensorsRead,
    ServingSeen,
)
from navarch.core.model.command import CommandState
from navarch.core.model.messages import AckCommand, Heartbeat
from navarch.core.model.replica import ModelSeen, NodeServing, ReplicaSeen, ReplicaState

READY = NodeServing((ReplicaSeen("r1", ReplicaState.READY, 8000),))
LOADED = NodeServing((), (ModelSeen("default/llama", bytes_done=7),))


def test_a_change_of_a_replica_is_told_at_once_and_moves_no_other_heartbeat() -> None:
    agent = a_registered_agent()
    regular = agent.duties.next_due()
    told = agent.sent(ServingSeen(READY), after=0.5)
    assert told == [Heartbeat("n1", SAMPLE, agent.now, READY)]
    agent.give(HeartbeatAnswered(agent.call))
    assert agent.duties.next_due() == regular
    assert isinstance(agent.wait_until_it_sends()[0], Heartbeat)
    assert agent.now == regular


def test_changes_that_follow_each_other_are_told_together() -> None:
    agent = a_registered_agent()
    agent.give(ServingSeen(READY), after=0.5)
    agent.give(HeartbeatAnswered(agent.call))
    first = agent.now
    assert agent.sent(ServingSeen(NodeServing()), after=0.01) == []
    assert agent.sent(ServingSeen(LOADED), after=0.01) == []
    assert agent.duties.next_due() == first + EARLY_GAP
    (beat,) = requests(agent.wait())
    assert isinstance(beat, Heartbeat)
    assert beat.serving == LOADED


def test_mere_progress_is_told_once_a_second() -> None:
    agent = a_registered_agent()
    agent.give(ServingSeen(READY), after=0.5)
    agent.give(HeartbeatAnswered(agent.call))
    first = agent.now
    assert agent.sent(ServingSeen(LOADED, urgent=False), after=0.3) == []
    assert agent.duties.next_due() == first + PROGRESS_GAP


def test_loading_a_model_keeps_no_other_command_waiting() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    load, start = Order("c1", "load_model"), Order("c2", "start_replica")
    check, cordon = Order("c3", "run_diagnostic"), Order("c4", "cordon")
    agent.give(SensorsRead(SAMPLE))
    agent.give(HeartbeatAnswered(agent.call, commands_pending=True))
    outputs = agent.give(CommandsReceived(agent.call, (check, load, cordon, start)))
    assert [each.order for each in outputs if isinstance(each, Execute)] == [check, load, start]
    outputs = agent.give(CommandFinished("c3", CommandState.SUCCEEDED))
    assert Execute(cordon) in outputs


def test_every_command_that_takes_long_is_said_to_be_running() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE))
    agent.give(HeartbeatAnswered(agent.call, commands_pending=True))
    orders = (Order("c1", "load_model"), Order("c2", "load_model"))
    agent.give(CommandsReceived(agent.call, orders))
    told: list[Request] = []
    sent: list[Request] = []
    while len(told) < 2:
        match sent.pop() if sent else agent.wait_until_it_sends()[0]:
            case AckCommand() as ack:
                told.append(ack)
                sent += agent.sent(AckAnswered(agent.call))
            case Heartbeat():
                sent += agent.sent(HeartbeatAnswered(agent.call))
            case other:
                pytest.fail(f"{other} was sent")
    assert told == [AckCommand("n1", each.id, CommandState.RUNNING) for each in orders]


def test_more_than_can_run_beside_wait_for_their_turn() -> None:
    agent = a_registered_agent()
    agent.give(after=2)
    agent.give(SensorsRead(SAMPLE))
    agent.give(HeartbeatAnswered(agent.call, commands_pending=True))
    orders = tuple(Order(f"c{number}", "start_replica") for number in range(BESIDE_MAX + 2))
    outputs = agent.give(CommandsReceived(agent.call, orders))
    begun = [each.order for each in outputs if isinstance(each, Execute)]
    assert begun == list(orders[:BESIDE_MAX])
    outputs = agent.give(CommandFinished("c7", CommandState.SUCCEEDED))
    assert [each.order for each in outputs if isinstance(each, Execute)] == [orders[BESIDE_MAX]]
