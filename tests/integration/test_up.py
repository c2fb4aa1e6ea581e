"""The main job on real processes.

Nodes that die are replaced, a control plane that dies loses nothing, Ctrl-C leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from integration.conftest import Up, until

Start = Callable[..., Up]


def test_up_shows_as_many_active_nodes_as_there_are_real_processes(start_up: Start) -> None:
    fleet = start_up()

    nodes = fleet.wait_serving(3, 15)

    assert sorted(fleet.agents()) == sorted(nodes)
    listed = fleet.run("list")
    assert listed.returncode == 0
    assert listed.stdout.count("ACTIVE") == 3


def test_a_killed_agent_is_lost_and_then_replaced_under_a_new_id(start_up: Start) -> None:
    fleet = start_up()
    before = fleet.wait_serving(3)
    victim = min(before)

    os.kill(fleet.agents()[victim], signal.SIGKILL)

    most = 0

    def is_replaced() -> bool:
        nonlocal most
        most = max(most, fleet.machines())
        serving = fleet.serving()  # one reading: between two of them it may be lost
        return len(serving) == 3 and victim not in serving

    until(is_replaced, "a replacement is active")
    kinds = [fact["kind"] for fact in fleet.facts(subject=victim)]
    assert kinds.index("node_lost") < kinds.index("instance_vanished")
    assert len(set(fleet.serving()) - set(before)) == 1
    assert most <= 4
    told = fleet.run("explain", "node", victim).stdout
    assert "its agent is silent and process does not list it any more" in told
    assert f"node {victim} is lost: silent for" in told


def test_a_frozen_agent_is_replaced_before_its_machine_is_ended(start_up: Start) -> None:
    fleet = start_up()
    before = fleet.wait_serving(3)
    victim = min(before)
    pid = fleet.agents()[victim]

    os.kill(pid, signal.SIGSTOP)

    until(lambda: victim not in fleet.agents(), "its process has ended")
    until(lambda: len(fleet.serving()) == 3, "3 active nodes again")
    facts = fleet.facts()
    kinds = [(fact["kind"], fact["subjects"][0]) for fact in facts if fact.get("subjects")]
    new = next(id_ for id_ in sorted(fleet.serving()) if id_ not in before)
    order = [
        kinds.index(("node_lost", victim)),
        kinds.index(("instance_condemned", victim)),
        kinds.index(("launch_requested", new)),
        kinds.index(("node_registered", new)),
        kinds.index(("termination_requested", victim)),
    ]
    assert order == sorted(order)


def test_a_killed_control_plane_loses_nothing(start_up: Start) -> None:
    fleet = start_up()
    before = fleet.wait_serving(3)
    cordoned = min(before)
    assert fleet.run("cordon", cordoned, "--reason", "bad cable").returncode == 0
    agents = fleet.agents()
    last_seq = fleet.facts()[-1]["seq"]
    fleet.kill()
    assert fleet.agents() == agents

    again = start_up(port=fleet.port)

    until(
        lambda: (
            {node["contact"] for node in again.nodes().values()} == {"connected"}
            and len(again.serving()) == 2
        ),
        "the agents have joined again",
    )
    facts = again.facts(afterSeq=last_seq)
    until(lambda: all("lastHeartbeat" in node for node in again.nodes().values()), "heartbeats")
    assert again.agents() == agents
    assert sorted(again.nodes()) == sorted(before)
    assert again.nodes()[cordoned]["status"] == "NODE_STATUS_CORDONED"
    assert "bad cable" in again.nodes()[cordoned]["because"]
    assert [fact["kind"] for fact in facts if fact["kind"] == "launch_requested"] == []
    assert again.machines() == 3


def test_ctrl_c_leaves_no_process_and_up_again_carries_on(start_up: Start) -> None:
    fleet = start_up()
    before = fleet.wait_serving(3)
    cordoned = max(before)
    fleet.run("cordon", cordoned)

    assert fleet.interrupt() == 0

    assert fleet.agents() == {}
    again = start_up()
    until(lambda: len(again.serving()) == 2, "two active nodes and a cordoned one")
    assert sorted(again.nodes()) == sorted(before)
    assert again.nodes()[cordoned]["status"] == "NODE_STATUS_CORDONED"
    assert again.facts()[0]["kind"] == "fleet_founded"
    assert again.interrupt() == 0
    assert again.agents() == {}


def test_a_pool_grows_and_shrinks_as_told(start_up: Start) -> None:
    fleet = start_up(nodes=1)
    until(lambda: len(fleet.serving()) == 1, "one active node")

    assert fleet.run("pool", "scale", "local", "2", "--reason", "a demonstration").returncode == 0
    until(lambda: len(fleet.serving()) == 2, "two active nodes")
    refused = fleet.run("pool", "scale", "local", "99")
    assert fleet.run("pool", "scale", "local", "1").returncode == 0
    until(lambda: len(fleet.agents()) == 1 and len(fleet.serving()) == 1, "one node again")

    assert refused.returncode == 1
    assert "target 99 is above max_nodes 3" in refused.stderr


def test_an_operator_ends_a_node_and_the_pool_buys_another(start_up: Start) -> None:
    fleet = start_up(nodes=1)
    first = min(fleet.wait_serving(1))

    assert fleet.run("terminate", first, "--reason", "moved").returncode == 0

    until(lambda: len(fleet.serving().keys() - {first}) == 1, "another one")
    until(lambda: first not in fleet.agents(), "the process of the first has ended")
    told = fleet.run("explain", "instance", first).stdout
    assert "terminate by an operator: moved" in told
